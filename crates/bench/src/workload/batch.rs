//! Many blocks allocated, then all freed: in the same order, backwards, at random.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

const SOURCE: &str = "Wilson, Johnstone, Neely & Boles, Dynamic Storage Allocation: A Survey, 1995: ramps and orders of freeing";

/// First in, first out.
pub const FIFO: Workload =
    Workload::single("batch-fifo", "100,000 blocks of 16 to 512 bytes, freed first in, first out", SOURCE);
/// Last in, first out.
pub const LIFO: Workload =
    Workload::single("batch-lifo", "100,000 blocks of 16 to 512 bytes, freed last in, first out", SOURCE);
/// At random.
pub const SHUFFLED: Workload =
    Workload::single("batch-random", "100,000 blocks of 16 to 512 bytes, freed in random order", SOURCE);

const BATCH: usize = 100_000;

fn batches<M: Memory>(
    params: &Params,
    rounds: u64,
    order: impl Fn(usize, &mut Random) -> Table<u32>,
) -> Outcome {
    let batch = if params.scale < 0.01 { 1000 } else { BATCH };
    let rounds = params.times(rounds);
    let mut random = Random::new(params.seed, 0);
    // The same sizes and the same order of slots for all three.
    let order = order(batch, &mut random);
    let mut blocks = Table::<Block<M>>::new(batch);
    let timer = Timer::new();
    for _ in 0..rounds {
        for block in &mut *blocks {
            *block = Block::alloc(random.log_size(4, 9));
        }
        for &slot in &*order {
            blocks[slot as usize].take().free();
        }
    }
    Outcome::new(rounds * 2 * batch as u64, timer.seconds())
}

fn numbers(count: usize) -> Table<u32> {
    let mut numbers = Table::new(count);
    for (n, number) in numbers.iter_mut().enumerate() {
        *number = n as u32;
    }
    numbers
}

/// Runs [`FIFO`].
pub fn fifo<M: Memory>(params: &Params) -> Outcome {
    batches::<M>(params, 150, |count, _| numbers(count))
}

/// Runs [`LIFO`].
pub fn lifo<M: Memory>(params: &Params) -> Outcome {
    batches::<M>(params, 150, |count, _| {
        let mut order = numbers(count);
        order.reverse();
        order
    })
}

/// Runs [`SHUFFLED`].
pub fn shuffled<M: Memory>(params: &Params) -> Outcome {
    batches::<M>(params, 130, |count, random| {
        let mut order = numbers(count);
        for n in (1..count).rev() {
            order.swap(n, random.below(n + 1));
        }
        order
    })
}
