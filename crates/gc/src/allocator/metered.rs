//! The parent with a meter: what a heap holds, and its hard limit.
//!
//! # Safety
//!
//! Blocks are handed on as they are.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use freestone_kit::{Alloc, AllocError, Allocated};

/// A parent whose blocks are counted.
pub(crate) struct Metered<A> {
    parent: A,
    held: Cell<usize>,
    limit: usize,
    /// A collection may go beyond the limit: it cannot stop half way.
    lifted: Cell<bool>,
}

impl<A> Metered<A> {
    pub(crate) fn new(parent: A, limit: usize) -> Self {
        Metered { parent, held: Cell::new(0), limit, lifted: Cell::new(false) }
    }

    /// Bytes of all blocks, as they were asked for.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.get()
    }

    /// Whether more is held than the limit allows.
    pub(crate) fn is_beyond(&self) -> bool {
        self.held.get() > self.limit
    }

    /// Lets blocks be had beyond the limit, or no more.
    pub(crate) fn lift(&self, lifted: bool) {
        self.lifted.set(lifted);
    }
}

// SAFETY: the parent's blocks.
unsafe impl<A: Alloc> Alloc for Metered<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        let held = self.held.get().saturating_add(layout.size());
        if held > self.limit && !self.lifted.get() {
            return Err(AllocError);
        }
        let block = self.parent.allocate(layout)?;
        self.held.set(held);
        Ok(block)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.held.set(self.held.get() - layout.size());
        // SAFETY: the caller's promise.
        unsafe { self.parent.deallocate(block, layout) };
    }
}
