//! What a pool counts.

use core::sync::atomic::{AtomicU64, Ordering};

/// What an [`ObjectPool`](super::ObjectPool) has done. `private + shared + stolen + victims + made` are all gets, and
/// `kept + oversize + exiled + refused` all returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectPoolStats {
    /// Gets served by the private object of the CPU.
    pub private: u64,
    /// Gets served by the CPU's own queue.
    pub shared: u64,
    /// Gets served by another CPU.
    pub stolen: u64,
    /// Gets served by a victim, that is, by an object that the next age would have dropped.
    pub victims: u64,
    /// Gets for which an object was made.
    pub made: u64,
    /// Objects that came back and were kept.
    pub kept: u64,
    /// Objects that came back too big and were dropped.
    pub oversize: u64,
    /// Objects that were exiled.
    pub exiled: u64,
    /// Objects that came back and found no room.
    pub refused: u64,
    /// Victims that were dropped by an age.
    pub aged: u64,
}

/// Figures of one shard that its user alone changes.
#[derive(Default)]
pub(crate) struct ShardCounters {
    pub(crate) private: OwnCounter,
    pub(crate) shared: OwnCounter,
    pub(crate) kept: OwnCounter,
}

/// A counter with one writer at a time, whose increments are ordered by other means: two plain instructions.
#[derive(Default)]
pub(crate) struct OwnCounter(AtomicU64);

impl OwnCounter {
    pub(crate) fn count(&self) -> u64 {
        let count = self.get() + 1;
        self.0.store(count, Ordering::Relaxed);
        count
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Figures of the whole pool, for what is rare. All relaxed: they order nothing.
pub(crate) struct Counters {
    pub(crate) stolen: AtomicU64,
    pub(crate) victims: AtomicU64,
    pub(crate) made: AtomicU64,
    pub(crate) oversize: AtomicU64,
    pub(crate) exiled: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) aged: AtomicU64,
}

impl Counters {
    pub(crate) const fn new() -> Counters {
        Counters {
            stolen: AtomicU64::new(0),
            victims: AtomicU64::new(0),
            made: AtomicU64::new(0),
            oversize: AtomicU64::new(0),
            exiled: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            aged: AtomicU64::new(0),
        }
    }

    pub(crate) fn read<'s>(&self, shards: impl Iterator<Item = &'s ShardCounters>) -> ObjectPoolStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut stats = ObjectPoolStats {
            stolen: get(&self.stolen),
            victims: get(&self.victims),
            made: get(&self.made),
            oversize: get(&self.oversize),
            exiled: get(&self.exiled),
            refused: get(&self.refused),
            aged: get(&self.aged),
            ..ObjectPoolStats::default()
        };
        for shard in shards {
            stats.private += shard.private.get();
            stats.shared += shard.shared.get();
            stats.kept += shard.kept.get();
        }
        stats
    }
}

/// Counts one of what is rare.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
