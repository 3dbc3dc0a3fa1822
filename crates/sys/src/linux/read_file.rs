//! Files read by plain system calls: nothing is allocated, and a thread without libc may do it, too.
//!
//! # Safety
//!
//! Each system call gets a borrowed buffer with its true length, or a descriptor of this file's own.
#![allow(unsafe_code)]

use core::ffi::CStr;

use libc::{c_int, c_void};

use super::call::syscall;
use super::errno::{Errno, PreservedErrno};
use super::shared::{Descriptor, outcome};

/// The beginning of the file at `path`, as much as fits `buffer`; `None` when it cannot be read.
pub(super) fn beginning<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = ReadFile::open(path)?;
    let mut len = 0;
    loop {
        match file.try_read(&mut buffer[len..]).ok()? {
            0 => return Some(&buffer[..len]),
            got => len += got,
        }
    }
}

/// A file opened for reading by a system call of its own, closed when dropped.
pub struct ReadFile(Descriptor);

impl ReadFile {
    /// Opens the file; `None` when that cannot be, and where the program asked for a filter of its system calls.
    pub fn open(path: &CStr) -> Option<ReadFile> {
        if super::control::filter_was_asked_for() {
            return None;
        }
        let _preserved = PreservedErrno::new();
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: a terminated string that outlives the call.
        let file = unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0) };
        Descriptor::from(file).ok().map(ReadFile)
    }

    /// Reads into the buffer; how many bytes came, 0 at the end or on an error.
    pub fn read(&self, buffer: &mut [u8]) -> usize {
        self.try_read(buffer).unwrap_or(0)
    }

    fn try_read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let _preserved = PreservedErrno::new();
        loop {
            let at = buffer.as_mut_ptr().cast::<c_void>();
            // SAFETY: the buffer is writable for its length.
            match outcome(unsafe { syscall!(libc::SYS_read, self.0.0, at, buffer.len()) }) {
                Err(Errno(libc::EINTR)) => {}
                got => return got,
            }
        }
    }

    /// Calls `line` for each line, without its end. What does not fit the buffer is cut.
    pub fn lines(&self, buffer: &mut [u8], mut line: impl FnMut(&[u8])) {
        let (mut len, mut cut) = (0, false);
        loop {
            if len == buffer.len() {
                // A line longer than the buffer: its beginning is what counts.
                if !cut {
                    line(&buffer[..len]);
                }
                (len, cut) = (0, true);
            }
            let got = self.read(&mut buffer[len..]);
            if got == 0 {
                break;
            }
            len += got;
            let mut from = 0;
            while let Some(end) = buffer[from..len].iter().position(|&byte| byte == b'\n') {
                if !cut {
                    line(&buffer[from..from + end]);
                }
                cut = false;
                from += end + 1;
            }
            buffer.copy_within(from..len, 0);
            len -= from;
        }
        if len > 0 && !cut {
            line(&buffer[..len]);
        }
    }

    /// Reads as much of the buffer as there is from a place in the file on; how many bytes came, 0 on an error.
    pub fn read_at(&self, place: usize, buffer: &mut [u8]) -> usize {
        let _preserved = PreservedErrno::new();
        // SAFETY: the buffer is writable for its length.
        let got = unsafe {
            syscall!(libc::SYS_pread64, self.0.0, buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), place,)
        };
        got.max(0) as usize
    }

    /// The descriptor, which is the caller's to close from now on.
    pub(super) fn into_raw(self) -> c_int {
        let file = self.0.0;
        core::mem::forget(self);
        file
    }

    /// A file from the descriptor that [`ReadFile::into_raw`] gave.
    pub(super) fn from_raw(file: c_int) -> ReadFile {
        ReadFile(Descriptor(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_the_next_is_whole() {
        let path = std::env::temp_dir().join(format!("freestone-lines-{}", std::process::id()));
        std::fs::write(&path, format!("short\n{}\nlast", "x".repeat(200))).unwrap();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let mut lines = Vec::new();
        ReadFile::open(&name).unwrap().lines(&mut [0; 64], |line| lines.push(line.len()));
        assert_eq!(lines, [5, 64, 4]);
        let mut part = [0; 3];
        assert_eq!(ReadFile::open(&name).unwrap().read_at(2, &mut part), 3);
        assert_eq!(&part, b"ort");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_cannot_be_opened_is_none() {
        Errno(7).set();
        assert!(ReadFile::open(c"/no/such/file").is_none());
        assert_eq!(beginning(c"/no/such/file", &mut [0; 4]), None);
        assert_eq!(beginning(c"/proc/self", &mut [0; 4]), None, "a directory");
        assert_eq!(Errno::last(), Errno(7));
    }

    #[test]
    fn a_file_is_read_as_far_as_the_buffer_goes() {
        let mut buffer = [0; 4];
        assert_eq!(beginning(c"/proc/self/comm", &mut buffer).map(<[u8]>::len), Some(4));
    }
}
