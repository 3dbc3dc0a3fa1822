//! Threads that fetch blocks, pass them to each other, give them back, drain the list and stop filling.
//!
//! # Safety
//!
//! A block is written and read only while it is out, by the thread that has it.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};

use freestone_base::{ClassId, class_info, class_of};
use freestone_sys::Linux;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread;

use crate::central::rooms::Room;
use crate::central::transfer::SLOTS;
use crate::central::{Central, Effort, SlabSource};
use crate::pageheap::{PageHeap, Span, SpanRef};
use crate::sync::atomic::{AtomicPtr, Ordering};

impl SlabSource for PageHeap<&'static Linux> {
    fn take_slab(&self, class: ClassId) -> Option<SpanRef> {
        self.alloc_slab(class)
    }

    fn return_slab(&self, span: SpanRef) {
        self.free(span);
    }

    fn purge_pages(&self, span: SpanRef, addr: usize, len: usize) -> bool {
        shuttle::thread::yield_now();
        self.purge_unused(span, addr, len)
    }

    fn os_page_size(&self) -> usize {
        PageHeap::os_page_size(self)
    }

    fn span_of(&self, addr: usize) -> Option<SpanRef> {
        self.page_map().span_of(addr)
    }

    fn room(&self, _: Room) -> Option<&'static mut [usize]> {
        Some(vec![0; SLOTS].leak())
    }

    fn footprint(&self) -> usize {
        usize::MAX
    }
    fn note_stock(&self) {}

    fn take_foreign(&self, _: usize) -> bool {
        false
    }
}

const THREADS: usize = 3;
const ACTIONS: usize = 8;
const ROUNDS: usize = 2000;
/// Eight blocks to a slab.
const SIZE: usize = 32 << 10;

static LINUX: Linux = Linux::new();

/// A word in the middle of a block.
fn mark(block: usize) -> *mut usize {
    core::ptr::with_exposed_provenance_mut(block + SIZE / 2)
}

struct World {
    class: ClassId,
    heap: PageHeap<&'static Linux>,
    /// One list for all threads; with `divided`, two.
    lists: [Central; 2],
    divided: bool,
    places: [AtomicPtr<Span>; THREADS],
    /// Blocks that are out, and those among them that wait for a thread to take them over.
    out: Mutex<BTreeSet<usize>>,
    passed: Mutex<Vec<usize>>,
}

impl World {
    fn list(&self, thread: usize) -> &Central {
        &self.lists[if self.divided { thread % 2 } else { 0 }]
    }

    fn fetch(&self, thread: usize, count: usize) -> Vec<usize> {
        let (list, place) = (self.list(thread), &self.places[thread]);
        let mut blocks = Vec::new();
        if thread_rng().r#gen() {
            // As caches do, of which some find no room for all.
            let room = thread_rng().gen_range(0..=count);
            let keep = |others: &[usize]| {
                blocks.extend(&others[..room.min(others.len())]);
                blocks.len()
            };
            let block = list.refill::<8>(self.class, &self.heap, place, count, keep);
            blocks.extend(block);
        } else {
            blocks.resize(count, 0);
            let got = list.fetch(self.class, &self.heap, place, &mut blocks);
            blocks.truncate(got);
        }
        let mut out = self.out.lock().unwrap();
        for &block in &blocks {
            assert!(out.insert(block), "a block was handed out twice");
            // SAFETY: a block that is out, 32 KiB of it, and this thread's.
            unsafe { mark(block).write_volatile(block) };
        }
        blocks
    }

    fn give_back(&self, thread: usize, blocks: &[usize]) {
        for &block in blocks {
            // SAFETY: as in `fetch`.
            assert_eq!(unsafe { mark(block).read_volatile() }, block, "a live block lost what it held");
            assert!(self.out.lock().unwrap().remove(&block));
        }
        match blocks {
            &[block, ref cached @ ..] if blocks.len() <= 64 && thread_rng().r#gen() => {
                let pop = |out: &mut [usize]| {
                    let taken = out.len().min(cached.len());
                    out[..taken].copy_from_slice(&cached[..taken]);
                    taken
                };
                let most = blocks.len().max(2);
                self.list(thread).flush::<64>(self.class, &self.heap, (block, most), true, pop);
            }
            _ => self.list(thread).give_back(self.class, &self.heap, blocks),
        }
    }

    fn check(&self) {
        assert_eq!(self.list(0).verify(self.class, &self.heap), Ok(()));
        let mut filling: Vec<_> = self.places.iter().map(|place| place.load(Ordering::Relaxed)).collect();
        filling.retain(|place| !place.is_null());
        filling.sort_unstable();
        assert!(filling.windows(2).all(|pair| pair[0] != pair[1]), "two caches are filled from one slab");
    }

    fn live(&self, thread: usize) {
        let mut held = Vec::new();
        for _ in 0..ACTIONS {
            let count = thread_rng().gen_range(1..=5);
            match thread_rng().gen_range(0..9) {
                0..3 => held.extend(self.fetch(thread, count)),
                3..5 => {
                    let kept = held.len().saturating_sub(count);
                    self.give_back(thread, &held.split_off(kept));
                }
                5 => {
                    let mut passed = self.passed.lock().unwrap();
                    std::mem::swap(&mut *passed, &mut held);
                }
                6 => self.list(thread).drain(self.class, &self.heap),
                7 => {
                    let mut effort = Effort { slabs: 4, calls: 8, wanted: false, breaks: true };
                    self.list(thread).sweep(self.class, &self.heap, &mut effort);
                }
                _ => self.list(thread).stop_filling(&self.heap, &self.places[thread]),
            }
            self.check();
        }
        self.give_back(thread, &held);
    }

    /// With everything given back, every slab is gone.
    fn end(&self) {
        let passed = std::mem::take(&mut *self.passed.lock().unwrap());
        self.give_back(0, &passed);
        self.list(0).drain(self.class, &self.heap);
        self.places.iter().for_each(|place| self.list(0).stop_filling(&self.heap, place));
        self.check();
        assert!(self.out.lock().unwrap().is_empty());
        assert_eq!((self.list(0).stats().slabs, self.heap.stats().slabs), (0, 0));
        assert_eq!(self.heap.verify(), Ok(()));
    }
}

/// Runs the model, with the fault that the arguments name.
pub(crate) fn run() {
    let divided = std::env::args().any(|argument| argument == "divided");
    let model = move || {
        let world = Arc::new(World {
            class: class_of(SIZE).expect("a small size"),
            heap: PageHeap::new(&LINUX),
            lists: [Central::new(), Central::new()],
            divided,
            places: [const { AtomicPtr::new(null_mut()) }; THREADS],
            out: Mutex::default(),
            passed: Mutex::default(),
        });
        assert_eq!(class_info(world.class).blocks, 8);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let world = world.clone();
                thread::spawn(move || world.live(thread))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        world.end();
    };
    // The page heap's records are made on the stack of a model's thread.
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    shuttle::Runner::new(RandomScheduler::new(ROUNDS), config).run(model);
}
