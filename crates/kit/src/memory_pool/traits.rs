//! The pool as an allocator: every layout that fits into a slot gets one.
//!
//! # Safety
//!
//! The four invariants of the [pool](super); a layout that is not empty and [fits](fits) was served by a slot.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::{MemoryPool, PoolReset};
use crate::alloc::nothing;
use crate::foreign::implement_allocator;
use crate::{
    Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Reset, ResizeInPlace, Stats, UsableSize,
};

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> MemoryPool<T, A, ALIGN, GROWABLE> {
    fn fits(layout: Layout) -> bool {
        layout.size() <= Self::SLOT_SIZE && layout.align() <= Self::SLOT_ALIGN
    }

    /// A whole slot as a block.
    fn as_block(slot: NonNull<u8>) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(slot, Self::SLOT_SIZE)
    }
}

// SAFETY: a slot is nobody else's while it is taken, stays where it is when the pool moves (*chunks*), and is as large
// and aligned as any layout that fits; `give` panics only for what its caller must not do.
unsafe impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Alloc
    for MemoryPool<T, A, ALIGN, GROWABLE>
{
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if !Self::fits(layout) {
            return Err(AllocError);
        }
        self.take().map(|slot| Self::as_block(slot.cast()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: a live block that is not empty is a slot of this pool.
            unsafe { self.give(block.cast()) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if old.size() == 0 {
            return self.allocate(new);
        }
        if Self::fits(new) { Ok(Self::as_block(block)) } else { Err(AllocError) }
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        if new.size() == 0 {
            // SAFETY: the caller's promise.
            unsafe { self.deallocate(block, old) };
            return self.allocate(new);
        }
        if Self::fits(new) { Ok(Self::as_block(block)) } else { Err(AllocError) }
    }
}

// SAFETY: slots lie in chunks, and chunks hold nothing else but their heads, which are not counted in.
unsafe impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Owns
    for MemoryPool<T, A, ALIGN, GROWABLE>
{
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.holds(address.as_ptr().addr())
    }
}

// SAFETY: a slot may be used whole, and every size in it is given back alike.
unsafe impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> UsableSize
    for MemoryPool<T, A, ALIGN, GROWABLE>
{
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        if layout.size() == 0 { 0 } else { Self::SLOT_SIZE }
    }
}

// SAFETY: a slot has room for every layout that fits, and an empty block is no slot, so neither becomes the other.
unsafe impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> ResizeInPlace
    for MemoryPool<T, A, ALIGN, GROWABLE>
{
    unsafe fn resize_in_place(&self, _: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let alike = (old.size() == 0) == (new.size() == 0);
        if alike && Self::fits(new) { Ok(()) } else { Err(AllocError) }
    }
}

/// Keeps the chunks, as [`PoolReset::RetainCapacity`] does.
impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Reset for MemoryPool<T, A, ALIGN, GROWABLE> {
    fn reset(&mut self) {
        MemoryPool::reset(self, PoolReset::RetainCapacity);
    }
}

/// In bytes of slots that there are by now; a pool that may grow has no end but its parent's.
impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Capacity for MemoryPool<T, A, ALIGN, GROWABLE> {
    fn capacity(&self) -> usize {
        self.slots.get() * Self::SLOT_SIZE
    }

    fn used(&self) -> usize {
        self.live.get() * Self::SLOT_SIZE
    }
}

/// A slot counts whole, whatever was asked for.
impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> Stats for MemoryPool<T, A, ALIGN, GROWABLE> {
    fn stats(&self) -> AllocStats {
        AllocStats {
            live_blocks: self.live.get(),
            live_bytes: self.live.get() * Self::SLOT_SIZE,
            peak_bytes: self.peak.get() * Self::SLOT_SIZE,
            total_blocks: self.created.get(),
            total_bytes: self.created.get() * Self::SLOT_SIZE as u64,
            refused: self.refused.get(),
            held_bytes: self.held.get(),
        }
    }
}

implement_allocator!(impl[T, A: Alloc, const ALIGN: usize, const GROWABLE: bool] MemoryPool<T, A, ALIGN, GROWABLE>);
