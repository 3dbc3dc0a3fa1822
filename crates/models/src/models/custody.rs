//! A cache, its owner, and somebody else who empties it while the owner does not use it.

use std::rc::Rc;

use loom::sync::Mutex;
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
    /// The lock, at the owner's end.
    Lock,
}

struct World {
    custody: Custody,
    closing: Mutex<()>,
    cache: Contents,
}

/// The owner enters twice where it may, and then for the last time; the other closes the cache twice. Never are both inside, and the owner gets in at last.
pub fn never_both_inside(fault: Fault, omission: Omission) {
    check(fault, Some(3), move || {
        let world =
            Rc::new(World { custody: Custody::new(), closing: Mutex::new(()), cache: Contents::new() });
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
                    let _closing = world.closing.lock().unwrap();
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
        let closing = (omission != Omission::Lock).then(|| world.closing.lock().unwrap());
        world.custody.enter_at_last();
        drop(closing);
        world.cache.write();
        world.custody.leave();
        other.join().unwrap();
    });
}
