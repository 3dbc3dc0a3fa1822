//! The heap of the textbooks: free lists, boundary tags, and five policies to choose a free block by.
//!
//! # What it is
//!
//! A [`Textbook`] takes *regions* from its parent and cuts them into blocks. Each block lies between two equal tags,
//! header and footer, that tell its size and whether it is free; so a freed block finds both its neighbours in constant
//! time and merges with those that are free. Which free block a request gets is the [`Policy`]: [`FirstFit`],
//! [`NextFit`], [`BestFit`], [`WorstFit`] or [`SegregatedFit`].
//!
//! ```text
//! region: | head | front | block | block | block | … | end |
//!
//! block:  | header 8 B | payload, 16 B or more, aligned to 16 | footer 8 B |
//!           └ guard mark 16 bits · size 44 bits · flags        └ the same
//!
//! free:   | header | next, previous in the list | … | footer |
//! ```
//!
//! Each tag carries a guard mark that depends on its address. Where a tag that is read has the wrong one, somebody
//! wrote over it, and the heap says so instead of following it: an overrun is named when the block is freed, and so
//! are a second free and the free of what never was a block.
//!
//! # Where it comes from
//!
//! Boundary tags and the policies: D. E. Knuth, *The Art of Computer Programming*, volume 1, section 2.5 (1968, third
//! edition 1997). The circular list by address and the heap's shape: B. W. Kernighan and D. M. Ritchie, *The C
//! Programming Language*, section 8.7 (1978, second edition 1988). What the policies cost: P. R. Wilson, M. S.
//! Johnstone, M. Neely and D. Boles, *Dynamic Storage Allocation: A Survey and Critical Review* (1995), which is also
//! why the lists are kept by address.
//!
//! # When to use it
//!
//! To learn, to compare, and with [`SegregatedFit`] as a small general heap over a buffer. Where speed counts,
//! [`Bins`](crate::bins::Bins) spend 8 bytes a block instead of 16 and search less.
//!
//! # Costs
//!
//! | | first, next | best, worst, segregated |
//! |---|---|---|
//! | allocate | O(free blocks), in practice many (first) or a few (next) | O(1); above 1 KiB O(free blocks within a quarter of a doubling) |
//! | deallocate | O(live blocks to the next free one below), a few in practice | O(1) |
//! | grow, shrink in place | as one deallocation | O(1) |
//! | bytes a block | 16, and up to 15 of rounding | the same |
//! | bytes a heap | some dozens | 3.5 KiB for the lists |
//!
//! A region with nothing live in it goes back to the parent, but for one.
//!
//! ```
//! use freestone_kit::page::Page;
//! use freestone_kit::textbook::{BestFit, Textbook};
//! use freestone_kit::{Alloc, Stats};
//! use std::alloc::Layout;
//!
//! let heap = Textbook::<BestFit, _>::new(Page);
//! let layout = Layout::new::<[u64; 10]>();
//! let block = heap.allocate(layout).unwrap();
//! assert_eq!(heap.stats().live_blocks, 1);
//! // SAFETY: the block is live, and has that layout.
//! unsafe { heap.deallocate(block.cast(), layout) };
//! assert_eq!(heap.stats().live_blocks, 0);
//! ```
//!
//! # Safety
//!
//! * *Ours*: regions come from the parent and belong to the heap until it gives them back with the layout of their
//!   allocation; all that is read and written lies in them.
//! * *Tagged*: see the module `block`; between two calls no two free blocks are neighbours, and all are in the policy's lists.
//! * *Bytes*: a block of no bytes is no block: it has an alignment for an address, and nothing is read there.
#![allow(unsafe_code)]

mod block;
mod by_size;
mod heap;
mod list;
mod policy;

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Reset, ResizeInPlace, Stats, UsableSize};
use block::TAGS;
pub use heap::{REGION, Textbook};
pub use policy::{BestFit, FirstFit, NextFit, Policy, SegregatedFit, WorstFit};

// SAFETY: tagged: a block is carved out of a free one, is in no list until it is freed, and its bytes lie between its
// tags.
unsafe impl<P: Policy, A: Alloc> Alloc for Textbook<P, A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let block = self.try_allocate(layout).inspect_err(|_| self.tally.refused())?;
        self.tally.allocated(layout.size());
        Ok(Self::given(block))
    }

    /// # Panics
    ///
    /// When the block is free already, is none of this heap, or its tags were overwritten.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        let block = unsafe { self.live(block) };
        self.tally.freed(layout.size());
        self.release(block);
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let in_place = unsafe { self.resize(block, old, new) };
        // SAFETY: the caller's promise; nothing has changed.
        in_place.or_else(|_| unsafe { moved(self, block, old, new) })
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let in_place = unsafe { self.resize(block, old, new) };
        // SAFETY: the caller's promise; nothing has changed.
        in_place.or_else(|_| unsafe { moved(self, block, old, new) })
    }
}

// SAFETY: only addresses inside regions are owned.
unsafe impl<P: Policy, A: Alloc> Owns for Textbook<P, A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.regions().any(|region| region.contains(address.addr().get()))
    }
}

// SAFETY: all between the tags may be used.
unsafe impl<P: Policy, A: Alloc> UsableSize for Textbook<P, A> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 {
            return 0;
        }
        // SAFETY: the caller's promise.
        unsafe { self.live(block) }.size() - TAGS
    }
}

// SAFETY: what is added was free, what is cut off lies behind the new size.
unsafe impl<P: Policy, A: Alloc> ResizeInPlace for Textbook<P, A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }.map(|_| ())
    }
}

impl<P: Policy, A: Alloc> Reset for Textbook<P, A> {
    /// Gives every region back to the parent. O(regions).
    fn reset(&mut self) {
        self.release_all();
        self.policy = P::default();
        self.empty.set(0);
        self.held.set(0);
        self.taken.set(0);
        self.tally.reset();
    }
}

impl<P: Policy, A: Alloc> Stats for Textbook<P, A> {
    fn stats(&self) -> AllocStats {
        self.tally.stats(self.held.get())
    }
}

impl<P: Policy, A: Alloc> Drop for Textbook<P, A> {
    fn drop(&mut self) {
        self.release_all();
    }
}

implement_allocator!(impl[P: Policy, A: Alloc] Textbook<P, A>);
