//! The emergency allocator: lock-free, for threads that are inside the allocator already.
//!
//! A few chunks, each with one word of state: blocks live and the bump offset. An allocation adds to both in
//! one exchange; when the last live block of a chunk is freed, the same exchange sets the offset back to
//! zero. The single word leaves nothing half done for anybody to see, in whatever order threads and handlers
//! interleave, and its two halves always change together, so the exchange cannot confuse two states (ABA is harmless:
//! an equal word means an equal state).
//!
//! # Safety
//!
//! - E1: a chunk's address and length are fixed once its length is neither 0 nor [`CLAIMED`]; chunks are never unmapped.
//! - E2: bytes below the bump offset belong to blocks that were handed out since the offset last was zero.
//! - E3: each block is preceded by a header of 16 bytes that holds the requested size.
#![allow(unsafe_code)]

use core::ptr::null_mut;

use freestone_sys::System;

use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

const CHUNKS: usize = 32;
const CHUNK: usize = 1 << 20;
const GRANULE: usize = 16;
const HEADER: usize = 16;

struct Chunk {
    base: AtomicPtr<u8>,
    len: AtomicUsize,
    /// Live blocks in the high half, bump offset in granules in the low half.
    state: AtomicU64,
}

impl Chunk {
    const fn new() -> Chunk {
        Chunk { base: AtomicPtr::new(null_mut()), len: AtomicUsize::new(0), state: AtomicU64::new(0) }
    }
}

/// All chunks; a type of its own so that a model checker can have many small ones.
pub(crate) struct Pool<const N: usize> {
    chunks: [Chunk; N],
}

static POOL: Pool<CHUNKS> = Pool::new();

/// Marks a chunk that somebody is setting up.
const CLAIMED: usize = 1;
const ONE_LIVE: u64 = 1 << 32;
const OFFSET_MASK: u64 = ONE_LIVE - 1;
/// The longest chunk whose every offset fits the low half of the state.
const CHUNK_MAX: usize = OFFSET_MASK as usize * GRANULE;

/// Allocates; null when memory is refused or all chunks are taken. Lock-free, O(chunks).
pub(crate) fn alloc(system: &impl System, size: usize, align: usize) -> *mut u8 {
    POOL.alloc(system, size, align)
}

impl<const N: usize> Pool<N> {
    pub(crate) const fn new() -> Pool<N> {
        Pool { chunks: [const { Chunk::new() }; N] }
    }

    /// For the model checker, whose atomics are made on their first use: makes all.
    #[cfg(loom)]
    pub(crate) fn touch(&self) {
        for chunk in &self.chunks {
            chunk.base.load(Ordering::Relaxed);
            chunk.len.load(Ordering::Relaxed);
            chunk.state.load(Ordering::Relaxed);
        }
    }

    /// As the function [`alloc`].
    pub(crate) fn alloc(&self, system: &impl System, size: usize, align: usize) -> *mut u8 {
        // A block of its own address even for nothing: one at a chunk's end would not be found again.
        let size = size.max(1);
        let need = size.checked_add(HEADER + align.max(GRANULE));
        let Some(need) = need.filter(|&need| need <= CHUNK_MAX / 2) else { return null_mut() };
        for (number, chunk) in self.chunks.iter().enumerate() {
            let len = match chunk.len.load(Ordering::Acquire) {
                0 => match set_up(system, chunk, need.max(CHUNK << (number / 2))) {
                    Some(len) => len,
                    None => continue,
                },
                CLAIMED => continue,
                len => len,
            };
            if let Some(block) = chunk.bump(len, size, align.max(GRANULE)) {
                return block;
            }
        }
        null_mut()
    }

    fn find(&self, block: *mut u8) -> Option<&Chunk> {
        self.chunks.iter().find(|chunk| {
            let len = chunk.len.load(Ordering::Acquire);
            len > CLAIMED && block.addr().wrapping_sub(chunk.base.load(Ordering::Relaxed).addr()) < len
        })
    }

    /// As the function [`free`].
    pub(crate) fn free(&self, block: *mut u8) -> bool {
        self.find(block).is_some_and(Chunk::release)
    }
}

fn set_up(system: &impl System, chunk: &Chunk, need: usize) -> Option<usize> {
    if chunk.len.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_err() {
        return None;
    }
    let len = need.next_multiple_of(system.os_page_size());
    match system.map(len) {
        Ok(base) => {
            chunk.base.store(core::ptr::with_exposed_provenance_mut(base), Ordering::Relaxed);
            // Release: whoever reads the length reads the base (Acquire in `alloc` and `find`).
            chunk.len.store(len, Ordering::Release);
            Some(len)
        }
        Err(_) => {
            chunk.len.store(0, Ordering::Relaxed);
            None
        }
    }
}

impl Chunk {
    fn bump(&self, len: usize, size: usize, align: usize) -> Option<*mut u8> {
        let base = self.base.load(Ordering::Relaxed);
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let free_from = base.addr() + (state & OFFSET_MASK) as usize * GRANULE;
            let block = (free_from + HEADER).next_multiple_of(align);
            let end = block.checked_add(size)?.next_multiple_of(GRANULE) - base.addr();
            if end > len {
                return None;
            }
            let next = ((state & !OFFSET_MASK) + ONE_LIVE) | (end / GRANULE) as u64;
            // Acquire pairs with the Release of the free that emptied the chunk: its bytes are ours now.
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    let block = base.with_addr(block);
                    let header = block.wrapping_sub(HEADER).cast::<usize>();
                    // SAFETY: E2, the exchange gave us these bytes, header included; aligned to 16.
                    unsafe { header.write(size) };
                    return Some(block);
                }
                Err(now) => state = now,
            }
        }
    }

    /// Counts one live block less; false when there is none.
    fn release(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state < ONE_LIVE {
                return false;
            }
            let next = if state < 2 * ONE_LIVE { 0 } else { state - ONE_LIVE };
            // Release: our use of the block ends before another's begins (Acquire in `bump`).
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
    }
}

/// Whether the emergency allocator handed out `block`. O(chunks).
pub(crate) fn owns(block: *mut u8) -> bool {
    POOL.find(block).is_some()
}

/// The size that was asked for. `block` is a live block of the emergency allocator.
pub(crate) fn size_of_block(block: *mut u8) -> usize {
    let header = block.wrapping_sub(HEADER).cast::<usize>();
    // SAFETY: E3.
    unsafe { header.read() }
}

/// Frees a block; false when it is none of ours. Lock-free, O(chunks).
pub(crate) fn free(block: *mut u8) -> bool {
    POOL.free(block)
}

/// The chunks, from a start to an end each.
pub(crate) fn ranges() -> impl Iterator<Item = (usize, usize)> {
    POOL.chunks.iter().filter_map(|chunk| {
        let len = chunk.len.load(Ordering::Acquire);
        let start = chunk.base.load(Ordering::Relaxed).addr();
        (len > CLAIMED).then_some((start, start + len))
    })
}

/// Bytes mapped for the emergency allocator.
pub(crate) fn mapped_bytes() -> usize {
    POOL.chunks.iter().map(|chunk| chunk.len.load(Ordering::Relaxed)).filter(|&len| len > CLAIMED).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_sys::linux::Linux;

    #[test]
    fn blocks_are_apart_aligned_and_recycled() {
        let system = Linux::new();
        let mut live = Vec::new();
        for n in 0..200usize {
            let align = 1 << (n % 9);
            let block = alloc(&system, n, align);
            assert!(!block.is_null() && block.addr() % align == 0 && owns(block));
            assert_eq!(size_of_block(block), n.max(1));
            live.push((block.addr(), n));
        }
        live.sort_unstable();
        assert!(live.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        let first = live[0].0;
        for (block, _) in live {
            assert!(free(core::ptr::with_exposed_provenance_mut(block)));
        }
        let again = alloc(&system, 8, 8);
        assert!(again.addr() <= first, "an emptied chunk starts anew");
        assert!(free(again));
        assert!(!free(core::ptr::from_ref(&first).cast_mut().cast()));
        assert!(mapped_bytes() >= CHUNK);
    }
}
