//! Memory that runs out on demand, and a harness that lets it run out everywhere.
//!
//! # What it is
//!
//! [`Failing`] grants so many allocations, and so many changes of size apart, and refuses all that follow; it tells where
//! the first refusal was. [`check_every_failure`] runs a piece of work again and again, refusing first the first allocation, then
//! the second, and so on, and demands that each run says so and loses nothing.
//!
//! # Where it comes from
//!
//! Zig's `std.testing.FailingAllocator` (2018; apart for sizes since 0.11) and `checkAllAllocationFailures` (2022). The idea of
//! failing every call in turn is SQLite's (its out-of-memory tests, 2004).
//!
//! # When to use it, and when not
//!
//! In the tests of whatever takes an allocator and returns errors. Work whose sequence of allocations differs from run to run
//! (a hash table with a random seed, say) can be checked with [`Failing`] alone.
//!
//! # Costs
//!
//! [`Failing`]: a few atomic additions a call. The harness runs the work once for each allocation in it, and once more.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "system", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::{c::C, failing::check_every_failure};
//!
//! let checked = check_every_failure(&C, |alloc| {
//!     let mut first = Vec::new_in(alloc);
//!     first.try_reserve(10)?;
//!     first.push(1);
//!     let mut second: Vec<i32, _> = Vec::new_in(alloc);
//!     second.try_reserve(10)
//! });
//! assert_eq!(checked.unwrap().allocations, 2);
//! # }
//! ```
//!
//! # Safety
//!
//! Each call is handed on, with the caller's promise, or refused.
#![allow(unsafe_code)]

mod harness;

pub use harness::{Call, Checked, Unsound, check_every_failure};

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::alloc::exactly;
use crate::foreign::implement_allocator;
#[cfg(feature = "std")]
use crate::sync::Lock;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
#[cfg(feature = "std")]
use crate::testing::Trace;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, Remap, ResizeInPlace, Stats};

/// What is granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FailingConfig {
    /// Allocations before the first that is refused.
    pub fail_index: usize,
    /// Changes of size (growing, shrinking, in place or not) before the first that is refused.
    pub resize_fail_index: usize,
}

impl FailingConfig {
    /// Everything is granted.
    pub const NEVER: FailingConfig = FailingConfig { fail_index: usize::MAX, resize_fail_index: usize::MAX };

    /// All allocations from this index on are refused; the first has index 0.
    pub const fn fail_index(self, fail_index: usize) -> Self {
        FailingConfig { fail_index, ..self }
    }

    /// All changes of size from this index on are refused; the first has index 0.
    pub const fn resize_fail_index(self, resize_fail_index: usize) -> Self {
        FailingConfig { resize_fail_index, ..self }
    }
}

/// An allocator that refuses on demand. All threads may use it; the index of a call is then a matter of chance.
#[derive(Debug)]
pub struct Failing<A> {
    parent: A,
    config: FailingConfig,
    allocations: AtomicUsize,
    resizes: AtomicUsize,
    deallocations: AtomicUsize,
    /// Blocks of more than no bytes: empty ones are freed also by who never allocated them.
    live_blocks: AtomicUsize,
    allocated_bytes: AtomicU64,
    freed_bytes: AtomicU64,
    refused: AtomicU64,
    has_failed: AtomicBool,
    #[cfg(feature = "std")]
    trace: Lock<Option<Trace>>,
}

impl<A> Failing<A> {
    /// One that has granted nothing yet.
    pub const fn new(parent: A, config: FailingConfig) -> Self {
        Failing {
            parent,
            config,
            allocations: AtomicUsize::new(0),
            resizes: AtomicUsize::new(0),
            deallocations: AtomicUsize::new(0),
            live_blocks: AtomicUsize::new(0),
            allocated_bytes: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            #[cfg(feature = "std")]
            trace: Lock::new(None),
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

    /// Allocations granted: the index of the next one.
    pub fn allocations(&self) -> usize {
        self.allocations.load(Relaxed)
    }

    /// Changes of size granted: the index of the next one.
    pub fn resizes(&self) -> usize {
        self.resizes.load(Relaxed)
    }

    /// Blocks freed.
    pub fn deallocations(&self) -> usize {
        self.deallocations.load(Relaxed)
    }

    /// Bytes granted since the start, growth included.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes.load(Relaxed)
    }

    /// Bytes given back since the start, shrinking included.
    pub fn freed_bytes(&self) -> u64 {
        self.freed_bytes.load(Relaxed)
    }

    /// Whether a call was refused on demand.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Relaxed)
    }

    /// Where the first call was that was refused on demand.
    #[cfg(feature = "std")]
    pub fn failure_trace(&self) -> Option<Trace> {
        self.trace.lock().clone()
    }

    /// Refuses if the index says so.
    fn judge(&self, index: &AtomicUsize, fail_at: usize) -> Result<(), AllocError> {
        if index.load(Relaxed) < fail_at {
            return Ok(());
        }
        self.refused.fetch_add(1, Relaxed);
        if !self.has_failed.swap(true, Relaxed) {
            #[cfg(feature = "std")]
            {
                *self.trace.lock() = Some(Trace::capture());
            }
        }
        Err(AllocError)
    }

    fn allocated(&self, layout: Layout, ask: impl FnOnce() -> Allocated) -> Allocated {
        self.judge(&self.allocations, self.config.fail_index)?;
        let block = exactly(ask(), layout)?;
        self.allocations.fetch_add(1, Relaxed);
        self.count_live(0, layout.size());
        self.allocated_bytes.fetch_add(layout.size() as u64, Relaxed);
        Ok(block)
    }

    fn count_live(&self, old: usize, new: usize) {
        match (old, new) {
            (0, 1..) => _ = self.live_blocks.fetch_add(1, Relaxed),
            (1.., 0) => _ = self.live_blocks.fetch_sub(1, Relaxed),
            _ => {}
        }
    }

    fn resized<T>(
        &self,
        old: Layout,
        new: Layout,
        ask: impl FnOnce() -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        self.judge(&self.resizes, self.config.resize_fail_index)?;
        let done = ask()?;
        self.resizes.fetch_add(1, Relaxed);
        self.count_live(old.size(), new.size());
        self.allocated_bytes.fetch_add(new.size().saturating_sub(old.size()) as u64, Relaxed);
        self.freed_bytes.fetch_add(old.size().saturating_sub(new.size()) as u64, Relaxed);
        Ok(done)
    }
}

// SAFETY: the parent keeps the contract; a refusal changes nothing.
unsafe impl<A: Alloc> Alloc for Failing<A> {
    fn allocate(&self, layout: Layout) -> Allocated {
        self.allocated(layout, || self.parent.allocate(layout))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.parent.deallocate(block, layout) };
        self.deallocations.fetch_add(1, Relaxed);
        self.count_live(layout.size(), 0);
        self.freed_bytes.fetch_add(layout.size() as u64, Relaxed);
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        self.allocated(layout, || self.parent.allocate_zeroed(layout))
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        exactly(self.resized(old, new, || unsafe { self.parent.grow(block, old, new) }), new)
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        exactly(self.resized(old, new, || unsafe { self.parent.grow_zeroed(block, old, new) }), new)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        exactly(self.resized(old, new, || unsafe { self.parent.shrink(block, old, new) }), new)
    }
}

implement_allocator!(impl[A: Alloc] Failing<A>);

// SAFETY: the parent's answer.
unsafe impl<A: Owns> Owns for Failing<A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.parent.owns(address)
    }
}

// SAFETY: the parent keeps the contract; a refusal changes nothing.
unsafe impl<A: ResizeInPlace> ResizeInPlace for Failing<A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        self.resized(old, new, || unsafe { self.parent.resize_in_place(block, old, new) })
    }
}

// SAFETY: the parent keeps the contract; a refusal changes nothing.
unsafe impl<A: Remap> Remap for Failing<A> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        exactly(self.resized(old, new, || unsafe { self.parent.remap(block, old, new) }), new)
    }
}

impl<A> Stats for Failing<A> {
    /// Without a peak, and refusals on demand alone.
    fn stats(&self) -> AllocStats {
        let (allocations, allocated) = (self.allocations(), self.allocated_bytes());
        AllocStats {
            live_blocks: self.live_blocks.load(Relaxed),
            live_bytes: allocated.wrapping_sub(self.freed_bytes()) as usize,
            total_blocks: allocations as u64,
            total_bytes: allocated,
            refused: self.refused.load(Relaxed),
            ..AllocStats::default()
        }
    }
}
