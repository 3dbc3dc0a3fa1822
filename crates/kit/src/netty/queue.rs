//! A queue of blocks that anybody may put into and one takes from, bounded, without locks.
//!
//! ```text
//!            head (the taker's)          tail (the givers')
//!              |                           |
//!   slots:   . [block][block][ null ][block] .  .
//!                              |
//!                              a giver has the place and has not written it yet: the taker finds the queue empty
//! ```
//!
//! # Safety
//!
//! 1. *Taker*: `poll` is called by one thread at a time, and one call happens before the next.
//! 2. *Once*: a block that was offered, and not refused, is returned by one poll.
#![allow(unsafe_code)]

use core::ptr::{NonNull, null_mut};

use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Both grow only, and wrap.
pub(crate) struct Queue {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: Box<[AtomicPtr<u8>]>,
}

impl Queue {
    /// For at least so many blocks.
    pub(crate) fn new(capacity: usize) -> Queue {
        let slots = capacity.max(1).next_power_of_two();
        Queue {
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            slots: (0..slots).map(|_| AtomicPtr::new(null_mut())).collect(),
        }
    }

    fn slot(&self, index: usize) -> &AtomicPtr<u8> {
        &self.slots[index & (self.slots.len() - 1)]
    }

    /// Puts a block at the end. `false` when the queue is full.
    pub(crate) fn offer(&self, block: NonNull<u8>) -> bool {
        loop {
            // The head first: it may then be too low, never too high. Acquire pairs with the Release in `poll`: the
            // slot is empty.
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Relaxed);
            if tail.wrapping_sub(head) >= self.slots.len() {
                return false;
            }
            // Relaxed: this only settles whose the place is.
            let next = tail.wrapping_add(1);
            if self.tail.compare_exchange_weak(tail, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                // Release pairs with the Acquire in `poll`: what the last user did to the block is done.
                self.slot(tail).store(block.as_ptr(), Ordering::Release);
                return true;
            }
        }
    }

    /// Takes the block at the beginning. None also when the one who puts it there is not ready.
    ///
    /// # Safety
    ///
    /// *Taker*.
    pub(crate) unsafe fn poll(&self) -> Option<NonNull<u8>> {
        let head = self.head.load(Ordering::Relaxed);
        // Acquire pairs with the Release in `offer`.
        let block = NonNull::new(self.slot(head).load(Ordering::Acquire))?;
        self.slot(head).store(null_mut(), Ordering::Relaxed);
        // Release pairs with the Acquire in `offer`.
        self.head.store(head.wrapping_add(1), Ordering::Release);
        Some(block)
    }

    /// How many blocks are there, about.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).wrapping_sub(head).min(self.slots.len())
    }
}
