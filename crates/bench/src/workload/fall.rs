//! A peak, and what is left of it.

use super::resident::{Resident, idle, is_test};
use super::{Block, Kind, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Much, then nothing.
pub const PEAK_AND_FALL: Workload = Workload::single(
    "peak-and-fall",
    "400 MB in blocks of 16 to 1024 bytes, all freed in another order; then no call for 3 s",
    "own: what a program holds when its work is done",
)
.kind(Kind::Memory);

const BYTES: usize = 400_000_000;
/// The mean size is 252 bytes.
const BYTES_A_SLOT: usize = 220;

/// Runs [`PEAK_AND_FALL`].
pub fn peak_and_fall<M: Memory>(params: &Params) -> Outcome {
    let bytes = if is_test(params) { BYTES / 1000 } else { BYTES };
    let mut random = Random::new(params.seed, 0);
    let mut blocks = Table::<Block<M>>::new(bytes / BYTES_A_SLOT);
    let start = Resident::now();
    let timer = Timer::new();
    let (mut count, mut requested) = (0, 0);
    while requested < bytes && count < blocks.len() {
        let block = Block::alloc(random.log_size(4, 10));
        requested += block.size();
        blocks[count] = block;
        count += 1;
    }
    let seconds = timer.seconds();
    let peak = Resident::now();
    for left in (1..=count).rev() {
        blocks.swap(random.below(left), left - 1);
        blocks[left - 1].take().free();
    }
    let at_once = Resident::now();
    idle(1.0, params);
    let soon = Resident::now();
    idle(2.0, params);
    let later = Resident::now();
    Outcome::new(2 * count as u64, seconds)
        .note("peak", peak.above(start) / requested as f64)
        .note("at_once", at_once.above(start))
        .note("after_1s", soon.above(start))
        .note("after_1s_lazy", soon.lazy)
        .note("after_3s", later.above(start))
}
