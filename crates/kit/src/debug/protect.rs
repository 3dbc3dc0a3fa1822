//! Pages that nobody may touch.
//!
//! # Safety
//!
//! The caller owns the pages, and they are ordinary private memory.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use freestone_sys::linux::PreservedErrno;

/// Linux 6.13 and later: a guard is a mark in the page table, which splits no mapping. libc does not name it yet everywhere.
const MADV_GUARD_INSTALL: libc::c_int = 102;
const MADV_GUARD_REMOVE: libc::c_int = 103;

/// Whether a page was ever made inaccessible the old way; a hint for opening only (relaxed: the pages themselves are handed from
/// thread to thread under the allocator's lock, and the mark with them).
static BY_MPROTECT: AtomicBool = AtomicBool::new(false);

/// Makes pages inaccessible and gives their memory to the system. Says whether that was done.
///
/// # Safety
///
/// `start` and `len` are multiples of the OS page; the caller owns the pages, and nobody relies on what is in them.
pub(super) unsafe fn close(start: NonNull<u8>, len: usize) -> bool {
    let _preserved = PreservedErrno::new();
    let start = start.as_ptr().cast();
    // SAFETY: the caller's promise.
    if unsafe { libc::madvise(start, len, MADV_GUARD_INSTALL) } == 0 {
        return true;
    }
    BY_MPROTECT.store(true, Ordering::Relaxed);
    // SAFETY: the caller's promise.
    if unsafe { libc::mprotect(start, len, libc::PROT_NONE) } != 0 {
        return false;
    }
    // SAFETY: the caller's promise; when it is refused the memory only stays with us.
    let _ = unsafe { libc::madvise(start, len, libc::MADV_DONTNEED) };
    true
}

/// Makes pages accessible again; their contents are arbitrary.
///
/// # Safety
///
/// As for [`close`].
pub(super) unsafe fn open(start: NonNull<u8>, len: usize) {
    let _preserved = PreservedErrno::new();
    let start = start.as_ptr().cast();
    // SAFETY: the caller's promise. A kernel that does not know it has none of these guards.
    let _ = unsafe { libc::madvise(start, len, MADV_GUARD_REMOVE) };
    if BY_MPROTECT.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise. It was accessible before, so it may be again.
        let _ = unsafe { libc::mprotect(start, len, libc::PROT_READ | libc::PROT_WRITE) };
    }
}
