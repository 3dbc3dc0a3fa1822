//! Where `libfreestone_malloc.so` lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::program;

/// The name of the library's file.
pub const FILE: &str = "libfreestone_malloc.so";
/// The environment variable that names the library's place.
pub const VARIABLE: &str = "FREESTONE_LIB";

/// Finds the library: where the user says, else beside the executable, else in `../lib` beside it.
pub fn find(option: Option<&Path>) -> Result<PathBuf, String> {
    let variable = std::env::var_os(VARIABLE);
    let executable =
        std::env::current_exe().map_err(|error| format!("cannot find this executable: {error}"))?;
    let path = choose(option, variable, &executable)?;
    program::check_library(&path)?;
    path.canonicalize().map_err(|error| format!("cannot read the library {}: {error}", path.display()))
}

fn choose(option: Option<&Path>, variable: Option<OsString>, executable: &Path) -> Result<PathBuf, String> {
    let named = option
        .map(|path| (path.to_path_buf(), "--lib"))
        .or_else(|| variable.filter(|value| !value.is_empty()).map(|value| (PathBuf::from(value), VARIABLE)));
    if let Some((path, by)) = named {
        return match path.is_file() {
            true => Ok(path),
            false => Err(format!("there is no library at {}, which {by} names", path.display())),
        };
    }
    let beside = executable.parent().unwrap_or(Path::new("/"));
    let places = [beside.join(FILE), beside.join("../lib").join(FILE)];
    if let Some(found) = places.iter().find(|place| place.is_file()) {
        return Ok(found.clone());
    }
    let advice = match build_command(beside) {
        Some(command) => format!("Build it with `{command}`."),
        None => format!("Name its place with --lib PATH or in {VARIABLE}."),
    };
    let places = places.map(|place| format!("\n  {}", place.display())).concat();
    Err(format!("{FILE} was not found. Looked for:{places}\n{advice}"))
}

/// The command that builds the library into `dir`, when cargo builds there.
fn build_command(dir: &Path) -> Option<String> {
    if !dir.join(".fingerprint").is_dir() && !dir.join("deps").is_dir() {
        return None;
    }
    let profile = match dir.file_name()?.to_str()? {
        "debug" => String::new(),
        "release" => " --release".into(),
        name => format!(" --profile {name}"),
    };
    Some(format!("cargo build{profile} -p freestone-malloc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_order_of_places_holds() {
        let root = std::env::temp_dir().join(format!("freestone-library-{}", std::process::id()));
        let bin = root.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(root.join("lib")).unwrap();
        let executable = bin.join("freestone");

        let nowhere = choose(None, None, &executable).unwrap_err();
        assert!(nowhere.contains("--lib PATH"), "{nowhere}");

        let installed = root.join("lib").join(FILE);
        fs::write(&installed, "").unwrap();
        let found = choose(None, None, &executable).unwrap();
        assert_eq!(found.canonicalize().unwrap(), installed.canonicalize().unwrap());

        fs::write(bin.join(FILE), "").unwrap();
        assert_eq!(choose(None, None, &executable).unwrap(), bin.join(FILE));

        let named = root.join("named.so");
        fs::write(&named, "").unwrap();
        assert_eq!(choose(None, Some(named.clone().into()), &executable).unwrap(), named);
        assert_eq!(choose(Some(&installed), Some(named.into()), &executable).unwrap(), installed);
        let missing = choose(Some(Path::new("/nonexistent.so")), None, &executable).unwrap_err();
        assert!(missing.contains("--lib"), "{missing}");
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn in_a_build_directory_the_advice_is_the_build_command() {
        let root = std::env::temp_dir().join(format!("freestone-target-{}", std::process::id()));
        for (profile, flags) in [("debug", ""), ("release", " --release"), ("checked", " --profile checked")]
        {
            let dir = root.join(profile);
            fs::create_dir_all(dir.join("deps")).unwrap();
            let message = choose(None, None, &dir.join("freestone")).unwrap_err();
            assert!(message.contains(&format!("`cargo build{flags} -p freestone-malloc`")), "{message}");
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
