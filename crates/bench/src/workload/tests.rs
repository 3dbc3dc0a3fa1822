//! Every workload at a tiny scale, with both interfaces.
//!
//! # Safety
//!
//! The memory that counts passes each call on as it came.
#![allow(unsafe_code)]

use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Kind, all, classic, find, run};
use crate::{CMemory, Memory, Outcome, Params, RustMemory};

/// Blocks handed out and not given back, since the process began.
static LIVE: AtomicI64 = AtomicI64::new(0);
static REQUESTS: AtomicI64 = AtomicI64::new(0);
/// One workload at a time, since all count together.
static ALONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy)]
struct Counted<M>(PhantomData<M>);

fn counted(block: *mut u8) -> *mut u8 {
    LIVE.fetch_add(1, Ordering::Relaxed);
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    block
}

impl<M: Memory> Memory for Counted<M> {
    fn name() -> &'static str {
        M::name()
    }

    unsafe fn alloc(size: usize) -> *mut u8 {
        // SAFETY: passed on.
        counted(unsafe { M::alloc(size) })
    }

    unsafe fn alloc_zeroed(size: usize) -> *mut u8 {
        // SAFETY: passed on.
        counted(unsafe { M::alloc_zeroed(size) })
    }

    unsafe fn alloc_aligned(align: usize, size: usize) -> *mut u8 {
        // SAFETY: passed on.
        let block = counted(unsafe { M::alloc_aligned(align, size) });
        assert_eq!(block.addr() % align, 0);
        block
    }

    unsafe fn realloc(block: *mut u8, old_size: usize, new_size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { M::realloc(block, old_size, new_size) }
    }

    unsafe fn free(block: *mut u8, size: usize) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { M::free(block, size) }
    }

    unsafe fn free_aligned(block: *mut u8, align: usize, size: usize) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { M::free_aligned(block, align, size) }
    }
}

fn tiny(threads: usize) -> Params {
    Params { scale: 1e-4, threads, live: 1 << 20, parked: 3, ..Params::default() }
}

/// Runs a workload and sees to it that nothing stays behind.
fn checked<M: Memory>(name: &str, params: &Params) -> Outcome {
    let before = (LIVE.load(Ordering::Relaxed), REQUESTS.load(Ordering::Relaxed));
    let outcome = run::<Counted<M>>(name, params).expect("a workload of that name");
    assert_eq!(LIVE.load(Ordering::Relaxed), before.0, "{name} leaves blocks behind, or frees too many");
    let workload = find(name).expect("a workload of that name");
    if workload.kind != Kind::Processes {
        assert!(REQUESTS.load(Ordering::Relaxed) > before.1, "{name} asks for nothing");
    }
    assert!(outcome.operations > 0 && outcome.seconds > 0.0, "{name}");
    outcome
}

#[test]
fn each_does_the_same_for_every_allocator_and_leaves_nothing() {
    let _alone = ALONE.lock().expect("a panic aborts");
    // `nothing` starts its own program, which is another one here: tests/child.rs has it.
    for workload in all()[..classic::<CMemory>().len()].iter().filter(|workload| workload.name != "nothing") {
        let params = tiny(workload.threads);
        let c = checked::<CMemory>(workload.name, &params);
        let rust = checked::<RustMemory>(workload.name, &params);
        assert_eq!(c.operations, rust.operations, "{}", workload.name);
    }
}

#[test]
fn any_number_of_threads_will_do() {
    let _alone = ALONE.lock().expect("a panic aborts");
    for workload in all()[..classic::<CMemory>().len()].iter().filter(|workload| workload.threads > 1) {
        for threads in [1, 5] {
            checked::<CMemory>(workload.name, &tiny(threads));
        }
    }
}

#[test]
fn single_calls_are_timed_where_it_is_worth_it() {
    let _alone = ALONE.lock().expect("a panic aborts");
    for workload in all().iter().filter(|workload| workload.latency) {
        let outcome = checked::<CMemory>(workload.name, &Params { every: 3, ..tiny(workload.threads) });
        let latency = outcome.latency.expect("a histogram");
        let calls = latency.alloc.count + latency.free.count + latency.realloc.count;
        assert!(calls > 0 && latency.alloc.worst_ns > 0.0, "{}", workload.name);
        assert!(latency.clock_ns > 0.0);
    }
    assert!(run::<CMemory>("simple", &tiny(1)).expect("simple").latency.is_none());
}

#[test]
fn names_are_told_apart_and_sources_named() {
    let names: HashSet<_> = all().iter().map(|workload| workload.name).collect();
    assert_eq!(names.len(), all().len());
    assert!(names.len() >= 25);
    assert!(all().iter().all(|workload| !workload.source.is_empty() && workload.threads > 0));
    assert!(run::<CMemory>("no-such", &tiny(1)).is_none());
}
