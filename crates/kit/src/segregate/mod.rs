//! Two allocators as one: small blocks from the first, large ones from the second.
//!
//! # What it is
//!
//! A border in bytes that the type knows. A layout up to the border goes to the one allocator, a longer one to the
//! other; a block that grows or shrinks across the border moves. A second border, on the alignment, can be given where the
//! first allocator has one. Since the layout comes back with every call, nothing is stored anywhere.
//!
//! [`Hybrid`] is a general allocator made of nothing but such borders, pools, bins and pages.
//!
//! ```text
//!            size ≤ BORDER ──► S   small, for instance a pool of free lists
//!  layout ──┤
//!            size > BORDER ──► L   large, for instance the page allocator, or a Segregate again
//! ```
//!
//! # Where it comes from
//!
//! Heap Layers (Emery Berger, Benjamin Zorn and Kathryn McKinley, *Composing High-Performance Memory Allocators*, PLDI
//! 2001) builds whole allocators so; the name is that of `Segregator` in Andrei Alexandrescu's *std::allocator Is to
//! Allocation what std::vector Is to Vexation* (CppCon 2015) and in D's
//! `std.experimental.allocator.building_blocks.segregator`.
//!
//! # When to use it
//!
//! To give each size the allocator that is good at it; see [`Hybrid`]. Not where the choice should depend on
//! what is left: that is [`Fallback`](crate::fallback::Fallback).
//!
//! # Cost
//!
//! A comparison with a constant, which a compiler that knows the layout does itself. A block that crosses the border
//! is copied.
//!
//! # Example
//!
//! ```
//! use freestone_kit::c::C;
//! use freestone_kit::page::Page;
//! use freestone_kit::segregate::Segregate;
//! use freestone_kit::Alloc;
//! use core::alloc::Layout;
//!
//! let alloc = Segregate::<4096, C, Page>::new(C, Page);
//! let (small, large) = (Layout::new::<[u8; 100]>(), Layout::new::<[u8; 10_000]>());
//! let block = alloc.allocate(large)?;
//! assert!(block.cast::<u8>().as_ptr().addr().is_multiple_of(4096), "a page");
//! // SAFETY: a live block, which becomes shorter, moves to the other allocator, and is freed there.
//! let block = unsafe { alloc.shrink(block.cast(), large, small) }?;
//! unsafe { alloc.deallocate(block.cast(), small) };
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```
//!
//! # Safety
//!
//! *Side*: a block is of the side that its layout says, also when it is freed by its usable size: the length of a small
//! block is told as no more than the border.
#![allow(unsafe_code)]

mod hybrid;

use core::alloc::Layout;
use core::ptr::NonNull;

pub use hybrid::{Hybrid, hybrid};

use crate::alloc::moved;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Remap, Reset, ResizeInPlace, Stats, UsableSize};

/// The largest power of two.
const ANY_ALIGN: usize = 1 << (usize::BITS - 1);

/// Blocks of up to `BORDER` bytes, aligned to no more than `ALIGN`, from `S`, others from `L`; see the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Segregate<const BORDER: usize, S, L, const ALIGN: usize = ANY_ALIGN> {
    small: S,
    large: L,
}

impl<const BORDER: usize, S, L, const ALIGN: usize> Segregate<BORDER, S, L, ALIGN> {
    /// Joins the two.
    pub const fn new(small: S, large: L) -> Self {
        Segregate { small, large }
    }

    /// The one for small blocks.
    pub const fn small(&self) -> &S {
        &self.small
    }

    /// The one for large blocks.
    pub const fn large(&self) -> &L {
        &self.large
    }

    /// Both, apart again.
    pub fn into_parts(self) -> (S, L) {
        (self.small, self.large)
    }

    const fn is_small(layout: Layout) -> bool {
        layout.size() <= BORDER && layout.align() <= ALIGN
    }

    /// A small block must not be freed as a large one.
    fn cap(block: NonNull<[u8]>) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(block.cast(), block.len().min(BORDER))
    }
}

// SAFETY: every block is one of the side that its layout says (*side*), and those keep the contract.
unsafe impl<const BORDER: usize, S: Alloc, L: Alloc, const ALIGN: usize> Alloc
    for Segregate<BORDER, S, L, ALIGN>
{
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        if Self::is_small(layout) {
            self.small.allocate(layout).map(Self::cap)
        } else {
            self.large.allocate(layout)
        }
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        if Self::is_small(layout) {
            self.small.allocate_zeroed(layout).map(Self::cap)
        } else {
            self.large.allocate_zeroed(layout)
        }
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if Self::is_small(layout) {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.small.deallocate(block, layout) }
        } else {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.large.deallocate(block, layout) }
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::is_small(old), Self::is_small(new)) {
            // SAFETY: *side*; the caller's promise.
            (true, true) => unsafe { self.small.grow(block, old, new) }.map(Self::cap),
            // SAFETY: *side*; the caller's promise.
            (false, false) => unsafe { self.large.grow(block, old, new) },
            // SAFETY: the caller's promise.
            _ => unsafe { moved(self, block, old, new) },
        }
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::is_small(old), Self::is_small(new)) {
            // SAFETY: *side*; the caller's promise.
            (true, true) => unsafe { self.small.grow_zeroed(block, old, new) }.map(Self::cap),
            // SAFETY: *side*; the caller's promise.
            (false, false) => unsafe { self.large.grow_zeroed(block, old, new) },
            _ => {
                let fresh = self.allocate_zeroed(new)?;
                // SAFETY: both hold that many bytes and are apart.
                unsafe { fresh.cast::<u8>().copy_from_nonoverlapping(block, old.size()) };
                // SAFETY: the caller's promise.
                unsafe { self.deallocate(block, old) };
                Ok(fresh)
            }
        }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::is_small(old), Self::is_small(new)) {
            // SAFETY: *side*; the caller's promise.
            (true, true) => unsafe { self.small.shrink(block, old, new) }.map(Self::cap),
            // SAFETY: *side*; the caller's promise.
            (false, false) => unsafe { self.large.shrink(block, old, new) },
            // SAFETY: the caller's promise.
            _ => unsafe { moved(self, block, old, new) },
        }
    }
}

// SAFETY: a block is one of the two, and each says so of its own only.
unsafe impl<const BORDER: usize, S: Owns, L: Owns, const ALIGN: usize> Owns
    for Segregate<BORDER, S, L, ALIGN>
{
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.small.owns(address) || self.large.owns(address)
    }
}

// SAFETY: what is usable there is usable here, and a small block stays a small one.
unsafe impl<const BORDER: usize, S: UsableSize, L: UsableSize, const ALIGN: usize> UsableSize
    for Segregate<BORDER, S, L, ALIGN>
{
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        if Self::is_small(layout) {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.small.usable_size(block, layout) }.min(BORDER)
        } else {
            // SAFETY: *side*; the caller's promise.
            unsafe { self.large.usable_size(block, layout) }
        }
    }
}

// SAFETY: a block that stays on its side is resized there; others are refused.
unsafe impl<const BORDER: usize, S: ResizeInPlace, L: ResizeInPlace, const ALIGN: usize> ResizeInPlace
    for Segregate<BORDER, S, L, ALIGN>
{
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        match (Self::is_small(old), Self::is_small(new)) {
            // SAFETY: *side*; the caller's promise.
            (true, true) => unsafe { self.small.resize_in_place(block, old, new) },
            // SAFETY: *side*; the caller's promise.
            (false, false) => unsafe { self.large.resize_in_place(block, old, new) },
            _ => Err(AllocError),
        }
    }
}

// SAFETY: a block that stays on its side is remapped there; others are refused.
unsafe impl<const BORDER: usize, S: Remap, L: Remap, const ALIGN: usize> Remap
    for Segregate<BORDER, S, L, ALIGN>
{
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        match (Self::is_small(old), Self::is_small(new)) {
            // SAFETY: *side*; the caller's promise.
            (true, true) => unsafe { self.small.remap(block, old, new) }.map(Self::cap),
            // SAFETY: *side*; the caller's promise.
            (false, false) => unsafe { self.large.remap(block, old, new) },
            _ => Err(AllocError),
        }
    }
}

impl<const BORDER: usize, S: Reset, L: Reset, const ALIGN: usize> Reset for Segregate<BORDER, S, L, ALIGN> {
    fn reset(&mut self) {
        self.small.reset();
        self.large.reset();
    }
}

/// The sums of both; the peaks may have been at different moments.
impl<const BORDER: usize, S: Stats, L: Stats, const ALIGN: usize> Stats for Segregate<BORDER, S, L, ALIGN> {
    fn stats(&self) -> AllocStats {
        self.small.stats().plus(self.large.stats())
    }
}

implement_allocator!(impl[const BORDER: usize, S: Alloc, L: Alloc, const ALIGN: usize] Segregate<BORDER, S, L, ALIGN>);
