//! What a heap counts.

use core::time::Duration;

/// What a heap did, and what it holds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GcStats {
    /// Collections that were finished, of the young objects alone included.
    pub collections: u64,
    /// Of these, collections of the young objects alone.
    pub young_collections: u64,
    /// Bytes that were live after the last collection, headers and rounding included.
    pub live_bytes: usize,
    /// Bytes allocated since the heap began. Exact after a collection; between two, a run or a chunk may count that is not filled yet.
    pub allocated_bytes: u64,
    /// Bytes held from the parent.
    pub held_bytes: usize,
    /// Bytes copied or moved since the heap began.
    pub moved_bytes: u64,
    /// Of these, bytes that became old.
    pub promoted_bytes: u64,
    /// Objects whose destructor ran.
    pub dropped: u64,
    /// Destructors and `trace` functions that panicked.
    pub panics: u64,
    /// The most work of one slice (incremental): objects that were followed (a part of a long array counts as 32), spans and large
    /// objects that were looked at to be swept. What cannot be cut is not in it.
    pub longest_slice: u64,
    /// How long the program waited, by the wall clock: what others took of the CPU meanwhile is in it.
    pub pauses: Pauses,
}

/// How long the program waited, by powers of two.
#[derive(Clone, Debug)]
pub struct Pauses {
    /// Pauses of at least 2^n and less than 2^(n+1) nanoseconds.
    pub histogram: [u32; 40],
    /// The longest.
    pub longest: Duration,
    /// All together.
    pub total: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { histogram: [0; 40], longest: Duration::ZERO, total: Duration::ZERO }
    }
}

impl Pauses {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.histogram.iter().map(|&pauses| u64::from(pauses)).sum()
    }

    /// A bound that so many per mille of the pauses keep: the next power of two, or the longest.
    pub fn quantile(&self, per_mille: u32) -> Duration {
        let wanted = (self.count() * u64::from(per_mille)).div_ceil(1000);
        let mut seen = 0;
        for (power, &pauses) in self.histogram.iter().enumerate() {
            seen += u64::from(pauses);
            if seen >= wanted {
                return Duration::from_nanos(2 << power).min(self.longest);
            }
        }
        self.longest
    }

    pub(crate) fn add(&mut self, pause: Duration) {
        let nanos = pause.as_nanos().max(1);
        self.histogram[(nanos.ilog2() as usize).min(39)] += 1;
        self.longest = self.longest.max(pause);
        self.total += pause;
    }
}
