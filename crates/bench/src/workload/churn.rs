//! How much memory is resident for what was asked for.

use std::thread;
use std::time::Duration;

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Sizes spread evenly by their logarithm, nothing freed until the end.
pub const FILL: Workload = Workload::single(
    "fill",
    "150,000 blocks of 8 B to 8 KiB, sizes log-uniform, then all freed, six times; reports the bytes requested",
    "Johnstone & Wilson, The Memory Fragmentation Problem: Solved?, 1998: peak memory over peak live bytes",
);
/// The same in long random replacement.
pub const CHURN: Workload = Workload::single(
    "churn",
    "a random one of 50,000 blocks of 8 B to 8 KiB, sizes log-uniform, replaced for long; reports the bytes requested",
    "as fill",
)
.latency();
/// Much memory for a short while, then none and silence.
pub const BURST: Workload = Workload::single(
    "burst",
    "four times: 64 MB of small blocks, all freed, then 100 ms without a call (not in the time)",
    "Wilson, Johnstone, Neely & Boles, Dynamic Storage Allocation: A Survey, 1995: peaks",
);

const SMALL: u32 = 3;
const BIG: u32 = 13;

/// Runs [`FILL`].
pub fn fill<M: Memory>(params: &Params) -> Outcome {
    const ROUNDS: u64 = 6;
    let count = params.times(150_000) as usize;
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(count);
    let mut requested = 0;
    let timer = Timer::new();
    // Six times, since programs do not end after their first peak.
    for _ in 0..ROUNDS {
        requested = 0;
        for block in &mut *blocks {
            *block = Block::untouched(random.log_size(SMALL, BIG));
            block.touch_pages();
            requested += block.size();
        }
        for block in &mut *blocks {
            block.take().free();
        }
    }
    Outcome::new(2 * ROUNDS * count as u64, timer.seconds()).note("requested_bytes", requested as f64)
}

/// Runs [`CHURN`].
pub fn churn<M: Memory>(params: &Params) -> Outcome {
    let slots = if params.scale < 0.01 { 500 } else { 50_000 };
    let rounds = params.times(6_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(slots);
    let (mut live, mut peak) = (0usize, 0usize);
    let timer = Timer::new();
    for round in 0..rounds {
        let slot = if round < slots as u64 { round as usize } else { random.below(slots) };
        let block = &mut blocks[slot];
        live -= block.size();
        block.take().free();
        *block = Block::untouched(random.log_size(SMALL, BIG));
        block.touch_pages();
        live += block.size();
        peak = peak.max(live);
    }
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * rounds, timer.seconds()).note("requested_bytes", peak as f64)
}

/// Runs [`BURST`].
pub fn burst<M: Memory>(params: &Params) -> Outcome {
    const BURSTS: u64 = 4;
    let count = params.times(600_000) as usize;
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(count);
    let mut seconds = 0.0;
    let mut requested = 0;
    for _ in 0..BURSTS {
        let timer = Timer::new();
        requested = 0;
        for block in &mut *blocks {
            *block = Block::alloc(random.log_size(4, 8));
            requested += block.size();
        }
        for block in &mut *blocks {
            block.take().free();
        }
        seconds += timer.seconds();
        thread::sleep(Duration::from_secs_f64(0.1 * params.scale.min(1.0)));
    }
    Outcome::new(BURSTS * 2 * count as u64, seconds).note("requested_bytes", requested as f64)
}
