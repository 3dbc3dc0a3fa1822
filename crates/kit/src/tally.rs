//! The counters behind [`Stats`](crate::Stats) of an allocator that one thread uses at a time.

use core::cell::Cell;

use crate::AllocStats;

/// Counters that need no exclusive borrow.
#[derive(Default)]
pub(crate) struct Tally {
    live_blocks: Cell<usize>,
    live_bytes: Cell<usize>,
    peak_bytes: Cell<usize>,
    total_blocks: Cell<u64>,
    total_bytes: Cell<u64>,
    refused: Cell<u64>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get().wrapping_add(more));
}

impl Tally {
    pub(crate) const fn new() -> Tally {
        Tally {
            live_blocks: Cell::new(0),
            live_bytes: Cell::new(0),
            peak_bytes: Cell::new(0),
            total_blocks: Cell::new(0),
            total_bytes: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn allocated(&self, bytes: usize) {
        self.live_blocks.set(self.live_blocks.get() + 1);
        add(&self.total_blocks, 1);
        self.gained(bytes);
    }

    #[inline]
    fn gained(&self, bytes: usize) {
        self.live_bytes.set(self.live_bytes.get() + bytes);
        self.peak_bytes.set(self.peak_bytes.get().max(self.live_bytes.get()));
        add(&self.total_bytes, bytes as u64);
    }

    /// A block was freed. Its layout may be larger than the one of its allocation, hence no strict subtraction.
    #[inline]
    pub(crate) fn freed(&self, bytes: usize) {
        self.live_blocks.set(self.live_blocks.get().saturating_sub(1));
        self.live_bytes.set(self.live_bytes.get().saturating_sub(bytes));
    }

    #[inline]
    pub(crate) fn resized(&self, old: usize, new: usize) {
        if new >= old {
            self.gained(new - old);
        } else {
            self.live_bytes.set(self.live_bytes.get().saturating_sub(old - new));
        }
    }

    #[inline]
    pub(crate) fn refused(&self) {
        add(&self.refused, 1);
    }

    /// All blocks are gone at once.
    #[inline]
    pub(crate) fn reset(&self) {
        self.live_blocks.set(0);
        self.live_bytes.set(0);
    }

    #[inline]
    pub(crate) fn stats(&self, held_bytes: usize) -> AllocStats {
        AllocStats {
            live_blocks: self.live_blocks.get(),
            live_bytes: self.live_bytes.get(),
            peak_bytes: self.peak_bytes.get(),
            total_blocks: self.total_blocks.get(),
            total_bytes: self.total_bytes.get(),
            refused: self.refused.get(),
            held_bytes,
        }
    }
}
