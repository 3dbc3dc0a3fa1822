//! The slots of `Smp`: the contract, with one thread and with many, and who moves where.
//!
//! # Safety
//!
//! Blocks are live, freed once, and used by one thread at a time.
#![allow(unsafe_code)]

use crate::conformance::{
    Held, OnAlloc, Parent, Serves, check, check_over_failing_parent, check_remap, check_resize_in_place,
    check_usable_size, hunt, hunt_threads, layout,
};
use freestone_kit::page::Page;
use freestone_kit::smp::Smp;
use freestone_kit::{Alloc, Remap};
use freestone_testkit::{Mix, StressConfig};
use std::ptr::NonNull;

#[test]
fn keeps_the_contract() {
    let parent = Parent::new();
    let smp = Smp::new(parent.clone());
    check(&smp, Serves::ALL);
    check_usable_size(&smp, Serves::ALL);
    drop(smp);
    assert_eq!(parent.live(), (0, 0));
    check_over_failing_parent(|parent| Some(Smp::new(parent)), Serves::ALL);
    hunt(40, Mix::All, || OnAlloc::here(Smp::new(Parent::new())));
    let pages = Smp::<Page, 4096, 3>::custom(Page);
    check(&pages, Serves::ALL);
    check_resize_in_place(&pages, Serves::ALL);
    check_remap(&pages, Serves::ALL);
}

#[test]
fn threads_share_it() {
    // Fewer slots than threads, so that they move.
    for slots in [1, 2, 5] {
        let subject = OnAlloc::shared(Smp::<Page, 4096>::with_slots(Page, slots));
        let config =
            StressConfig { threads: 4, ops_per_thread: 2000, mix: Mix::Small, ..StressConfig::default() };
        hunt_threads(&subject, &config);
    }
}

#[test]
fn classes_are_powers_of_two_and_larger_blocks_are_the_parents() {
    let parent = Parent::new();
    let smp = Smp::new(parent.clone());
    for (size, len) in [(1, 8), (8, 8), (9, 16), (100, 128), (32_768, 32_768)] {
        let block = smp.allocate(layout(size, 1)).unwrap();
        assert_eq!(block.len(), len);
        // SAFETY: a live block, freed by its usable size.
        unsafe { smp.deallocate(block.cast(), layout(len, 1)) };
    }
    let calls = parent.calls();
    let held = Held::new(&smp, layout(32_769, 8)).unwrap();
    assert_eq!(parent.calls(), calls + 1);
    held.free(&smp);
    assert_eq!(Smp::<Page>::MOST, 32_768);
}

#[test]
fn no_block_changes_sides_without_moving() {
    let smp = Smp::new(Page);
    for (from, to) in [(30_000, 40_000), (40_000, 30_000), (100, 200)] {
        let held = Held::new(&smp, layout(from, 8)).unwrap();
        let held = held.resize_in_place(&smp, to).unwrap_err();
        let held = held.remap(&smp, to).unwrap_err();
        held.free(&smp);
    }
    let block = smp.allocate(layout(1 << 20, 8)).unwrap().cast::<u8>();
    // SAFETY: a live block, which the parent moves without a copy.
    let block = unsafe { smp.remap(block, layout(1 << 20, 8), layout(1 << 24, 8)) }.unwrap();
    // SAFETY: a live block.
    unsafe { smp.deallocate(block.cast(), layout(1 << 24, 8)) };
}

#[test]
fn what_a_thread_left_behind_is_used_by_the_next() {
    let smp = Smp::<Page>::with_slots(Page, 2);
    for _ in 0..50 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let all: Vec<_> = (0..500).map(|_| Held::new(&smp, layout(100, 8)).unwrap()).collect();
                all.into_iter().for_each(|held| held.free(&smp));
            });
        });
    }
    assert!(smp.held() <= 4 * (64 << 10), "{} bytes for 64,000", smp.held());
}

#[test]
fn a_thread_that_finds_its_slot_taken_goes_on() {
    // One thread keeps the slots busy from within the parent.
    struct Slow(Page);
    // SAFETY: the page allocator's contract.
    unsafe impl Alloc for Slow {
        fn allocate(&self, layout: std::alloc::Layout) -> freestone_kit::Allocated {
            std::thread::sleep(std::time::Duration::from_millis(2));
            self.0.allocate(layout)
        }

        unsafe fn deallocate(&self, block: NonNull<u8>, layout: std::alloc::Layout) {
            // SAFETY: the caller's promise.
            unsafe { self.0.deallocate(block, layout) }
        }
    }
    let smp = Smp::<Slow, 4096>::with_slots(Slow(Page), 4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let all: Vec<_> = (0..20).map(|_| Held::new(&smp, layout(1024, 8)).unwrap()).collect();
                all.iter().for_each(|held| held.check("beside others"));
                all.into_iter().for_each(|held| held.free(&smp));
            });
        }
    });
    assert!(smp.held() >= 4096 * 5);
}

#[test]
fn there_are_as_many_slots_as_cpus() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert!(Smp::new(Page).slots() >= cpus.min(128));
    assert_eq!(Smp::<Page, 4096, 1>::custom(Page).slots(), 1);
    // The longest slabs that there can be.
    let long = Smp::<Page, { 4 << 20 }>::custom(Page);
    assert_eq!(Smp::<Page, { 4 << 20 }>::MOST, 2 << 20);
    crate::conformance::Held::new(&long, crate::conformance::layout(2 << 20, 8)).unwrap().free(&long);
    assert_eq!(Smp::<Page>::with_slots(Page, 0).slots(), 1);
}

#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
#[test]
fn collections_live_in_it() {
    let smp = Smp::new(Parent::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &smp);
    let mut vec = allocator_api2_04::vec::Vec::new_in(&smp);
    for at in 0..2000_u32 {
        map.insert(at, allocator_api2_04::boxed::Box::new_in(at, &smp));
        vec.push(at);
    }
    assert!(vec.iter().all(|at| *map[at] == *at));
}
