//! Lists as allocators.
//!
//! # Safety
//!
//! The invariants of [the module above](super) and of the pool: a live block is out, and its cookie says from where.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::{FreeList, FreeLists};
use crate::alloc::nothing;
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Reset, ResizeInPlace, Stats, UsableSize};

impl<A: Alloc, const GROWTH: usize> FreeList<A, GROWTH> {
    fn fits(&self, layout: Layout) -> bool {
        layout.size() <= self.layout().size() && layout.align() <= self.layout().align()
    }

    fn whole(&self, block: NonNull<u8>) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(block, self.layout().size())
    }
}

// SAFETY: a block is nobody else's while it is out (*two lists*), stays in its segment when the list moves, and has room for
// any layout that fits. `give` panics only for what its caller must not do.
unsafe impl<A: Alloc, const GROWTH: usize> Alloc for FreeList<A, GROWTH> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if !self.fits(layout) {
            return Err(AllocError);
        }
        self.take().map(|block| self.whole(block))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: a live block that is not empty is out.
            unsafe { self.give(block) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 {
            return self.allocate(new);
        }
        if self.fits(new) { Ok(self.whole(block)) } else { Err(AllocError) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(block, old) };
            return Ok(nothing(new));
        }
        if self.fits(new) { Ok(self.whole(block)) } else { Err(AllocError) }
    }
}

// SAFETY: only addresses inside blocks are said to be owned.
unsafe impl<A: Alloc, const GROWTH: usize> Owns for FreeList<A, GROWTH> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.raw.holds(address.as_ptr().addr())
    }
}

// SAFETY: a block may be used whole, and every size in it is given back alike.
unsafe impl<A: Alloc, const GROWTH: usize> UsableSize for FreeList<A, GROWTH> {
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 { 0 } else { self.layout().size() }
    }
}

// SAFETY: a block has room for every layout that fits; an empty one is no block.
unsafe impl<A: Alloc, const GROWTH: usize> ResizeInPlace for FreeList<A, GROWTH> {
    unsafe fn resize_in_place(&self, _: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let alike = (old.size() == 0) == (new.size() == 0);
        if alike && self.fits(new) { Ok(()) } else { Err(AllocError) }
    }
}

/// Takes every block back and keeps the segments.
impl<A: Alloc, const GROWTH: usize> Reset for FreeList<A, GROWTH> {
    fn reset(&mut self) {
        self.clear();
    }
}

// SAFETY: the lists' blocks as above; a large block is the other allocator's behind a head, which moves with it.
unsafe impl<A: Alloc, L: Alloc> Alloc for FreeLists<A, L> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let block = self.serve(layout)?;
        // SAFETY: it is live.
        let size = unsafe { self.size(block) };
        Ok(NonNull::slice_from_raw_parts(block, size))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's promise.
            unsafe { self.free(block) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 {
            return self.allocate(new);
        }
        // SAFETY: the caller's promise.
        unsafe { self.change(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(block, old) };
            return Ok(nothing(new));
        }
        if old.size() == 0 {
            return self.allocate(new);
        }
        // SAFETY: the caller's promise.
        unsafe { self.change(block, old, new) }
    }
}

// SAFETY: only addresses inside blocks of the lists, and what the allocator for large blocks owns.
unsafe impl<A: Alloc, L: Owns> Owns for FreeLists<A, L> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        let at = address.as_ptr().addr();
        self.lists().iter().any(|list| list.holds(at)) || self.large().owns(address)
    }
}

// SAFETY: a block has the bytes that its cookie says, and is freed by that cookie.
unsafe impl<A: Alloc, L: Alloc> UsableSize for FreeLists<A, L> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 {
            return 0;
        }
        // SAFETY: the caller's promise.
        unsafe { self.size(block) }
    }
}

/// A block of a list counts whole.
impl<A: Alloc, const GROWTH: usize> Stats for FreeList<A, GROWTH> {
    fn stats(&self) -> AllocStats {
        let live = self.live();
        AllocStats {
            live_blocks: live,
            live_bytes: live * self.layout().size(),
            held_bytes: self.held(),
            ..AllocStats::default()
        }
    }
}

/// A block of a list counts whole. What was is not counted.
impl<A: Alloc, L: Alloc> Stats for FreeLists<A, L> {
    fn stats(&self) -> AllocStats {
        let of =
            |figure: fn(&super::list::RawList<64>) -> usize| self.lists().iter().map(figure).sum::<usize>();
        AllocStats {
            live_blocks: of(|list| list.live()) + self.large_blocks.get(),
            live_bytes: of(|list| list.live() * list.layout().size()) + self.large_bytes.get(),
            held_bytes: of(|list| list.held()) + self.large_bytes.get(),
            ..AllocStats::default()
        }
    }
}

implement_allocator!(impl[A: Alloc, const GROWTH: usize] FreeList<A, GROWTH>);
implement_allocator!(impl[A: Alloc, L: Alloc] FreeLists<A, L>);
