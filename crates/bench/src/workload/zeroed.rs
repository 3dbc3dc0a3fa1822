//! Zeroed blocks.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Small and middle sizes, the former contents dirty.
pub const CALLOC: Workload = Workload::single(
    "calloc",
    "zeroed blocks of 16 B to 16 KiB among 512, every one written over before it is freed",
    "own: the loop of glibc's benchtests/bench-malloc-thread.c with calloc",
);

/// Large ones, hardly touched.
pub const LARGE: Workload = Workload::single(
    "calloc-large",
    "zeroed blocks of 64 KiB to 2 MiB among 16, a byte in each OS page written",
    "own: as calloc, in sizes where fresh memory from the system needs no clearing",
);

/// Runs [`CALLOC`].
pub fn calloc<M: Memory>(params: &Params) -> Outcome {
    replaced::<M>(params, params.times(8_000_000), 512, (4, 14), |block| block.fill(1))
}

/// Runs [`LARGE`].
pub fn large<M: Memory>(params: &Params) -> Outcome {
    replaced::<M>(params, params.times(24_000), 16, (16, 21), |block| block.touch_pages())
}

fn replaced<M: Memory>(
    params: &Params,
    rounds: u64,
    slots: usize,
    (low, high): (u32, u32),
    write: impl Fn(&mut Block<M>),
) -> Outcome {
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(slots);
    let timer = Timer::new();
    for _ in 0..rounds {
        let block = &mut blocks[random.below(slots)];
        block.take().free();
        *block = Block::zeroed(random.log_size(low, high));
        write(block);
    }
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * rounds, timer.seconds())
}
