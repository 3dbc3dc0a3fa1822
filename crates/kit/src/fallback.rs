//! Two allocators as one: the first as long as it can, then the second.
//!
//! # What it is
//!
//! Every request goes to the primary; what that refuses goes to the secondary. A free asks the primary whether the
//! block is its own ([`Owns`]). A block that the primary cannot grow moves over.
//!
//! ```text
//!  allocate ──► P ──refused──► S          free ──► P owns it? ──no──► S
//! ```
//!
//! # Where it comes from
//!
//! `FallbackAllocator` in Andrei Alexandrescu's *std::allocator Is to Allocation what std::vector Is to Vexation* (CppCon
//! 2015) and in D's `std.experimental.allocator.building_blocks.fallback_allocator`.
//!
//! # When to use it
//!
//! When a fast or bounded allocator serves nearly all requests and the rest must not fail: a fixed buffer before the
//! heap, a preheated pool before its overflow. With a buffer on the stack,
//! [`stack_fallback`](crate::stack_fallback) is the same ready made. Not where the size decides: that is
//! [`Segregate`](crate::segregate::Segregate), which asks nobody.
//!
//! # Cost
//!
//! Of an allocation: that of the primary, and after a refusal that of the secondary. Of a free: the primary's `owns`, once.
//!
//! # Example
//!
//! ```
//! use freestone_kit::c::C;
//! use freestone_kit::fallback::Fallback;
//! use freestone_kit::memory_pool::MemoryPool;
//! use freestone_kit::Alloc;
//! use core::alloc::Layout;
//!
//! // Two objects at most from the pool, all others from C.
//! let pool = MemoryPool::<[u8; 64], C, 1, false>::preheated(C, 2)?;
//! let alloc = Fallback::new(pool, C);
//! let layout = Layout::new::<[u8; 64]>();
//! let blocks = [alloc.allocate(layout)?, alloc.allocate(layout)?, alloc.allocate(layout)?];
//! assert_eq!(alloc.primary().live(), 2);
//! // SAFETY: all three are live blocks of that layout.
//! blocks.into_iter().for_each(|block| unsafe { alloc.deallocate(block.cast(), layout) });
//! assert_eq!(alloc.primary().live(), 0);
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```
//!
//! # Safety
//!
//! 1. *Side*: a live block that is not empty is of the primary if and only if the primary owns its address, as [`Owns`] promises.
//! 2. *Empty*: a block of no bytes points nowhere and belongs to neither.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::nothing;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Remap, Reset, ResizeInPlace, Stats, UsableSize};

/// Blocks from `P`, and from `S` what that refuses; see the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Fallback<P, S> {
    primary: P,
    secondary: S,
}

impl<P, S> Fallback<P, S> {
    /// Joins the two.
    pub const fn new(primary: P, secondary: S) -> Self {
        Fallback { primary, secondary }
    }

    /// The one that is asked first.
    pub const fn primary(&self) -> &P {
        &self.primary
    }

    /// The one that is asked second.
    pub const fn secondary(&self) -> &S {
        &self.secondary
    }

    /// Both, apart again.
    pub fn into_parts(self) -> (P, S) {
        (self.primary, self.secondary)
    }
}

/// What to do to a block that changes its size.
#[derive(Clone, Copy)]
enum Change {
    Grow,
    GrowZeroed,
    Shrink,
}

impl Change {
    /// # Safety
    ///
    /// As for the method of [`Alloc`] that it stands for.
    unsafe fn apply<A: Alloc>(self, alloc: &A, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match self {
            // SAFETY: the caller's promise.
            Change::Grow => unsafe { alloc.grow(block, old, new) },
            // SAFETY: the caller's promise.
            Change::GrowZeroed => unsafe { alloc.grow_zeroed(block, old, new) },
            // SAFETY: the caller's promise.
            Change::Shrink => unsafe { alloc.shrink(block, old, new) },
        }
    }

    fn allocate<A: Alloc>(self, alloc: &A, layout: Layout) -> Allocated {
        match self {
            Change::GrowZeroed => alloc.allocate_zeroed(layout),
            Change::Grow | Change::Shrink => alloc.allocate(layout),
        }
    }
}

impl<P: Owns, S: Alloc> Fallback<P, S> {
    /// # Safety
    ///
    /// As for the method of [`Alloc`] that `change` stands for.
    unsafe fn change(&self, change: Change, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 {
            return change.allocate(self, new);
        }
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(block, old) };
            return Ok(nothing(new));
        }
        if !self.primary.owns(block) {
            // SAFETY: *side*; the caller's promise.
            return unsafe { change.apply(&self.secondary, block, old, new) };
        }
        // SAFETY: *side*; the caller's promise.
        if let Ok(changed) = unsafe { change.apply(&self.primary, block, old, new) } {
            return Ok(changed);
        }
        let fresh = change.allocate(&self.secondary, new)?;
        // SAFETY: both hold that many bytes and are apart.
        unsafe { fresh.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size())) };
        // SAFETY: *side*; the caller's promise.
        unsafe { self.primary.deallocate(block, old) };
        Ok(fresh)
    }
}

// SAFETY: every block that is not empty is one of the side that owns it (*side*), and those keep the contract.
unsafe impl<P: Owns, S: Alloc> Alloc for Fallback<P, S> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        self.primary.allocate(layout).or_else(|_| self.secondary.allocate(layout))
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        self.primary.allocate_zeroed(layout).or_else(|_| self.secondary.allocate_zeroed(layout))
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        if self.primary.owns(block) {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.primary.deallocate(block, layout) }
        } else {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.secondary.deallocate(block, layout) }
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.change(Change::Grow, block, old, new) }
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.change(Change::GrowZeroed, block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.change(Change::Shrink, block, old, new) }
    }
}

// SAFETY: a block is one of the two, and each says so of its own only.
unsafe impl<P: Owns, S: Owns> Owns for Fallback<P, S> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.primary.owns(address) || self.secondary.owns(address)
    }
}

// SAFETY: what is usable there is usable here; an empty block stays empty.
unsafe impl<P: Owns + UsableSize, S: UsableSize> UsableSize for Fallback<P, S> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 {
            0
        } else if self.primary.owns(block) {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.primary.usable_size(block, layout) }
        } else {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.secondary.usable_size(block, layout) }
        }
    }
}

// SAFETY: a block is resized by its own side; from and to nothing only nothing is done.
unsafe impl<P: Owns + ResizeInPlace, S: ResizeInPlace> ResizeInPlace for Fallback<P, S> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        if old.size() == 0 || new.size() == 0 {
            return if old.size() == new.size() { Ok(()) } else { Err(AllocError) };
        }
        if self.primary.owns(block) {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.primary.resize_in_place(block, old, new) }
        } else {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.secondary.resize_in_place(block, old, new) }
        }
    }
}

// SAFETY: a block is remapped by its own side; from and to nothing only nothing is done.
unsafe impl<P: Owns + Remap, S: Remap> Remap for Fallback<P, S> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 || new.size() == 0 {
            return if old.size() == new.size() { Ok(nothing(new)) } else { Err(AllocError) };
        }
        if self.primary.owns(block) {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.primary.remap(block, old, new) }
        } else {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.secondary.remap(block, old, new) }
        }
    }
}

impl<P: Reset, S: Reset> Reset for Fallback<P, S> {
    fn reset(&mut self) {
        self.primary.reset();
        self.secondary.reset();
    }
}

/// The sums of both; what the primary refused and the secondary served counts as refused.
impl<P: Stats, S: Stats> Stats for Fallback<P, S> {
    fn stats(&self) -> AllocStats {
        self.primary.stats().plus(self.secondary.stats())
    }
}

implement_allocator!(impl[P: Owns, S: Alloc] Fallback<P, S>);
