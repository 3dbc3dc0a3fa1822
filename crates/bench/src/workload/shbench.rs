//! The mixed patterns of MicroQuill's stress tests.

use super::{AtomicBlock, Block, Random, Table, Workload, team};
use crate::{Memory, Outcome, Params};

/// Each thread for itself.
pub const SH6: Workload = Workload::single(
    "sh6",
    "each thread allocates runs of one size, 1 to 1000 bytes and small ones most, freed partly forwards, partly backwards",
    "MicroQuill, SmartHeap's sh6bench, 1996",
)
.threads(2);
/// Blocks change hands.
pub const SH8: Workload = Workload::single(
    "sh8",
    "as sh6, with half of the blocks freed by whichever thread meets them",
    "MicroQuill, SmartHeap's sh8bench, 2000",
)
.threads(2);

const SLOTS: usize = 4096;

/// Fills the slots with runs of one size; returns how many were filled.
fn runs<M: Memory>(blocks: &mut [Block<M>], random: &mut Random) -> u64 {
    let mut slot = 0;
    let mut allocated = 0;
    while slot < blocks.len() {
        // The smaller of two draws, so that small sizes prevail; and of those the longer runs.
        let size = random.between(1, 1000).min(random.between(1, 1000)).min(random.between(1, 1000));
        let run = 1 + 2000 / (size + 50);
        for _ in 0..run.min(blocks.len() - slot) {
            if blocks[slot].is_none() {
                blocks[slot] = Block::alloc(size);
                allocated += 1;
            }
            slot += 1;
        }
    }
    allocated
}

/// Runs [`SH6`].
pub fn sh6<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(18_000).div_ceil(params.threads as u64);
    let (seconds, allocated) = team(params.threads, |index| {
        let mut random = Random::new(params.seed, index);
        let mut blocks = Table::<Block<M>>::new(SLOTS);
        let mut allocated = 0;
        for _ in 0..rounds {
            allocated += runs(&mut blocks, &mut random);
            for block in blocks.iter_mut().step_by(3) {
                block.take().free();
            }
            // A fifth stays for the next round.
            let stays = random.below(SLOTS * 4 / 5);
            for (_, block) in
                blocks.iter_mut().enumerate().rev().filter(|(n, _)| !(stays..stays + SLOTS / 5).contains(n))
            {
                block.take().free();
            }
        }
        for block in &mut *blocks {
            block.take().free();
        }
        allocated
    });
    Outcome::new(2 * allocated.iter().sum::<u64>(), seconds)
}

/// Runs [`SH8`].
pub fn sh8<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(14_000).div_ceil(params.threads as u64);
    let shared = Table::<AtomicBlock<M>>::new(SLOTS / 2);
    let (seconds, allocated) = team(params.threads, |index| {
        let mut random = Random::new(params.seed, index);
        let mut blocks = Table::<Block<M>>::new(SLOTS);
        let mut allocated = 0;
        for _ in 0..rounds {
            allocated += runs(&mut blocks, &mut random);
            let (passed, own) = blocks.split_at_mut(SLOTS / 2);
            let from = random.below(SLOTS / 2);
            for (n, block) in passed.iter_mut().enumerate() {
                shared[(from + n) % (SLOTS / 2)].swap(block.take()).free();
            }
            for block in own.iter_mut().rev() {
                block.take().free();
            }
        }
        allocated
    });
    for place in &*shared {
        place.swap(Block::NONE).free();
    }
    Outcome::new(2 * allocated.iter().sum::<u64>(), seconds)
}
