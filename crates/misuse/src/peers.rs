//! Other allocators on the same faults: the C library's own, and libraries that `freestone-bench peers` has built.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::outcome::Subject;

/// The C library's own allocator.
pub fn of_libc() -> Subject {
    Subject { name: "glibc".into(), library: None, environment: Vec::new() }
}

/// Where the bench leaves the libraries of the peers.
pub fn built() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => workspace.join(folder).join("peers"),
        None => workspace.join("peers/target"),
    };
    target.join("finished")
}

/// Every `libpeer_NAME.so` in the folder, by name; none where there is no such folder.
pub fn in_folder(folder: &Path) -> Vec<Subject> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let name = file.strip_prefix("libpeer_")?.strip_suffix(".so")?.replace('_', "-");
            Some(Subject { name, library: Some(entry.path()), environment: Vec::new() })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// A peer given as `NAME=LIBRARY` or `NAME=LIBRARY,KEY=VALUE,…`.
///
/// # Errors
/// A sentence that says what the form is, or why the library cannot be used.
///
/// ```
/// assert!(freestone_misuse::peers::given("x").unwrap_err().contains("NAME=LIBRARY"));
/// ```
pub fn given(text: &str) -> Result<Subject, String> {
    let mut parts = text.split(',');
    let pair = |part: &str| part.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let form = || format!("{text:?}: a peer is given as NAME=LIBRARY[,VARIABLE=VALUE]...");
    let (name, library) = parts.next().and_then(pair).ok_or_else(form)?;
    let library = freestone_programs::library::checked(Path::new(&library))?;
    let environment: Option<Vec<(OsString, OsString)>> =
        parts.map(|part| pair(part).map(|(key, value)| (key.into(), value.into()))).collect();
    Ok(Subject { name, library: Some(library), environment: environment.ok_or_else(form)? })
}
