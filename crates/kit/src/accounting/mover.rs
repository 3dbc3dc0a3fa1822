//! Moving blocks to where others are.
//!
//! # Safety
//!
//! *Own*: an [`Owned`] has a live block of its allocator, of the layout of `T`, that holds a `T`.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::hints::MoveHints;
use crate::{Alloc, AllocError};

/// A value in a block of its own that can be moved to another block. A small box.
pub struct Owned<'a, T, A: Alloc> {
    value: NonNull<T>,
    alloc: &'a A,
}

// SAFETY: *own*: the value goes with it, and the allocator can be used from there.
unsafe impl<T: Send, A: Alloc + Sync> Send for Owned<'_, T, A> {}
// SAFETY: a shared one gives a shared value.
unsafe impl<T: Sync, A: Alloc + Sync> Sync for Owned<'_, T, A> {}

impl<'a, T, A: Alloc> Owned<'a, T, A> {
    /// Puts a value into a new block.
    ///
    /// # Errors
    ///
    /// When there is no memory; the value is dropped.
    pub fn new(value: T, alloc: &'a A) -> Result<Self, AllocError> {
        let block = alloc.allocate(Layout::new::<T>())?.cast::<T>();
        // SAFETY: a new block for a `T`.
        unsafe { block.write(value) };
        Ok(Owned { value: block, alloc })
    }
}

impl<T, A: Alloc> Deref for Owned<'_, T, A> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: *own*.
        unsafe { self.value.as_ref() }
    }
}

impl<T, A: Alloc> DerefMut for Owned<'_, T, A> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: *own*.
        unsafe { self.value.as_mut() }
    }
}

impl<T, A: Alloc> Drop for Owned<'_, T, A> {
    fn drop(&mut self) {
        // SAFETY: *own*; nobody sees the value again.
        unsafe { self.value.drop_in_place() };
        // SAFETY: *own*.
        unsafe { self.alloc.deallocate(self.value.cast(), Layout::new::<T>()) };
    }
}

impl<T: fmt::Debug, A: Alloc> fmt::Debug for Owned<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Moves blocks that lie badly. Made by a [`Cycle`](super::Cycle) for the structure that takes part in it.
pub struct Mover<'a, A: MoveHints> {
    alloc: &'a A,
    pub(super) scanned: u64,
    pub(super) moved: u64,
    pub(super) moved_bytes: u64,
}

impl<'a, A: MoveHints> Mover<'a, A> {
    pub(super) fn new(alloc: &'a A) -> Self {
        Mover { alloc, scanned: 0, moved: 0, moved_bytes: 0 }
    }

    /// Moves a value to another block, if its own lies badly and there is memory. Whether it did. No reference to the
    /// value can be left over, since this takes it mutably.
    ///
    /// # Panics
    ///
    /// When it belongs to another allocator.
    pub fn offer<T>(&mut self, owned: &mut Owned<'_, T, A>) -> bool {
        assert!(core::ptr::eq(owned.alloc, self.alloc), "a block of another allocator is offered");
        // SAFETY: *own*; a value is moved by moving its bytes.
        let moved = unsafe { self.offer_raw(owned.value.cast(), Layout::new::<T>()) };
        if let Some(block) = moved {
            owned.value = block.cast();
        }
        moved.is_some()
    }

    /// Moves a block with all its bytes, if it lies badly and there is memory, and returns where it is now; the old
    /// block is freed. For structures with blocks of their own: all that point to the block must be told.
    ///
    /// # Safety
    ///
    /// `block` is a live block of the allocator that the cycle was given and fits `layout`. If it moves, nobody uses
    /// the old address any more.
    pub unsafe fn offer_raw(&mut self, block: NonNull<u8>, layout: Layout) -> Option<NonNull<u8>> {
        self.scanned += 1;
        // SAFETY: the caller's promise.
        if layout.size() == 0 || !unsafe { self.alloc.should_move(block, layout) } {
            return None;
        }
        // SAFETY: the caller's promise.
        let fresh = unsafe { self.alloc.relocate(block, layout) }?;
        self.moved += 1;
        self.moved_bytes += layout.size() as u64;
        Some(fresh)
    }
}
