//! Why the control could not be opened, in words and in a number that fits an atomic.

use core::fmt::{self, Write};

use freestone_base::text::FixedText;
use freestone_sys::linux::Errno;
use freestone_sys::linux::shared::DirectoryRefused;

use crate::message;

/// Why [`open`](super::open) could not open the control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotOpened(pub(super) Trouble);

impl NotOpened {
    /// The nearest value of `errno`, for C.
    pub fn errno(self) -> i32 {
        match self.0 {
            Trouble::Directory(DirectoryRefused::Error(errno)) => errno.0,
            Trouble::Directory(_) => libc::EACCES,
            Trouble::Taken => libc::EADDRINUSE,
            Trouble::Page(errno) | Trouble::Socket(errno) => errno.0,
            Trouble::Descriptors => libc::ENOSYS,
            Trouble::Unserved => libc::EAGAIN,
        }
    }
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for NotOpened {}

/// The reasons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    Directory(DirectoryRefused),
    /// A live process has a socket of this name: one of the same number in another container.
    Taken,
    Page(Errno),
    Socket(Errno),
    /// The kernel cannot give the thread descriptors of its own.
    Descriptors,
    /// There is no background thread, or it is busy.
    Unserved,
}

impl Trouble {
    /// The reason as a number.
    pub(super) fn code(self) -> u64 {
        let (kind, errno) = match self {
            Trouble::Directory(DirectoryRefused::Error(errno)) => (0, errno.0),
            Trouble::Directory(DirectoryRefused::NoDirectory) => (1, 0),
            Trouble::Directory(DirectoryRefused::NotOurs) => (2, 0),
            Trouble::Directory(DirectoryRefused::OpenToOthers) => (3, 0),
            Trouble::Taken => (4, 0),
            Trouble::Page(errno) => (5, errno.0),
            Trouble::Socket(errno) => (6, errno.0),
            Trouble::Descriptors => (7, 0),
            Trouble::Unserved => (8, 0),
        };
        kind << 32 | u64::from(errno as u32)
    }

    /// The reason of which this is the number.
    pub(super) fn from_code(code: u64) -> Trouble {
        let errno = Errno(code as u32 as i32);
        match code >> 32 {
            0 => Trouble::Directory(DirectoryRefused::Error(errno)),
            1 => Trouble::Directory(DirectoryRefused::NoDirectory),
            2 => Trouble::Directory(DirectoryRefused::NotOurs),
            3 => Trouble::Directory(DirectoryRefused::OpenToOthers),
            4 => Trouble::Taken,
            5 => Trouble::Page(errno),
            6 => Trouble::Socket(errno),
            7 => Trouble::Descriptors,
            _ => Trouble::Unserved,
        }
    }

    /// Says so on standard error.
    pub(super) fn tell(self) {
        let mut text = FixedText::<240>::new();
        let _ = write!(text, "control:1 cannot take effect: {self}");
        message::say(&text);
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIRECTORY: &str =
            "the directory for its files ($XDG_RUNTIME_DIR/freestone or /tmp/freestone-UID)";
        match self {
            Trouble::Directory(DirectoryRefused::Error(errno)) => {
                write!(f, "{DIRECTORY} cannot be made (error {})", errno.0)
            }
            Trouble::Directory(DirectoryRefused::NoDirectory) => write!(f, "{DIRECTORY} is a link or a file"),
            Trouble::Directory(DirectoryRefused::NotOurs) => write!(f, "{DIRECTORY} belongs to another user"),
            Trouble::Directory(DirectoryRefused::OpenToOthers) => write!(f, "{DIRECTORY} is open to others"),
            Trouble::Taken => {
                f.write_str("a process of the same number, in another container, has its files there")
            }
            Trouble::Page(errno) => write!(f, "the shared page cannot be made (error {})", errno.0),
            Trouble::Socket(errno) => write!(f, "the socket cannot be made (error {})", errno.0),
            Trouble::Descriptors => {
                f.write_str("a filter forbids a table of descriptors of its own (close_range or unshare)")
            }
            Trouble::Unserved => f.write_str("there is no background thread to serve it, or it is busy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_as_a_number_and_has_words() {
        let refused = [
            DirectoryRefused::Error(Errno(13)),
            DirectoryRefused::NoDirectory,
            DirectoryRefused::NotOurs,
            DirectoryRefused::OpenToOthers,
        ];
        let others = [
            Trouble::Taken,
            Trouble::Page(Errno(28)),
            Trouble::Socket(Errno(-1)),
            Trouble::Descriptors,
            Trouble::Unserved,
        ];
        let mut words: Vec<String> = Vec::new();
        for trouble in refused.map(Trouble::Directory).into_iter().chain(others) {
            assert_eq!(Trouble::from_code(trouble.code()), trouble);
            assert_ne!(NotOpened(trouble).errno(), 0);
            words.push(NotOpened(trouble).to_string());
        }
        words.sort();
        words.dedup();
        assert_eq!(words.len(), 9);
    }
}
