//! A cache of values by key, as a server keeps one.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Look-ups, insertions and evictions.
pub const CACHE: Workload = Workload::single(
    "cache",
    "a key-value cache with eviction: key and value a block each, 80 % small values, 2 % of 8 KiB and more",
    "Rumble, Kejriwal & Ousterhout, Log-structured Memory for DRAM-based Storage, 2014: its mixed workloads",
)
.latency();

const WAYS: usize = 4;
const SETS: usize = 8192;

/// Values change their sizes in the course of time, which is what makes such caches fragment.
fn value_size(random: &mut Random, phase: usize) -> usize {
    match random.below(100) {
        0..80 => random.between(40, 120) + 24 * phase,
        80..98 => random.between(200, 2000) + 200 * phase,
        _ => random.between(8 << 10, 24 << 10),
    }
}

/// Runs [`CACHE`].
pub fn cache<M: Memory>(params: &Params) -> Outcome {
    const PHASES: usize = 8;
    let rounds = params.times(2_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut names = Table::<u64>::new(SETS * WAYS);
    let mut keys = Table::<Block<M>>::new(SETS * WAYS);
    let mut values = Table::<Block<M>>::new(SETS * WAYS);
    let mut inserted = 0;
    let timer = Timer::new();
    for phase in 0..PHASES {
        for _ in 0..rounds {
            // Half of the keys there are fit; the square prefers a part of them.
            let even = random.below(1 << 20) as u64;
            let name = 1 + ((even * even) >> 24);
            let set = (name.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 51) as usize % SETS * WAYS;
            match names[set..set + WAYS].iter().position(|&other| other == name) {
                Some(way) => keys[set + way].write(0, 1),
                None => {
                    let place = set + random.below(WAYS);
                    keys[place].take().free();
                    values[place].take().free();
                    names[place] = name;
                    keys[place] = Block::alloc(16 + name as usize % 32);
                    values[place] = Block::alloc(value_size(&mut random, phase));
                    inserted += 1;
                }
            }
        }
    }
    for place in 0..SETS * WAYS {
        keys[place].take().free();
        values[place].take().free();
    }
    Outcome::new(4 * inserted, timer.seconds())
}
