//! Blocks above the sizes that small-block allocators serve.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Large blocks of which only the ends are written.
pub const LARGE: Workload = Workload::single(
    "large",
    "blocks of 100 KB to 4 MB among 32, only their ends written",
    "own: the sizes around the threshold of glibc's mallopt(3), M_MMAP_THRESHOLD, and its upper bound",
)
.latency();
/// Large blocks with a byte written in each OS page.
pub const TOUCHED: Workload = Workload::single(
    "large-touched",
    "blocks of 100 KB to 4 MB among 32, a byte in each OS page written",
    "own: as large, with the cost of resident pages",
);
/// Just above what is small for most.
pub const MIDDLE: Workload = Workload::single(
    "middle",
    "blocks of 8 to 128 KiB among 256, a byte in each OS page written",
    "own: the sizes between small blocks and whole mappings, where buffers for input and output lie",
)
.latency();

fn replaced<M: Memory>(
    params: &Params,
    rounds: u64,
    slots: usize,
    sizes: (usize, usize),
    write: impl Fn(&mut Block<M>),
) -> Outcome {
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(slots);
    let timer = Timer::new();
    for _ in 0..rounds {
        let block = &mut blocks[random.below(slots)];
        block.take().free();
        *block = Block::untouched(random.between(sizes.0, sizes.1));
        write(block);
    }
    for block in &mut *blocks {
        block.take().free();
    }
    Outcome::new(2 * rounds, timer.seconds())
}

/// Runs [`LARGE`].
pub fn large<M: Memory>(params: &Params) -> Outcome {
    replaced::<M>(params, params.times(1_200_000), 32, (100_000, 4_000_000), |block| block.touch())
}

/// Runs [`TOUCHED`].
pub fn touched<M: Memory>(params: &Params) -> Outcome {
    replaced::<M>(params, params.times(24_000), 32, (100_000, 4_000_000), |block| block.touch_pages())
}

/// Runs [`MIDDLE`].
pub fn middle<M: Memory>(params: &Params) -> Outcome {
    replaced::<M>(params, params.times(3_000_000), 256, (8 << 10, 128 << 10), |block| block.touch_pages())
}
