//! The workloads: what they do, where they come from, and how they are found by name.
//!
//! Each file holds one workload, or a few that share their loop. The loops are written anew after the published
//! description named in `source`. They work on [`Block`]s, so none but the building blocks here needs `unsafe`.

mod aligned;
mod batch;
mod block;
mod cache;
mod churn;
mod fall;
mod flight;
mod growth;
mod hoard;
mod idle_threads;
mod large;
mod larson;
mod lists;
mod long_churn;
mod process;
mod queue;
mod random;
mod replace;
mod resident;
mod resize;
pub mod rust;
mod shbench;
mod simple;
mod stress;
mod strings;
mod table;
mod team;
mod threads;
mod timed;
mod trees;
mod xmalloc;
mod zeroed;

#[cfg(test)]
mod tests;

pub use block::{AtomicBlock, Block};
pub use random::Random;
pub use table::Table;
pub use team::{Timer, team};

use crate::{Latencies, Memory, Outcome, Params};

/// What a workload exercises, hence how it is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One thread.
    Single,
    /// As many threads as [`Params::threads`] says.
    Threads,
    /// Several processes.
    Processes,
    /// The cost of a call against live bytes or against threads; a curve, not a row of the table.
    Growth,
    /// What is resident at certain moments; the workload tells it, time does not matter.
    Memory,
}

impl Kind {
    /// Whether it is a row of the table of times.
    pub fn is_row(self) -> bool {
        !matches!(self, Kind::Growth | Kind::Memory)
    }
}

/// A workload as tables name it.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The paper or program that describes it.
    pub source: &'static str,
    /// What it exercises.
    pub kind: Kind,
    /// Threads (or processes) unless told otherwise.
    pub threads: usize,
    /// Whether single calls are worth timing.
    pub latency: bool,
}

impl Workload {
    /// A workload on one thread.
    pub const fn single(name: &'static str, about: &'static str, source: &'static str) -> Workload {
        Workload { name, about, source, kind: Kind::Single, threads: 1, latency: false }
    }

    /// The same on so many threads.
    #[must_use]
    pub const fn threads(self, threads: usize) -> Workload {
        Workload { kind: Kind::Threads, threads, ..self }
    }

    /// The same as another kind.
    #[must_use]
    pub const fn kind(self, kind: Kind) -> Workload {
        Workload { kind, ..self }
    }

    /// The same, its single calls worth timing.
    #[must_use]
    pub const fn latency(self) -> Workload {
        Workload { latency: true, ..self }
    }
}

/// A workload's function.
pub type Run = fn(&Params) -> Outcome;

/// Names each workload's description and function once.
macro_rules! workloads {
    ($($file:ident: $($about:ident $run:ident),*;)*) => {
        const CLASSIC: &[Workload] = &[$($($file::$about),*),*];

        const fn classic<M: Memory>() -> &'static [Run] {
            const { &[$($($file::$run::<M> as Run),*),*] }
        }
    };
}

workloads! {
    simple: SIMPLE simple, PAIR pair;
    replace: REPLACE replace, WIDE wide, GLIBC_THREAD glibc_thread, GLIBC_THREAD_MANY glibc_thread;
    batch: FIFO fifo, LIFO lifo, SHUFFLED shuffled;
    resize: STEPS steps, DOUBLING doubling, VECTORS vectors;
    zeroed: CALLOC calloc, LARGE large;
    large: MIDDLE middle, LARGE large, TOUCHED touched;
    aligned: ALIGNED aligned;
    cache: CACHE cache;
    trees: TREES trees;
    lists: LISTS lists, GRAPH graph;
    strings: STRINGS strings;
    churn: FILL fill, CHURN churn, BURST burst;
    hoard: THREADTEST threadtest, ACTIVE active, PASSIVE passive, THRASH thrash, SCRATCH scratch;
    larson: LARSON larson, MANY larson;
    xmalloc: MALLOC_TEST malloc_test, XMALLOC xmalloc, MANY xmalloc, PIPELINE pipeline;
    shbench: SH6 sh6, SH8 sh8;
    stress: MSTRESS mstress, RPTEST rptest, PROCESSES processes;
    threads: THREADS threads;
    process: NOTHING nothing;
    growth: GROWTH growth, COLD cold, PARKED parked;
    fall: PEAK_AND_FALL peak_and_fall;
    idle_threads: THOUSAND thousand, TEN_THOUSAND ten_thousand;
    flight: IN_FLIGHT in_flight;
    long_churn: LONG_CHURN long_churn;
}

static ALL: [Workload; CLASSIC.len() + rust::ALL.len()] = {
    let mut all = [simple::SIMPLE; CLASSIC.len() + rust::ALL.len()];
    let mut n = 0;
    while n < all.len() {
        all[n] = if n < CLASSIC.len() { CLASSIC[n] } else { rust::ALL[n - CLASSIC.len()].0 };
        n += 1;
    }
    all
};

/// All workloads, in the order of tables.
pub fn all() -> &'static [Workload] {
    &ALL
}

/// The workload of that name.
pub fn find(name: &str) -> Option<&'static Workload> {
    all().iter().find(|workload| workload.name == name)
}

fn function<M: Memory>(name: &str) -> Option<Run> {
    let place = all().iter().position(|workload| workload.name == name)?;
    Some(match classic::<M>().get(place) {
        Some(&run) => run,
        None => rust::ALL[place - CLASSIC.len()].1,
    })
}

/// The most bytes that were resident in this process. Unlike the figure that a parent gets when it waits, it does
/// not include what the parent had resident between fork and exec.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// Runs the workload of that name, or returns `None` when there is none.
/// With [`Params::every`] not zero, single calls are timed too, in workloads where that is worth it.
pub fn run<M: Memory>(name: &str, params: &Params) -> Option<Outcome> {
    let mut outcome = if params.every == 0 || !find(name)?.latency {
        function::<M>(name)?(params)
    } else {
        let clock_ns = timed::start(params.every);
        let outcome = function::<timed::Timed<M>>(name)?(params);
        let [alloc, free, realloc] = timed::finish();
        Outcome {
            latency: Some(Latencies { clock_ns, every: params.every, alloc, free, realloc }),
            ..outcome
        }
    };
    if let Some(peak) = peak_resident() {
        outcome = outcome.note("peak_resident_bytes", peak as f64);
    }
    if table::own_bytes() > 0 {
        outcome = outcome.note("own_bytes", table::own_bytes() as f64);
    }
    Some(outcome)
}
