//! Memory that the program's own image brings: the first small ranges come from here, without a system call.
//!
//! A process that allocates little and ends soon asks for some metadata once and never again; each mapping costs it a
//! few microseconds, made and torn down. The pages lie in `.bss`, so they cost nothing until they are touched.
//!
//! # Safety
//!
//! The memory is handed out as addresses only, each byte once, because there is one [`First`] at most that has any.
//! Nothing here ever reads or writes it.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes in all: what the page heap asks for first, and room to begin at an OS page.
const ROOM: usize = 160 << 10;

#[repr(align(4096))]
struct Memory(UnsafeCell<[u8; ROOM]>);

// SAFETY: nobody accesses it by this name, only those to whom `take` gave a part.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; ROOM]));

/// How much of the memory is taken. Not beside it: the page would be touched for this word alone.
pub(super) struct First {
    taken: AtomicUsize,
}

impl First {
    /// All of the memory.
    ///
    /// # Safety
    /// There is no other in the process.
    pub(super) const unsafe fn all() -> First {
        First { taken: AtomicUsize::new(0) }
    }

    /// Nothing of it.
    pub(super) const fn none() -> First {
        First { taken: AtomicUsize::new(ROOM) }
    }

    /// The address of `len` zeroed bytes that nobody else has, if that many are left. O(1).
    pub(super) fn take(&self, len: usize, os_page: usize) -> Option<usize> {
        let start = MEMORY.0.get().expose_provenance();
        // A guess: were the word first read and then written, its page would fault twice.
        let mut taken = 0;
        loop {
            let at = (start + taken).next_multiple_of(os_page);
            let next = (at - start).checked_add(len).filter(|&next| next <= ROOM)?;
            match self.taken.compare_exchange_weak(taken, next, Relaxed, Relaxed) {
                Ok(_) => return Some(at),
                Err(now) => taken = now,
            }
        }
    }
}

/// All of it, from a start to an end.
pub fn first_memory() -> (usize, usize) {
    let start = MEMORY.0.get().addr();
    (start, start + size_of::<Memory>())
}

/// Whether a range came from here: it is readable and writable already.
pub(super) fn holds(addr: usize) -> bool {
    addr.wrapping_sub(MEMORY.0.get().addr()) < ROOM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_apart_whole_and_end() {
        // SAFETY: no other test has one.
        let first = unsafe { First::all() };
        let mut end = 0;
        while let Some(at) = first.take(8192, 4096) {
            assert!(at >= end && at.is_multiple_of(4096) && holds(at) && holds(at + 8191));
            end = at + 8192;
        }
        assert!(end != 0 && first.take(usize::MAX, 4096).is_none() && !holds(0));
        assert!(First::none().take(1, 4096).is_none());
    }

    #[test]
    fn what_is_released_stays_readable() {
        use crate::{Linux, System};
        let linux = Linux::new();
        let len = linux.os_page_size();
        let at = (first_memory().1 - len) / len * len;
        // SAFETY: nobody reads or writes that memory.
        let _ = unsafe { linux.guard(at, len) };
        // SAFETY: the same.
        unsafe { linux.release(at, len) }.unwrap();
        // SAFETY: within a static of this file.
        assert_eq!(unsafe { core::ptr::with_exposed_provenance::<u8>(at).read_volatile() }, 0);
    }
}
