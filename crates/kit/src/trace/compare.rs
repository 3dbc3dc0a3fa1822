//! One trace through every design: the five policies, the buddy system, slabs, bins.

use std::fmt;
use std::time::Duration;

use super::format::Trace;
use super::ground::Ground;
use super::replay::{Footprint, Replayed, replay, time};
use crate::bins::Bins;
use crate::buddy::Buddy;
use crate::slab::SlabHeap;
use crate::textbook::{BestFit, FirstFit, NextFit, Policy, SegregatedFit, Textbook, WorstFit};
use crate::{Alloc, AllocError};

impl<P: Policy, A: Alloc> Footprint for Textbook<P, A> {
    fn taken_bytes(&self) -> usize {
        Textbook::taken_bytes(self)
    }
}

impl<A: Alloc, const MIN: u32, const MAX: u32> Footprint for Buddy<A, MIN, MAX> {
    fn taken_bytes(&self) -> usize {
        crate::Capacity::used(self)
    }
}

impl<A: Alloc + Clone> Footprint for SlabHeap<A> {
    fn taken_bytes(&self) -> usize {
        SlabHeap::taken_bytes(self)
    }
}

impl<A: Alloc> Footprint for Bins<A> {
    fn taken_bytes(&self) -> usize {
        Bins::taken_bytes(self)
    }
}

/// What a design made of a trace.
#[derive(Clone, Debug)]
pub struct Row {
    /// The design.
    pub name: &'static str,
    /// The best time of some runs, if any were timed.
    pub time: Option<Duration>,
    /// Most bytes held from the system, in whole pages.
    pub peak_held: usize,
    /// What was measured on the way.
    pub replayed: Replayed,
}

/// All designs on one trace; its `Display` is a table.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What was recorded.
    pub title: String,
    /// Calls of the trace.
    pub calls: usize,
    /// A row for each design.
    pub rows: Vec<Row>,
}

/// How a comparison is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompareConfig {
    /// States noted of each replay, at regular intervals.
    pub samples: usize,
    /// Timed runs of each design; without any, the result is the same in every run.
    pub timed_runs: usize,
    /// Bytes of addresses for each design.
    pub ground: usize,
}

impl CompareConfig {
    /// 256 samples, no timed runs, a ground of 1 GiB.
    pub const DEFAULT: CompareConfig = CompareConfig { samples: 256, timed_runs: 0, ground: 1 << 30 };

    /// The same with so many timed runs.
    pub const fn timed_runs(self, timed_runs: usize) -> CompareConfig {
        CompareConfig { timed_runs, ..self }
    }

    /// The same with so many samples.
    pub const fn samples(self, samples: usize) -> CompareConfig {
        CompareConfig { samples, ..self }
    }
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn row<'g, A: Footprint>(
    trace: &Trace,
    config: CompareConfig,
    name: &'static str,
    ground: &'g Ground,
    make: impl Fn(&'g Ground) -> A,
) -> Row {
    let replayed = replay(trace, &make(ground), || ground.held(), config.samples);
    let peak_held = ground.peak();
    let time = (0..config.timed_runs).map(|_| time(trace, &make(ground))).min();
    Row { name, time, peak_held, replayed }
}

/// Runs a trace through first, next, best, worst and segregated fit, the buddy system, slabs and bins, each over a
/// ground of its own from which it takes 64 KiB at a time (the buddy system 128 KiB, slabs what each class needs).
///
/// # Errors
///
/// When the system has no addresses for the ground.
pub fn compare(trace: &Trace, config: CompareConfig) -> Result<Comparison, AllocError> {
    let grounds: Vec<Ground> = (0..8).map(|_| Ground::new(config.ground)).collect::<Result<_, _>>()?;
    let [first, next, best, worst, segregated, buddy, slab, bins] = grounds.as_slice() else {
        return Err(AllocError);
    };
    let rows = vec![
        row(trace, config, FirstFit::NAME, first, Textbook::<FirstFit, _>::new),
        row(trace, config, NextFit::NAME, next, Textbook::<NextFit, _>::new),
        row(trace, config, BestFit::NAME, best, Textbook::<BestFit, _>::new),
        row(trace, config, WorstFit::NAME, worst, Textbook::<WorstFit, _>::new),
        row(trace, config, SegregatedFit::NAME, segregated, Textbook::<SegregatedFit, _>::new),
        row(trace, config, "buddy", buddy, Buddy::<_, 4, 17>::new),
        row(trace, config, "slab", slab, SlabHeap::new),
        row(trace, config, "bins", bins, Bins::new),
    ];
    Ok(Comparison { title: trace.title.clone(), calls: trace.events().len(), rows })
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

impl fmt::Display for Comparison {
    /// A table: the time in milliseconds where it was measured; then, when most bytes were live, what was asked for
    /// and held in KiB and both kinds of fragmentation in hundredths; the peak of what was held; and the means of
    /// fragmentation over the run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timed = self.rows.iter().any(|row| row.time.is_some());
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "{} calls; KiB and % at the moment when most bytes are live, then over the whole run",
            self.calls
        )?;
        writeln!(f)?;
        let time = |text: &str| if timed { format!("{text:>9}") } else { String::new() };
        writeln!(
            f,
            "{:<15}{} {:>7} {:>7} {:>9} {:>9} {:>10} {:>10} {:>10} {:>8}",
            "",
            time("ms"),
            "asked",
            "held",
            "internal",
            "external",
            "peak held",
            "internal",
            "external",
            "refused"
        )?;
        for row in &self.rows {
            let fullest = &row.replayed.fullest;
            let ms = row.time.map_or(String::new(), |time| format!("{:.2}", time.as_secs_f64() * 1e3));
            writeln!(
                f,
                "{:<15}{} {:>7} {:>7} {:>9.1} {:>9.1} {:>10} {:>10.1} {:>10.1} {:>8}",
                row.name,
                time(&ms),
                kib(fullest.asked),
                kib(fullest.held),
                fullest.internal() * 100.0,
                fullest.external() * 100.0,
                kib(row.peak_held),
                row.replayed.mean_internal() * 100.0,
                row.replayed.mean_external() * 100.0,
                row.replayed.refused,
            )?;
        }
        Ok(())
    }
}
