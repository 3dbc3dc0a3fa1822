//! Files that get the result of a long run: opened before it begins, so that what cannot be written is known in time, and left
//! as they are until there is something to put into them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::print;

/// A file that is to be written.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: File,
    /// Whether it is here only because it is to be written.
    unused: bool,
    /// Whether what is in it may be others', as in `/dev/stdout`, and is added to.
    shared: bool,
}

impl Output {
    /// Opens it; what was in it stays. The message says what of, as in "the report", cannot be written there.
    pub fn open(path: &Path, what: &str) -> Result<Output, String> {
        let shared = path.starts_with("/dev");
        let (unused, opened) = match File::options().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                (false, File::options().write(true).append(shared).create(true).truncate(false).open(path))
            }
            opened => (true, opened),
        };
        let file = opened.map_err(|error| format!("cannot write {what} to {}: {error}", path.display()))?;
        Ok(Output { path: path.to_path_buf(), file, unused, shared })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, empty unless others write to it.
    pub fn begin(&mut self) -> io::Result<&File> {
        self.unused = false;
        if !self.shared && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(&self.file)
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin()?.write_all(bytes)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.unused {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where a comparison goes: a picture, if it is wanted, and a text, to standard output if no file is named.
pub struct Results {
    picture: Option<Output>,
    text: Option<Output>,
}

impl Results {
    /// Opens the files.
    pub fn open(picture: Option<&Path>, text: Option<&Path>) -> Result<Results, String> {
        Ok(Results {
            picture: picture.map(|path| Output::open(path, "the picture")).transpose()?,
            text: text.map(|path| Output::open(path, "the figures")).transpose()?,
        })
    }

    /// Writes both.
    pub fn write(self, picture: impl FnOnce() -> String, text: &str) -> Result<(), String> {
        let put = |mut output: Output, text: &str| {
            let written = output.write(text.as_bytes());
            written.map_err(|error| format!("cannot write {}: {error}", output.path().display()))
        };
        if let Some(output) = self.picture {
            put(output, &picture())?;
        }
        match self.text {
            Some(output) => put(output, text)?,
            None => print(text),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_as_it_was() {
        let folder = std::env::temp_dir().join(format!("freestone-output-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (old, new) = (folder.join("old"), folder.join("new"));
        fs::write(&old, "a long text").unwrap();
        drop((Output::open(&old, "it").unwrap(), Output::open(&new, "it").unwrap()));
        assert_eq!(fs::read_to_string(&old).unwrap(), "a long text");
        assert!(!new.exists());
        for path in [&old, &new] {
            Output::open(path, "it").unwrap().write(b"short").unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), "short");
        }
        let refused = Output::open(&folder.join("none/at all"), "the report").unwrap_err();
        assert!(refused.starts_with("cannot write the report to /"), "{refused}");
        assert!(Output::open(&folder, "it").unwrap_err().contains("directory"));
        fs::remove_dir_all(folder).unwrap();
    }
}
