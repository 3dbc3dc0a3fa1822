//! What is spent for a low peak: a part of the process's time.
//!
//! Free dirty pages that are too short for what is asked for, or lie amid what lives, serve nobody while the heap grows, and the peak is
//! higher by them. If as many go back whenever clean ones are taken, it is not; but then the same pages may be wanted a moment later, and each is
//! a fault. So what goes back for the peak's sake is paid for: the page heap has a credit of one part in [`PART`] of the time that the process has
//! run. A program that computes between its requests has a lean heap for it; one that does nothing but allocate soon has no credit.
//!
//! Nothing is spent where the peak is no higher for it: only who would make the pages in use or dirty more than there ever were gives back, or
//! more than a little above those in use. When the credit does not suffice the peak is higher by what was missing, and what
//! is below that is free from then on.

use freestone_base::PAGE_SHIFT;

use super::FIRST_LOOK;
use super::purge::{Breaking, SLICE};

/// One part in so many of the process's time may be spent.
const PART: u64 = 64;
/// What a page costs that goes back: the call, and the faults of those who touch it again.
const PAGE_NS: u64 = 3_000;
/// The most that may be saved up: 5,000 pages, which are 40 MiB.
const MOST_NS: u64 = 5_000 * PAGE_NS;
/// Of the pages in use, one in so many may be dirty besides, and
const SPARED_PART: usize = 64;
/// so many (256 KiB), before it is worth a call; fewer do not go back.
const LEAST: usize = (256 << 10) >> PAGE_SHIFT;
/// Where the credit does not suffice, the clock is not read again before there is one part in so many more in use or dirty.
const LATER_PART: usize = 64;

/// The credit, and what was reached. Guarded by the page heap's lock.
pub(super) struct Thrift {
    /// Pages in use or dirty up to which nothing is given back: the most that there were, or that could not be avoided; 1 MiB at least.
    high: usize,
    credit_ns: u64,
    /// How long the process had run when the credit was reckoned last.
    ran_ns: u64,
}

impl Thrift {
    pub(super) const fn new() -> Thrift {
        Thrift { high: FIRST_LOOK, credit_ns: 0, ran_ns: 0 }
    }

    /// Whether so many pages in use or dirty are more than there ever were.
    #[inline]
    pub(super) fn is_new(&self, footprint: usize) -> bool {
        footprint > self.high
    }

    /// How many dirty pages are to go where `used` are in use and `dirty` are dirty, more than ever; `ran_ns` tells how long the process
    /// has run, if that may be asked.
    #[cold]
    #[inline(never)]
    pub(super) fn excess(
        &mut self,
        used: usize,
        dirty: usize,
        ran_ns: impl FnOnce() -> Option<u64>,
    ) -> usize {
        let footprint = used + dirty;
        let tolerated = self.high.max(used + used / SPARED_PART + LEAST);
        if footprint <= tolerated {
            self.high = footprint;
            return 0;
        }
        let wanted = (footprint - tolerated).max(LEAST).min(dirty).min(SLICE);
        let price = wanted as u64 * PAGE_NS;
        if let Some(ran) = ran_ns() {
            self.earn(ran);
        }
        if self.credit_ns < price {
            self.high = footprint + footprint / LATER_PART;
            return 0;
        }
        self.credit_ns -= price;
        wanted
    }

    fn earn(&mut self, ran_ns: u64) {
        // A child of fork begins anew with what it has run.
        let more = ran_ns.saturating_sub(core::mem::replace(&mut self.ran_ns, ran_ns)) / PART;
        self.credit_ns = (self.credit_ns + more).min(MOST_NS);
    }
}

/// Pages that are to go back, and which huge pages may be broken for them.
pub(super) type Excess = (usize, Breaking);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_is_dirty_at_a_new_peak_goes_as_far_as_time_was_earned() {
        let mut thrift = Thrift::new();
        // A little is no matter, and asks for no clock.
        assert_eq!(thrift.excess(3_200, 50 + LEAST, || unreachable!()), 0);
        assert!(!thrift.is_new(3_250 + LEAST) && thrift.is_new(3_251 + LEAST));
        // Five milliseconds have earned 26 pages, which is too little for 150. From then on the peak is what it is.
        assert_eq!(thrift.excess(3_200, 200 + LEAST, || Some(5 * MS)), 0);
        assert!(!thrift.is_new(3_400 + LEAST));
        // Later on there is enough for these.
        assert_eq!(thrift.excess(4_000, 1_000, || Some(200 * MS)), 1_000 - 4_000 / SPARED_PART - LEAST);
        // It went back, so the peak is as it was. There is less credit now.
        assert!(thrift.is_new(5_000));
        assert_eq!(thrift.excess(4_000, 1_000, || Some(200 * MS)), 0);
        assert!(!thrift.is_new(5_000));
    }

    #[test]
    fn no_more_is_saved_up_than_for_a_while_and_a_child_begins_anew() {
        let mut thrift = Thrift::new();
        let most = (MOST_NS / PAGE_NS) as usize;
        // The caller shall not wait for all of it at once.
        assert_eq!(thrift.excess(100, most, || Some(3_600_000 * MS)), SLICE);
        assert_eq!(thrift.excess(100, most - SLICE, || Some(3_600_000 * MS)), SLICE);
        assert_eq!(thrift.excess(100, most - SLICE, || Some(3_600_000 * MS)), 0);
        // It has run for less than its parent.
        assert_eq!(thrift.excess(100, 2 * most, || Some(MS)), 0);
        // Where nobody may ask, nothing is earned.
        assert_eq!(thrift.excess(100, 3 * most, || None), 0);
    }
}
