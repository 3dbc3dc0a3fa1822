//! A bound on the bytes that are live at once.
//!
//! # When to use it, and when not
//!
//! Around a part of a program that must not take more than its share: a script, a cache, a request from outside. A request
//! beyond the limit is refused as if memory had run out, so the part must cope with that (`try_reserve`, not `push`). For a
//! handler that is called before memory is refused, see [`accounting`](crate::accounting).
//!
//! # Costs
//!
//! One compare-and-exchange for each request, one atomic subtraction for each free, shared by all threads.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "system", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::vec::Vec;
//! use freestone_kit::{Capacity, c::C, limiting::Limiting};
//!
//! let limiting = Limiting::new(C, 1000);
//! let mut bytes: Vec<u8, _> = Vec::with_capacity_in(600, &limiting);
//! assert!(Vec::<u8, _>::new_in(&limiting).try_reserve(500).is_err());
//! assert_eq!((limiting.used(), limiting.remaining()), (600, 400));
//! # bytes.push(1);
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
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, Remap, ResizeInPlace};

/// At most so many bytes of the allocator `A`, as they are asked for, are live at once; with any number of threads.
///
/// A block that grows counts with its new size alone, also where old and new exist side by side for a moment.
#[derive(Debug)]
pub struct Limiting<A> {
    parent: A,
    limit: AtomicUsize,
    live: AtomicUsize,
}

impl<A> Limiting<A> {
    /// At most `limit` bytes.
    pub const fn new(parent: A, limit: usize) -> Self {
        Limiting { parent, limit: AtomicUsize::new(limit), live: AtomicUsize::new(0) }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// The parent, without this layer.
    pub fn into_parent(self) -> A {
        self.parent
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Changes the limit. What is live stays, even if it is more.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Relaxed);
    }

    /// Takes so many bytes of the limit. Relaxed: the counter orders nothing but itself.
    fn charge(&self, bytes: usize) -> Result<(), AllocError> {
        let mut live = self.live.load(Relaxed);
        loop {
            let more = live.checked_add(bytes).filter(|&more| more <= self.limit()).ok_or(AllocError)?;
            match self.live.compare_exchange_weak(live, more, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => live = other,
            }
        }
    }

    fn discharge(&self, bytes: usize) {
        self.live.fetch_sub(bytes, Relaxed);
    }

    /// Asks the parent for a change from `old` to `new` bytes, which must be free within the limit.
    fn change<T>(
        &self,
        old: usize,
        new: usize,
        ask: impl FnOnce() -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        let more = new.saturating_sub(old);
        if more > 0 {
            self.charge(more)?;
        }
        let done = ask();
        self.discharge(if done.is_ok() { old.saturating_sub(new) } else { more });
        done
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: Alloc> Alloc for Limiting<A> {
    /// # Errors
    ///
    /// [`AllocError`] also when the limit would be passed.
    fn allocate(&self, layout: Layout) -> Allocated {
        exactly(self.change(0, layout.size(), || self.parent.allocate(layout)), layout)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.parent.deallocate(block, layout) };
        self.discharge(layout.size());
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        exactly(self.change(0, layout.size(), || self.parent.allocate_zeroed(layout)), layout)
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let ask = || unsafe { self.parent.grow(block, old, new) };
        exactly(self.change(old.size(), new.size(), ask), new)
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let ask = || unsafe { self.parent.grow_zeroed(block, old, new) };
        exactly(self.change(old.size(), new.size(), ask), new)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let ask = || unsafe { self.parent.shrink(block, old, new) };
        exactly(self.change(old.size(), new.size(), ask), new)
    }
}

implement_allocator!(impl[A: Alloc] Limiting<A>);

// SAFETY: the parent's answer.
unsafe impl<A: Owns> Owns for Limiting<A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.parent.owns(address)
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: ResizeInPlace> ResizeInPlace for Limiting<A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        let ask = || unsafe { self.parent.resize_in_place(block, old, new) };
        self.change(old.size(), new.size(), ask)
    }
}

// SAFETY: the parent keeps the contract.
unsafe impl<A: Remap> Remap for Limiting<A> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let ask = || unsafe { self.parent.remap(block, old, new) };
        exactly(self.change(old.size(), new.size(), ask), new)
    }
}

impl<A> Capacity for Limiting<A> {
    fn capacity(&self) -> usize {
        self.limit()
    }

    fn used(&self) -> usize {
        self.live.load(Relaxed)
    }

    fn remaining(&self) -> usize {
        // The limit may have been lowered below what is live.
        self.capacity().saturating_sub(self.used())
    }
}
