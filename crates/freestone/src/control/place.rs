//! Where the files of the control lie: a directory that is private to the user.
//!
//! `$XDG_RUNTIME_DIR/freestone` where that directory is the user's own, else `/tmp/freestone-UID`. Nobody else can put a file or a
//! link there: the directory is checked to belong to the user and to be closed to others, and those it lies in are the
//! user's own, or sticky as `/tmp` is.
//!
//! # Safety
//!
//! The environment is read once, by whoever asks for the control; the invariant is getenv's own.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux;
use freestone_sys::linux::shared::{self, DirectoryRefused};

/// The longest path of the directory: a socket's path has 107 bytes, and `/PID.socket` needs its share.
const LONGEST: usize = 88;

/// A path with its terminating zero.
pub(super) struct Path(FixedText<128>);

impl Path {
    fn new(parts: core::fmt::Arguments<'_>) -> Path {
        let mut text = FixedText::new();
        let _ = text.write_fmt(parts);
        let _ = text.write_str("\0");
        Path(text)
    }

    /// The path, empty if it did not fit.
    pub(super) fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(self.0.as_bytes()).unwrap_or_default()
    }
}

/// What `XDG_RUNTIME_DIR` says, if it can be used.
#[derive(Clone, Copy)]
pub(super) struct RuntimeDirectory {
    path: [u8; LONGEST],
    len: usize,
}

impl RuntimeDirectory {
    pub(super) const UNKNOWN: RuntimeDirectory = RuntimeDirectory { path: [0; LONGEST], len: 0 };

    /// Reads the environment; in a program with raised privileges, which must not trust it, nothing.
    pub(super) fn read() -> RuntimeDirectory {
        const AT_SECURE: u64 = 23;
        // SAFETY: as with getenv, nobody may change the environment at this moment.
        let value = unsafe { linux::environment(b"XDG_RUNTIME_DIR") };
        let mut directory = RuntimeDirectory::UNKNOWN;
        if let Some(value) = value
            && linux::auxiliary_value(AT_SECURE) == 0
            && value.starts_with(b"/")
            && let Some(place) = directory.path.get_mut(..value.len())
        {
            place.copy_from_slice(value);
            directory.len = value.len();
        }
        directory
    }

    /// The directory for the files.
    fn directory(&self) -> Path {
        match self.text() {
            Some(parent) if parent.len() + "/freestone".len() <= LONGEST => {
                Path::new(format_args!("{parent}/freestone"))
            }
            _ => Path::new(format_args!("/tmp/freestone-{}", shared::effective_user())),
        }
    }

    /// What the variable says, if that is a directory of the user's own.
    fn text(&self) -> Option<&str> {
        let text = core::str::from_utf8(self.path.get(..self.len)?).ok()?;
        let path = Path::new(format_args!("{text}"));
        (!text.is_empty() && shared::is_own_directory(path.as_c())).then_some(text)
    }
}

/// The two files of a process.
pub(super) struct Files {
    pub(super) page: Path,
    pub(super) socket: Path,
}

impl Files {
    /// Their names, in a directory that is private and exists now.
    pub(super) fn prepare(runtime: &RuntimeDirectory, process: i32) -> Result<Files, DirectoryRefused> {
        let directory = runtime.directory();
        shared::private_directory(directory.as_c())?;
        Ok(Files::below(&directory, process))
    }

    /// Their names, whether they exist or not.
    pub(super) fn named(runtime: &RuntimeDirectory, process: i32) -> Files {
        Files::below(&runtime.directory(), process)
    }

    fn below(directory: &Path, process: i32) -> Files {
        // Both kinds of directory are text.
        let directory = directory.as_c().to_str().unwrap_or_default();
        Files {
            page: Path::new(format_args!("{directory}/{process}.page")),
            socket: Path::new(format_args!("{directory}/{process}.socket")),
        }
    }

    /// Removes both.
    pub(super) fn remove(&self) {
        shared::remove_file(self.socket.as_c());
        shared::remove_file(self.page.as_c());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(path: &str) -> RuntimeDirectory {
        let mut directory = RuntimeDirectory { path: [0; LONGEST], len: path.len() };
        directory.path[..path.len()].copy_from_slice(path.as_bytes());
        directory
    }

    #[test]
    fn files_lie_in_the_users_own_directory_or_in_one_below_tmp() {
        let own = std::env::temp_dir().join(format!("freestone-place-{}", std::process::id()));
        std::fs::create_dir(&own).unwrap();
        let files = Files::prepare(&runtime(own.to_str().unwrap()), 12).unwrap();
        let expected = own.join("freestone/12.page");
        assert_eq!(files.page.as_c().to_str().unwrap(), expected.to_str().unwrap());
        std::fs::remove_dir_all(&own).unwrap();

        let user = shared::effective_user();
        for unusable in ["/tmp", "/nonexistent", ""] {
            let files = Files::prepare(&runtime(unusable), 12).unwrap();
            assert_eq!(files.socket.as_c().to_str().unwrap(), format!("/tmp/freestone-{user}/12.socket"));
        }
    }
}
