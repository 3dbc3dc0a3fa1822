//! Aligned blocks.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Blocks at 16 to 4096 bytes of alignment.
pub const ALIGNED: Workload = Workload::single(
    "aligned",
    "blocks of one to eight times their alignment of 16 to 4096 bytes, a random one of 1024 replaced",
    "own: the loop of glibc's benchtests/bench-malloc-thread.c with aligned_alloc",
)
.latency();

const SLOTS: usize = 1024;
const ALIGNMENTS: u32 = 9;

/// Runs [`ALIGNED`].
pub fn aligned<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(6_000_000);
    let mut random = Random::new(params.seed, 0);
    // A slot keeps its alignment, so that nothing else has to be remembered.
    let align = |slot: usize| 16 << (slot as u32 % ALIGNMENTS);
    let mut blocks = Table::<Block<M>>::new(SLOTS);
    let timer = Timer::new();
    for _ in 0..rounds {
        let slot = random.below(SLOTS);
        blocks[slot].take().free_aligned(align(slot));
        blocks[slot] = Block::aligned(align(slot), align(slot) * random.between(1, 8));
    }
    for slot in 0..SLOTS {
        blocks[slot].take().free_aligned(align(slot));
    }
    Outcome::new(2 * rounds, timer.seconds())
}
