//! Tables of the workloads themselves, outside the allocator that is measured.
//!
//! # Safety
//!
//! A table is a mapping of its own, of zeros, as long as the table lives; its elements are types to which zeros
//! are a value ([`Zero`]).
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::{AtomicBlock, Block};
use crate::Memory;

/// Types to which zeros are a value.
///
/// # Safety
/// All bytes zero are a valid value, and dropping a value does nothing.
pub unsafe trait Zero {}

// SAFETY: a number.
unsafe impl Zero for u8 {}
// SAFETY: a number.
unsafe impl Zero for u32 {}
// SAFETY: a number.
unsafe impl Zero for u64 {}
// SAFETY: a number.
unsafe impl Zero for usize {}
// SAFETY: a number.
unsafe impl Zero for AtomicU32 {}
// SAFETY: a number.
unsafe impl Zero for AtomicU64 {}
// SAFETY: a number.
unsafe impl Zero for AtomicUsize {}
// SAFETY: zero is `Block::NONE`; a block that is dropped is leaked.
unsafe impl<M: Memory> Zero for Block<M> {}
// SAFETY: as for `Block`.
unsafe impl<M: Memory> Zero for AtomicBlock<M> {}

static OWN_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The bytes of all tables that were made so far.
pub fn own_bytes() -> usize {
    OWN_BYTES.load(Ordering::Relaxed)
}

/// An array of zeros, resident from the beginning.
pub struct Table<T: Zero> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: the table owns its elements.
unsafe impl<T: Zero + Send> Send for Table<T> {}
// SAFETY: the table owns its elements.
unsafe impl<T: Zero + Sync> Sync for Table<T> {}

impl<T: Zero> Table<T> {
    /// `len` zeros. Ends the program when the system has not the memory.
    pub fn new(len: usize) -> Table<T> {
        let bytes = len.max(1) * size_of::<T>();
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new mapping, wherever the system likes.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
        assert!(start != libc::MAP_FAILED, "no memory for a table of {bytes} bytes");
        OWN_BYTES.fetch_add(bytes, Ordering::Relaxed);
        Table { start: NonNull::new(start.cast()).expect("mappings do not lie at 0"), len }
    }
}

impl<T: Zero> Deref for Table<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the mapping has `len` elements, which are valid as zeros and stay so.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zero> DerefMut for Table<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; the table is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zero> Drop for Table<T> {
    fn drop(&mut self) {
        let bytes = self.len.max(1) * size_of::<T>();
        // SAFETY: our mapping, which nobody can use any more.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
        debug_assert_eq!(result, 0);
    }
}
