//! Blocks replaced for a long time, while their sizes change.

use super::resident::{Resident, is_test};
use super::{Block, Kind, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// What lives stays as much; what it consists of does not.
pub const LONG_CHURN: Workload = Workload::single(
    "long-churn",
    "128 MiB in blocks of 8 B to 8 KiB; 10^8 times a random one is replaced, for most of the time by one of a mix that shifts",
    "own: fragmentation of a server that runs for long",
)
.kind(Kind::Memory);

const BYTES: usize = 128 << 20;
/// With the smallest sizes the mean is 600 bytes.
const BYTES_A_SLOT: usize = 400;
/// All sizes, the logarithm spread evenly.
const RANGE: (u32, u32) = (3, 13);
/// The mixes, one after the other: all sizes alike, or every other request in the one doubling from 2 to the power of this.
const MIXES: [Option<u32>; 12] =
    [None, Some(3), Some(9), Some(5), Some(12), Some(7), Some(4), Some(11), Some(6), Some(10), Some(8), None];

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
    let rounds = params.times(100_000_000) / MIXES.len() as u64;
    let mut random = Random::new(params.seed, 0);
    let mut live = Live::<M> { blocks: Table::new(bytes / BYTES_A_SLOT), count: 0, bytes: 0 };
    let start = Resident::now();
    let timer = Timer::new();
    let mut operations = live.fill(bytes, || random.log_size(RANGE.0, RANGE.1));
    let filled = live.overhead(start);
    let mut ends = [0.0; MIXES.len()];
    for (mix, end) in MIXES.into_iter().zip(&mut ends) {
        for _ in 0..rounds {
            let slot = random.below(live.count);
            live.take(slot).free();
            operations += 1 + live.fill(bytes, || match mix {
                Some(doubling) if random.next() >> 63 == 1 => random.log_size(doubling, doubling + 1),
                _ => random.log_size(RANGE.0, RANGE.1),
            });
        }
        *end = live.overhead(start);
    }
    let seconds = timer.seconds();
    while live.count > 0 {
        live.take(live.count - 1).free();
        operations += 1;
    }
    Outcome::new(operations, seconds)
        .note("filled", filled)
        .note("steady", ends[0])
        .note("shifting", ends.into_iter().fold(0.0, f64::max))
        .note("churned", ends[MIXES.len() - 1])
}
