//! Threads and processes with live sets that outlast them.
//!
//! # Safety
//!
//! A process that was forked runs one workload and ends without returning to what its parent was doing.
#![allow(unsafe_code)]

use std::sync::Mutex;

use super::{AtomicBlock, Block, Kind, Random, Table, Timer, Workload, team};
use crate::{Memory, Outcome, Params};

/// Generations of threads.
pub const MSTRESS: Workload = Workload::single(
    "mstress",
    "20 generations of 8 threads: blocks of 8 B to 32 KiB kept, dropped, swapped with others, left to successors",
    "Leijen, Zorn & de Moura, Mimalloc: Free List Sharding in Action, 2019: its test-stress",
)
.threads(8)
.latency();
/// The same in processes side by side.
pub const PROCESSES: Workload = Workload::single(
    "mstress-processes",
    "as mstress, 4 generations of 2 threads in each of 4 processes at once",
    "as mstress; servers that fork their workers",
)
.threads(4)
.kind(Kind::Processes);
/// Blocks scattered over threads.
pub const RPTEST: Workload = Workload::single(
    "rptest",
    "each thread frees random ones of 8000 blocks of 16 to 16,000 bytes, allocates as many, posts some to its neighbour",
    "Jansson, rpmalloc-benchmark, 2017",
)
.threads(2)
.latency();

const GENERATIONS: usize = 20;
const LIVE: usize = 1000;
const SWAPPED: usize = 1000;

fn stress_size(random: &mut Random) -> usize {
    if random.below(100) == 0 { random.log_size(10, 15) } else { random.log_size(3, 9) }
}

/// So many generations of threads, each of `rounds` allocations; returns how many there were, and the seconds.
fn generations<M: Memory>(params: &Params, threads: usize, generations: usize, rounds: u64) -> (u64, f64) {
    let swapped = Table::<AtomicBlock<M>>::new(SWAPPED);
    let mut live = Table::<Block<M>>::new(LIVE * threads);
    let lanes: Vec<_> = live.chunks_mut(LIVE).map(Mutex::new).collect();
    let timer = Timer::new();
    for generation in 0..generations {
        team(threads, |index| {
            let mut random = Random::new(params.seed, generation * threads + index);
            let mut live = lanes[index].lock().expect("a panic aborts");
            for _ in 0..rounds {
                let place = random.below(LIVE);
                let mut block = std::mem::replace(&mut live[place], Block::alloc(stress_size(&mut random)));
                if random.below(4) == 0 {
                    block = swapped[random.below(SWAPPED)].swap(block);
                }
                block.free();
            }
            // A quarter is left to the successor.
            for block in live.iter_mut().skip(LIVE / 4) {
                block.take().free();
            }
        });
    }
    drop(lanes);
    for block in &mut *live {
        block.take().free();
    }
    for place in &*swapped {
        place.swap(Block::NONE).free();
    }
    ((generations * threads) as u64 * rounds, timer.seconds())
}

/// Runs [`MSTRESS`].
pub fn mstress<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(48_000_000).div_ceil((GENERATIONS * params.threads) as u64);
    let (allocated, seconds) = generations::<M>(params, params.threads, GENERATIONS, rounds);
    Outcome::new(2 * allocated, seconds)
}

/// Runs [`PROCESSES`].
pub fn processes<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(64_000_000).div_ceil(8 * params.threads as u64);
    let timer = Timer::new();
    let children: Vec<libc::pid_t> = (0..params.threads)
        .map(|number| {
            // SAFETY: the child ends below.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let params = Params { seed: params.seed + number as u64, ..params.clone() };
                generations::<M>(&params, 2, 4, rounds);
                // SAFETY: ends the process as it is.
                unsafe { libc::_exit(0) };
            }
            child
        })
        .collect();
    for child in children {
        let mut status = 0;
        // SAFETY: the status has room.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(ended == child && status == 0, "a process of the workload failed: status {status}");
    }
    Outcome::new(2 * 8 * rounds * params.threads as u64, timer.seconds())
}

/// Runs [`RPTEST`].
pub fn rptest<M: Memory>(params: &Params) -> Outcome {
    const BLOCKS: usize = 8000;
    const POST: usize = 256;
    let rounds = params.times(500_000).div_ceil(params.threads as u64);
    let mailboxes = Table::<AtomicBlock<M>>::new(POST * params.threads);
    let (seconds, allocated) = team(params.threads, |index| {
        let mut random = Random::new(params.seed, index);
        let mut blocks = Table::<Block<M>>::new(BLOCKS);
        let mut allocated = 0;
        for _ in 0..rounds {
            for _ in 0..100 {
                blocks[random.below(BLOCKS)].take().free();
            }
            for _ in 0..100 {
                let block = &mut blocks[random.below(BLOCKS)];
                if block.is_none() {
                    *block = Block::alloc(random.between(16, 1000).max(random.below(16) / 15 * 16_000));
                    allocated += 1;
                }
            }
            let neighbour = (index + 1) % params.threads * POST;
            for letter in 0..8 {
                let block = blocks[random.below(BLOCKS)].take();
                mailboxes[neighbour + random.below(POST)].swap(block).free();
                mailboxes[index * POST + (8 * allocated as usize + letter) % POST].swap(Block::NONE).free();
            }
        }
        for block in &mut *blocks {
            block.take().free();
        }
        allocated
    });
    for place in &*mailboxes {
        place.swap(Block::NONE).free();
    }
    Outcome::new(2 * allocated.iter().sum::<u64>(), seconds)
}
