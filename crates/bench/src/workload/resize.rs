//! Blocks that grow.

use super::{Block, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// One block, a little more each time.
pub const STEPS: Workload = Workload::single(
    "realloc-steps",
    "one buffer grows from 16 bytes to 64 KiB by 16 to 256 bytes a call",
    "own: a buffer that is appended to, as getline(3) and open_memstream(3) do",
)
.latency();
/// One block that doubles.
pub const DOUBLING: Workload = Workload::single(
    "realloc-doubling",
    "one buffer doubles from 16 bytes to 4 MiB, its new half written",
    "own: the growth of std::vector and Vec",
);
/// Many that grow in turn.
pub const VECTORS: Workload = Workload::single(
    "realloc-vectors",
    "a thousand vectors grow in turn by half, up to 16 KiB each, then start again",
    "Facebook's folly, FBVector.md: growth by half",
)
.latency();

/// Runs [`STEPS`].
pub fn steps<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(400_000);
    let mut random = Random::new(params.seed, 0);
    let mut calls = 0;
    let timer = Timer::new();
    for _ in 0..rounds {
        let mut block = Block::<M>::alloc(16);
        // A block beside it, so that not every growth is at the end of the heap.
        let beside = Block::<M>::alloc(48);
        while block.size() < 64 << 10 {
            let size = block.size() + random.between(16, 256);
            // Beyond 32 KiB sizes are kept in KiB.
            block = block.resize(if size < 32 << 10 { size } else { size + 1024 });
            calls += 1;
        }
        block.free();
        beside.free();
        calls += 4;
    }
    Outcome::new(calls, timer.seconds())
}

/// Runs [`DOUBLING`].
pub fn doubling<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(20_000);
    let mut calls = 0;
    let timer = Timer::new();
    for _ in 0..rounds {
        let mut block = Block::<M>::alloc(16);
        while block.size() < 4 << 20 {
            let half = block.size();
            block = block.resize(2 * half);
            for offset in (half..2 * half).step_by(64) {
                block.write(offset, 1);
            }
            calls += 1;
        }
        block.free();
        calls += 2;
    }
    Outcome::new(calls, timer.seconds())
}

/// Runs [`VECTORS`].
pub fn vectors<M: Memory>(params: &Params) -> Outcome {
    const VECTORS: usize = 1000;
    let rounds = params.times(10_000_000);
    let mut random = Random::new(params.seed, 0);
    let mut vectors = Table::<Block<M>>::new(VECTORS);
    let mut calls = 0;
    let timer = Timer::new();
    for _ in 0..rounds {
        let vector = &mut vectors[random.below(VECTORS)];
        let size = vector.size();
        if size == 0 {
            *vector = Block::alloc(random.between(16, 64));
        } else if size < 10 << 10 {
            *vector = vector.take().resize(size + size / 2);
        } else {
            vector.take().free();
        }
        calls += 1;
    }
    for vector in &mut *vectors {
        calls += u64::from(!vector.is_none());
        vector.take().free();
    }
    Outcome::new(calls, timer.seconds())
}
