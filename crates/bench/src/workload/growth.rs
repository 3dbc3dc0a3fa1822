//! The cost of a call while much lives, or many threads are there.

use std::sync::{Condvar, Mutex};
use std::thread;

use super::{Block, Kind, Random, Table, Timer, Workload, team};
use crate::{Memory, Outcome, Params};

const SOURCE: &str = "own: a call should cost the same whatever else lives";

/// Against live bytes, in a small working set.
pub const GROWTH: Workload = Workload::single(
    "growth",
    "random replacement among 1024 small blocks while --live bytes live beside them",
    SOURCE,
)
.kind(Kind::Growth)
.latency();
/// Against live bytes, all over them.
pub const COLD: Workload = Workload::single(
    "growth-cold",
    "a random one of all blocks, --live bytes of 1 to 16 KiB, freed and allocated without touching it",
    SOURCE,
)
.kind(Kind::Growth)
.latency();
/// Against threads.
pub const PARKED: Workload = Workload::single(
    "growth-threads",
    "random replacement among 1024 small blocks while --parked threads wait that have allocated and freed before",
    SOURCE,
)
.threads(2)
.kind(Kind::Growth)
.latency();

/// Bytes of a block on average, where sizes are log-uniform from 1 to 16 KiB.
const MEAN: usize = 5760;

fn fill<M: Memory>(live: usize, random: &mut Random) -> Table<Block<M>> {
    let mut blocks = Table::new((live / MEAN).max(1));
    for block in &mut *blocks {
        *block = Block::untouched(random.log_size(10, 14));
    }
    blocks
}

/// Replaces blocks at random.
fn replace<M: Memory>(rounds: u64, blocks: &mut [Block<M>], random: &mut Random) {
    for _ in 0..rounds {
        let block = &mut blocks[random.below(1024)];
        block.take().free();
        *block = Block::alloc(random.log_size(4, 9));
    }
}

fn free_all<M: Memory>(blocks: &mut [Block<M>]) {
    for block in blocks {
        block.take().free();
    }
}

/// Runs [`GROWTH`].
pub fn growth<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(40_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut live = fill::<M>(params.live, &mut random);
    let mut blocks = Table::<Block<M>>::new(1024);
    let timer = Timer::new();
    replace(rounds, &mut blocks, &mut random);
    let seconds = timer.seconds();
    free_all(&mut blocks);
    free_all(&mut live);
    Outcome::new(2 * rounds, seconds).note("live_bytes", params.live as f64)
}

/// Runs [`COLD`].
pub fn cold<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(3_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut live = fill::<M>(params.live, &mut random);
    let timer = Timer::new();
    for _ in 0..rounds {
        let slot = random.below(live.len());
        live[slot].take().free();
        live[slot] = Block::untouched(random.log_size(10, 14));
    }
    let seconds = timer.seconds();
    free_all(&mut live);
    Outcome::new(2 * rounds, seconds).note("live_bytes", params.live as f64)
}

/// Threads that have used the allocator and now wait.
#[derive(Default)]
struct Parked {
    ready: Mutex<usize>,
    changed: Condvar,
    over: Mutex<bool>,
    ended: Condvar,
}

impl Parked {
    fn wait<M: Memory>(&self, mut random: Random) {
        let mut blocks = [const { Block::<M>::NONE }; 100];
        for block in &mut blocks {
            *block = Block::alloc(random.log_size(4, 9));
        }
        free_all(&mut blocks);
        *self.ready.lock().expect("a panic aborts") += 1;
        self.changed.notify_one();
        let mut over = self.over.lock().expect("a panic aborts");
        while !*over {
            over = self.ended.wait(over).expect("a panic aborts");
        }
    }
}

/// Runs [`PARKED`].
pub fn parked<M: Memory>(params: &Params) -> Outcome {
    // The smallest stack that std's own start of a thread fits into with room to spare.
    const STACK: usize = 64 << 10;
    let rounds = params.times(60_000_000).div_ceil(params.threads as u64);
    let parked = Parked::default();
    let seconds = thread::scope(|scope| {
        for number in 0..params.parked {
            let parked = &parked;
            let random = Random::new(params.seed, number);
            let thread = thread::Builder::new().stack_size(STACK);
            if let Err(error) = thread.spawn_scoped(scope, move || parked.wait::<M>(random)) {
                panic!("thread {number} of {} could not be started: {error}", params.parked);
            }
        }
        let mut ready = parked.ready.lock().expect("a panic aborts");
        while *ready < params.parked {
            ready = parked.changed.wait(ready).expect("a panic aborts");
        }
        drop(ready);
        let (seconds, _) = team(params.threads, |index| {
            let mut random = Random::new(params.seed, params.parked + index);
            let mut blocks = Table::<Block<M>>::new(1024);
            replace(rounds, &mut blocks, &mut random);
            free_all(&mut blocks);
        });
        *parked.over.lock().expect("a panic aborts") = true;
        parked.ended.notify_all();
        seconds
    });
    Outcome::new(2 * rounds * params.threads as u64, seconds).note("parked_threads", params.parked as f64)
}
