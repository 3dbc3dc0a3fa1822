//! A histogram of durations: steps of 3 %, from an eighth of a nanosecond to minutes.
//!
//! Log-linear, as Tene's HdrHistogram is: 32 equal steps to a doubling. The unit is the same for every run, so
//! histograms of several runs can be added.

use serde::{Deserialize, Serialize};

/// Units in a nanosecond.
pub const UNITS_PER_NS: f64 = 8.0;
/// Steps to a doubling, as a power of two.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Durations from this power of two of units on (2.3 minutes) are counted as that.
const MAX_BITS: u32 = 40;
/// Number of buckets.
pub const BUCKETS: usize = (MAX_BITS - STEP_BITS + 1) as usize * STEPS;

/// The bucket of a duration in units. O(1).
#[inline]
pub fn bucket_of(units: u64) -> usize {
    let units = units.min((1 << MAX_BITS) - 1);
    if units < STEPS as u64 {
        return units as usize;
    }
    let shift = 63 - units.leading_zeros() - STEP_BITS;
    ((shift as usize) << STEP_BITS) + (units >> shift) as usize
}

/// The longest duration, in units, that falls into a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = (bucket >> STEP_BITS) - 1;
    let step = (bucket - (shift << STEP_BITS)) as u64;
    ((step + 1) << shift) - 1
}

/// How often a call took how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Calls counted.
    pub count: u64,
    /// The longest, in ns.
    pub worst_ns: f64,
    /// (bucket, calls), ascending, those that are not empty.
    pub buckets: Vec<(u32, u64)>,
}

impl Histogram {
    /// From the counts of all buckets and the longest duration in units.
    pub fn from_counts(counts: impl Iterator<Item = u64>, worst: u64) -> Histogram {
        let buckets: Vec<_> =
            counts.enumerate().filter(|&(_, n)| n > 0).map(|(bucket, n)| (bucket as u32, n)).collect();
        let count = buckets.iter().map(|&(_, n)| n).sum();
        Histogram { count, worst_ns: worst as f64 / UNITS_PER_NS, buckets }
    }

    /// The duration in ns that a share `p` (0 to 1) of the calls did not exceed; 0 when there are none.
    ///
    /// ```
    /// use freestone_bench::Histogram;
    /// let h = Histogram::from_counts([0, 0, 0, 0, 0, 0, 0, 0, 99, 1].into_iter(), 9);
    /// assert_eq!(h.percentile(0.5), 1.0);
    /// ```
    pub fn percentile(&self, p: f64) -> f64 {
        let rank = ((self.count as f64 * p).ceil() as u64).max(1);
        let mut seen = 0;
        for &(bucket, n) in &self.buckets {
            seen += n;
            if seen >= rank {
                return (upper(bucket as usize) as f64 / UNITS_PER_NS).min(self.worst_ns);
            }
        }
        self.worst_ns
    }

    /// Adds the calls of another histogram. O(buckets).
    pub fn add(&mut self, other: &Histogram) {
        let mut all = std::collections::BTreeMap::new();
        for &(bucket, n) in self.buckets.iter().chain(&other.buckets) {
            *all.entry(bucket).or_insert(0) += n;
        }
        self.buckets = all.into_iter().collect();
        self.count += other.count;
        self.worst_ns = self.worst_ns.max(other.worst_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(upper(bucket)), bucket);
            assert_eq!(bucket_of(upper(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_count_calls() {
        let mut counts = vec![0; BUCKETS];
        counts[bucket_of(80)] = 999;
        counts[bucket_of(8_000)] = 1;
        let h = Histogram::from_counts(counts.into_iter(), 8_000);
        assert_eq!(h.count, 1000);
        assert!((10.0..10.4).contains(&h.percentile(0.5)));
        assert_eq!(h.percentile(0.999), h.percentile(0.5));
        assert_eq!(h.percentile(1.0), 1000.0);
    }

    #[test]
    fn adding_keeps_all_calls() {
        let mut a = Histogram::from_counts([1, 0, 2].into_iter(), 2);
        a.add(&Histogram::from_counts([0, 3, 1].into_iter(), 2));
        assert_eq!(a.buckets, [(0, 1), (1, 3), (2, 3)]);
        assert_eq!(a.count, 7);
    }

    #[test]
    fn none_is_zero() {
        assert_eq!(Histogram::default().percentile(0.5), 0.0);
    }
}
