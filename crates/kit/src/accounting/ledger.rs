//! How many bytes are in use, exact over all threads, and no more than a limit.
//!
//! ```text
//!   reserved   = bytes in use + all that is spare        never above the limit
//!   spare[i]   = bytes reserved that threads of shard i may use without looking at `reserved`
//! ```
//!
//! A charge takes from the shard's spare bytes; when they do not do, it reserves what is missing and a batch beyond.
//! When the limit does not allow that, everybody's spare bytes are called in first, so a charge is refused for want of
//! bytes, never because they lie in the wrong place.
//!
//! Each figure is changed by whole read-modify-writes. Nothing else is ordered by them, so all are relaxed.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Shards of the spare bytes, so that threads seldom share a line. A model checker has time for two.
pub(crate) const SHARDS: usize = if cfg!(loom) { 2 } else { 16 };

/// Bytes reserved ahead.
pub(crate) const BATCH: usize = if cfg!(loom) { 2 } else { 16 << 10 };

#[repr(align(128))]
struct Shard {
    spare: AtomicUsize,
}

/// Counts bytes.
pub(crate) struct Ledger {
    limit: AtomicUsize,
    reserved: AtomicUsize,
    most_reserved: AtomicUsize,
    shards: [Shard; SHARDS],
}

impl Ledger {
    pub(crate) const fn new(limit: usize) -> Ledger {
        Ledger {
            limit: AtomicUsize::new(limit),
            reserved: AtomicUsize::new(0),
            most_reserved: AtomicUsize::new(0),
            shards: [const { Shard { spare: AtomicUsize::new(0) } }; SHARDS],
        }
    }

    fn spare(&self, shard: usize) -> &AtomicUsize {
        &self.shards[shard % SHARDS].spare
    }

    /// Counts bytes as in use. `false`, and nothing is counted, when that is beyond the limit.
    pub(crate) fn charge(&self, shard: usize, bytes: usize) -> bool {
        let own = self.spare(shard);
        let mut spare = own.load(Ordering::Relaxed);
        while spare >= bytes {
            match own.compare_exchange_weak(spare, spare - bytes, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => spare = now,
            }
        }
        self.charge_slow(own, bytes)
    }

    #[cold]
    fn charge_slow(&self, own: &AtomicUsize, bytes: usize) -> bool {
        if bytes.checked_add(BATCH).is_some_and(|more| self.reserve(more)) {
            own.fetch_add(BATCH, Ordering::Relaxed);
            return true;
        }
        loop {
            if self.reserve(bytes) {
                return true;
            }
            if self.call_in() == 0 {
                return false;
            }
        }
    }

    /// Counts bytes as in use, also beyond the limit.
    pub(crate) fn charge_anyway(&self, bytes: usize) {
        if bytes > 0 {
            let reserved = self.reserved.fetch_add(bytes, Ordering::Relaxed);
            self.note(reserved + bytes);
        }
    }

    fn reserve(&self, bytes: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut reserved = self.reserved.load(Ordering::Relaxed);
        loop {
            let Some(more) = reserved.checked_add(bytes).filter(|&more| more <= limit) else { return false };
            match self.reserved.compare_exchange_weak(reserved, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.note(more);
                    return true;
                }
                Err(now) => reserved = now,
            }
        }
    }

    fn note(&self, reserved: usize) {
        let mut most = self.most_reserved.load(Ordering::Relaxed);
        while most < reserved {
            match self.most_reserved.compare_exchange_weak(
                most,
                reserved,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => most = now,
            }
        }
    }

    /// Takes everybody's spare bytes back, and tells how many they were.
    fn call_in(&self) -> usize {
        let called: usize = self.shards.iter().map(|shard| shard.spare.swap(0, Ordering::Relaxed)).sum();
        self.reserved.fetch_sub(called, Ordering::Relaxed);
        called
    }

    /// Counts bytes as not in use any more.
    pub(crate) fn release(&self, shard: usize, bytes: usize) {
        // Under a limit that was lowered nothing is kept to be used again. Both are on one line, which changes once a batch.
        if self.reserved.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed) {
            self.reserved.fetch_sub(bytes, Ordering::Relaxed);
            return;
        }
        let own = self.spare(shard);
        let spare = own.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if spare > 2 * BATCH
            && own.compare_exchange(spare, BATCH, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.reserved.fetch_sub(spare - BATCH, Ordering::Relaxed);
        }
    }

    /// Bytes in use. Exact when no other thread is at work; else what some moment in between may have shown.
    pub(crate) fn used(&self) -> usize {
        let spare: usize = self.shards.iter().map(|shard| shard.spare.load(Ordering::Relaxed)).sum();
        self.reserved.load(Ordering::Relaxed).saturating_sub(spare)
    }

    /// The most bytes that ever were in use, or up to `SHARDS * 2 * BATCH` more.
    pub(crate) fn peak(&self) -> usize {
        self.most_reserved.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes in use may be above a new limit; then nothing is granted until they are below.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        if self.reserved.load(Ordering::Relaxed) > limit {
            self.call_in();
        }
    }
}
