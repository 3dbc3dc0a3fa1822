//! What the tests of traces and of instruments have in common.

mod library;

use std::path::Path;

use tempfile::TempDir;

pub use library::library;

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
