//! The counters behind [`Stats`](crate::Stats) of an allocator that one thread uses at a time.

use core::cell::Cell;

use crate::AllocStats;

/// Counters that need no exclusive borrow.
#[derive(Default)]
pub(crate) struct Tally {
    total_blocks: Cell<u64>,
    total_bytes: Cell<u64>,
    /// What is live is what is in the totals and not in these: so an allocation counts up two figures, a free two others.
    /// Never more than the totals.
    gone_blocks: Cell<u64>,
    gone_bytes: Cell<u64>,
    peak_bytes: Cell<u64>,
    refused: Cell<u64>,
}

#[inline]
fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

/// Counts up what is gone, at most to what came.
#[inline]
fn leave(gone: &Cell<u64>, less: u64, total: &Cell<u64>) {
    gone.set((gone.get() + less).min(total.get()));
}

impl Tally {
    pub(crate) const fn new() -> Tally {
        Tally {
            total_blocks: Cell::new(0),
            total_bytes: Cell::new(0),
            gone_blocks: Cell::new(0),
            gone_bytes: Cell::new(0),
            peak_bytes: Cell::new(0),
            refused: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn allocated(&self, bytes: usize) {
        add(&self.total_blocks, 1);
        self.gained(bytes);
    }

    #[inline]
    fn gained(&self, bytes: usize) {
        add(&self.total_bytes, bytes as u64);
        let live = self.total_bytes.get() - self.gone_bytes.get();
        if live > self.peak_bytes.get() {
            self.peak_bytes.set(live);
        }
    }

    /// A block was freed. Its layout may be larger than the one of its allocation, so more bytes might be gone than came.
    #[inline]
    pub(crate) fn freed(&self, bytes: usize) {
        leave(&self.gone_blocks, 1, &self.total_blocks);
        leave(&self.gone_bytes, bytes as u64, &self.total_bytes);
    }

    #[inline]
    pub(crate) fn resized(&self, old: usize, new: usize) {
        if new >= old {
            self.gained(new - old);
        } else {
            leave(&self.gone_bytes, (old - new) as u64, &self.total_bytes);
        }
    }

    #[inline]
    pub(crate) fn refused(&self) {
        add(&self.refused, 1);
    }

    /// All blocks are gone at once.
    #[inline]
    pub(crate) fn reset(&self) {
        self.gone_blocks.set(self.total_blocks.get());
        self.gone_bytes.set(self.total_bytes.get());
    }

    #[inline]
    pub(crate) fn stats(&self, held_bytes: usize) -> AllocStats {
        AllocStats {
            live_blocks: (self.total_blocks.get() - self.gone_blocks.get()) as usize,
            live_bytes: (self.total_bytes.get() - self.gone_bytes.get()) as usize,
            peak_bytes: self.peak_bytes.get() as usize,
            total_blocks: self.total_blocks.get(),
            total_bytes: self.total_bytes.get(),
            refused: self.refused.get(),
            held_bytes,
        }
    }
}
