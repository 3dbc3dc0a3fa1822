//! Blocks above the sizes that small-block allocators serve.

use super::replace::replaced;
use super::{Block, Random, Workload};
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

fn fresh<M: Memory>(random: &mut Random, (low, high): (usize, usize), write: fn(&mut Block<M>)) -> Block<M> {
    let mut block = Block::untouched(random.between(low, high));
    write(&mut block);
    block
}

const SIZES: (usize, usize) = (100_000, 4_000_000);

/// Runs [`LARGE`].
pub fn large<M: Memory>(params: &Params) -> Outcome {
    replaced(params, params.times(1_200_000), 32, |random| fresh::<M>(random, SIZES, Block::touch))
}

/// Runs [`TOUCHED`].
pub fn touched<M: Memory>(params: &Params) -> Outcome {
    replaced(params, params.times(24_000), 32, |random| fresh::<M>(random, SIZES, Block::touch_pages))
}

/// Runs [`MIDDLE`].
pub fn middle<M: Memory>(params: &Params) -> Outcome {
    let sizes = (8 << 10, 128 << 10);
    replaced(params, params.times(3_000_000), 256, |random| fresh::<M>(random, sizes, Block::touch_pages))
}
