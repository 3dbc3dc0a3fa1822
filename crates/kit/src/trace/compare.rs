//! One trace through every design: the five policies, the buddy system, slabs, bins.

use std::fmt;
use std::time::Duration;

use super::format::{Event, Trace};
use super::ground::Ground;
use super::moment::Moment;
use super::replay::{Footprint, Replayed, replay_seen, time};
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
    /// The memory at regular intervals, if that was asked for.
    pub moments: Vec<Moment>,
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
    /// Moments of each replay at which the use of every page is noted; O(live blocks) each.
    pub moments: usize,
}

impl CompareConfig {
    /// 256 samples, no timed runs, a ground of 1 GiB, no moments.
    pub const DEFAULT: CompareConfig =
        CompareConfig { samples: 256, timed_runs: 0, ground: 1 << 30, moments: 0 };

    /// The same with so many timed runs.
    pub const fn timed_runs(self, timed_runs: usize) -> CompareConfig {
        CompareConfig { timed_runs, ..self }
    }

    /// The same with so many moments.
    pub const fn moments(self, moments: usize) -> CompareConfig {
        CompareConfig { moments, ..self }
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

/// What the designs are called, in the order in which they are compared.
pub const DESIGNS: [&str; 8] = [
    FirstFit::NAME,
    NextFit::NAME,
    BestFit::NAME,
    WorstFit::NAME,
    SegregatedFit::NAME,
    "buddy",
    "slab",
    "bins",
];

fn row<'g, A: Footprint>(
    trace: &Trace,
    config: CompareConfig,
    name: &'static str,
    ground: &'g Ground,
    make: impl Fn(&'g Ground) -> A,
) -> Row {
    let mut moments = Vec::new();
    let seen = |sample, live: super::replay::Live| moments.push(Moment::of(ground, sample, live));
    let replayed = replay_seen(trace, &make(ground), || ground.held(), config.samples, config.moments, seen);
    let peak_held = ground.peak();
    let time = (0..config.timed_runs).map(|_| time(trace, &make(ground))).min();
    Row { name, time, peak_held, replayed, moments }
}

/// A buddy system whose largest block holds the largest that the trace asks for, up to 64 MiB.
fn buddy(trace: &Trace, config: CompareConfig, name: &'static str, ground: &Ground) -> Row {
    let largest = trace.events().iter().map(|event| match *event {
        Event::Allocate { size, .. } | Event::Resize { size, .. } => size,
        Event::Free { .. } => 0,
    });
    match largest.max().unwrap_or(0) {
        0..=0x2_0000 => row(trace, config, name, ground, Buddy::<_, 4, 17>::new),
        0x2_0001..=0x10_0000 => row(trace, config, name, ground, Buddy::<_, 4, 20>::new),
        0x10_0001..=0x80_0000 => row(trace, config, name, ground, Buddy::<_, 4, 23>::new),
        _ => row(trace, config, name, ground, Buddy::<_, 4, 26>::new),
    }
}

/// Runs a trace through first, next, best, worst and segregated fit, the buddy system, slabs and bins, each over a
/// ground of its own from which it takes 64 KiB at a time (the buddy system 128 KiB, or as much as the largest
/// request needs, slabs what each class needs).
///
/// # Errors
///
/// When the system has no addresses for the ground.
pub fn compare(trace: &Trace, config: CompareConfig) -> Result<Comparison, AllocError> {
    compare_some(trace, config, &DESIGNS)
}

/// The same for some of the [`DESIGNS`], in their order; names that are none are passed over.
///
/// # Errors
///
/// As [`compare`].
///
/// ```
/// use freestone_kit::trace::{CompareConfig, compare_some, workloads};
///
/// let config = CompareConfig::DEFAULT.moments(10);
/// let comparison = compare_some(&workloads::by_name("survivors").unwrap(), config, &["slab", "first fit"])?;
/// let names: Vec<&str> = comparison.rows.iter().map(|row| row.name).collect();
/// assert_eq!(names, ["first fit", "slab"]);
/// assert_eq!(comparison.rows[0].moments.len(), 10);
/// # Ok::<(), freestone_kit::AllocError>(())
/// ```
pub fn compare_some(trace: &Trace, config: CompareConfig, wanted: &[&str]) -> Result<Comparison, AllocError> {
    let mut rows = Vec::new();
    for name in DESIGNS.into_iter().filter(|name| wanted.contains(name)) {
        let ground = &Ground::new(config.ground)?;
        rows.push(match name {
            FirstFit::NAME => row(trace, config, name, ground, Textbook::<FirstFit, _>::new),
            NextFit::NAME => row(trace, config, name, ground, Textbook::<NextFit, _>::new),
            BestFit::NAME => row(trace, config, name, ground, Textbook::<BestFit, _>::new),
            WorstFit::NAME => row(trace, config, name, ground, Textbook::<WorstFit, _>::new),
            SegregatedFit::NAME => row(trace, config, name, ground, Textbook::<SegregatedFit, _>::new),
            "buddy" => buddy(trace, config, name, ground),
            "slab" => row(trace, config, name, ground, SlabHeap::new),
            _ => row(trace, config, name, ground, Bins::new),
        });
    }
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
