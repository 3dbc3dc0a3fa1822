//! The directory into which the library writes, one file a process.

use std::fs::{self, DirBuilder, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::os;

/// A fresh directory with a name that cannot be guessed; removed with all in it when dropped.
///
/// Root's programs may change their user (a server does, after it has opened its port) and must still
/// be able to write. So for root the inner directory is open to those who know its name, and the
/// outer one cannot be listed.
pub struct PrivateDir {
    outer: PathBuf,
    inner: PathBuf,
}

impl PrivateDir {
    /// Makes one in `TMPDIR` or in `/tmp`.
    pub fn new() -> io::Result<PrivateDir> {
        Self::under(&base())
    }

    /// Makes one in this directory, or where [`new`](PrivateDir::new) does if its path has a character that the variables have not.
    pub fn beside(base: &Path) -> io::Result<PrivateDir> {
        if is_plain(base) { Self::under(base) } else { Self::new() }
    }

    fn under(base: &Path) -> io::Result<PrivateDir> {
        let outer = base.join(format!("freestone-{:016x}", random()));
        let inner = outer.join(format!("{:016x}", random()));
        let (outer_mode, inner_mode) = if os::is_root() { (0o711, 0o1733) } else { (0o700, 0o700) };
        // Who reads the message may not know where this is tried, for TMPDIR says so.
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", base.display()));
        DirBuilder::new().mode(0o700).create(&outer).map_err(told)?;
        let dir = PrivateDir { outer, inner };
        DirBuilder::new().mode(0o700).create(&dir.inner)?;
        // The mode given at creation is subject to the umask, this one is not.
        fs::set_permissions(&dir.inner, Permissions::from_mode(inner_mode))?;
        fs::set_permissions(&dir.outer, Permissions::from_mode(outer_mode))?;
        Ok(dir)
    }

    /// Where the library writes.
    pub fn path(&self) -> &Path {
        &self.inner
    }

    /// A name in the outer directory, where only we can write.
    pub fn own_file(&self, name: &str) -> PathBuf {
        self.outer.join(name)
    }

    /// The regular files with this ending, in the order of their names. A link or a device that somebody put there is skipped.
    pub fn files(&self, ending: &str) -> io::Result<Vec<PathBuf>> {
        files(&self.inner, ending)
    }

    /// Leaves all that is in it where it is.
    pub fn keep(self) -> PathBuf {
        std::mem::ManuallyDrop::new(self).inner.clone()
    }

    /// Contents of the regular files `*.json`. A link or a device that somebody put there is skipped.
    pub fn reports(&self) -> io::Result<Vec<(PathBuf, io::Result<Vec<u8>>)>> {
        self.contents("json")
    }

    /// The same for the regular files with this ending.
    pub fn contents(&self, ending: &str) -> io::Result<Vec<(PathBuf, io::Result<Vec<u8>>)>> {
        let read = |path: PathBuf| {
            let contents = fs::read(&path);
            (path, contents)
        };
        Ok(self.files(ending)?.into_iter().map(read).collect())
    }

    /// What processes keep of such files while they run, `*.ENDING.1` and `*.ENDING.2`, each under the name of the file that is written at the
    /// end; the older of two first.
    pub fn kept(&self, ending: &str) -> Vec<(PathBuf, io::Result<Vec<u8>>)> {
        let mut files = Vec::new();
        for number in ["1", "2"] {
            for path in self.files(number).unwrap_or_default() {
                let final_path = path.with_extension("");
                if final_path.extension().is_some_and(|ext| ext == ending) {
                    let written = fs::metadata(&path).and_then(|about| about.modified()).ok();
                    files.push((written, final_path, fs::read(&path)));
                }
            }
        }
        files.sort_by_key(|file| file.0);
        files.into_iter().map(|(_, path, contents)| (path, contents)).collect()
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // Nothing depends on it, and a process that is still running may be writing just now.
        let _ = fs::remove_dir_all(&self.outer);
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// `TMPDIR`, unless it has a character that separates items of `LD_PRELOAD` or of `FREESTONE_CONF`.
fn base() -> PathBuf {
    let tmp = std::env::temp_dir();
    if is_plain(&tmp) { tmp } else { PathBuf::from("/tmp") }
}

/// Whether a path is absolute and has no character that the variables give a meaning to.
fn is_plain(path: &Path) -> bool {
    let plain = |text: &str| !text.contains([',', ':']) && !text.contains(char::is_whitespace);
    path.is_absolute() && path.to_str().is_some_and(plain)
}

/// The regular files with this ending in a directory, in the order of their names.
pub fn files(directory: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_file() && path.extension().is_some_and(|ext| ext == ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_none_can_be_made_is_said() {
        let refused = PrivateDir::under(Path::new("/no/such/place")).err().unwrap();
        assert!(refused.to_string().starts_with("/no/such/place: "), "{refused}");
    }

    #[test]
    fn it_is_private_and_goes_away() {
        let dir = PrivateDir::new().unwrap();
        let outer = dir.outer.clone();
        let mode = fs::metadata(&outer).unwrap().permissions().mode();
        assert_eq!(mode & 0o066, 0, "{mode:o}");
        fs::write(dir.path().join("12.json"), "{}").unwrap();
        fs::write(dir.path().join("note.txt"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("13.json")).unwrap();
        let reports = dir.reports().unwrap();
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].1.as_ref().unwrap(), b"{}");
        drop(dir);
        assert!(!outer.exists());
    }
}
