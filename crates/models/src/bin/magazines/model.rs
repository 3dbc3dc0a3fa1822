//! Threads that take objects and blocks, pass them to each other, give them back, and reap.
//!
//! # Safety
//!
//! *Out*: a block is freed by whoever took it out of the set of those that are out, so once.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::ptr::{NonNull, with_exposed_provenance_mut};
use std::sync::{Arc, Mutex};

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread;

use crate::arenas::Arenas;
use crate::slab::{Magazines, Raw, Reap, SlabCache};
use crate::sync::TORN;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::{Alloc, AllocError, Allocated};

const THREADS: usize = 3;
const ACTIONS: usize = 40;
const ROUNDS: usize = 400;

/// The system's memory, counted.
#[derive(Clone)]
struct Parent(Arc<AtomicUsize>);

// SAFETY: the system's allocator keeps the contract.
unsafe impl Alloc for Parent {
    fn allocate(&self, layout: Layout) -> Allocated {
        self.0.fetch_add(1, Ordering::SeqCst);
        // SAFETY: slabs and pages have bytes.
        let block = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block.as_ptr(), layout) }
    }
}

struct World<A> {
    heap: A,
    layout: Layout,
    reap: fn(&A),
    out: Mutex<BTreeSet<usize>>,
    passed: Mutex<Vec<usize>>,
}

impl<A: Alloc> World<A> {
    fn take(&self) -> usize {
        let block = self.heap.allocate(self.layout).expect("memory").cast::<u8>();
        let address = block.as_ptr().expose_provenance();
        assert!(self.out.lock().unwrap().insert(address), "a block was handed out twice");
        address
    }

    fn give(&self, address: usize) {
        assert!(self.out.lock().unwrap().remove(&address));
        let block = NonNull::new(with_exposed_provenance_mut(address)).expect("a block");
        // SAFETY: *out*.
        unsafe { self.heap.deallocate(block, self.layout) };
    }

    fn live(&self) {
        let mut held = Vec::new();
        for _ in 0..ACTIONS {
            match thread_rng().gen_range(0..12) {
                0..6 => held.push(self.take()),
                6..10 => held.pop().into_iter().for_each(|block| self.give(block)),
                10 => std::mem::swap(&mut *self.passed.lock().unwrap(), &mut held),
                _ => (self.reap)(&self.heap),
            }
        }
        held.into_iter().for_each(|block| self.give(block));
    }
}

/// Threads at work on one heap; at the end everything is given back.
fn work<A: Alloc + Send + Sync + 'static>(heap: A, layout: Layout, reap: fn(&A)) -> A {
    let world = Arc::new(World { heap, layout, reap, out: Mutex::default(), passed: Mutex::default() });
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || world.live())
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let passed = std::mem::take(&mut *world.passed.lock().unwrap());
    passed.into_iter().for_each(|block| world.give(block));
    let Ok(world) = Arc::try_unwrap(world) else { panic!("a thread still has the heap") };
    world.heap
}

fn magazines() {
    let parent = Parent(Arc::new(AtomicUsize::new(0)));
    // Magazines of one object at first, and slabs of a few, so that all ways are short.
    let layout = Layout::from_size_align(4096, 64).expect("a layout");
    let shared = Magazines::<_, Raw, 2>::new(parent.clone(), layout).expect("a shape");
    let reap = |shared: &Magazines<Parent, Raw, 2>| {
        let what = if thread_rng().gen_range(0..2) == 0 { Reap::Idle } else { Reap::All };
        shared.reap(what);
    };
    let shared = work(shared, layout, reap);
    assert_eq!(shared.with_slabs(SlabCache::verify), Ok(()));
    shared.reap(Reap::All);
    assert_eq!(shared.with_slabs(SlabCache::slabs), [0, 0, 0]);
    drop(shared);
    assert_eq!(parent.0.load(Ordering::SeqCst), 0, "memory was lost");
}

fn arenas() {
    let parent = Parent(Arc::new(AtomicUsize::new(0)));
    let layout = Layout::from_size_align(100, 8).expect("a layout");
    let cache = |_| SlabCache::new(parent.clone(), Layout::new::<[u64; 16]>()).expect("a shape");
    let shared = work(Arenas::<_, 2>::from_fn(cache), layout, |_| {});
    for arena in 0..2 {
        assert_eq!(shared.with(arena, |cache| (cache.verify(), cache.taken_bytes())), Some((Ok(()), 0)));
    }
    drop(shared);
    assert_eq!(parent.0.load(Ordering::SeqCst), 0, "memory was lost");
}

/// Runs the models, with the fault that the arguments name.
pub(crate) fn run() {
    let torn = std::env::args().any(|argument| argument == "torn");
    TORN.store(torn, core::sync::atomic::Ordering::Relaxed);
    for model in [magazines, arenas] {
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 18;
        // All but two counters is guarded by locks, whose orders are checked by another model.
        config.silence_warnings = true;
        shuttle::Runner::new(RandomScheduler::new(ROUNDS), config).run(model);
    }
}
