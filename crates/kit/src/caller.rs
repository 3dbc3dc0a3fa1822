//! Where, in a stack, the program begins that called an allocator which noted the stack.
//!
//! A function is known by its name, or by the file that it is from: what was inlined has, where only the lines of a program
//! are kept with it, as in many release builds, a name without a path.

use std::path::Path;

/// This crate's folder of sources, as the compiler calls it.
fn sources() -> &'static str {
    file!().trim_end_matches("caller.rs")
}

/// Whether a file is among this crate's sources, below one of these folders or itself one of these files.
pub(crate) fn is_ours(file: Option<&Path>, parts: &[&str]) -> bool {
    let path = file.and_then(Path::to_str);
    let rest = path.and_then(|path| path.split_once(sources())).map(|(_, rest)| rest);
    rest.is_some_and(|rest| parts.iter().any(|part| rest.starts_with(part)))
}

/// Whether a file belongs to what walks the stack, or to what calls closures.
pub(crate) fn is_helpers(file: Option<&Path>) -> bool {
    const HELPERS: [&str; 3] = ["/backtrace-", "/allocator-api2-", "/library/core/src/ops/function.rs"];
    let path = file.and_then(Path::to_str);
    path.is_some_and(|path| HELPERS.iter().any(|part| path.contains(part)))
}
