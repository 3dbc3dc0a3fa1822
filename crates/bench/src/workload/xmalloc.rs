//! Blocks allocated by one thread and freed by another.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::queue::{BATCH, Queue, no_blocks};
use super::{Block, Random, Workload, team};
use crate::{Memory, Outcome, Params};

const SOURCE: &str =
    "Lever & Boreham, malloc() Performance in a Multithreaded Linux Environment, USENIX 2000";

/// Threads that allocate and free for themselves.
pub const MALLOC_TEST: Workload = Workload::single(
    "malloc-test",
    "each thread allocates and frees one block of 512 bytes, again and again",
    SOURCE,
)
.threads(2);
/// Half of the threads allocate, the others free.
pub const XMALLOC: Workload = Workload::single(
    "xmalloc",
    "one half of the threads allocates, the other frees: 16 to 512 bytes in batches of 64",
    SOURCE,
)
.threads(2)
.latency();
/// The same on more threads than processors.
pub const MANY: Workload = Workload { name: "xmalloc-8", ..XMALLOC.threads(8) };
/// Stages that each make a new block of an old one.
pub const PIPELINE: Workload = Workload::single(
    "pipeline",
    "three stages and bounded queues between: the first allocates, the middle replaces, the last frees",
    "Bienia, Kumar, Singh & Li, PARSEC, 2008: the pipelines of its dedup and ferret",
)
.threads(3)
.latency();

/// Runs [`MALLOC_TEST`].
pub fn malloc_test<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(300_000_000).div_ceil(params.threads as u64);
    let (seconds, _) = team(params.threads, |_| {
        for _ in 0..rounds {
            Block::<M>::alloc(512).free();
        }
    });
    Outcome::new(2 * rounds * params.threads as u64, seconds)
}

fn allocate<M: Memory>(queue: &Queue<M>, batches: u64, random: &mut Random) {
    let mut batch = no_blocks();
    for _ in 0..batches {
        for block in &mut batch {
            *block = Block::alloc(random.log_size(4, 9));
        }
        queue.push(&mut batch);
    }
}

fn free<M: Memory>(queue: &Queue<M>) {
    let mut batch = no_blocks();
    while queue.pop(&mut batch) {
        for block in &mut batch {
            block.take().free();
        }
    }
}

/// Runs [`XMALLOC`] and [`MANY`].
pub fn xmalloc<M: Memory>(params: &Params) -> Outcome {
    let makers = (params.threads / 2).max(1);
    let batches = params.times(300_000).div_ceil(makers as u64);
    let queue = Queue::<M>::new();
    let working = AtomicUsize::new(makers);
    let (seconds, _) = team(2 * makers, |index| {
        if index < makers {
            allocate(&queue, batches, &mut Random::new(params.seed, index));
            if working.fetch_sub(1, Ordering::Relaxed) == 1 {
                queue.close();
            }
        } else {
            free(&queue);
        }
    });
    Outcome::new(2 * batches * (makers * BATCH) as u64, seconds)
}

/// Runs [`PIPELINE`].
pub fn pipeline<M: Memory>(params: &Params) -> Outcome {
    let stages = params.threads.max(2);
    let batches = params.times(300_000);
    let queues: Vec<Queue<M>> = (1..stages).map(|_| Queue::new()).collect();
    let (seconds, _) = team(stages, |stage| {
        let mut random = Random::new(params.seed, stage);
        if stage == 0 {
            allocate(&queues[0], batches, &mut random);
        } else if stage == stages - 1 {
            return free(&queues[stage - 1]);
        } else {
            let mut batch = no_blocks();
            while queues[stage - 1].pop(&mut batch) {
                for block in &mut batch {
                    let result = Block::alloc(random.log_size(4, 9));
                    block.take().free();
                    *block = result;
                }
                queues[stage].push(&mut batch);
            }
        }
        queues[stage].close();
    });
    Outcome::new(2 * batches * ((stages - 1) * BATCH) as u64, seconds)
}
