//! Frees left to others: blocks are pushed from two threads while two take.

use std::rc::Rc;

use loom::thread;

use super::Contents;
use crate::deferred::Deferred;
use crate::sync::{Fault, check};

const PUSHERS: usize = 2;
const BLOCKS: usize = 2;

/// Blocks of real memory, since the stack links them, and their contents as loom sees them.
struct World {
    deferred: Deferred,
    memory: [Box<std::sync::atomic::AtomicUsize>; BLOCKS * PUSHERS],
    contents: [Contents; BLOCKS * PUSHERS],
}

impl World {
    fn block(&self, number: usize) -> *mut u8 {
        self.memory[number].as_ptr().cast()
    }

    /// Takes all, writes to each block, returns which they were.
    fn take(&self) -> Vec<usize> {
        let mut taken = Vec::new();
        self.deferred.take_all(|block| {
            let number = (0..self.memory.len()).find(|&number| self.block(number) == block);
            let number = number.expect("a block that was pushed");
            self.contents[number].write();
            taken.push(number);
        });
        taken
    }
}

/// Every block that was pushed is taken once, and whoever takes it sees what its last holder wrote.
pub fn nothing_is_lost_or_doubled(fault: Fault) {
    check(fault, Some(3), || {
        let world = Rc::new(World {
            deferred: Deferred::new(),
            memory: Default::default(),
            contents: std::array::from_fn(|_| Contents::new()),
        });
        assert!(world.deferred.is_empty());
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|pusher| {
                let world = world.clone();
                thread::spawn(move || {
                    let mut taken = Vec::new();
                    for number in pusher * BLOCKS..(pusher + 1) * BLOCKS {
                        world.contents[number].write();
                        push(&world.deferred, world.block(number));
                        if number == BLOCKS {
                            taken = world.take();
                        }
                    }
                    taken
                })
            })
            .collect();
        let mut taken = world.take();
        for pusher in pushers {
            taken.extend(pusher.join().unwrap());
        }
        taken.extend(world.take());
        taken.sort_unstable();
        assert_eq!(taken, (0..PUSHERS * BLOCKS).collect::<Vec<_>>());
    });
}

#[allow(unsafe_code)]
fn push(deferred: &Deferred, block: *mut u8) {
    // SAFETY: a word of the model's, which nobody uses before it was taken.
    unsafe { deferred.push(block) };
}
