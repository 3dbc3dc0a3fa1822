//! What a workload is told, and what it tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Histogram;

/// What a workload is told.
#[derive(Clone, Debug)]
pub struct Params {
    /// How much work: 1.0 is about a second with glibc's malloc on two cores.
    pub scale: f64,
    /// Threads (or processes) that work.
    pub threads: usize,
    /// Where the random numbers start.
    pub seed: u64,
    /// Time one of so many calls on its own, on average; 0: none.
    pub every: u32,
    /// Bytes that live while a growth workload measures.
    pub live: usize,
    /// Threads that are parked beside those that work, in the workloads about growth.
    pub parked: usize,
}

impl Default for Params {
    fn default() -> Self {
        Params { scale: 1.0, threads: 1, seed: 1, every: 0, live: 64 << 20, parked: 100 }
    }
}

impl Params {
    /// `count` times the scale, at least 1: how often a workload does what it does.
    pub fn times(&self, count: u64) -> u64 {
        ((count as f64 * self.scale) as u64).max(1)
    }
}

/// What came of a run. Also the line of JSON that the child prints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Calls of the allocator in the timed part, as the workload counts them; in the workloads of ordinary Rust
    /// code units of their own work. The same for every allocator.
    pub operations: u64,
    /// Wall time of the timed part.
    pub seconds: f64,
    /// Single calls, if they were timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latencies>,
    /// Figures that only some workloads have, by name: `requested_bytes` is the peak of the bytes asked for,
    /// `own_bytes` what the workload's own tables occupy, outside the allocator; `peak_resident_bytes` includes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, f64>,
}

impl Outcome {
    /// An outcome without notes.
    pub fn new(operations: u64, seconds: f64) -> Outcome {
        Outcome { operations, seconds, ..Outcome::default() }
    }

    /// With a figure of its own.
    #[must_use]
    pub fn note(mut self, name: &str, value: f64) -> Outcome {
        self.notes.insert(name.to_string(), value);
        self
    }
}

/// Histograms of single calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latencies {
    /// The least time between two readings of the clock, in ns: contained in every figure, and on processors
    /// whose counter advances in steps no shorter than a step.
    pub clock_ns: f64,
    /// Of so many calls one was timed, on average.
    pub every: u32,
    /// malloc, calloc, aligned requests.
    pub alloc: Histogram,
    /// free.
    pub free: Histogram,
    /// realloc.
    pub realloc: Histogram,
}
