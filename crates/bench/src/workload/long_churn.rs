//! Blocks replaced for a long time, while their sizes change.

use super::resident::{Resident, is_test};
use super::{Block, Kind, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// What lives stays as much; what it consists of does not.
pub const LONG_CHURN: Workload = Workload::single(
    "long-churn",
    "128 MiB of 8 B to 8 KiB; 10^8 times a random block replaced, every other one of a size that shifts",
    "own: fragmentation of a server that runs for long",
)
.kind(Kind::Memory);

const BYTES: usize = 128 << 20;
/// With the smallest sizes the mean is 600 bytes.
const BYTES_A_SLOT: usize = 400;
/// Half of the requests lie in one doubling from 2 to the power of these, one after the other.
const SHIFTS: [u32; 10] = [3, 9, 5, 12, 7, 4, 11, 6, 10, 8];
/// All sizes.
const RANGE: (u32, u32) = (3, 13);

/// The live blocks, in the first slots of a table.
struct Live<M: Memory> {
    blocks: Table<Block<M>>,
    count: usize,
    bytes: usize,
}

impl<M: Memory> Live<M> {
    fn take(&mut self, slot: usize) -> Block<M> {
        self.count -= 1;
        self.blocks.swap(slot, self.count);
        let block = self.blocks[self.count].take();
        self.bytes -= block.size();
        block
    }

    /// Allocates until there is as much as there should be. How many it took.
    fn fill(&mut self, bytes: usize, mut size: impl FnMut() -> usize) -> u64 {
        let before = self.count;
        while self.bytes < bytes && self.count < self.blocks.len() {
            let mut block = Block::untouched(size());
            block.touch_pages();
            self.bytes += block.size();
            self.blocks[self.count] = block;
            self.count += 1;
        }
        (self.count - before) as u64
    }

    fn overhead(&self, start: Resident) -> f64 {
        Resident::now().above(start) / self.bytes as f64
    }
}

/// Runs [`LONG_CHURN`].
pub fn long_churn<M: Memory>(params: &Params) -> Outcome {
    let bytes = if is_test(params) { BYTES / 1000 } else { BYTES };
    let rounds = params.times(100_000_000) / SHIFTS.len() as u64;
    let mut random = Random::new(params.seed, 0);
    let mut live = Live::<M> { blocks: Table::new(bytes / BYTES_A_SLOT), count: 0, bytes: 0 };
    let start = Resident::now();
    let timer = Timer::new();
    let mut operations = live.fill(bytes, || random.log_size(RANGE.0, RANGE.1));
    let filled = live.overhead(start);
    let (mut churned, mut worst) = (filled, filled);
    for shift in SHIFTS {
        for _ in 0..rounds {
            let slot = random.below(live.count);
            live.take(slot).free();
            operations += 1 + live.fill(bytes, || match random.next() >> 63 {
                0 => random.log_size(RANGE.0, RANGE.1),
                _ => random.log_size(shift, shift + 1),
            });
        }
        churned = live.overhead(start);
        worst = worst.max(churned);
    }
    let seconds = timer.seconds();
    while live.count > 0 {
        live.take(live.count - 1).free();
        operations += 1;
    }
    Outcome::new(operations, seconds)
        .note("filled", filled)
        .note("churned", churned)
        .note("worst", worst)
}
