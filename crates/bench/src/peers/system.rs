//! Libraries and versions from the system's packages.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library `file`, where packages put it.
pub fn library(file: &str) -> Result<PathBuf, String> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let folders =
        [format!("/usr/lib/{triplet}"), format!("/lib/{triplet}"), "/usr/lib64".into(), "/usr/lib".into()];
    let mut candidates = folders.iter().map(|folder| Path::new(folder).join(file));
    candidates.find(|path| path.is_file()).ok_or_else(|| format!("the system has no {file}"))
}

/// The library `file` among those that come with clang, and clang's version; the newest, where there are several.
pub fn clang_runtime(file: &str) -> Result<(PathBuf, String), String> {
    let below =
        |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm"));
    let versions = below(Path::new("/usr/lib")).filter(llvm).chain([PathBuf::from("/usr")]);
    let versions = versions.flat_map(|root| below(&root.join("lib/clang")).collect::<Vec<_>>());
    let mut found: Vec<(Vec<u32>, PathBuf, String)> = versions
        .filter_map(|folder| {
            let version = folder.file_name()?.to_str()?.to_owned();
            let path = folder.join("lib/linux").join(file);
            let numbers = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
            path.is_file().then_some((numbers, path, version))
        })
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, path, version)| (path, version));
    newest.ok_or_else(|| format!("no clang has a {file}: on Debian it is in libclang-rt-*-dev"))
}

/// Name and version of an installed package; none where there is no such package, or no dpkg.
pub fn package_version(package: &str) -> Option<String> {
    // A package that was removed is still known, without a version.
    let text = printed(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]))?;
    (!text.is_empty()).then(|| format!("{package} {text}"))
}

/// The C library's version, and its package's.
pub fn libc_version() -> String {
    let own = printed(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let own = own.unwrap_or_else(|| "of an unknown version".to_owned());
    match package_version("libc6") {
        Some(package) => format!("{own} ({package})"),
        None => own,
    }
}

fn printed(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_not_found() {
        assert!(
            library("libnobody-has-this.so.9")
                .is_err_and(|reason| reason.contains("libnobody-has-this.so.9"))
        );
        assert_eq!(package_version("nobody-has-this-package"), None);
        assert!(clang_runtime("nobody-has-this.so").is_err_and(|reason| reason.contains("libclang-rt")));
    }

    #[test]
    fn a_program_that_fails_prints_nothing() {
        assert_eq!(printed(&mut Command::new("false")), None);
        assert_eq!(printed(&mut Command::new("/nonexistent/program")), None);
        assert_eq!(printed(Command::new("echo").arg("2.36")), Some("2.36".to_owned()));
    }
}
