//! Limits.

use crate::conformance::{self as suite, Held, OnAlloc, Parent, Serves, hunt_threads, layout};
use freestone_kit::c::C;
use freestone_kit::limiting::Limiting;
use freestone_kit::page::Page;
use freestone_kit::{Alloc, Capacity};
use freestone_testkit::StressConfig;

#[test]
fn keeps_the_contract() {
    let limiting = Limiting::new(Parent::new(), usize::MAX);
    suite::check(&limiting, Serves::ALL);
    assert_eq!(limiting.used(), 0);
    suite::check_resize_in_place(&Limiting::new(C, 1 << 20), Serves::ALL);
    suite::check_remap(&Limiting::new(Page, 1 << 30), Serves::ALL);
    suite::check(&Limiting::new(Parent::new(), 1 << 20), Serves::within(1 << 20));
    suite::check_capacity(&Limiting::new(C, 1000), Serves::within(1000));
    suite::check_over_failing_parent(|parent| Some(Limiting::new(parent, 1 << 20)), Serves::ALL);
}

#[test]
fn to_the_last_byte_and_no_further() {
    let limiting = Limiting::new(C, 100);
    let first = Held::new(&limiting, layout(60, 1)).unwrap();
    let second = Held::new(&limiting, layout(40, 1)).unwrap();
    assert_eq!((limiting.used(), limiting.remaining()), (100, 0));
    assert!(limiting.allocate(layout(1, 1)).is_err());
    let (second, _) = second.resize(&limiting, 41, false).unwrap_err();
    let second = second.resize(&limiting, 10, false).unwrap();
    assert_eq!(limiting.used(), 70);
    let first = first.resize(&limiting, 90, true).unwrap();
    assert_eq!(limiting.remaining(), 0);
    first.free(&limiting);
    second.free(&limiting);
    assert_eq!(limiting.used(), 0);
}

#[test]
fn a_refusal_of_the_parents_takes_nothing_of_the_limit() {
    let parent = Parent::granting(1);
    let limiting = Limiting::new(parent, 1000);
    let held = Held::new(&limiting, layout(100, 1)).unwrap();
    assert!(limiting.allocate(layout(100, 1)).is_err());
    let (held, _) = held.resize(&limiting, 500, false).unwrap_err();
    assert_eq!(limiting.used(), 100);
    held.free(&limiting);
    assert_eq!(limiting.used(), 0);
}

#[test]
fn a_limit_can_be_lowered_below_what_is_live() {
    let limiting = Limiting::new(C, 100);
    let held = Held::new(&limiting, layout(80, 1)).unwrap();
    limiting.set_limit(50);
    assert_eq!((limiting.used(), limiting.remaining(), limiting.limit()), (80, 0, 50));
    assert!(limiting.allocate(layout(1, 1)).is_err());
    let held = held.resize(&limiting, 30, false).unwrap();
    Held::new(&limiting, layout(20, 1)).unwrap().free(&limiting);
    held.free(&limiting);
}

#[test]
fn threads_never_pass_it() {
    let subject = OnAlloc::shared(Limiting::new(C, 200_000)).may_refuse().verified_by(|limiting| {
        let used = limiting.used();
        if used <= 200_000 { Ok(()) } else { Err(format!("{used} bytes live")) }
    });
    let config = StressConfig { threads: 4, ops_per_thread: 2000, ..StressConfig::default() };
    hunt_threads(&subject, &config);
}
