//! Frees that could not be done where they were asked for, kept until somebody is inside again.
//!
//! A stack of blocks linked through their first word. Pushing is one exchange; taking takes everything at
//! once, so the exchange never sees a head whose successor changed (no ABA).
//!
//! # Safety
//!
//! D1: a block on the stack was given up by its owner, is at least 8 bytes long, and nobody else touches it.
#![allow(unsafe_code)]

use core::ptr::null_mut;

use crate::sync::atomic::{AtomicPtr, Ordering};

/// Blocks waiting to be freed.
pub(crate) struct Deferred {
    head: AtomicPtr<u8>,
}

impl Deferred {
    pub(crate) const fn new() -> Deferred {
        Deferred { head: AtomicPtr::new(null_mut()) }
    }

    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Leaves `block` to be freed later. Lock-free.
    ///
    /// # Safety
    /// The caller gives up a live block of at least 8 bytes, aligned to 8.
    pub(crate) unsafe fn push(&self, block: *mut u8) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: D1.
            unsafe { block.cast::<*mut u8>().write(head) };
            // Release: the link is written before the block can be found (Acquire in `take_all`).
            match self.head.compare_exchange_weak(head, block, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all that waits and hands each block to `free`.
    pub(crate) fn take_all(&self, mut free: impl FnMut(*mut u8)) {
        let mut block = self.head.swap(null_mut(), Ordering::Acquire);
        while !block.is_null() {
            // SAFETY: D1; the link was written by `push`.
            let next = unsafe { block.cast::<*mut u8>().read() };
            free(block);
            block = next;
        }
    }
}
