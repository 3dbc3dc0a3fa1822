//! Triggers of the kernel's pressure stall information, for memory.
//!
//! # Safety
//!
//! Each call passes places and buffers of its own frame, or borrowed slices, with their true length.
#![allow(unsafe_code)]

use core::ffi::CStr;

use libc::c_int;

use super::call::syscall;
use super::cgroup;
use super::errno::{Errno, PreservedErrno};

/// Some task stalled for 100 ms in all within two seconds: what a process without privileges may ask for.
const WISH: &[u8] = b"some 100000 2000000\0";

/// A trigger, by its descriptor's number.
pub struct Trigger;

impl Trigger {
    /// A trigger at the process's control group, or at the system; its number in the table of this thread.
    pub fn open() -> Result<c_int, Errno> {
        let mut name = [0; cgroup::NAME];
        match cgroup::own_file(&mut name, b"memory.pressure") {
            Some(path) => Trigger::open_at(path).or_else(|_| Trigger::open_at(c"/proc/pressure/memory")),
            None => Trigger::open_at(c"/proc/pressure/memory"),
        }
    }

    fn open_at(path: &CStr) -> Result<c_int, Errno> {
        let _preserved = PreservedErrno::new();
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: a terminated string.
        let file = unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) } as c_int;
        if file < 0 {
            return Err(Errno::last());
        }
        // SAFETY: a readable constant of that length.
        let written = unsafe { syscall!(libc::SYS_write, file, WISH.as_ptr(), WISH.len()) };
        if written < 0 {
            let errno = Errno::last();
            Trigger::close(file);
            return Err(errno);
        }
        Ok(file)
    }

    /// Whether the trigger fired since this was asked last; `None` when it is no trigger any more.
    pub fn has_fired(number: c_int) -> Option<bool> {
        let _preserved = PreservedErrno::new();
        let mut asked = libc::pollfd { fd: number, events: libc::POLLPRI, revents: 0 };
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: one place of the type that the call fills, and a time; no set of signals is given.
        unsafe { syscall!(libc::SYS_ppoll, &raw mut asked, 1usize, &raw mut now, 0usize, 0usize) };
        (asked.revents & (libc::POLLNVAL | libc::POLLERR) == 0).then_some(asked.revents & libc::POLLPRI != 0)
    }

    /// Gives a trigger up; nothing for a negative number.
    pub fn close(number: c_int) {
        let _preserved = PreservedErrno::new();
        if number >= 0 {
            // SAFETY: our own descriptor, closed once.
            unsafe { syscall!(libc::SYS_close, number) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_quiet_on_a_quiet_machine_and_known_when_closed() {
        match Trigger::open() {
            Ok(number) => {
                assert!(Trigger::has_fired(number).is_some());
                Trigger::close(number);
            }
            Err(errno) => {
                freestone_testkit::skipped(format_args!("this kernel gives no trigger (error {})", errno.0))
            }
        }
        assert_eq!(Trigger::has_fired(c_int::MAX), None);
        Trigger::close(-1);
    }
}
