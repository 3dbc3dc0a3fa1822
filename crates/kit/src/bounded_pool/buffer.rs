//! A buffer of a bounded pool.
//!
//! # Safety
//!
//! *Buffers*, as in the parent module: `start` begins `bytes` written bytes that the buffer owns until its drop.
#![allow(unsafe_code)]

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

use super::BoundedPool;
use crate::Alloc;

/// Bytes from a [`BoundedPool`]. Go back when it is dropped.
pub struct BoundedBuffer<'p, A: Alloc> {
    pool: &'p BoundedPool<A>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: *buffers*: it owns its bytes; on its drop it uses the pool, which is `Sync` when the parent is.
unsafe impl<A: Alloc + Sync> Send for BoundedBuffer<'_, A> {}
// SAFETY: a shared buffer gives shared bytes.
unsafe impl<A: Alloc + Sync> Sync for BoundedBuffer<'_, A> {}

impl<'p, A: Alloc> BoundedBuffer<'p, A> {
    pub(super) fn new(pool: &'p BoundedPool<A>, start: NonNull<u8>, bytes: usize) -> Self {
        BoundedBuffer { pool, start, bytes }
    }
}

impl<A: Alloc> Deref for BoundedBuffer<'_, A> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: *buffers*.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl<A: Alloc> DerefMut for BoundedBuffer<'_, A> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: *buffers*, and it is ours alone.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl<A: Alloc> Drop for BoundedBuffer<'_, A> {
    fn drop(&mut self) {
        self.pool.take_back(self.start, self.bytes);
    }
}

impl<A: Alloc> fmt::Debug for BoundedBuffer<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BoundedBuffer({} bytes)", self.bytes)
    }
}
