//! A server whose blocks outlive the threads that made them.

use std::thread::{self, Scope};

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// As many threads as processors.
pub const LARSON: Workload = Workload::single(
    "larson",
    "a server: each thread replaces random ones of 1000 blocks, then hands all to its successor and ends",
    "Larson & Krishnan, Memory Allocation for Long-Running Server Applications, ISMM 1998",
)
.threads(2)
.latency();
/// More threads than processors.
pub const MANY: Workload = Workload { name: "larson-16", ..LARSON.threads(16) };

const BLOCKS: usize = 1000;
const LOW: usize = 8;
const HIGH: usize = 1000;
/// Replacements in a thread's life.
const LIFE: u64 = 10_000;

/// Replaces blocks for one thread's life, then starts the thread that goes on with them.
fn generation<'scope, M: Memory>(
    scope: &'scope Scope<'scope, '_>,
    blocks: &'scope mut [Block<M>],
    mut random: Random,
    left: u64,
) {
    for _ in 0..LIFE {
        let slot = random.below(blocks.len());
        blocks[slot].take().free();
        blocks[slot] = Block::alloc(random.between(LOW, HIGH));
    }
    if left > 0 {
        scope.spawn(move || generation(scope, blocks, random, left - 1));
    }
}

/// Runs [`LARSON`] and [`MANY`].
pub fn larson<M: Memory>(params: &Params) -> Outcome {
    let generations = params.times(4800).div_ceil(params.threads as u64);
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(BLOCKS * params.threads);
    for block in &mut *blocks {
        *block = Block::alloc(random.between(LOW, HIGH));
    }
    let timer = Timer::new();
    thread::scope(|scope| {
        for (lane, blocks) in blocks.chunks_mut(BLOCKS).enumerate() {
            let random = Random::new(params.seed, lane);
            scope.spawn(move || generation(scope, blocks, random, generations - 1));
        }
    });
    let seconds = timer.seconds();
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * LIFE * generations * params.threads as u64, seconds)
}
