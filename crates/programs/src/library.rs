//! Where the library under test comes from: the environment, or a build of `freestone-malloc`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library's file name.
pub const FILE_NAME: &str = "libfreestone_malloc.so";

/// The library that `FREESTONE_LIB` names, or else a release build of this workspace's.
///
/// The build has a target folder of its own below the workspace's, so that it neither waits for
/// the lock of a `cargo test` that may be running this, nor disturbs it.
pub fn find_or_build() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("FREESTONE_LIB").filter(|path| !path.is_empty()) {
        return checked(Path::new(&named)).map_err(|error| format!("FREESTONE_LIB: {error}"));
    }
    build()
}

/// An absolute path to an existing file.
pub fn checked(path: &Path) -> Result<PathBuf, String> {
    match path.canonicalize() {
        Ok(real) if real.is_file() => Ok(real),
        Ok(_) => Err(format!("{} is not a file", path.display())),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn build() -> Result<PathBuf, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace.join(folder),
        None => workspace.join("target"),
    };
    let own_target = target.join("preload");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--message-format=short",
            "--release",
            "-p",
            "freestone-malloc",
            "--target-dir",
        ])
        .arg(&own_target)
        .current_dir(&workspace)
        .output()
        .map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        return Err(format!("freestone-malloc does not build:\n{}", messages.trim_end()));
    }
    let library = own_target.join("release").join(FILE_NAME);
    checked(&library).map_err(|error| format!("the build of freestone-malloc left no library: {error}"))
}

/// The library `file`, where packages put it.
pub fn find_library(file: &str) -> Option<PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    [format!("/usr/lib/{triplet}"), format!("/lib/{triplet}"), "/usr/lib64".into(), "/usr/lib".into()]
        .iter()
        .map(|folder| Path::new(folder).join(file))
        .find(|path| path.is_file())
}
