//! Futexes, private to the process: how a thread sleeps until a word changes.
//!
//! # Safety
//!
//! The word is borrowed for the whole call, so its address is valid throughout.
#![allow(unsafe_code)]

use core::ptr::{null, null_mut};
use core::sync::atomic::AtomicU32;

use super::call::syscall;
use super::errno::{Errno, PreservedErrno};

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// Woken, interrupted by a signal, or the word had another value to begin with: look again.
    LookAgain,
    /// The time was up.
    TimedOut,
}

/// Sleeps while `word` is `expected`, for at most `timeout_ns` nanoseconds. May return early.
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout_ns: Option<u64>) -> Waited {
    let _preserved = PreservedErrno::new();
    let timeout = timeout_ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as _,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    });
    let timeout: *const libc::timespec = timeout.as_ref().map_or(null(), |time| time);
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word and the timeout outlive the call.
    let returned = unsafe {
        syscall!(libc::SYS_futex, word.as_ptr(), operation, expected, timeout, null_mut::<u32>(), 0)
    };
    if returned != 0 && Errno::last() == Errno(libc::ETIMEDOUT) {
        Waited::TimedOut
    } else {
        Waited::LookAgain
    }
}

/// Wakes at most `count` of the threads that wait for `word`.
pub fn futex_wake(word: &AtomicU32, count: u32) {
    let _preserved = PreservedErrno::new();
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let count = count.min(i32::MAX as u32);
    // SAFETY: waking reads no memory; the address only names the queue.
    unsafe { syscall!(libc::SYS_futex, word.as_ptr(), operation, count) };
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    #[test]
    fn a_wait_ends_at_once_on_another_value_and_in_time_otherwise() {
        let word = AtomicU32::new(1);
        assert_eq!(futex_wait(&word, 0, None), Waited::LookAgain);
        assert_eq!(futex_wait(&word, 1, Some(1_000_000)), Waited::TimedOut);
    }

    #[test]
    fn a_wake_ends_a_wait() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(SeqCst) == 0 {
                    futex_wait(&word, 0, None);
                }
            });
            word.store(1, SeqCst);
            futex_wake(&word, u32::MAX);
        });
    }
}
