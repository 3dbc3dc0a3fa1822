//! Random replacement: a slot of a working set is chosen, its block freed, another allocated in its place.

use super::{Block, Random, Table, Timer, Workload, team};
use crate::{Memory, Outcome, Params};

/// A working set that fits the processor's caches.
pub const REPLACE: Workload = Workload::single(
    "replace",
    "a random one of 4096 blocks replaced, 8 to 1024 bytes",
    "Zorn & Grunwald, Evaluating Models of Memory Allocation, 1994",
)
.latency();

/// A working set far beyond the processor's caches.
pub const WIDE: Workload = Workload::single(
    "replace-wide",
    "a random one of a million blocks replaced, 16 to 256 bytes",
    "as replace, over a wide working set",
)
.latency();

/// Each thread with a working set of its own.
pub const GLIBC_THREAD: Workload = Workload::single(
    "glibc-thread",
    "each thread replaces a random one of its 1024 blocks, 4 B to 32 KiB, small ones far more often",
    "glibc, benchtests/bench-malloc-thread.c",
)
.threads(2)
.latency();

/// The same on more threads than processors.
pub const GLIBC_THREAD_MANY: Workload = Workload { name: "glibc-thread-8", ..GLIBC_THREAD.threads(8) };

fn one<M: Memory>(slots: usize, (low, high): (u32, u32), rounds: u64, seed: u64) -> Outcome {
    let mut random = Random::new(seed, 0);
    let mut blocks = Table::<Block<M>>::new(slots);
    let timer = Timer::new();
    for block in &mut *blocks {
        *block = Block::alloc(random.log_size(low, high));
    }
    for _ in 0..rounds {
        let slot = random.below(slots);
        blocks[slot].take().free();
        blocks[slot] = Block::alloc(random.log_size(low, high));
    }
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * (rounds + slots as u64), timer.seconds())
}

/// A random one of `slots` blocks, which begin empty, replaced `rounds` times by what `fresh` gives.
pub(super) fn replaced<M: Memory>(
    params: &Params,
    rounds: u64,
    slots: usize,
    fresh: impl Fn(&mut Random) -> Block<M>,
) -> Outcome {
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(slots);
    let timer = Timer::new();
    for _ in 0..rounds {
        let block = &mut blocks[random.below(slots)];
        block.take().free();
        *block = fresh(&mut random);
    }
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * rounds, timer.seconds())
}

/// Runs [`REPLACE`].
pub fn replace<M: Memory>(params: &Params) -> Outcome {
    one::<M>(4096, (3, 10), params.times(40_000_000), params.seed)
}

/// Runs [`WIDE`].
pub fn wide<M: Memory>(params: &Params) -> Outcome {
    let slots = if params.scale < 0.01 { 1000 } else { 1_000_000 };
    one::<M>(slots, (4, 8), params.times(5_000_000), params.seed)
}

const SLOTS: usize = 1024;
/// Sizes drawn beforehand, as the inverse of the square of the size.
const SIZES: usize = 8192;

/// Runs [`GLIBC_THREAD`].
pub fn glibc_thread<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(120_000_000) / params.threads as u64 + 1;
    let (seconds, ops) = team(params.threads, |index| {
        let mut random = Random::new(params.seed, index);
        let mut sizes = Table::<u32>::new(SIZES);
        for size in &mut *sizes {
            *size = inverse_square(&mut random, 4.0, 32768.0) as u32;
        }
        let mut blocks = Table::<Block<M>>::new(SLOTS);
        for round in 0..rounds {
            let slot = random.below(SLOTS);
            blocks[slot].take().free();
            blocks[slot] = Block::alloc(sizes[round as usize % SIZES] as usize);
        }
        for block in &mut *blocks {
            block.take().free();
        }
        2 * rounds
    });
    Outcome::new(ops.iter().sum(), seconds)
}

/// A number from `low` to `high` whose density falls with its square.
fn inverse_square(random: &mut Random, low: f64, high: f64) -> f64 {
    let even = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
    1.0 / (1.0 / low - even * (1.0 / low - 1.0 / high))
}
