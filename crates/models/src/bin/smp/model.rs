//! Threads that take blocks of two classes, pass them to each other and give them back, on fewer slots than threads.
//!
//! # Safety
//!
//! *Out*: a block is freed by whoever took it out of the set of those that are out, so once.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::collections::BTreeSet;
use std::ptr::{NonNull, with_exposed_provenance_mut};
use std::sync::{Arc, Mutex};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread;

use crate::Alloc;
use crate::page::Page;
use crate::smp::Smp;
use crate::sync::TORN;

const THREADS: usize = 3;
const ACTIONS: usize = 12;
const ROUNDS: usize = 1500;
/// Two blocks a slab, and one.
const SIZES: [usize; 2] = [1024, 2048];

fn layout(class: usize) -> Layout {
    Layout::from_size_align(SIZES[class], 8).expect("a layout")
}

struct World {
    smp: Smp<Page, 4096, 2>,
    /// Blocks that are out, by class and address, and those among them that wait for a thread to take them over.
    out: Mutex<BTreeSet<(usize, usize)>>,
    passed: Mutex<Vec<(usize, usize)>>,
}

impl World {
    fn take(&self, class: usize) -> (usize, usize) {
        let block = self.smp.allocate(layout(class)).expect("memory").cast::<u8>();
        let address = block.as_ptr().expose_provenance();
        let mut out = self.out.lock().unwrap();
        let apart =
            out.iter().all(|&(other, at)| address + SIZES[class] <= at || at + SIZES[other] <= address);
        assert!(apart, "a block was handed out twice");
        out.insert((class, address));
        (class, address)
    }

    fn give(&self, (class, address): (usize, usize)) {
        assert!(self.out.lock().unwrap().remove(&(class, address)));
        let block = NonNull::new(with_exposed_provenance_mut(address)).expect("a block");
        // SAFETY: *out*.
        unsafe { self.smp.deallocate(block, layout(class)) };
    }

    fn live(&self) {
        let mut held = Vec::new();
        for _ in 0..ACTIONS {
            match thread_rng().gen_range(0..6) {
                0..3 => held.push(self.take(thread_rng().gen_range(0..SIZES.len()))),
                3..5 => held.pop().into_iter().for_each(|block| self.give(block)),
                _ => std::mem::swap(&mut *self.passed.lock().unwrap(), &mut held),
            }
        }
        held.into_iter().for_each(|block| self.give(block));
    }
}

/// Runs the model, with the fault that the arguments name.
pub(crate) fn run() {
    let torn = std::env::args().any(|argument| argument == "torn");
    TORN.store(torn, core::sync::atomic::Ordering::Relaxed);
    let model = || {
        let world = Arc::new(World {
            smp: Smp::with_slots(Page::new(), 2),
            out: Mutex::default(),
            passed: Mutex::default(),
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || world.live())
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let passed = std::mem::take(&mut *world.passed.lock().unwrap());
        passed.into_iter().for_each(|block| world.give(block));
        // A slab for every four or two blocks that were ever out at once, one more for each slot and class, and directories.
        assert!(world.smp.parent().live() <= 40, "{} blocks of the parent", world.smp.parent().live());
    };
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 18;
    // The orders are checked by another model.
    config.silence_warnings = true;
    shuttle::Runner::new(RandomScheduler::new(ROUNDS), config).run(model);
}
