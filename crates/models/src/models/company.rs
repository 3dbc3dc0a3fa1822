//! The program's only thread, which enters plainly, and the allocator's own, which accompanies it.

use std::rc::Rc;

use loom::sync::Mutex;
use loom::sync::atomic::{Ordering, fence};
use loom::thread;

use super::Contents;
use crate::company::Company;
use crate::sync::{Fault, check};

/// What is left out on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Omission {
    /// Nothing.
    None,
    /// The kernel's barrier, which stands for one on each side.
    Barrier,
    /// The wait for the one who is inside.
    Wait,
}

struct World {
    company: Company,
    lock: Mutex<()>,
    heap: Contents,
}

/// One thread enters three times, plainly where it may; the other accompanies it twice. Never are both inside.
pub fn never_both_inside(fault: Fault, omission: Omission) {
    check(fault, Some(3), move || {
        let world = Rc::new(World { company: Company::new(), lock: Mutex::new(()), heap: Contents::new() });
        // Made in the model's first thread.
        world.company.leave_plainly();
        world.company.leave_alone();
        // A barrier in the other thread is one between any two of its instructions: here between these two.
        let barrier = move || {
            if omission != Omission::Barrier {
                fence(Ordering::SeqCst);
            }
        };
        let own = {
            let world = world.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    if omission == Omission::Wait {
                        world.company.expect();
                        barrier();
                    } else {
                        world.company.accompany(
                            || {
                                barrier();
                                true
                            },
                            thread::yield_now,
                        );
                    }
                    let held = world.lock.lock().unwrap();
                    world.heap.write();
                    drop(held);
                    world.company.leave_alone();
                }
            })
        };
        for _ in 0..3 {
            if world.company.enter_plainly(|| true, barrier) {
                world.heap.write();
                world.company.leave_plainly();
            } else {
                let held = world.lock.lock().unwrap();
                world.heap.write();
                drop(held);
            }
        }
        own.join().unwrap();
    });
}
