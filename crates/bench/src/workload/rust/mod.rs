//! Workloads of ordinary Rust programs: collections and crates, which allocate through the global allocator.
//!
//! None of them is generic over [`Memory`](crate::Memory): under `bench-c` they reach the preloaded library by way
//! of the standard library's `System`, in the programs for Rust the global allocator itself. What they count as an
//! operation is a unit of their own work, not a call of the allocator; a checksum of their results is noted, and is
//! the same under every allocator.

mod buffers;
mod channel;
mod columns;
mod graph;
mod interpreter;
mod json;
mod maps;
mod ordered;
mod parallel;
mod service;
mod spike;
mod text;

use super::{Kind, Random, Run, Timer, Workload};
use crate::Outcome;

/// Each workload with its function.
pub const ALL: &[(Workload, Run)] = &[
    (service::SERVICE, service::service),
    (maps::MAPS, maps::maps),
    (columns::COLUMNS, columns::columns),
    (json::JSON, json::json),
    (ordered::ORDERED, ordered::ordered),
    (text::TEXT, text::text),
    (interpreter::INTERPRETER, interpreter::interpreter),
    (graph::GRAPH, graph::graph),
    (buffers::BUFFERS, buffers::buffers),
    (channel::CHANNEL, channel::channel),
    (parallel::PARALLEL, parallel::parallel),
    (spike::SPIKE, spike::spike),
];

/// A workload of one thread.
const fn single(name: &'static str, about: &'static str, source: &'static str) -> Workload {
    Workload { name, about, source, kind: Kind::Single, threads: 1, latency: false }
}

/// A workload of two threads unless told otherwise.
const fn threaded(name: &'static str, about: &'static str, source: &'static str) -> Workload {
    Workload { name, about, source, kind: Kind::Threads, threads: 2, latency: false }
}

/// What a workload's work adds up to.
#[derive(Clone, Copy, Default)]
struct Work {
    operations: u64,
    checksum: u64,
}

impl Work {
    /// One more operation, whose result is `result`. The order does not matter.
    fn done(&mut self, result: u64) {
        self.operations += 1;
        self.checksum = self.checksum.wrapping_add(result.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    /// What another thread did.
    fn add(&mut self, other: Work) {
        self.operations += other.operations;
        self.checksum = self.checksum.wrapping_add(other.checksum);
    }
}

/// Times `work`, what it builds being dropped within.
fn timed(work: impl FnOnce() -> Work) -> Outcome {
    let timer = Timer::new();
    let Work { operations, checksum } = work();
    // A float holds so many bits without loss.
    Outcome::new(operations, timer.seconds()).note("checksum", (checksum >> 12) as f64)
}

/// A made-up word of 2 to 17 letters.
fn word(random: &mut Random) -> String {
    const SOUNDS: [&str; 8] = ["ba", "ke", "li", "mon", "nu", "ra", "set", "tiv"];
    let sounds = random.between(1, 6);
    (0..sounds).map(|_| SOUNDS[random.below(SOUNDS.len())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;

    #[test]
    fn the_same_seed_gives_the_same_work_and_another_one_does_not() {
        for (workload, run) in ALL {
            let params = Params { scale: 0.002, threads: workload.threads, ..Params::default() };
            let (one, two) = (run(&params), run(&params));
            assert!(one.operations > 0 && one.notes["checksum"] != 0.0, "{}", workload.name);
            assert_eq!(one.operations, two.operations, "{}", workload.name);
            assert_eq!(one.notes["checksum"], two.notes["checksum"], "{}", workload.name);
            let other = run(&Params { seed: 77, ..params });
            assert_ne!(one.notes["checksum"], other.notes["checksum"], "{}", workload.name);
        }
    }

    #[test]
    fn more_threads_than_two_and_one_alone_work() {
        for (workload, run) in ALL.iter().filter(|(workload, _)| workload.kind == Kind::Threads) {
            for threads in [1, 5] {
                let outcome = run(&Params { scale: 0.002, threads, ..Params::default() });
                assert!(outcome.operations > 0, "{} with {threads}", workload.name);
            }
        }
    }
}
