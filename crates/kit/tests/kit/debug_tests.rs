//! The debug allocator: the contract, its options, and every bug class in a child process whose report is read.
//!
//! # Safety
//!
//! Blocks are live and used as what they are; what the tests of misuse do is in [`bugs`].
#![allow(unsafe_code)]

mod bugs;
mod reports;

use crate::conformance::{
    Held, OnAlloc, Parent, Serves, check, check_over_failing_parent, check_owns, check_resize_in_place,
    check_usable_size, hunt, hunt_threads, layout,
};
use freestone_kit::debug::{Debug, DebugConfig, Fault, Leaks, Placement, Report, Response};
use freestone_kit::{Alloc, Stats};
use freestone_testkit::{Mix, StressConfig};
use std::cell::RefCell;
use std::ptr::NonNull;

const QUIET: DebugConfig = DebugConfig::new().trace_depth(0);

/// Every way that the options lead through the code.
const CONFIGS: [DebugConfig; 8] = [
    QUIET,
    QUIET.placement(Placement::GuardAfter),
    QUIET.placement(Placement::GuardBefore),
    QUIET.never_unmap(true),
    QUIET.quarantine(0),
    QUIET.quarantine(100_000).retain_metadata(true).check_every(40),
    QUIET.move_on_resize(false).resize_traces(true).trace_depth(3),
    QUIET.quarantine(0).retain_metadata(true).placement(Placement::GuardAfter),
];

#[test]
fn keeps_the_contract() {
    for config in CONFIGS {
        let parent = Parent::new();
        let debug = Debug::with(parent.clone(), config);
        check(&debug, Serves::ALL);
        check_owns(&debug, Serves::ALL);
        check_usable_size(&debug, Serves::ALL);
        check_resize_in_place(&debug, Serves::ALL);
        assert_eq!((debug.check(), debug.stats().live_blocks), (0, 0));
        assert_eq!(debug.stats().live_bytes, 0);
        assert_eq!(debug.finish(), None);
        assert_eq!(parent.live(), (0, 0), "{config:?}");
    }
}

#[test]
fn keeps_the_contract_over_a_failing_parent() {
    for config in [CONFIGS[0], CONFIGS[5], CONFIGS[6]] {
        check_over_failing_parent(|parent| Some(Debug::single(parent, config)), Serves::ALL);
    }
}

#[test]
fn random_sequences_find_nothing_wrong() {
    for config in CONFIGS {
        let make = || {
            let debug = Debug::with(Parent::new(), config);
            OnAlloc::here(debug).verified_by(|debug| match debug.check() {
                0 => Ok(()),
                faults => Err(format!("{faults} faults")),
            })
        };
        hunt(4, Mix::Small, make);
        hunt(2, Mix::All, make);
    }
}

#[test]
fn threads_share_it() {
    let subject = OnAlloc::shared(Debug::with(Parent::new(), QUIET.check_every(500)));
    let config =
        StressConfig { threads: 3, ops_per_thread: 1000, mix: Mix::Small, ..StressConfig::default() };
    hunt_threads(&subject, &config);
}

std::thread_local! {
    static SEEN: RefCell<Vec<Fault>> = const { RefCell::new(Vec::new()) };
}

fn keep(report: &Report) {
    SEEN.with(|seen| seen.borrow_mut().push(report.fault()));
}

fn seen() -> Vec<Fault> {
    SEEN.take()
}

const KEEPING: DebugConfig = DebugConfig::new().sink(keep).response(Response::Continue);

fn new(debug: &impl Alloc, size: usize) -> NonNull<u8> {
    debug.allocate(layout(size, 8)).unwrap().cast()
}

fn free(debug: &impl Alloc, block: NonNull<u8>, size: usize) {
    // SAFETY: a live block, or one whose free is to be reported and then not done.
    unsafe { debug.deallocate(block, layout(size, 8)) }
}

#[test]
fn no_address_comes_twice() {
    let debug = Debug::with(Parent::new(), QUIET);
    let mut seen = std::collections::HashSet::new();
    for round in 0..3000_usize {
        let size = [8, 100, 3000, 20_000][round % 4];
        let block = new(&debug, size);
        assert!(seen.insert(block), "{block:p} came twice");
        free(&debug, block, size);
    }
}

#[test]
fn a_bounded_quarantine_gives_the_oldest_back() {
    let parent = Parent::new();
    let debug = Debug::with(parent.clone(), QUIET.quarantine(500_000));
    for _ in 0..200 {
        let block = new(&debug, 20_000);
        free(&debug, block, 20_000);
    }
    assert!(debug.stats().held_bytes <= 600_000, "{:?}", debug.stats());
    debug.flush_retained();
    assert_eq!(debug.stats().held_bytes, 0);
}

#[test]
fn fresh_bytes_and_freed_bytes_have_patterns() {
    let debug = Debug::with(Parent::new(), QUIET.never_unmap(true));
    for size in [40, 20_000] {
        let block = new(&debug, size);
        // SAFETY: a live block; its bytes were written by the allocator.
        assert!(unsafe { std::slice::from_raw_parts(block.as_ptr(), size) }.iter().all(|&byte| byte == 0xaa));
        free(&debug, block, size);
        // SAFETY: with this option freed memory stays readable, and nobody writes to it.
        assert!(unsafe { std::slice::from_raw_parts(block.as_ptr(), size) }.iter().all(|&byte| byte == 0xdd));
    }
}

#[test]
fn the_limit_counts_what_was_requested() {
    let debug = Debug::with(Parent::new(), QUIET.memory_limit(1000));
    let held = Held::new(&debug, layout(600, 8)).unwrap();
    assert!(debug.allocate(layout(401, 8)).is_err());
    // Both blocks live for a moment, but only one counts.
    let held = held.resize(&debug, 1000, true).unwrap();
    let (held, _) = held.resize(&debug, 1001, true).unwrap_err();
    held.check("after the limit refused it");
    assert!(debug.allocate(layout(1, 1)).is_err());
    assert_eq!((debug.memory_limit(), debug.stats().refused), (1000, 3));
    debug.set_memory_limit(1001);
    free(&debug, new(&debug, 1), 1);
    held.free(&debug);
}

#[test]
fn a_resize_moves_unless_it_should_not() {
    let debug = Debug::with(Parent::new(), QUIET);
    let held = Held::new(&debug, layout(100, 8)).unwrap();
    let first = held.address();
    let held = held.resize(&debug, 50, true).unwrap();
    assert_ne!(held.address(), first);
    held.free(&debug);

    let debug = Debug::with(Parent::new(), QUIET.move_on_resize(false));
    let held = Held::new(&debug, layout(100, 8)).unwrap();
    let first = held.address();
    let held = held.resize(&debug, 50, true).unwrap();
    let held = held.resize(&debug, 100, true).unwrap();
    assert_eq!(held.address(), first);
    held.free(&debug);
    assert_eq!(debug.stats().total_blocks, 1);
}

#[test]
fn what_a_shrink_in_place_gave_up_is_guarded() {
    let debug = Debug::with(Parent::new(), KEEPING.move_on_resize(false));
    let block = new(&debug, 100);
    // SAFETY: a live block, made shorter.
    unsafe { debug.shrink(block, layout(100, 8), layout(60, 8)) }.unwrap();
    // SAFETY: these bytes were the block's, and still are the allocator's.
    unsafe { block.as_ptr().wrapping_add(70).write(0) };
    free(&debug, block, 60);
    assert_eq!(seen(), [Fault::Overrun { distance: 11 }]);
}

#[test]
fn a_fault_is_told_once() {
    let debug = Debug::with(Parent::new(), KEEPING);
    let block = new(&debug, 24);
    // SAFETY: the bytes before the block are the allocator's.
    unsafe { block.as_ptr().wrapping_sub(3).write(0) };
    assert_eq!((debug.check(), debug.check()), (1, 0));
    free(&debug, block, 24);
    assert_eq!(seen(), [Fault::Underrun { distance: 3 }]);
}

#[test]
fn checks_come_by_themselves_when_asked_to() {
    let debug = Debug::with(Parent::new(), KEEPING.check_every(10));
    let block = new(&debug, 24);
    // SAFETY: the bytes behind the block are the allocator's.
    unsafe { block.as_ptr().wrapping_add(24).write(0) };
    for _ in 0..5 {
        let other = new(&debug, 8);
        free(&debug, other, 8);
    }
    assert_eq!(seen(), [Fault::Overrun { distance: 1 }]);
    free(&debug, block, 24);
}

#[test]
fn a_write_after_free_is_seen_when_its_page_is_closed() {
    let debug = Debug::with(Parent::new(), KEEPING);
    let block = new(&debug, 24);
    let neighbour = new(&debug, 24);
    free(&debug, block, 24);
    // SAFETY: the page has a live block, so it is open.
    unsafe { block.as_ptr().wrapping_add(5).write(0) };
    // The page fills up and is left.
    let others: Vec<_> = (0..200).map(|_| new(&debug, 24)).collect();
    free(&debug, neighbour, 24);
    others.into_iter().for_each(|other| free(&debug, other, 24));
    assert_eq!(seen(), [Fault::WriteAfterFree { offset: 5 }]);
}

#[test]
fn wrong_layouts_are_named_and_the_free_is_done() {
    let debug = Debug::with(Parent::new(), KEEPING);
    let block = new(&debug, 24);
    // SAFETY: a live block; the layout's fault is to be reported.
    unsafe { debug.deallocate(block, layout(32, 16)) };
    assert_eq!(seen(), [Fault::WrongSize { given: 32 }, Fault::WrongAlign { given: 16 }]);
    assert_eq!(debug.stats().live_blocks, 0);
}

#[test]
fn leaks_are_told_by_trace() {
    let debug = Debug::with(Parent::new(), KEEPING);
    // One place, three blocks: also where a loop is unrolled if its end is known.
    for &size in std::hint::black_box(&[10, 20, 30][..]) {
        new(&debug, size);
    }
    new(&debug, 1000);
    assert_eq!(debug.report_leaks(), Some(Leaks { blocks: 4, bytes: 1060 }));
    assert_eq!(seen(), [Fault::Leak { blocks: 3, bytes: 60 }, Fault::Leak { blocks: 1, bytes: 1000 }]);
    assert_eq!(debug.finish(), Some(Leaks { blocks: 4, bytes: 1060 }));
    seen();
    // Without traces each stands for itself.
    let debug = Debug::with(Parent::new(), KEEPING.trace_depth(0));
    for _ in 0..3 {
        new(&debug, 10);
    }
    drop(debug);
    assert_eq!(seen(), [Fault::Leak { blocks: 1, bytes: 10 }; 3]);
}

#[test]
fn retained_metadata_tells_a_late_double_free() {
    for (retain, expected) in [(true, "double"), (false, "invalid")] {
        let config = KEEPING.quarantine(0).retain_metadata(retain);
        let debug = Debug::with(Parent::new(), config);
        let block = new(&debug, 20_000);
        free(&debug, block, 20_000);
        free(&debug, block, 20_000);
        match seen()[..] {
            [Fault::DoubleFree] => assert_eq!(expected, "double"),
            [Fault::InvalidFree { .. }] => assert_eq!(expected, "invalid"),
            ref other => panic!("{other:?}"),
        }
    }
}

std::thread_local! {
    static ALLOCATED: RefCell<Vec<Vec<String>>> = const { RefCell::new(Vec::new()) };
}

fn keep_functions(report: &Report) {
    ALLOCATED.with(|all| all.borrow_mut().push(report.allocated().functions()));
}

#[inline(never)]
fn makes(debug: &impl Alloc) -> NonNull<u8> {
    std::hint::black_box(new(debug, 100))
}

#[inline(never)]
fn shortens(debug: &impl Alloc, block: NonNull<u8>) {
    // SAFETY: a live block of 100 bytes.
    std::hint::black_box(unsafe { debug.shrink(block, layout(100, 8), layout(50, 8)) }).unwrap();
}

#[test]
fn a_resize_takes_a_new_trace_if_it_is_to() {
    for moves in [false, true] {
        for (fresh, expected) in [(false, "makes"), (true, "shortens")] {
            let config = KEEPING.sink(keep_functions).move_on_resize(moves).resize_traces(fresh);
            let debug = Debug::with(Parent::new(), config);
            shortens(&debug, makes(&debug));
            drop(debug);
            let functions = ALLOCATED.take().concat();
            assert!(functions.iter().any(|name| name.contains(expected)), "{functions:?}");
        }
    }
}

#[test]
fn a_trace_is_as_deep_as_it_is_to_be() {
    fn nested(debug: &impl Alloc, depth: usize) {
        if depth == 0 {
            new(debug, 8);
        } else {
            nested(debug, depth - 1);
            std::hint::black_box(depth);
        }
    }
    for depth in [0, 1, 5, DebugConfig::MOST_FRAMES] {
        let debug = Debug::with(Parent::new(), KEEPING.sink(keep_functions).trace_depth(depth));
        nested(&debug, 40);
        drop(debug);
        let functions = ALLOCATED.take().concat();
        // In an optimised build some are inlined into one frame.
        assert!(functions.len() >= depth, "{} of {depth}", functions.len());
        assert!(depth > 0 || functions.is_empty());
    }
}

#[test]
fn the_canary_is_the_word_given() {
    let debug = Debug::with(Parent::new(), QUIET.canary(0x1111_1111_1111_1111));
    let block = new(&debug, 20);
    for at in [-16, -1, 20, 35] {
        // SAFETY: so many bytes around a live block are guarded ones of the allocator.
        let guarded = unsafe { block.offset(at) };
        // SAFETY: the same, and it wrote them.
        assert_eq!(unsafe { guarded.read() }, 0x11);
    }
    free(&debug, block, 20);
}

#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
#[test]
fn collections_live_in_it() {
    let debug = Debug::with(Parent::new(), DebugConfig::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &debug);
    let mut vec = allocator_api2_04::vec::Vec::new_in(&debug);
    for at in 0..300_u32 {
        map.insert(at, allocator_api2_04::boxed::Box::new_in(at, &debug));
        vec.push(at);
    }
    assert!(vec.iter().all(|at| *map[at] == *at));
    drop((map, vec));
    assert_eq!(debug.finish(), None);
}
