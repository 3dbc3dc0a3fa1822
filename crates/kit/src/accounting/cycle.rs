//! Active defragmentation in slices of time.

use core::time::Duration;

use super::hints::{Fragmentation, MoveHints};
use super::mover::Mover;

/// A structure whose blocks can be moved, piece by piece.
pub trait Defrag<A: MoveHints> {
    /// Offers the blocks of one piece to the mover, some dozens at most, and returns where the next piece begins; none
    /// at the end. A scan begins at 0. Between two calls the structure may change; blocks that a scan misses wait for
    /// the next.
    fn defrag(&mut self, cursor: usize, mover: &mut Mover<'_, A>) -> Option<usize>;
}

/// Tells the time.
pub trait Clock {
    /// The time since some moment in the past.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[cfg(feature = "system")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(feature = "system")]
impl Clock for SystemClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(freestone_sys::linux::monotonic_ns())
    }
}

/// When to defragment, and how hard. The names and figures are those of Redis' configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefragConfig {
    /// Wasted bytes below which nothing is done (`active-defrag-ignore-bytes`).
    pub ignore_bytes: usize,
    /// Fragmentation in percent below which nothing is done (`active-defrag-threshold-lower`).
    pub threshold_lower: usize,
    /// Fragmentation in percent from which on the effort is the greatest (`active-defrag-threshold-upper`).
    pub threshold_upper: usize,
    /// Percent of the time spent at the lower threshold (`active-defrag-cycle-min`).
    pub effort_min: usize,
    /// Percent of the time spent at the upper threshold (`active-defrag-cycle-max`).
    pub effort_max: usize,
    /// How often a second [`tick`](Cycle::tick) is called (`hz`).
    pub hz: u32,
}

impl DefragConfig {
    /// Redis' figures.
    pub const DEFAULT: DefragConfig = DefragConfig {
        ignore_bytes: 100 << 20,
        threshold_lower: 10,
        threshold_upper: 100,
        effort_min: 1,
        effort_max: 25,
        hz: 10,
    };

    /// Percent of the time to be spent at such a fragmentation; none when it is not worth it.
    pub fn effort(&self, fragmentation: Fragmentation) -> Option<usize> {
        let percent = fragmentation.percent();
        if percent < self.threshold_lower || fragmentation.wasted() < self.ignore_bytes {
            return None;
        }
        let span = self.threshold_upper.saturating_sub(self.threshold_lower).max(1);
        let above = (percent - self.threshold_lower).min(span);
        let range = self.effort_max.saturating_sub(self.effort_min);
        Some(self.effort_min + range * above / span)
    }
}

impl Default for DefragConfig {
    fn default() -> DefragConfig {
        DefragConfig::DEFAULT
    }
}

/// What a [`Cycle`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefragStats {
    /// Scans that came to their end.
    pub scans: u64,
    /// Blocks that were looked at.
    pub scanned: u64,
    /// Blocks that were moved.
    pub moved: u64,
    /// Bytes that were moved.
    pub moved_bytes: u64,
    /// Time that was spent.
    pub time: Duration,
}

/// A scan under way.
#[derive(Clone, Copy, Debug)]
struct Scan {
    cursor: usize,
    /// The effort rises during a scan when fragmentation does, and never falls: a scan is to come to its end.
    effort: usize,
    moved: u64,
}

/// What a [`tick`](Cycle::tick) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing: memory is not fragmented enough, or the last scan could not help it.
    Idle,
    /// It worked, and is to go on at the next tick.
    Working {
        /// Percent of the time that it takes.
        effort: usize,
    },
    /// It has come to the end of the structure.
    Done,
}

/// The state of a defragmentation that is done bit by bit, between other work.
#[derive(Clone, Debug, Default)]
pub struct Cycle {
    config: DefragConfig,
    scan: Option<Scan>,
    /// How memory stood after a scan that moved nothing. Until that changes, another one is in vain.
    futile: Option<Fragmentation>,
    stats: DefragStats,
}

impl Cycle {
    /// One that has not begun.
    pub const fn new(config: DefragConfig) -> Cycle {
        let stats = DefragStats { scans: 0, scanned: 0, moved: 0, moved_bytes: 0, time: Duration::ZERO };
        Cycle { config, scan: None, futile: None, stats }
    }

    /// To be called `hz` times a second: begins a scan if memory is fragmented, and goes on with it for its share of
    /// the time. The share is exceeded by one piece of the structure at most.
    pub fn tick<A: MoveHints, D: Defrag<A> + ?Sized>(
        &mut self,
        alloc: &A,
        structure: &mut D,
        clock: &impl Clock,
    ) -> Tick {
        let now = alloc.fragmentation();
        let wanted = self.config.effort(now);
        let mut scan = match (self.scan, wanted) {
            (Some(scan), wanted) => Scan { effort: scan.effort.max(wanted.unwrap_or(0)), ..scan },
            (None, Some(effort)) if self.futile != Some(now) => Scan { cursor: 0, effort, moved: 0 },
            _ => return Tick::Idle,
        };
        let begun = clock.now();
        let share = Duration::from_secs(1) * scan.effort as u32 / (100 * self.config.hz.max(1));
        let mut mover = Mover::new(alloc);
        let ended = loop {
            match structure.defrag(scan.cursor, &mut mover) {
                Some(cursor) => scan.cursor = cursor,
                None => break true,
            }
            if clock.now().saturating_sub(begun) >= share {
                break false;
            }
        };
        scan.moved += mover.moved;
        self.stats.scanned += mover.scanned;
        self.stats.moved += mover.moved;
        self.stats.moved_bytes += mover.moved_bytes;
        self.stats.time += clock.now().saturating_sub(begun);
        if !ended {
            self.scan = Some(scan);
            return Tick::Working { effort: scan.effort };
        }
        self.stats.scans += 1;
        self.scan = None;
        self.futile = (scan.moved == 0).then(|| alloc.fragmentation());
        Tick::Done
    }

    /// What it has done so far.
    pub fn stats(&self) -> DefragStats {
        self.stats
    }
}
