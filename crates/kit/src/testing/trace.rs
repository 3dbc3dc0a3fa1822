//! Where a call came from.

use std::fmt;
use std::path::Path;

use crate::caller::{is_helpers, is_ours};

/// A stack, its symbols looked up only when it is printed.
#[derive(Clone)]
pub struct Trace(backtrace::Backtrace);

/// Frames below the caller of the allocator, which say nothing about the program.
const NOT_THE_PROGRAMS: [&str; 8] = [
    "backtrace::",
    "freestone_kit::testing",
    "freestone_kit::failing",
    "<freestone_kit::testing",
    "<freestone_kit::failing",
    "freestone_kit::foreign",
    "std::rt::",
    "core::ops::function",
];

/// The same by their files.
const NOT_ITS_FILES: [&str; 4] = ["testing/", "failing/", "foreign/", "foreign.rs"];

impl Trace {
    /// The stack of the caller. Allocates from the program's global allocator.
    pub fn capture() -> Trace {
        Trace(backtrace::Backtrace::new_unresolved())
    }

    /// The functions on the stack, the innermost first, each with its file and line where they are known.
    pub fn frames(&self) -> Vec<String> {
        let mut resolved = self.0.clone();
        resolved.resolve();
        let symbols = resolved.frames().iter().flat_map(|frame| frame.symbols());
        symbols
            .filter(|symbol| !is_ours(symbol.filename(), &NOT_ITS_FILES) && !is_helpers(symbol.filename()))
            .filter_map(|symbol| {
                let name = format!("{:#}", symbol.name()?);
                let place = symbol.filename().and_then(Path::file_name);
                let line = symbol.lineno().unwrap_or(0);
                Some(match place {
                    Some(file) => format!("{name} ({}:{line})", file.display()),
                    None => name,
                })
            })
            .filter(|frame| !NOT_THE_PROGRAMS.iter().any(|prefix| frame.starts_with(prefix)))
            .collect()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frames().iter().try_for_each(|frame| writeln!(f, "      {frame}"))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.frames()).finish()
    }
}
