//! Zeroed blocks.

use super::replace::replaced;
use super::{Block, Workload};
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
    replaced(params, params.times(8_000_000), 512, |random| {
        let mut block = Block::<M>::zeroed(random.log_size(4, 14));
        block.fill(1);
        block
    })
}

/// Runs [`LARGE`].
pub fn large<M: Memory>(params: &Params) -> Outcome {
    replaced(params, params.times(24_000), 16, |random| {
        let mut block = Block::<M>::zeroed(random.log_size(16, 21));
        block.touch_pages();
        block
    })
}
