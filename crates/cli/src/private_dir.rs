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

    fn under(base: &Path) -> io::Result<PrivateDir> {
        let outer = base.join(format!("freestone-{:016x}", random()));
        let inner = outer.join(format!("{:016x}", random()));
        let (outer_mode, inner_mode) = if os::is_root() { (0o711, 0o1733) } else { (0o700, 0o700) };
        DirBuilder::new().mode(0o700).create(&outer)?;
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

    /// Contents of the regular files `*.json`. A link or a device that somebody put there is skipped.
    pub fn reports(&self) -> io::Result<Vec<(PathBuf, io::Result<Vec<u8>>)>> {
        self.files("json")
    }

    /// The same for the regular files with this ending.
    pub fn files(&self, ending: &str) -> io::Result<Vec<(PathBuf, io::Result<Vec<u8>>)>> {
        let mut reports = Vec::new();
        for entry in fs::read_dir(&self.inner)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_file() && path.extension().is_some_and(|ext| ext == ending) {
                let contents = fs::read(&path);
                reports.push((path, contents));
            }
        }
        reports.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(reports)
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
    let plain = |text: &str| !text.contains([',', ':']) && !text.contains(char::is_whitespace);
    match tmp.to_str() {
        Some(text) if tmp.is_absolute() && plain(text) => tmp,
        _ => PathBuf::from("/tmp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
