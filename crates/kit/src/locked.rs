//! One lock around any allocator: what one thread could use, all can.
//!
//! # What it is, and where it comes from
//!
//! Every call takes a [`Lock`], hands the call on, and releases it: Zig's `std.heap.ThreadSafeAllocator` (2021).
//!
//! # When to use it, and when not
//!
//! To share an arena, a pool or a textbook heap among threads that allocate now and then; or to make anything that is not
//! `Sync` a `#[global_allocator]`. Where threads allocate all the time, one lock is what they wait for: take
//! [`Smp`](crate::smp) or [`Arenas`](crate::arenas), or the allocator of the crate `freestone`.
//!
//! # Costs
//!
//! Two atomic exchanges a call, when nobody else is inside; else a wait. Growing holds the lock while bytes are copied.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "system", feature = "allocator-api2-04"))] {
//! use allocator_api2_04::boxed::Box;
//! use freestone_kit::{arena::Arena, c::C, locked::Locked};
//!
//! let arena = Locked::new(Arena::new(C));
//! std::thread::scope(|scope| {
//!     for thread in 0..4 {
//!         let arena = &arena;
//!         scope.spawn(move || assert_eq!(*Box::new_in(thread, arena), thread));
//!     }
//! });
//! # }
//! ```
//!
//! # Safety
//!
//! The contract of [`Alloc`] is that of the allocator inside, which the lock's owner alone calls.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::foreign::implement_allocator;
use crate::sync::{Guard, Lock};
use crate::{
    Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Remap, Reset, ResizeInPlace, Stats, UsableSize,
};

/// An allocator behind a lock. It can be shared among threads if `A` can be sent between them.
#[derive(Debug, Default)]
pub struct Locked<A>(Lock<A>);

impl<A> Locked<A> {
    /// A lock that nobody holds, around `alloc`.
    pub const fn new(alloc: A) -> Locked<A> {
        Locked(Lock::new(alloc))
    }

    /// Runs `work` with the allocator, under the lock: a call that allocates from here meanwhile waits for itself.
    ///
    /// It gets a shared reference, since blocks may be live: nothing that ends them can be called.
    pub fn with<R>(&self, work: impl FnOnce(&A) -> R) -> R {
        work(&self.0.lock())
    }

    fn lock(&self) -> Guard<'_, A> {
        self.0.lock()
    }

    /// The allocator, without the lock, since nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut A {
        self.0.get_mut()
    }

    /// The allocator, without its lock.
    pub fn into_inner(self) -> A {
        self.0.into_inner()
    }
}

// SAFETY: see the module. Moving the lock moves the allocator, which keeps its blocks in place.
unsafe impl<A: Alloc> Alloc for Locked<A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        self.lock().allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.lock().deallocate(block, layout) }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        self.lock().allocate_zeroed(layout)
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.lock().grow(block, old, new) }
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.lock().grow_zeroed(block, old, new) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.lock().shrink(block, old, new) }
    }
}

implement_allocator!(impl[A: Alloc] Locked<A>);

// SAFETY: see the module.
unsafe impl<A: Owns> Owns for Locked<A> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.lock().owns(address)
    }
}

// SAFETY: see the module.
unsafe impl<A: UsableSize> UsableSize for Locked<A> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        // SAFETY: the caller's promise.
        unsafe { self.lock().usable_size(block, layout) }
    }
}

// SAFETY: see the module.
unsafe impl<A: ResizeInPlace> ResizeInPlace for Locked<A> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.lock().resize_in_place(block, old, new) }
    }
}

// SAFETY: see the module.
unsafe impl<A: Remap> Remap for Locked<A> {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { self.lock().remap(block, old, new) }
    }
}

impl<A: Reset> Reset for Locked<A> {
    fn reset(&mut self) {
        self.get_mut().reset();
    }
}

impl<A: Capacity> Capacity for Locked<A> {
    fn capacity(&self) -> usize {
        self.lock().capacity()
    }

    fn used(&self) -> usize {
        self.lock().used()
    }

    fn remaining(&self) -> usize {
        self.lock().remaining()
    }
}

impl<A: Stats> Stats for Locked<A> {
    fn stats(&self) -> AllocStats {
        self.lock().stats()
    }
}
