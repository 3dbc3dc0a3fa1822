//! The accounting allocator.
//!
//! # Safety
//!
//! 1. *Parent's*: a block is one of the parent's and is handed on with the layout that it fits there: its length is cut
//!    to what [`Measure`] says, which lies between what was asked for and what the parent gave.
//! 2. *Counted*: for a live block as many bytes are charged as `measure` says of it.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::ledger::Ledger;
use super::measure::{Measure, Requested};
use super::shard::own;
use super::shortage::{Cause, OomHandler, Refuse, Shortage, Verdict, ask};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, ResizeInPlace, UsableSize};

/// Counts the bytes in use of its parent, exactly, and keeps them within a limit. See the [module](super).
pub struct Accounting<A, M = Requested, H = Refuse> {
    parent: A,
    handler: H,
    ledger: Ledger,
    refused: AtomicU64,
    measure: PhantomData<fn() -> M>,
}

/// Figures of an [`Accounting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountingStats {
    /// Bytes in use.
    pub used: usize,
    /// The most that ever were in use, or up to 512 KiB more: it is taken when bytes are reserved.
    pub peak: usize,
    /// The most that may be in use.
    pub limit: usize,
    /// Requests that were refused.
    pub refused: u64,
}

impl<A: Alloc> Accounting<A> {
    /// Without a limit; counts what was asked for.
    pub const fn new(parent: A) -> Accounting<A> {
        Accounting::with(parent, usize::MAX, Refuse)
    }
}

impl<A: Alloc, M: Measure<A>, H: OomHandler> Accounting<A, M, H> {
    /// With a limit in bytes and a handler that is asked before a request is refused.
    pub const fn with(parent: A, limit: usize, handler: H) -> Accounting<A, M, H> {
        let ledger = Ledger::new(limit);
        Accounting { parent, handler, ledger, refused: AtomicU64::new(0), measure: PhantomData }
    }

    /// Bytes in use. Exact when no other thread is inside the allocator; else a figure of about this moment.
    pub fn used(&self) -> usize {
        self.ledger.used()
    }

    /// The most bytes that may be in use.
    pub fn limit(&self) -> usize {
        self.ledger.limit()
    }

    /// Changes the limit. When more is in use already, nothing is granted until it is less.
    pub fn set_limit(&self, limit: usize) {
        self.ledger.set_limit(limit);
    }

    /// The figures now.
    pub fn stats(&self) -> AccountingStats {
        AccountingStats {
            used: self.ledger.used(),
            peak: self.ledger.peak(),
            limit: self.ledger.limit(),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// The allocator below.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// A block that was moved is as long as before, or a little longer or shorter.
    pub(super) fn recount(&self, before: usize, after: usize) {
        self.ledger.charge_anyway(after.saturating_sub(before));
        self.ledger.release(own(), before.saturating_sub(after));
    }

    /// Charges `bytes`, then has the parent do its part; asks the handler when either fails. `undo` frees a block
    /// that turned out longer than the limit allows.
    fn charged(
        &self,
        layout: Layout,
        bytes: usize,
        place: impl Fn() -> Allocated,
        undo: impl Fn(NonNull<u8>),
    ) -> Allocated {
        for retries in 0.. {
            let cause = match self.attempt(layout, bytes, &place, &undo) {
                Ok(block) => return Ok(block),
                Err(cause) => cause,
            };
            let (used, limit) = (self.used(), self.limit());
            let shortage = Shortage { layout, cause, used, limit, retries };
            if ask(&self.handler, &shortage) == Verdict::Refuse {
                break;
            }
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(AllocError)
    }

    fn attempt(
        &self,
        layout: Layout,
        bytes: usize,
        place: impl Fn() -> Allocated,
        undo: impl Fn(NonNull<u8>),
    ) -> Result<NonNull<[u8]>, Cause> {
        let shard = own();
        if !self.ledger.charge(shard, bytes) {
            return Err(Cause::Limit);
        }
        let Ok(block) = place() else {
            self.ledger.release(shard, bytes);
            return Err(Cause::Parent);
        };
        let block = block.cast::<u8>();
        // SAFETY: the block is live and fits the layout with which it was placed.
        let length = unsafe { M::measure(&self.parent, block, layout) };
        if !M::KNOWN && !self.ledger.charge(shard, length - layout.size()) {
            undo(block);
            self.ledger.release(shard, bytes);
            return Err(Cause::Limit);
        }
        Ok(NonNull::slice_from_raw_parts(block, length))
    }

    fn place(&self, layout: Layout, zeroed: bool) -> Allocated {
        let place =
            || if zeroed { self.parent.allocate_zeroed(layout) } else { self.parent.allocate(layout) };
        // SAFETY: *parent's*: the block that was placed just now.
        let undo = |block| unsafe { self.parent.deallocate(block, layout) };
        self.charged(layout, layout.size(), place, undo)
    }

    /// Grows or shrinks by another block.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `old`.
    unsafe fn replace(&self, block: NonNull<u8>, old: Layout, new: Layout, zeroed: bool) -> Allocated {
        let fresh = self.place(new, zeroed)?;
        // SAFETY: both hold that many bytes and are apart.
        unsafe { fresh.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size())) };
        // SAFETY: the caller's promise.
        unsafe { self.deallocate(block, old) };
        Ok(fresh)
    }
}

// SAFETY: *parent's*.
unsafe impl<A: Alloc, M: Measure<A>, H: OomHandler> Alloc for Accounting<A, M, H> {
    fn allocate(&self, layout: Layout) -> Allocated {
        self.place(layout, false)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        self.place(layout, true)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: *parent's*.
        let bytes = unsafe { M::measure(&self.parent, block, layout) };
        // SAFETY: *parent's*.
        unsafe { self.parent.deallocate(block, layout) };
        // Afterwards, so that what is counted as free is free.
        self.ledger.release(own(), bytes);
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if !M::KNOWN {
            // SAFETY: the caller's promise.
            return unsafe { self.replace(block, old, new, false) };
        }
        // SAFETY: *parent's*; an attempt that failed has left the block as it was.
        let place = || unsafe { self.parent.grow(block, old, new) };
        self.charged(new, new.size() - old.size(), place, |_| ())
    }

    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if !M::KNOWN {
            // SAFETY: the caller's promise.
            return unsafe { self.replace(block, old, new, true) };
        }
        // SAFETY: *parent's*; an attempt that failed has left the block as it was.
        let place = || unsafe { self.parent.grow_zeroed(block, old, new) };
        self.charged(new, new.size() - old.size(), place, |_| ())
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if !M::KNOWN {
            // SAFETY: the caller's promise.
            return unsafe { self.replace(block, old, new, false) };
        }
        // SAFETY: *parent's*; an attempt that failed has left the block as it was.
        let place = || unsafe { self.parent.shrink(block, old, new) };
        let shrunk = self.charged(new, 0, place, |_| ())?;
        self.ledger.release(own(), old.size() - new.size());
        Ok(shrunk)
    }
}

// SAFETY: the parent's blocks are its blocks.
unsafe impl<A: Owns, M: Measure<A>, H: OomHandler> Owns for Accounting<A, M, H> {
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.parent.owns(address)
    }
}

// SAFETY: *parent's*: that is the length with which it was handed out.
unsafe impl<A: Alloc, M: Measure<A>, H: OomHandler> UsableSize for Accounting<A, M, H> {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        // SAFETY: the caller's promise.
        unsafe { M::measure(&self.parent, block, layout) }
    }
}

// SAFETY: *parent's*.
unsafe impl<A: ResizeInPlace, H: OomHandler> ResizeInPlace for Accounting<A, Requested, H> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let (more, less) = (new.size().saturating_sub(old.size()), old.size().saturating_sub(new.size()));
        let shard = own();
        if !self.ledger.charge(shard, more) {
            return Err(AllocError);
        }
        // SAFETY: *parent's*.
        let done = unsafe { self.parent.resize_in_place(block, old, new) };
        self.ledger.release(shard, if done.is_ok() { less } else { more });
        done
    }
}

impl<A: Alloc, M: Measure<A>, H: OomHandler> Capacity for Accounting<A, M, H> {
    fn capacity(&self) -> usize {
        self.limit()
    }

    fn used(&self) -> usize {
        self.ledger.used()
    }

    fn remaining(&self) -> usize {
        self.limit().saturating_sub(self.ledger.used())
    }
}

implement_allocator!(impl[A: Alloc, M: Measure<A>, H: OomHandler] Accounting<A, M, H>);
