//! Per-CPU caches on restartable sequences: a model of `cache/rseq.rs`, `cache/cpu.rs` and `cache/mod.rs`, and of
//! the kernel under them.
//!
//! One size class, small arrays, two CPUs; the steps of each operation are the instructions of the real one
//! that touch memory others can touch. Threads allocate and free through the caches, refill them,
//! flush them and change their capacities, while one stops all caches now and then and drains them.

mod machine;
mod operations;

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;

use machine::{Machine, SLOTS};

/// What is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The kernel aborts nobody who was moved, preempted or signalled.
    NoAbort,
    /// Stopping the caches aborts nobody.
    NoBarrier,
    /// The base of the regions is read before the sequence.
    BaseOutside,
    /// A push commits before it has written the slot.
    EarlyCommit,
    /// A header is replaced whatever the region.
    AnyRegion,
    /// A header is replaced whatever it is meanwhile.
    AnyHeader,
}

const CPUS: usize = 2;
const THREADS: usize = 3;
const BLOCKS: usize = 9;
const BUDGET: isize = 3;
const ACTIONS: usize = 6;

/// The machine, a central list behind one lock, and who holds which block.
struct World {
    machine: Machine,
    central: Mutex<Vec<usize>>,
    stop: Mutex<()>,
    held: std::sync::Mutex<[bool; BLOCKS + 1]>,
}

impl World {
    fn obtain(&self, block: usize) -> usize {
        let mut held = self.held.lock().unwrap();
        assert!(!std::mem::replace(&mut held[block], true), "block {block} was handed out twice");
        block
    }

    fn give_up(&self, block: usize) {
        assert!(std::mem::replace(&mut self.held.lock().unwrap()[block], false));
    }

    fn alloc(&self, thread: usize) -> Option<usize> {
        let block = match self.pop(thread) {
            0 => self.refill(thread)?,
            block => block,
        };
        Some(self.obtain(block))
    }

    fn free(&self, thread: usize, block: usize) {
        self.give_up(block);
        if !self.push(thread, block) {
            self.flush(thread, block);
        }
    }

    /// As `cache::refill`.
    fn refill(&self, thread: usize) -> Option<usize> {
        let region = self.machine.step(thread, self.machine.cpu(thread));
        self.grow(thread, region);
        let mut central = self.central.lock().unwrap();
        let from = central.len() - central.len().min(2);
        let blocks = central.split_off(from);
        drop(central);
        let (&first, rest) = blocks.split_first()?;
        let put = self.push_batch(thread, rest);
        self.central.lock().unwrap().extend_from_slice(&rest[put..]);
        Some(first)
    }

    /// As `cache::flush`.
    fn flush(&self, thread: usize, block: usize) {
        let region = self.machine.step(thread, self.machine.cpu(thread));
        self.grow(thread, region);
        if self.push_batch(thread, &[block]) == 1 {
            return;
        }
        let mut blocks = self.pop_batch(thread, 1);
        blocks.push(block);
        self.central.lock().unwrap().extend(blocks);
    }

    /// As `cache::grow`: one block of capacity from the spare ones, else from the class itself (there is but one),
    /// which stands for taking it from another.
    fn grow(&self, thread: usize, region: usize) {
        let header = self.machine.step(thread, |state| state.regions[region].header);
        let spare = self.machine.step(thread, |state| state.regions[region].spare);
        if header.end == SLOTS - 1 || spare <= 0 {
            return self.shrink(thread, region);
        }
        self.machine.step(thread, |state| state.regions[region].spare -= 1);
        let longer = machine::Header { end: header.end + 1, ..header };
        if !self.replace_header(thread, region, header, longer) {
            self.machine.step(thread, |state| state.regions[region].spare += 1);
        }
    }

    fn shrink(&self, thread: usize, region: usize) {
        let taken = self.pop_batch(thread, 1);
        self.central.lock().unwrap().extend(taken);
        let header = self.machine.step(thread, |state| state.regions[region].header);
        if header.end > header.current {
            let shorter = machine::Header { end: header.end - 1, ..header };
            if self.replace_header(thread, region, header, shorter) {
                self.machine.step(thread, |state| state.regions[region].spare += 1);
            }
        }
    }

    /// As `cpu::with_stopped` around `slow::empty_region`.
    fn drain(&self, thread: usize) {
        let _alone = self.stop.lock().unwrap();
        self.machine.step(thread, |state| state.real = false);
        self.machine.membarrier(thread);
        for region in 0..CPUS {
            loop {
                let header = self.machine.step(thread, |state| state.regions[region].header);
                let block = self.machine.step(thread, |state| state.regions[region].slots[header.current]);
                if block == 0 {
                    break;
                }
                self.machine.step(thread, |state| {
                    assert_eq!(state.regions[region].header, header, "somebody uses a stopped cache");
                    state.regions[region].header.current -= 1;
                    state.check();
                });
                self.central.lock().unwrap().push(block);
            }
        }
        self.machine.step(thread, |state| state.real = true);
    }

    /// All blocks are somewhere, once, and all capacity is accounted for.
    fn check_all(&self) {
        let mut found = self.central.lock().unwrap().clone();
        self.machine.step(0, |state| {
            state.check();
            for region in &state.regions {
                found.extend_from_slice(&region.slots[1..=region.header.current]);
                assert_eq!(region.spare + region.header.end as isize, BUDGET, "capacity was lost or made");
            }
        });
        found.sort_unstable();
        assert_eq!(found, (1..=BLOCKS).collect::<Vec<_>>(), "blocks were lost or doubled");
    }
}

/// Runs `rounds` random interleavings. No block is lost, none has two holders, R2 holds after every commit, and
/// capacities add up.
pub fn caches_lose_nothing(fault: Fault, rounds: usize) {
    shuttle::check_random(
        move || {
            let world = Arc::new(World {
                machine: Machine::new(CPUS, THREADS, BUDGET, fault),
                central: Mutex::new((1..=BLOCKS).collect()),
                stop: Mutex::new(()),
                held: std::sync::Mutex::new([false; BLOCKS + 1]),
            });
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let world = world.clone();
                    thread::spawn(move || live(&world, thread))
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            world.check_all();
        },
        rounds,
    );
}

fn live(world: &World, thread: usize) {
    let mut blocks = Vec::new();
    for _ in 0..ACTIONS {
        match thread_rng().gen_range(0..8) {
            0 if thread == 0 => world.drain(thread),
            0..5 => blocks.extend(world.alloc(thread)),
            _ => blocks.pop().into_iter().for_each(|block| world.free(thread, block)),
        }
    }
    blocks.into_iter().for_each(|block| world.free(thread, block));
}
