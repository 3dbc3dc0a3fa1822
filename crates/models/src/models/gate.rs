//! The gate: threads enter and leave while others fork.

use std::rc::Rc;

use loom::thread;

use super::Contents;
use crate::gate::Gate;
use crate::sync::atomic::AtomicU8;
use crate::sync::{Fault, check};

const ENTERERS: usize = 2;

/// What threads inside change, each a part of its own, and forking threads must find at rest.
struct World<const SHARDS: usize> {
    gate: Gate<SHARDS>,
    heap: [Contents; ENTERERS],
}

/// Two threads enter and leave, `ENTRIES` times each, while `FORKERS` threads fork. No forking thread ever finds
/// somebody inside, and all come to an end.
fn forks<const SHARDS: usize, const ENTRIES: usize, const FORKERS: usize>(fault: Fault) {
    check(fault, Some(2), || {
        let world =
            Rc::new(World { gate: Gate::<SHARDS>::new(), heap: std::array::from_fn(|_| Contents::new()) });
        world.gate.close(0, || unreachable!("nobody is inside yet"));
        world.gate.open();
        let enterers: Vec<_> = (0..ENTERERS)
            .map(|number| {
                let world = world.clone();
                thread::spawn(move || {
                    let busy = AtomicU8::new(0);
                    for _ in 0..ENTRIES {
                        let Some(inside) = world.gate.enter(&busy, number % SHARDS) else { continue };
                        assert!(world.gate.enter(&busy, number % SHARDS).is_none(), "nobody enters twice");
                        world.heap[number].write();
                        drop(inside);
                    }
                })
            })
            .collect();
        let fork = |world: &World<SHARDS>| {
            world.gate.close(0, thread::yield_now);
            world.heap.iter().for_each(Contents::read);
            world.gate.open();
        };
        let forkers: Vec<_> = (1..FORKERS)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || fork(&world))
            })
            .collect();
        fork(&world);
        enterers.into_iter().chain(forkers).for_each(|thread| thread.join().unwrap());
        let busy = AtomicU8::new(0);
        assert!(world.gate.enter(&busy, 0).is_some(), "the gate is open again");
    });
}

/// One fork, two threads that count themselves apart.
pub fn nobody_is_inside_during_a_fork(fault: Fault) {
    forks::<2, 2, 1>(fault);
}

/// Two forks at once, two threads that count themselves together.
pub fn nobody_is_inside_during_two_forks(fault: Fault) {
    forks::<1, 1, 2>(fault);
}
