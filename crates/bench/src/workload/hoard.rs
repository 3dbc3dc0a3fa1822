//! The microbenchmarks of the Hoard paper: speed-up, and false sharing.

use super::{Block, Table, Workload, team};
use crate::{Memory, Outcome, Params};

const SOURCE: &str = "Berger, McKinley, Blumofe & Wilson, Hoard, ASPLOS 2000";

/// Threads that have nothing to do with each other.
pub const THREADTEST: Workload = Workload::single(
    "threadtest",
    "each thread allocates 20,000 blocks of 8 bytes, frees them, and starts again",
    SOURCE,
)
.threads(2)
.latency();
/// Blocks on one cache line given to two threads.
pub const ACTIVE: Workload = Workload::single(
    "active-false",
    "each thread allocates 8 bytes, writes them 100 times, frees them: no two threads may get one cache line",
    SOURCE,
)
.threads(2);
/// Blocks on one cache line passed to two threads, and freed there.
pub const PASSIVE: Workload = Workload::single(
    "passive-false",
    "as active-false, begun with neighbouring blocks that another thread allocated and passed on",
    SOURCE,
)
.threads(2);
/// Active false sharing, many writes a block.
pub const THRASH: Workload = Workload::single(
    "cache-thrash",
    "as active-false with 1 byte, written 1000 times, 16 blocks held at a time",
    "Berger & others, ASPLOS 2000, and the program cache-thrash that came with Hoard",
)
.threads(2);
/// Passive false sharing, many writes a block.
pub const SCRATCH: Workload = Workload::single(
    "cache-scratch",
    "as passive-false with 1 byte, written 1000 times, 16 blocks held at a time",
    "Berger & others, ASPLOS 2000, and the program cache-scratch that came with Hoard",
)
.threads(2);

/// Runs [`THREADTEST`].
pub fn threadtest<M: Memory>(params: &Params) -> Outcome {
    let count = if params.scale < 0.01 { 200 } else { 20_000 };
    let rounds = params.times(4000).div_ceil(params.threads as u64);
    let (seconds, ops) = team(params.threads, |_| {
        let mut blocks = Table::<Block<M>>::new(count);
        for _ in 0..rounds {
            for block in &mut *blocks {
                *block = Block::alloc(8);
            }
            for block in &mut *blocks {
                block.take().free();
            }
        }
        2 * rounds * count as u64
    });
    Outcome::new(ops.iter().sum(), seconds)
}

/// What a thread does with its blocks.
struct Shape {
    size: usize,
    writes: usize,
    held: usize,
    rounds: u64,
}

fn sharing<M: Memory>(params: &Params, shape: &Shape, passed: bool) -> Outcome {
    let rounds = params.times(shape.rounds).div_ceil(params.threads as u64);
    let held = shape.held;
    let mut first = Table::<Block<M>>::new(held * params.threads);
    if passed {
        // Neighbours go to different threads.
        for n in 0..first.len() {
            first[n % params.threads * held + n / params.threads] = Block::alloc(shape.size);
        }
    }
    let lanes: Vec<_> = first.chunks_mut(held).map(std::sync::Mutex::new).collect();
    let (seconds, ops) = team(params.threads, |index| {
        let mut blocks = lanes[index].lock().expect("a panic aborts");
        let mut allocated = 0;
        for _ in 0..rounds {
            for block in blocks.iter_mut() {
                if block.is_none() {
                    *block = Block::alloc(shape.size);
                    allocated += 1;
                }
            }
            for block in blocks.iter_mut() {
                block.hammer(0, shape.writes);
            }
            for block in blocks.iter_mut() {
                block.take().free();
            }
        }
        allocated + rounds * held as u64
    });
    Outcome::new(ops.iter().sum(), seconds)
}

const FEW_WRITES: Shape = Shape { size: 8, writes: 100, held: 1, rounds: 60_000_000 };
const MANY_WRITES: Shape = Shape { size: 1, writes: 1000, held: 16, rounds: 400_000 };

/// Runs [`ACTIVE`].
pub fn active<M: Memory>(params: &Params) -> Outcome {
    sharing::<M>(params, &FEW_WRITES, false)
}

/// Runs [`PASSIVE`].
pub fn passive<M: Memory>(params: &Params) -> Outcome {
    sharing::<M>(params, &FEW_WRITES, true)
}

/// Runs [`THRASH`].
pub fn thrash<M: Memory>(params: &Params) -> Outcome {
    sharing::<M>(params, &MANY_WRITES, false)
}

/// Runs [`SCRATCH`].
pub fn scratch<M: Memory>(params: &Params) -> Outcome {
    sharing::<M>(params, &MANY_WRITES, true)
}
