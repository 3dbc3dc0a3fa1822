//! Counts what goes through it.
//!
//! # When to use it, and when not
//!
//! To assert in a test that something does not allocate, or frees all it took; to tell how much a part of a program holds.
//! For a bound on that, [`Limiting`](crate::limiting::Limiting); for exact figures of a busy server, whose counters must not
//! be one cache line for all threads, [`accounting`](crate::accounting).
//!
//! # Costs
//!
//! Four atomic additions a call, shared by all threads; no memory of its own. What a parent gives beyond the size that was
//! asked for is not passed on: a block could then be freed with a size that was never counted. Blocks of no bytes are not
//! counted, since collections free some that they never allocated.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "system", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::{Stats, c::C, counting::Counting};
//!
//! let counting = Counting::new(C);
//! let numbers: Vec<u64, _> = Vec::with_capacity_in(100, &counting);
//! let stats = counting.stats();
//! assert_eq!((stats.live_blocks, stats.live_bytes), (1, 800));
//! drop(numbers);
//! assert_eq!(counting.stats().live_bytes, 0);
//! assert_eq!(counting.stats().peak_bytes, 800);
//! # }
//! ```
//!
//! # Safety
//!
//! Each call is handed on, with the caller's promise.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::exactly;
use crate::foreign::implement_allocator;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use crate::{Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Remap, ResizeInPlace, Stats};

/// Counts the blocks and the bytes, as they were asked for, of the allocator `A`.
///
/// The counters order nothing between threads: each is right by itself.
#[derive(Debug, Default)]
pub struct Counting<A> {
    parent: A,
    live_blocks: AtomicUsize,
    live_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    total_blocks: AtomicU64,
    total_bytes: AtomicU64,
    refused: AtomicU64,
}

impl<A> Counting<A> {
    /// All counters at zero.
    pub const fn new(parent: A) -> Self {
        Counting {
            parent,
            live_blocks: AtomicUsize::new(0),
            live_bytes: AtomicUsize::new(0),
            peak_bytes: AtomicUsize::new(0),
            total_blocks: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The parent, without this layer.
    pub fn into_parent(self) -> A {
        self.parent
    }

    /// Sets the peak to what is live now.
    pub fn restart_peak(&self) {
        self.peak_bytes.store(self.live_bytes.load(Relaxed), Relaxed);
    }

    fn more(&self, bytes: usize) {
        let live = self.live_bytes.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        self.peak_bytes.fetch_max(live, Relaxed);
        self.total_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn refuse(&self, error: AllocError) -> AllocError {
        self.refused.fetch_add(1, Relaxed);
        error
    }

    fn new_block(&self, done: Allocated, layout: Layout) -> Allocated {
        let block = exactly(done, layout).map_err(|error| self.refuse(error))?;
        if layout.size() != 0 {
            self.live_blocks.fetch_add(1, Relaxed);
            self.total_blocks.fetch_add(1, Relaxed);
            self.more(layout.size());
        }
        Ok(block)
    }

    fn moved(&self, done: Allocated, old: Layout, new: Layout) -> Allocated {
        let block = exactly(done, new).map_err(|error| self.refuse(error))?;
        self.resized(old, new);
        Ok(block)
    }

    fn resized(&self, old: Layout, new: Layout) {
        match (old.size(), new.size()) {
            (0, 1..) => {
                self.live_blocks.fetch_add(1, Relaxed);
                self.total_blocks.fetch_add(1, Relaxed);
            }
            (1.., 0) => {
                self.live_blocks.fetch_sub(1, Relaxed);
            }
            _ => {}
        }
        match new.size().checked_sub(old.size()) {
            Some(more) => self.more(more),
            None => {
                self.live_bytes.fetch_sub(old.size() - new.size(), Relaxed);
            }
        }
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: Alloc> Alloc for Counting<A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        self.new_block(self.parent.allocate(layout), layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.parent.deallocate(block, layout) };
        if layout.size() != 0 {
            self.live_blocks.fetch_sub(1, Relaxed);
            self.live_bytes.fetch_sub(layout.size(), Relaxed);
        }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        self.new_block(self.parent.allocate_zeroed(layout), layout)
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.grow(block, old, new) };
        self.moved(done, old, new)
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.grow_zeroed(block, old, new) };
        self.moved(done, old, new)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let done = unsafe { self.parent.shrink(block, old, new) };
        self.moved(done, old, new)
    }
}

implement_allocator!(impl[A: Alloc] Counting<A>);

impl<A> Stats for Counting<A> {
    fn stats(&self) -> AllocStats {
        AllocStats {
            live_blocks: self.live_blocks.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
            peak_bytes: self.peak_bytes.load(Relaxed),
            total_blocks: self.total_blocks.load(Relaxed),
            total_bytes: self.total_bytes.load(Relaxed),
            refused: self.refused.load(Relaxed),
            held_bytes: 0,
        }
    }
}

// SAFETY: the parent's answer.
unsafe impl<A: Owns> Owns for Counting<A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.parent.owns(address)
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: ResizeInPlace> ResizeInPlace for Counting<A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // A refusal is none of memory and is not counted: the caller will ask again in another way.
        // SAFETY: the caller's promise.
        unsafe { self.parent.resize_in_place(block, old, new) }?;
        self.resized(old, new);
        Ok(())
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: Remap> Remap for Counting<A> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // As for a resize in place.
        // SAFETY: the caller's promise.
        let block = unsafe { self.parent.remap(block, old, new) }?;
        self.moved(Ok(block), old, new)
    }
}

impl<A: Capacity> Capacity for Counting<A> {
    fn capacity(&self) -> usize {
        self.parent.capacity()
    }

    fn used(&self) -> usize {
        self.parent.used()
    }
}
