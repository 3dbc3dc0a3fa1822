//! Several instances of one allocator, shared among threads.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation, but where a test is about not doing so.
#![allow(unsafe_code)]

use crate::conformance::{self, OnAlloc, Parent, Serves, layout};
use freestone_kit::arenas::Arenas;
use freestone_kit::bins::{Bins, BinsConfig};
use freestone_kit::textbook::{SegregatedFit, Textbook};
use freestone_kit::{Alloc, Stats};
use freestone_testkit::{Mix, StressConfig};
use std::ptr::NonNull;
use std::sync::mpsc;

fn bins<const N: usize>(parent: &Parent) -> Arenas<Bins<Parent>, N> {
    let config = BinsConfig::DEFAULT.granularity(8192).mmap_threshold(32 << 10);
    Arenas::from_fn(|_| Bins::with_config(parent.clone(), config))
}

#[test]
fn over_bins_it_conforms() {
    let parent = Parent::new();
    let arenas = bins::<3>(&parent);
    conformance::check(&arenas, Serves::ALL);
    conformance::check_resize_in_place(&arenas, Serves::ALL);
    assert_eq!(arenas.stats().live_blocks, 0);
    drop(arenas);
    assert_eq!(parent.live(), (0, 0));
    conformance::check_over_failing_parent(|parent| Some(bins::<2>(&parent)), Serves::ALL);
    conformance::hunt(12, Mix::All, || OnAlloc::shared(bins::<2>(&Parent::new())));
}

#[test]
fn threads_share_any_allocator() {
    let config = StressConfig { threads: 4, ops_per_thread: 2500, rounds: 2, ..StressConfig::default() };
    conformance::hunt_threads(&OnAlloc::shared(bins::<3>(&Parent::new())), &config);
    let heaps = Arenas::<_, 2>::from_fn(|_| Textbook::<SegregatedFit, _>::new(Parent::new()));
    conformance::hunt_threads(&OnAlloc::shared(heaps), &StressConfig { mix: Mix::Small, ..config });
}

#[test]
fn a_thread_keeps_to_its_arena_until_it_finds_it_taken() {
    let arenas = bins::<2>(&Parent::new());
    let take = || arenas.allocate(layout(100, 8)).unwrap().cast::<u8>();
    let live = |arena| arenas.with(arena, |bins| bins.stats().live_blocks).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut blocks = vec![take(), take()];
            assert_eq!((live(0), live(1), arenas.arenas_stats().open), (2, 0, 1));
            let (taken, is_taken) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            let arenas = &arenas;
            scope.spawn(move || {
                arenas.with(0, |_| {
                    taken.send(()).unwrap();
                    released.recv().unwrap();
                })
            });
            is_taken.recv().unwrap();
            blocks.push(take());
            release.send(()).unwrap();
            // It stays where it moved.
            blocks.push(take());
            assert_eq!((live(0), live(1)), (2, 2));
            assert_eq!((arenas.arenas_stats().open, arenas.arenas_stats().moves), (2, 1));
            for block in blocks {
                // SAFETY: freed once.
                unsafe { arenas.deallocate(block, layout(100, 8)) };
            }
            assert_eq!((live(0), live(1)), (0, 0));
        });
    });
}

#[test]
fn an_arena_without_memory_is_helped_out_by_the_others() {
    let poor = Parent::granting(0);
    let rich = Parent::new();
    let arenas = Arenas::new([Bins::new(poor), Bins::new(rich)]);
    let block = arenas.allocate(layout(1000, 8)).unwrap().cast::<u8>();
    assert_eq!(arenas.with(1, |bins| bins.stats().live_blocks), Some(1));
    assert_eq!(arenas.with(2, |_| ()), None);
    // SAFETY: freed once.
    unsafe { arenas.deallocate(block, layout(1000, 8)) };
}

#[test]
#[should_panic(expected = "overrun")]
fn an_overrun_into_the_tag_is_named() {
    let arenas = bins::<1>(&Parent::new());
    let block: NonNull<u8> = arenas.allocate(layout(13, 1)).unwrap().cast();
    // SAFETY: inside the arena's block, and not ours.
    let tag = unsafe { block.add(13) };
    // SAFETY: the same.
    unsafe { tag.write_bytes(0, 2) };
    // SAFETY: freed once.
    unsafe { arenas.deallocate(block, layout(13, 1)) };
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn threads_fill_hash_maps_on_it() {
    let arenas = bins::<4>(&Parent::new());
    std::thread::scope(|scope| {
        for thread in 0..3_u32 {
            let arenas = &arenas;
            scope.spawn(move || {
                let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), arenas);
                (0..2000).for_each(|n| assert_eq!(map.insert(n, n * thread), None));
                assert!((0..2000).all(|n| map[&n] == n * thread));
            });
        }
    });
    assert_eq!(arenas.stats().live_blocks, 0);
}
