//! One size at a time on one thread.

use super::{Block, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Groups of blocks of one size, allocated and then freed in the same order.
pub const SIMPLE: Workload = Workload::single(
    "simple",
    "25 to 1600 blocks of one size allocated, then freed in the same order",
    "glibc, benchtests/bench-malloc-simple.c",
)
.latency();

/// A block allocated and freed at once.
pub const PAIR: Workload = Workload::single(
    "pair",
    "one block allocated and freed at once, again and again, 16 to 1024 bytes",
    "Bonwick, The Slab Allocator, USENIX Summer 1994: the allocation-and-free pair of its comparison",
)
.latency();

const GROUPS: [usize; 4] = [25, 100, 400, 1600];

/// Runs [`SIMPLE`].
pub fn simple<M: Memory>(params: &Params) -> Outcome {
    const SIZES: [usize; 4] = [8, 32, 128, 512];
    let mut blocks = Table::<Block<M>>::new(GROUPS[3]);
    let rounds = params.times(1200);
    let timer = Timer::new();
    for _ in 0..rounds {
        for size in SIZES {
            for group in GROUPS {
                // As many blocks for each length of group.
                for _ in 0..GROUPS[3] / group {
                    for block in &mut blocks[..group] {
                        *block = Block::alloc(size);
                    }
                    for block in &mut blocks[..group] {
                        block.take().free();
                    }
                }
            }
        }
    }
    let calls = 2 * (SIZES.len() * GROUPS.len() * GROUPS[3]) as u64;
    Outcome::new(rounds * calls, timer.seconds())
}

/// Runs [`PAIR`].
pub fn pair<M: Memory>(params: &Params) -> Outcome {
    const SIZES: [usize; 8] = [16, 32, 48, 64, 128, 256, 512, 1024];
    let rounds = params.times(300_000);
    let timer = Timer::new();
    for _ in 0..rounds {
        for size in SIZES {
            for _ in 0..64 {
                Block::<M>::alloc(size).free();
            }
        }
    }
    Outcome::new(rounds * 2 * 64 * SIZES.len() as u64, timer.seconds())
}
