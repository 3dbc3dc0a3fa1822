//! Which blocks had better lie elsewhere.
//!
//! # Safety
//!
//! Only the declaration of an unsafe method, and calls handed on under the conditions of the caller.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::allocator::Accounting;
use super::measure::Measure;
use super::shortage::OomHandler;
use crate::Alloc;
use crate::alloc::moved;

/// How much of an allocator's memory is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fragmentation {
    /// Bytes that the allocator holds for blocks.
    pub active: usize,
    /// Bytes of live blocks, rounding included.
    pub live: usize,
}

impl Fragmentation {
    /// Bytes that are held and not live.
    pub fn wasted(self) -> usize {
        self.active.saturating_sub(self.live)
    }

    /// The wasted bytes in percent of the live ones, as Redis tells them: 100 means that half is wasted.
    pub fn percent(self) -> usize {
        match self.live {
            0 if self.wasted() == 0 => 0,
            0 => usize::MAX,
            live => (self.wasted() as u128 * 100 / live as u128) as usize,
        }
    }
}

/// Knows which of its blocks lie in sparse surroundings.
///
/// # Safety
///
/// For the implementer: a block that [`relocate`](MoveHints::relocate) returns is a live one of this allocator that fits the
/// layout and has the bytes of the old one, which is freed; when it returns none, the old one is as it was.
pub unsafe trait MoveHints: Alloc {
    /// Whether a new block in the place of this one is likely to lie among more others, so that, if all such blocks
    /// were moved, memory would become free.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `layout`.
    unsafe fn should_move(&self, block: NonNull<u8>, layout: Layout) -> bool;

    /// How it stands as a whole.
    fn fragmentation(&self) -> Fragmentation;

    /// Puts another block in the place of this one, with its bytes, and frees it; none, and nothing has happened, without
    /// memory for that.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `layout`.
    unsafe fn relocate(&self, block: NonNull<u8>, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, layout, layout) }.ok().map(NonNull::cast)
    }
}

// SAFETY: a reference is the same allocator.
unsafe impl<A: MoveHints + ?Sized> MoveHints for &A {
    unsafe fn should_move(&self, block: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise; a reference is the same allocator.
        unsafe { (**self).should_move(block, layout) }
    }

    unsafe fn relocate(&self, block: NonNull<u8>, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise; a reference is the same allocator.
        unsafe { (**self).relocate(block, layout) }
    }

    fn fragmentation(&self) -> Fragmentation {
        (**self).fragmentation()
    }
}

// SAFETY: its blocks are the parent's, which keeps the contract.
unsafe impl<A: MoveHints, M: Measure<A>, H: OomHandler> MoveHints for Accounting<A, M, H> {
    unsafe fn should_move(&self, block: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise; its blocks are the parent's.
        unsafe { self.parent().should_move(block, layout) }
    }

    /// Without a look at the limit and without asking the handler: it takes nothing more, and memory is to be made free when
    /// it is short above all.
    unsafe fn relocate(&self, block: NonNull<u8>, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let before = unsafe { M::measure(self.parent(), block, layout) };
        // SAFETY: the caller's promise; its blocks are the parent's.
        let fresh = unsafe { self.parent().relocate(block, layout) }?;
        // SAFETY: the new block stands in the old one's place.
        let after = unsafe { M::measure(self.parent(), fresh, layout) };
        self.recount(before, after);
        Some(fresh)
    }

    fn fragmentation(&self) -> Fragmentation {
        self.parent().fragmentation()
    }
}
