//! What the tests of traces and of instruments have in common.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub const EXECUTABLE: &str = env!("CARGO_BIN_EXE_freestone");

/// A directory for one test, removed at its end.
pub struct Scratch(TempDir);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        Scratch(tempfile::Builder::new().prefix(&format!("freestone-{name}-")).tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }
}

/// Whether the library of the same build is there, or the one that `FREESTONE_LIB` names.
pub fn has_library() -> bool {
    let beside = Path::new(EXECUTABLE).parent().unwrap().join("libfreestone_malloc.so");
    let there = std::env::var_os("FREESTONE_LIB").map_or(beside, PathBuf::from).is_file();
    if !there {
        eprintln!("skipped: libfreestone_malloc.so is not built");
    }
    there
}
