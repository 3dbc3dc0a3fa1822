//! The allocator for tests.
//!
//! # Safety
//!
//! Blocks that are freed wrongly on purpose are not touched by it: the testing allocator panics first.
#![allow(unsafe_code)]

use crate::conformance::{self as suite, Held, OnAlloc, Parent, Serves, hunt_threads, layout};
use freestone_kit::c::C;
use freestone_kit::testing::Testing;
use freestone_kit::{Alloc, Stats};
use freestone_testkit::StressConfig;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

#[test]
fn keeps_the_contract() {
    let testing = Testing::new(Parent::new());
    suite::check(&testing, Serves::ALL);
    assert_eq!((testing.stats().live_blocks, testing.stats().live_bytes), (0, 0));
    assert!(testing.report().is_none());
    suite::check_over_failing_parent(|parent| Some(Testing::new(parent)), Serves::ALL);
}

#[test]
fn threads() {
    let config = StressConfig { threads: 3, ops_per_thread: 300, ..StressConfig::default() };
    hunt_threads(&OnAlloc::shared(Testing::new(C)), &config);
}

#[inline(never)]
fn somebody_who_forgets(testing: &Testing<C>) -> NonNull<u8> {
    std::hint::black_box(testing.allocate(layout(24, 8)).unwrap().cast())
}

/// What a piece of work panics with.
fn message_of(work: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it did not panic");
    panic.downcast_ref::<String>().cloned().expect("a formatted message")
}

#[test]
fn a_leak_fails_the_test_and_tells_where_from() {
    let testing = Testing::new(C);
    let forgotten = somebody_who_forgets(&testing);
    assert_eq!(testing.leaks().len(), 1);
    assert_eq!(testing.leaks()[0].address, forgotten.addr().get());
    let said = message_of(|| drop(testing));
    assert!(said.starts_with("1 block leaked, 24 bytes:\n  24 bytes aligned to 8, allocated at\n"), "{said}");
    let first = said.lines().nth(2).unwrap();
    assert!(first.contains("somebody_who_forgets"), "{said}");
    assert!(first.contains("testing_tests.rs") || !suite::has_lines(), "{said}");
}

#[test]
fn a_double_free_is_named() {
    let testing = Testing::new(C);
    let block = somebody_who_forgets(&testing);
    // SAFETY: live, with that layout.
    unsafe { testing.deallocate(block, layout(24, 8)) };
    // SAFETY: see the module.
    let said = message_of(|| unsafe { testing.deallocate(block, layout(24, 8)) });
    assert!(said.starts_with("freeing of 0x") && said.contains("not live"), "{said}");
}

#[test]
fn a_free_with_a_wrong_layout_is_named() {
    let testing = Testing::new(C);
    let block = somebody_who_forgets(&testing);
    // SAFETY: see the module.
    let said = message_of(|| unsafe { testing.deallocate(block, layout(16, 8)) });
    assert!(
        said.contains("size: 16") && said.contains("size: 24") && said.contains("somebody_who_forgets"),
        "{said}"
    );
    let said = message_of(|| {
        // SAFETY: see the module.
        let _ = unsafe { testing.grow(block, layout(24, 4), layout(48, 4)) };
    });
    assert!(said.starts_with("growing with"), "{said}");
    // SAFETY: still live, with that layout.
    unsafe { testing.deallocate(block, layout(24, 8)) };
}

#[test]
fn fresh_bytes_are_no_zeros() {
    let testing = Testing::new(C);
    let block = testing.allocate(layout(64, 1)).unwrap().cast::<u8>();
    // SAFETY: the testing allocator has filled them.
    let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), 64) };
    assert!(bytes.iter().all(|&byte| byte == 0xaa));
    // SAFETY: live, with that layout.
    unsafe { testing.deallocate(block, layout(64, 1)) };
    Held::new(&testing, layout(0, 1)).unwrap().free(&testing);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn collections_that_free_all_pass() {
    let testing = Testing::new(C);
    let mut numbers = allocator_api2_04::vec::Vec::new_in(&testing);
    numbers.extend(0..100);
    numbers.shrink_to_fit();
    assert_eq!(testing.stats().live_bytes, 400);
}
