//! Threads that want more than there is, some of them for a time only, one of them closing now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::bank::{Bank, Grant};
use crate::monitor::DEAF;

const TOTAL: usize = 10;
const POOLABLE: usize = 4;
const ROUNDS: usize = 3000;

/// A block of the recyclable size; there is nothing to it.
struct Block;

struct World {
    bank: Bank<Block>,
    /// Bytes with memory behind them.
    memory: AtomicUsize,
}

impl World {
    fn discard(&self) -> impl Fn(Block) + '_ {
        |_| {
            self.memory.fetch_sub(POOLABLE, Ordering::Relaxed);
        }
    }

    /// Takes, holds for a while, gives back. Whether it was granted.
    fn use_some(&self, bytes: usize, until: Option<Instant>) -> bool {
        let Ok(grant) = self.bank.take(bytes, until, &self.discard()) else { return false };
        let block = match grant {
            Grant::Block(block) => Some(block),
            Grant::Bytes => {
                let memory = self.memory.fetch_add(bytes, Ordering::Relaxed) + bytes;
                assert!(memory <= TOTAL, "{memory} bytes of memory are more than the total");
                (bytes == POOLABLE).then_some(Block)
            }
        };
        thread::yield_now();
        if block.is_none() {
            self.memory.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.bank.give(bytes, block, &self.discard());
        true
    }
}

fn model() {
    let world = Arc::new(World { bank: Bank::new(TOTAL, POOLABLE), memory: AtomicUsize::new(0) });
    let closes = thread_rng().gen_bool(0.2);
    let patient = [7, POOLABLE, 10].map(|bytes| {
        let world = world.clone();
        thread::spawn(move || {
            let granted = world.use_some(bytes, None) && world.use_some(POOLABLE, None);
            assert!(granted || closes, "who has time is served in the end");
        })
    });
    let hasty = {
        let world = world.clone();
        thread::spawn(move || {
            world.use_some(9, Some(Instant::now()));
            world.use_some(POOLABLE, Some(Instant::now()));
        })
    };
    if closes {
        world.bank.close();
    }
    patient.into_iter().chain([hasty]).for_each(|thread| thread.join().expect("no thread panics"));
    let figures = world.bank.figures();
    let all = figures.unpooled + figures.free * POOLABLE;
    assert_eq!((all, figures.gathered, figures.waiting), (TOTAL, 0, 0), "bytes were lost");
    assert_eq!(world.memory.load(Ordering::Relaxed), figures.free * POOLABLE, "memory was lost");
}

/// Many random ways through the model.
pub fn run(deaf: bool) {
    DEAF.store(deaf, Ordering::Relaxed);
    shuttle::check_random(model, ROUNDS);
}
