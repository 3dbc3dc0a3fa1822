//! A cache, its owner, and somebody else who empties it while the owner does not use it.

use std::rc::Rc;

use loom::sync::atomic::{Ordering, fence};
use loom::thread;

use super::Contents;
use crate::custody::Custody;
use crate::sync::{Fault, check};

/// What is left out on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Omission {
    /// Nothing.
    None,
    /// The kernel's barrier, which stands for one on each side.
    Barrier,
    /// The look whether the owner is inside.
    Look,
}

struct World {
    custody: Custody,
    cache: Contents,
}

/// The owner enters twice where it may, and then for the last time; the other closes the cache twice. Never are both inside, and the owner gets in at last.
pub fn never_both_inside(fault: Fault, omission: Omission) {
    check(fault, Some(3), move || {
        let world = Rc::new(World { custody: Custody::new(), cache: Contents::new() });
        // Made in the model's first thread.
        world.custody.leave();
        world.custody.open();
        // A barrier in the other thread is one between any two of its instructions: here between these two.
        let barrier = move || {
            if omission != Omission::Barrier {
                fence(Ordering::SeqCst);
            }
        };
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    world.custody.close();
                    barrier();
                    if omission == Omission::Look || world.custody.is_deserted() {
                        world.cache.write();
                    }
                    world.custody.open();
                }
            })
        };
        for _ in 0..2 {
            if world.custody.enter(barrier) {
                world.cache.write();
                world.custody.leave();
            }
        }
        world.custody.enter_at_last(barrier, thread::yield_now);
        world.cache.write();
        world.custody.leave();
        other.join().unwrap();
    });
}
