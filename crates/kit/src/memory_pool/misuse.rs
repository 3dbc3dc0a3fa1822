//! What debug builds look at when a slot comes back: each of their chunks ends with a byte for every slot, which says
//! whether it is live.
//!
//! # Safety
//!
//! *Bytes*: in a debug build, as many bytes as a chunk has slots follow its slots, and were set when it was made.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use super::{Alloc, Chunk, MemoryPool};

/// Bytes behind a slot's share of a chunk.
pub(super) const BYTES_A_SLOT: usize = if cfg!(debug_assertions) { 1 } else { 0 };

impl<T, A: Alloc, const ALIGN: usize, const GROWABLE: bool> MemoryPool<T, A, ALIGN, GROWABLE> {
    fn first_slot(chunk: NonNull<Chunk>) -> *mut u8 {
        chunk.as_ptr().cast::<u8>().wrapping_add(Self::HEAD)
    }

    /// The chunk that `address` lies in, and the offset from its first slot.
    fn find(&self, address: usize) -> Option<(NonNull<Chunk>, usize)> {
        self.chunks().find_map(|chunk| {
            // SAFETY: *chunks* of the pool.
            let slots = unsafe { chunk.as_ref() }.slots;
            let offset = address.wrapping_sub(Self::first_slot(chunk).addr());
            (offset < slots * Self::SLOT_SIZE).then_some((chunk, offset))
        })
    }

    /// Whether `address` lies in a slot.
    pub(super) fn holds(&self, address: usize) -> bool {
        self.find(address).is_some()
    }

    /// The byte of the slot at `offset` in a chunk. Only in debug builds.
    fn byte(chunk: NonNull<Chunk>, offset: usize) -> *mut u8 {
        // SAFETY: *chunks* of the pool.
        let slots = unsafe { chunk.as_ref() }.slots;
        Self::first_slot(chunk).wrapping_add(slots * Self::SLOT_SIZE + offset / Self::SLOT_SIZE)
    }

    /// Sets the bytes of a chunk: nothing is live.
    pub(super) fn clear_bytes(chunk: NonNull<Chunk>, slots: usize) {
        // SAFETY: *bytes*; none of them in a release build.
        unsafe { Self::byte(chunk, 0).write_bytes(0, slots * BYTES_A_SLOT) };
    }

    /// In debug builds, notes that the slot is live.
    #[inline]
    pub(super) fn note_taken(&self, slot: NonNull<u8>) {
        if cfg!(debug_assertions)
            && let Some((chunk, offset)) = self.find(slot.as_ptr().addr())
        {
            // SAFETY: *bytes*.
            unsafe { Self::byte(chunk, offset).write(1) };
        }
    }

    /// In debug builds, notes that the slot is free, and panics if it cannot be given back.
    #[inline]
    pub(super) fn note_given(&self, slot: NonNull<u8>) {
        if !cfg!(debug_assertions) {
            return;
        }
        let Some((chunk, offset)) = self.find(slot.as_ptr().addr()) else {
            panic!("the slot at {slot:p} was given back to a pool that it is not from");
        };
        let whole = offset.is_multiple_of(Self::SLOT_SIZE);
        assert!(whole, "the address {slot:p}, given back to a pool, is inside an object");
        // SAFETY: *bytes*.
        let was_live = unsafe { Self::byte(chunk, offset).replace(0) };
        assert!(was_live == 1, "the slot at {slot:p} was given back to its pool twice");
    }
}
