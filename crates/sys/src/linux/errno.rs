//! `errno`: read after a call, and put back afterwards.
//!
//! # Safety
//!
//! libc's `__errno_location` returns the address of a word of the calling thread that is valid as
//! long as the thread lives; it is used at once and never kept.
#![allow(unsafe_code)]

use libc::c_int;

/// A value of `errno`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub c_int);

fn location() -> *mut c_int {
    // SAFETY: no preconditions; works from the first instruction of a thread on.
    unsafe { libc::__errno_location() }
}

impl Errno {
    /// Where the calling thread's value lies.
    pub fn address() -> usize {
        location().expose_provenance()
    }

    /// What the last failing call of this thread left.
    pub fn last() -> Errno {
        // SAFETY: the calling thread's own word, valid and aligned.
        Errno(unsafe { location().read() })
    }

    /// Makes this the calling thread's `errno`.
    pub fn set(self) {
        // SAFETY: the calling thread's own word, valid and aligned.
        unsafe { location().write(self.0) }
    }
}

/// Puts `errno` back to what it was when this was made.
pub struct PreservedErrno(Errno);

impl PreservedErrno {
    /// Notes the present value.
    #[allow(clippy::new_without_default)]
    pub fn new() -> PreservedErrno {
        PreservedErrno(Errno::last())
    }
}

impl Drop for PreservedErrno {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preserved_value_comes_back() {
        Errno(7).set();
        {
            let _preserved = PreservedErrno::new();
            Errno(12).set();
            assert_eq!(Errno::last(), Errno(12));
        }
        assert_eq!(Errno::last(), Errno(7));
    }
}
