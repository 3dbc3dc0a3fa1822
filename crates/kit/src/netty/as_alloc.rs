//! The pool as an ordinary allocator.
//!
//! A block of a layout is one of the least class whose size is a multiple of the alignment, for then every block of the
//! class is aligned so. All sizes between what was asked for and what was got lead to the same class, so the layout
//! tells it again when the block is freed. Alignments above a page go to the parent, as sizes above a chunk do.
//!
//! # Safety
//!
//! 1. *Class*: a block belongs to the class that `class` tells for every layout that it fits, or to none and is huge.
//! 2. *Chunks*, *places*: as in the file `pool.rs`; pages of a chunk are aligned to a page.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::PoisonError;

use super::pool::BufferPool;
use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Owns, ResizeInPlace, UsableSize};

impl<A: Alloc> BufferPool<A> {
    fn class_of(&self, layout: Layout) -> Option<usize> {
        if layout.align() > self.config.page {
            return None;
        }
        self.classes.class_aligned(layout.size(), layout.align())
    }
}

// SAFETY: *class*, *chunks* and *places*; the pool's memory does not move with it.
unsafe impl<A: Alloc> Alloc for BufferPool<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        match self.class_of(layout) {
            Some(class) => {
                let (block, _) = self.take(class)?;
                Ok(NonNull::slice_from_raw_parts(block, self.classes.size(class)))
            }
            None => Ok(NonNull::slice_from_raw_parts(self.take_huge(layout)?, layout.size())),
        }
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        match self.class_of(layout) {
            Some(class) => self.give_here(class, block),
            None => self.give_huge(block),
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }
}

impl<A: Alloc> BufferPool<A> {
    /// Keeps the block if its class stays the same.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this pool and fits `old`.
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let (was, is) = (self.class_of(old), self.class_of(new));
        if let (Some(class), true) = (is, was == is && old.size() > 0 && new.size() > 0) {
            return Ok(NonNull::slice_from_raw_parts(block, self.classes.size(class)));
        }
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }
}

// SAFETY: a region is memory of this pool.
unsafe impl<A: Alloc> Owns for BufferPool<A> {
    /// A search in the chunks and huge blocks, behind a lock.
    fn owns(&self, address: NonNull<u8>) -> bool {
        let address = address.as_ptr().addr();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index
            .range(..=address)
            .next_back()
            .is_some_and(|(base, region)| address - base < region.layout.size())
    }
}

// SAFETY: *class*.
unsafe impl<A: Alloc> UsableSize for BufferPool<A> {
    unsafe fn usable_size(&self, _block: NonNull<u8>, layout: Layout) -> usize {
        let class = self.class_of(layout).filter(|_| layout.size() > 0);
        class.map_or(layout.size(), |class| self.classes.size(class))
    }
}

// SAFETY: *class*.
unsafe impl<A: Alloc> ResizeInPlace for BufferPool<A> {
    unsafe fn resize_in_place(
        &self,
        _block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<(), AllocError> {
        let same = self.class_of(old) == self.class_of(new) && self.class_of(old).is_some();
        if same && old.size() > 0 && new.size() > 0 || old == new { Ok(()) } else { Err(AllocError) }
    }
}

implement_allocator!(impl[A: Alloc] BufferPool<A>);
