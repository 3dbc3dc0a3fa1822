//! What the page heap watches for, so that the scavenger need not look.
//!
//! Written under the page heap's lock, but for [`Watch::arm`], and read at any time: a bell that rings late or once too
//! often costs a look.

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Rings when spans have come and gone so often, or when so many dirty pages wait.
pub(crate) struct Watch {
    /// Spans still to come or go; 0 for any number.
    calls: AtomicU32,
    /// Dirty pages beyond which it rings.
    dirty: AtomicUsize,
    rung: AtomicBool,
}

impl Watch {
    /// Rings once there is anything to speak of.
    pub(super) const fn new() -> Watch {
        Watch { calls: AtomicU32::new(0), dirty: AtomicUsize::new(FIRST_LOOK), rung: AtomicBool::new(false) }
    }

    /// A span was taken or freed, and so many dirty pages wait.
    #[inline]
    pub(super) fn on_call(&self, dirty: usize) {
        let calls = self.calls.load(Relaxed);
        self.calls.store(calls.saturating_sub(1), Relaxed);
        if calls == 1 || dirty > self.dirty.load(Relaxed) {
            self.rung.store(true, Relaxed);
        }
    }

    /// From now on rings after `calls` spans (0: any number), or beyond `dirty` pages.
    pub(crate) fn arm(&self, calls: u32, dirty: usize) {
        self.calls.store(calls, Relaxed);
        self.dirty.store(dirty, Relaxed);
        self.rung.store(false, Relaxed);
    }

    /// Whether it rang since it was armed.
    #[inline]
    pub(crate) fn has_rung(&self) -> bool {
        self.rung.load(Relaxed)
    }
}

/// So many dirty pages (1 MiB) are no matter for the scavenger.
pub(crate) const FIRST_LOOK: usize = (1 << 20) >> freestone_base::PAGE_SHIFT;
