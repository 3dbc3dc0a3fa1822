//! A general heap of slab caches: one for each size class, as `kmem_alloc` has it.
//!
//! # Safety
//!
//! *Class*: the class of a block, or that it is the parent's, follows from its layout, and from every layout that it
//! fits.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::cache::{Reap, SlabCache};
use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::tally::Tally;
use crate::{Alloc, AllocError, AllocStats, Allocated, Stats, UsableSize};

/// Sizes of the classes: up to 64 bytes every 8 or 16, above four to a doubling.
const SIZES: [usize; 36] = {
    let mut sizes = [0; 36];
    let first = [8, 16, 24, 32, 40, 48, 56, 64];
    let mut n = 0;
    while n < first.len() {
        sizes[n] = first[n];
        n += 1;
    }
    while n < sizes.len() {
        let low = 64 << ((n - first.len()) / 4);
        sizes[n] = low + low / 4 * ((n - first.len()) % 4 + 1);
        n += 1;
    }
    sizes
};

/// The largest block of a class, in bytes; longer ones are the parent's.
pub const MOST_SLAB: usize = SIZES[SIZES.len() - 1];

const _: () = assert!(MOST_SLAB == 8192);

/// The alignment that all blocks of a class have: the largest power of two that divides its size.
const fn align_of_size(size: usize) -> usize {
    1 << size.trailing_zeros()
}

/// Idle slabs of other classes are reaped before a class takes a new one when they are more than this part of the heap.
const IDLE_PART: usize = 8;

/// A heap for any layout: a [`SlabCache`] for each class of sizes up to 8 KiB, the parent for longer blocks.
///
/// Slabs come from the parent, which is given by reference or is a handle that can be cloned, since each cache has
/// its own.
///
/// ```
/// use freestone_kit::page::Page;
/// use freestone_kit::slab::SlabHeap;
/// use freestone_kit::{Alloc, Stats};
/// use std::alloc::Layout;
///
/// let heap = SlabHeap::new(Page);
/// let layout = Layout::new::<[u8; 100]>();
/// let block = heap.allocate(layout)?;
/// assert_eq!(block.len(), 112);
/// // SAFETY: the block is live, and has that layout.
/// unsafe { heap.deallocate(block.cast(), layout) };
/// // The slab stays, for the next, until somebody reaps.
/// assert_eq!((heap.stats().live_blocks, heap.stats().held_bytes), (0, 4096));
/// heap.reap(freestone_kit::slab::Reap::All);
/// assert_eq!(heap.stats().held_bytes, 0);
/// # Ok::<(), freestone_kit::AllocError>(())
/// ```
pub struct SlabHeap<A: Alloc + Clone> {
    parent: A,
    /// None for a class whose slabs no layout describes, which does not happen.
    classes: [Option<SlabCache<A>>; SIZES.len()],
    /// Bytes of blocks that are the parent's.
    long: Cell<usize>,
    tally: Tally,
}

impl<A: Alloc + Clone> SlabHeap<A> {
    /// An empty heap. Takes nothing from the parent yet.
    pub fn new(parent: A) -> Self {
        let classes = SIZES.map(|size| {
            let layout = Layout::from_size_align(size, align_of_size(size)).ok()?;
            SlabCache::new(parent.clone(), layout).ok()
        });
        SlabHeap { parent, classes, long: Cell::new(0), tally: Tally::new() }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The number of the class that serves `layout`, if one does.
    fn class_of(layout: Layout) -> Option<usize> {
        let (size, align) = (layout.size().max(layout.align()), layout.align());
        if size > MOST_SLAB {
            return None;
        }
        let first = if size <= 64 {
            size.div_ceil(8).saturating_sub(1)
        } else {
            let doubling = (size - 1).ilog2();
            let step = (size - 1 - (1 << doubling)) >> (doubling - 2);
            8 + (doubling as usize - 6) * 4 + step
        };
        (first..SIZES.len()).find(|&class| align_of_size(SIZES[class]) >= align)
    }

    fn cache(&self, layout: Layout) -> Option<&SlabCache<A>> {
        self.classes.get(Self::class_of(layout)?)?.as_ref()
    }

    fn caches(&self) -> impl Iterator<Item = &SlabCache<A>> {
        self.classes.iter().flatten()
    }

    /// Gives back what is idle, or all that is not in use; returns the bytes of slabs.
    pub fn reap(&self, reap: Reap) -> usize {
        self.caches().map(|cache| cache.reap(reap)).sum()
    }

    /// Bytes in live blocks now, rounding included.
    pub fn taken_bytes(&self) -> usize {
        self.caches().map(SlabCache::taken_bytes).sum::<usize>() + self.long.get()
    }

    /// Checks every cache. O(objects).
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn verify(&self) -> Result<(), &'static str> {
        self.caches().try_for_each(SlabCache::verify)
    }

    /// Asks the parent; when it has nothing, reaps every cache and asks again.
    fn under_pressure<R>(&self, ask: impl Fn() -> Result<R, AllocError>) -> Result<R, AllocError> {
        ask().or_else(|error| if self.reap(Reap::All) > 0 { ask() } else { Err(error) })
    }

    fn take(&self, cache: &SlabCache<A>) -> Allocated {
        if !cache.has_free() {
            let idle: usize = self.caches().map(SlabCache::idle_bytes).sum();
            if idle * IDLE_PART > self.held() {
                self.reap(Reap::All);
            }
        }
        let block = self.under_pressure(|| cache.take())?;
        Ok(NonNull::slice_from_raw_parts(block, cache.shape().stride))
    }

    fn held(&self) -> usize {
        self.caches().map(|cache| cache.stats().held_bytes).sum::<usize>() + self.long.get()
    }

    fn try_allocate(&self, layout: Layout) -> Allocated {
        if let Some(cache) = self.cache(layout) {
            return self.take(cache);
        }
        let block = self.under_pressure(|| self.parent.allocate(layout))?.cast();
        self.long.set(self.long.get() + layout.size());
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    /// Lets a block stay in its class, or lets the parent resize its own.
    ///
    /// # Safety
    ///
    /// As [`Alloc::grow`] or [`Alloc::shrink`].
    unsafe fn resize(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let (from, to) = (Self::class_of(old), Self::class_of(new));
        if old.size() == 0 || new.size() == 0 || from != to {
            return Err(AllocError);
        }
        let len = match from {
            Some(class) => SIZES[class],
            None => new.size(),
        };
        let resized = if from.is_some() {
            block
        } else if new.size() >= old.size() {
            // SAFETY: class: the parent's, with that layout.
            unsafe { self.parent.grow(block, old, new) }?.cast()
        } else {
            // SAFETY: class: the parent's, with that layout.
            unsafe { self.parent.shrink(block, old, new) }?.cast()
        };
        if from.is_none() {
            self.long.set(self.long.get() + new.size() - old.size());
        }
        self.tally.resized(old.size(), new.size());
        Ok(NonNull::slice_from_raw_parts(resized, len))
    }
}

// SAFETY: class: a block is its cache's or the parent's, and each keeps the contract.
unsafe impl<A: Alloc + Clone> Alloc for SlabHeap<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let block = self.try_allocate(layout).inspect_err(|_| self.tally.refused())?;
        self.tally.allocated(layout.size());
        Ok(block)
    }

    /// # Panics
    ///
    /// When no block of that class begins there, or it is free already.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        match self.cache(layout) {
            // SAFETY: class: taken from that cache; any bytes will do for the next.
            Some(cache) => unsafe { cache.put(block) },
            None => {
                self.long.set(self.long.get() - layout.size());
                // SAFETY: class: the parent's, with that layout.
                unsafe { self.parent.deallocate(block, layout) };
            }
        }
        self.tally.freed(layout.size());
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let resized = unsafe { self.resize(block, old, new) };
        // SAFETY: the caller's promise; nothing has changed.
        resized.or_else(|_| unsafe { moved(self, block, old, new) })
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let resized = unsafe { self.resize(block, old, new) };
        // SAFETY: the caller's promise; nothing has changed.
        resized.or_else(|_| unsafe { moved(self, block, old, new) })
    }
}

// SAFETY: a block of a class is as long as the class.
unsafe impl<A: Alloc + Clone> UsableSize for SlabHeap<A> {
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        match Self::class_of(layout) {
            Some(class) if layout.size() > 0 => SIZES[class],
            _ => layout.size(),
        }
    }
}

impl<A: Alloc + Clone> Stats for SlabHeap<A> {
    fn stats(&self) -> AllocStats {
        self.tally.stats(self.held())
    }
}

implement_allocator!(impl[A: Alloc + Clone] SlabHeap<A>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AllocError;

    #[derive(Clone)]
    struct Nothing;

    // SAFETY: it never returns a block.
    unsafe impl Alloc for Nothing {
        fn allocate(&self, _: Layout) -> Allocated {
            Err(AllocError)
        }

        unsafe fn deallocate(&self, _: NonNull<u8>, _: Layout) {}
    }

    #[test]
    fn every_layout_gets_the_first_class_that_holds_it() {
        for size in 1..=MOST_SLAB + 1 {
            for align in [1, 8, 16, 64, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let holds = |&class: &usize| SIZES[class] >= size && align_of_size(SIZES[class]) >= align;
                let class = (0..SIZES.len()).find(holds);
                assert_eq!(SlabHeap::<Nothing>::class_of(layout), class, "{layout:?}");
            }
        }
    }
}
