//! What the page heap watches for, so that the scavenger need not look; and what can be known without its lock.
//!
//! Written under the page heap's lock, but for what is armed or set, and read at any time: a bell that rings late or once too
//! often costs a look.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Rings when spans have come and gone and batches have gone back so often, or when so many dirty pages wait.
pub(crate) struct Watch {
    /// Spans still to come or go, or batches to go back; 0 for any number.
    calls: AtomicU32,
    /// Dirty pages beyond which it rings.
    dirty: AtomicUsize,
    /// Pages in use or dirty beyond which it rings.
    footprint: AtomicUsize,
    /// Pages in use or dirty below which it rings.
    low: AtomicUsize,
    /// Pages in use or dirty beyond which it rings, and then again when there are a sixteenth more.
    growth: AtomicUsize,
    /// The most pages that may be in use or dirty.
    limit: AtomicUsize,
    /// Pages of the span freed last, while it is left as it is; else 0.
    recent: AtomicUsize,
    rung: AtomicBool,
    /// It rang for growth, and nobody has heard of that yet.
    grown: AtomicBool,
}

impl Watch {
    /// Rings once there is anything to speak of.
    pub(super) const fn new() -> Watch {
        Watch {
            calls: AtomicU32::new(FIRST_CALLS),
            dirty: AtomicUsize::new(FIRST_LOOK),
            footprint: AtomicUsize::new(usize::MAX),
            low: AtomicUsize::new(0),
            growth: AtomicUsize::new(FIRST_LOOK),
            limit: AtomicUsize::new(usize::MAX),
            recent: AtomicUsize::new(0),
            rung: AtomicBool::new(false),
            grown: AtomicBool::new(false),
        }
    }

    /// A span was taken or freed: so many pages are in use now, so many are dirty.
    #[inline(always)]
    pub(super) fn on_call(&self, used: usize, dirty: usize) {
        let calls = self.calls.load(Relaxed);
        self.calls.store(calls.saturating_sub(1), Relaxed);
        let footprint = used + dirty;
        let unusual = footprint > self.footprint.load(Relaxed) || footprint < self.low.load(Relaxed);
        if footprint > self.growth.load(Relaxed) {
            self.note_footprint(footprint);
            self.grown.store(true, Relaxed);
            self.rung.store(true, Relaxed);
        }
        if calls == 1 || dirty > self.dirty.load(Relaxed) || unusual {
            self.rung.store(true, Relaxed);
        }
    }

    /// Pages of the span freed last that waits for a request of its length, 0 if none does: for whoever would not lock in vain.
    #[inline]
    pub(super) fn recent(&self) -> usize {
        self.recent.load(Relaxed)
    }

    /// Notes that.
    #[inline]
    pub(super) fn set_recent(&self, pages: usize) {
        self.recent.store(pages, Relaxed);
    }

    /// From now on rings beyond so many pages in use or dirty, `usize::MAX` for never.
    pub(crate) fn arm_footprint(&self, pages: usize) {
        self.footprint.store(pages, Relaxed);
        self.low.store(0, Relaxed);
    }

    /// From now on rings no more for that but below `low` pages; whether it would have.
    pub(crate) fn disarm_footprint(&self, low: usize) -> bool {
        let armed = self.footprint.swap(usize::MAX, Relaxed) != usize::MAX;
        if armed {
            self.low.store(low, Relaxed);
        }
        armed
    }

    /// So many pages are in use or dirty: rings when there are a sixteenth more.
    pub(crate) fn note_footprint(&self, pages: usize) {
        self.growth.store(pages + (pages / 16).max(FIRST_LOOK), Relaxed);
    }

    /// Pages in use or dirty, by the mark that growth rings at: a sixteenth too many, or as many as there are before the first look.
    pub(crate) fn growth_mark(&self) -> usize {
        self.growth.load(Relaxed)
    }

    /// The most pages that may be in use or dirty; `usize::MAX` for any number.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Allows no more pages in use or dirty from now on.
    pub(crate) fn set_limit(&self, pages: usize) {
        self.limit.store(pages, Relaxed);
    }

    /// A batch of blocks went back to its slabs.
    #[inline]
    pub(crate) fn on_flush(&self) {
        let calls = self.calls.load(Relaxed);
        // A count that is lost between two threads is no matter.
        self.calls.store(calls.saturating_sub(1), Relaxed);
        if calls == 1 {
            self.rung.store(true, Relaxed);
        }
    }

    /// A class keeps much in transfer: rings, unless any number of dirty pages is no matter, as while the allocator's thread looks by itself now and then.
    pub(crate) fn on_stock(&self) {
        if self.dirty.load(Relaxed) != usize::MAX {
            self.rung.store(true, Relaxed);
        }
    }

    /// Rings at once.
    pub(super) fn ring(&self) {
        self.rung.store(true, Relaxed);
    }

    /// From now on rings after `calls` spans and batches (0: any number), or beyond `dirty` pages.
    pub(crate) fn arm(&self, calls: u32, dirty: usize) {
        self.calls.store(calls, Relaxed);
        self.dirty.store(dirty, Relaxed);
        self.rung.store(false, Relaxed);
    }

    /// Whether it rang for growth since the last [`take_growth`](Watch::take_growth).
    #[inline]
    pub(crate) fn has_grown(&self) -> bool {
        self.grown.load(Relaxed)
    }

    /// The same, asked once.
    pub(crate) fn take_growth(&self) -> bool {
        self.grown.swap(false, Relaxed)
    }

    /// Whether it rang since it was armed.
    #[inline]
    pub(crate) fn has_rung(&self) -> bool {
        self.rung.load(Relaxed)
    }
}

/// So many dirty pages (1 MiB) are no matter for the scavenger.
pub(crate) const FIRST_LOOK: usize = (1 << 20) >> freestone_base::PAGE_SHIFT;
/// So many spans and batches make a look worth it.
pub(crate) const FIRST_CALLS: u32 = 1024;
