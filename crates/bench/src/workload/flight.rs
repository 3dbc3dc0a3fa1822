//! Memory on its way from thread to thread.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::queue::{BATCH, Queue, no_blocks};
use super::resident::{Resident, idle, is_test};
use super::{Block, Kind, Random, Workload, peak_resident, team};
use crate::{Memory, Outcome, Params};

/// Freed by others than those who allocate.
pub const IN_FLIGHT: Workload = Workload::single(
    "in-flight",
    "two threads allocate, two free, 35 MB between them on the way; eight times they change places",
    "Berger, McKinley, Blumofe & Wilson, Hoard, 2000: blowup under producers and consumers",
)
.threads(4)
.kind(Kind::Memory);

/// Batches between the threads: 32,768 blocks of 1.2 KiB on average.
const ROOM: usize = 512;
const PHASES: usize = 8;

/// The bytes between the threads.
#[derive(Default)]
struct Flight {
    now: AtomicU64,
    most: AtomicU64,
}

impl Flight {
    fn begin(&self, bytes: u64) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn end(&self, bytes: u64) {
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn produce<M: Memory>(queue: &Queue<M>, flight: &Flight, batches: u64, random: &mut Random) {
    let mut batch = no_blocks();
    for _ in 0..batches {
        for block in &mut batch {
            *block = Block::untouched(random.log_size(3, 13));
            block.touch_pages();
        }
        flight.begin(bytes(&batch));
        queue.push(&mut batch);
    }
}

fn consume<M: Memory>(queue: &Queue<M>, flight: &Flight) {
    let mut batch = no_blocks();
    while queue.pop(&mut batch) {
        flight.end(bytes(&batch));
        for block in &mut batch {
            block.take().free();
        }
    }
}

fn bytes<M: Memory>(batch: &[Block<M>; BATCH]) -> u64 {
    batch.iter().map(|block| block.size() as u64).sum()
}

/// Runs [`IN_FLIGHT`].
pub fn in_flight<M: Memory>(params: &Params) -> Outcome {
    // Each phase passes as much as there is room for, several times over.
    let (room, passes) = if is_test(params) { (8, 2) } else { (ROOM, params.times(40).max(4)) };
    let makers = (params.threads / 2).max(1);
    let batches = (room as u64 * passes).div_ceil(makers as u64);
    let phases: Vec<_> = (0..PHASES).map(|_| (Queue::<M>::holding(room), AtomicUsize::new(makers))).collect();
    let flight = Flight::default();
    let barrier = Barrier::new(2 * makers);
    let start = Resident::now();
    let (seconds, _) = team(2 * makers, |index| {
        let mut random = Random::new(params.seed, index);
        for (phase, (queue, working)) in phases.iter().enumerate() {
            if (index + phase).is_multiple_of(2) {
                produce(queue, &flight, batches, &mut random);
                if working.fetch_sub(1, Ordering::Relaxed) == 1 {
                    queue.close();
                }
            } else {
                consume(queue, &flight);
            }
            barrier.wait();
        }
    });
    idle(1.0, params);
    let after = Resident::now();
    let peak = peak_resident().unwrap_or_default() as f64;
    let operations = 2 * batches * (makers * BATCH * PHASES) as u64;
    Outcome::new(operations, seconds)
        .note("peak", (peak - start.bytes).max(0.0) / flight.most.into_inner() as f64)
        .note("after_1s", after.above(start))
}
