//! Counting.

use crate::conformance::{self as suite, Held, OnAlloc, Parent, Serves, hunt_threads, layout};
use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::fixed::Fixed;
use freestone_kit::page::Page;
use freestone_kit::{Alloc, AllocStats, Capacity, Stats};
use freestone_testkit::StressConfig;
use std::mem::MaybeUninit;

#[test]
fn keeps_the_contract() {
    let counting = Counting::new(Parent::new());
    suite::check(&counting, Serves::ALL);
    assert_eq!((counting.stats().live_blocks, counting.stats().live_bytes), (0, 0));
    suite::check_resize_in_place(&Counting::new(C), Serves::ALL);
    suite::check_remap(&Counting::new(Page), Serves::ALL);
    suite::check_over_failing_parent(|parent| Some(Counting::new(parent)), Serves::ALL);
}

#[test]
fn every_figure() {
    let counting = Counting::new(Page);
    let first = Held::new(&counting, layout(100, 8)).unwrap();
    let second = Held::new(&counting, layout(50, 1)).unwrap();
    let second = second.resize(&counting, 80, true).unwrap();
    let first = first.resize(&counting, 10, false).unwrap();
    assert!(counting.allocate(layout(isize::MAX as usize, 1)).is_err());
    let figures = |stats: AllocStats| {
        let AllocStats { live_blocks, live_bytes, peak_bytes, total_blocks, total_bytes, refused, .. } =
            stats;
        (live_blocks, live_bytes, peak_bytes, total_blocks, total_bytes, refused)
    };
    assert_eq!(figures(counting.stats()), (2, 90, 180, 2, 180, 1));
    counting.restart_peak();
    first.free(&counting);
    second.free(&counting);
    assert_eq!(figures(counting.stats()), (0, 0, 90, 2, 180, 1));
}

#[test]
fn a_generous_parent_does_not_change_the_figures() {
    // A page for eight bytes, which are freed as eight, as they were counted.
    let counting = Counting::new(Page);
    let block = counting.allocate(layout(8, 8)).unwrap();
    assert_eq!(block.len(), 8);
    // SAFETY: a live block of that layout.
    #[allow(unsafe_code)]
    unsafe {
        counting.deallocate(block.cast(), layout(8, 8));
    };
    assert_eq!(counting.stats().live_bytes, 0);
}

#[test]
fn threads_are_counted_exactly() {
    let subject = OnAlloc::shared(Counting::new(C)).verified_by(|counting| {
        let stats = counting.stats();
        if stats.live_bytes <= stats.peak_bytes { Ok(()) } else { Err(format!("{stats:?}")) }
    });
    let config = StressConfig { threads: 4, ops_per_thread: 2000, ..StressConfig::default() };
    hunt_threads(&subject, &config);
}

#[test]
fn the_parents_capacity_shows_through() {
    let mut bytes = [MaybeUninit::uninit(); 100];
    let counting = Counting::new(Fixed::new(&mut bytes));
    assert_eq!((counting.capacity(), counting.used()), (100, 0));
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn an_empty_block_that_nobody_allocated_is_not_counted() {
    let counting = Counting::new(C);
    // The box has an address that is nobody's, and gives it back.
    drop(allocator_api2_04::vec::Vec::<u32, _>::new_in(&counting).into_boxed_slice());
    assert_eq!((counting.stats().live_blocks, counting.stats().total_blocks), (0, 0));
}
