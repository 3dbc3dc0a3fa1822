//! Threads that start and end.

use std::thread;

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Short lives.
pub const THREADS: Workload = Workload::single(
    "threads",
    "threads one after the other, two at a time: each allocates 500 blocks, frees most, leaves the rest, ends",
    "own: a server that starts a thread for each connection",
)
.threads(2)
.latency();

const BLOCKS: usize = 500;
const LEFT: usize = 50;

/// Runs [`THREADS`].
pub fn threads<M: Memory>(params: &Params) -> Outcome {
    let generations = params.times(10_000).div_ceil(params.threads as u64);
    let mut blocks = Table::<Block<M>>::new(BLOCKS * params.threads);
    let timer = Timer::new();
    for generation in 0..generations {
        thread::scope(|scope| {
            for (lane, blocks) in blocks.chunks_mut(BLOCKS).enumerate() {
                let mut random = Random::new(params.seed, generation as usize * params.threads + lane);
                scope.spawn(move || {
                    // What the predecessor left is freed here, as connections are handed on.
                    for block in &mut *blocks {
                        block.take().free();
                        *block = Block::alloc(random.log_size(4, 10));
                    }
                    for block in &mut blocks[LEFT..] {
                        block.take().free();
                    }
                });
            }
        });
    }
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * generations * (BLOCKS * params.threads) as u64, timer.seconds())
}
