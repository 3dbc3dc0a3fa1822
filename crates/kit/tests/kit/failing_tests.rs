//! Memory that runs out on demand.

use crate::conformance::{self as suite, Held, Parent, Serves, layout};
use freestone_kit::c::C;
use freestone_kit::failing::{Call, Failing, FailingConfig, Unsound, check_every_failure};
use freestone_kit::page::Page;
use freestone_kit::{Alloc, AllocError, Stats};

const NEVER: FailingConfig = FailingConfig::NEVER;

#[test]
fn keeps_the_contract() {
    let failing = Failing::new(Parent::new(), NEVER);
    suite::check(&failing, Serves::ALL);
    let stats = failing.stats();
    assert_eq!((stats.live_blocks, stats.live_bytes, failing.has_failed()), (0, 0, false));
    suite::check_resize_in_place(&Failing::new(C, NEVER), Serves::ALL);
    suite::check_remap(&Failing::new(Page, NEVER), Serves::ALL);
    suite::check_over_failing_parent(|parent| Some(Failing::new(parent, NEVER)), Serves::ALL);
}

#[test]
fn allocations_from_an_index_on_are_refused() {
    let failing = Failing::new(C, NEVER.fail_index(2));
    let first = Held::new(&failing, layout(10, 1)).unwrap();
    let second = Held::new(&failing, layout(20, 1)).unwrap();
    assert!(!failing.has_failed());
    assert_eq!(failing.allocate(layout(30, 1)), Err(AllocError));
    assert_eq!(failing.allocate_zeroed(layout(30, 1)), Err(AllocError));
    assert!(failing.has_failed());
    // Changes of size have an index of their own.
    let second = second.resize(&failing, 50, false).unwrap();
    assert_eq!((failing.allocations(), failing.resizes(), failing.stats().refused), (2, 1, 2));
    first.free(&failing);
    second.free(&failing);
    assert_eq!((failing.allocated_bytes(), failing.freed_bytes(), failing.deallocations()), (60, 60, 2));
}

#[test]
fn changes_of_size_from_an_index_on_are_refused() {
    let failing = Failing::new(C, NEVER.resize_fail_index(1));
    let held = Held::new(&failing, layout(10, 1)).unwrap().resize(&failing, 20, true).unwrap();
    let (held, _) = held.resize(&failing, 30, false).unwrap_err();
    let (held, _) = held.resize(&failing, 5, false).unwrap_err();
    let held = held.resize_in_place(&failing, 15).unwrap_err();
    held.check("after three refusals");
    Held::new(&failing, layout(10, 1)).unwrap().free(&failing);
    held.free(&failing);
}

#[test]
fn the_trace_tells_who_was_refused_first() {
    #[inline(never)]
    fn somebody_who_asks_for_too_much(failing: &Failing<C>) {
        assert!(std::hint::black_box(failing.allocate(layout(10, 1))).is_err());
    }
    let failing = Failing::new(C, NEVER.fail_index(0));
    assert!(failing.failure_trace().is_none());
    somebody_who_asks_for_too_much(&failing);
    let _ = failing.allocate(layout(10, 1));
    let trace = failing.failure_trace().unwrap().to_string();
    let first = trace.lines().next().unwrap_or("");
    assert!(
        first.contains("somebody_who_asks_for_too_much")
            && (first.contains("failing_tests.rs") || !suite::has_lines()),
        "{trace}"
    );
}

/// Two blocks, the second of which grows. On failure it frees what it has, if it is told to.
fn two_blocks(failing: &Failing<&C>, tidy: bool, honest: bool) -> Result<(), AllocError> {
    let first = Held::new(failing, layout(10, 1)).ok_or(AllocError)?;
    let freed_if_tidy = |held: Held| if tidy { held.free(failing) } else { held.forget() };
    let Some(second) = Held::new(failing, layout(20, 1)) else {
        freed_if_tidy(first);
        return if honest { Err(AllocError) } else { Ok(()) };
    };
    let (result, second) = match second.resize(failing, 40, false) {
        Ok(second) => (Ok(()), second),
        Err((second, error)) => (Err(error), second),
    };
    first.free(failing);
    second.free(failing);
    result
}

#[test]
fn the_harness_lets_sound_work_pass() {
    let checked = check_every_failure(&C, |failing| two_blocks(failing, true, true)).unwrap();
    assert_eq!((checked.allocations, checked.resizes, checked.runs), (2, 1, 4));
}

#[test]
fn the_harness_finds_a_leak_on_failure() {
    let found = check_every_failure(&C, |failing| two_blocks(failing, false, true)).unwrap_err();
    assert_eq!(found, Unsound::LeakedOnFailure { refused: Call::Allocation(1), blocks: 1, bytes: 10 });
    assert_eq!(found.to_string(), "10 bytes leaked when allocation 1 was refused (live blocks: 1)");
}

#[test]
fn the_harness_finds_a_failure_that_is_swallowed() {
    let found = check_every_failure(&C, |failing| two_blocks(failing, true, false)).unwrap_err();
    assert_eq!(found, Unsound::Swallowed { refused: Call::Allocation(1) });
}

#[test]
fn the_harness_finds_a_leak_without_failure_and_work_that_fails_by_itself() {
    let leak = |failing: &Failing<&C>| Held::new(failing, layout(8, 8)).map(Held::forget).ok_or(AllocError);
    assert_eq!(check_every_failure(&C, leak), Err(Unsound::Leaked { blocks: 1, bytes: 8 }));
    assert_eq!(check_every_failure(&C, |_| Err::<(), _>("no")), Err(Unsound::Failed("no")));
}

#[test]
fn the_harness_finds_work_that_differs_from_run_to_run() {
    let mut runs = 0;
    let found = check_every_failure(&C, |failing| {
        runs += 1;
        if runs == 1 {
            Held::new(failing, layout(8, 8)).ok_or(AllocError)?.free(failing);
        }
        Ok::<_, AllocError>(())
    });
    assert_eq!(found, Err(Unsound::NotDeterministic { refused: Call::Allocation(0) }));
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_that_runs_out_keeps_what_it_has() {
    let failing = Failing::new(C, NEVER.fail_index(3));
    let mut map = hashbrown::HashMap::new_in(&failing);
    let mut key = 0_u32;
    while map.try_reserve(1).is_ok() {
        map.insert(key, !key);
        key += 1;
    }
    assert!(failing.has_failed() && key > 3);
    assert!((0..key).all(|key| map[&key] == !key));
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn an_empty_block_that_nobody_allocated_is_no_leak() {
    use allocator_api2_04::vec::Vec;
    let checked = freestone_kit::failing::check_every_failure(&C, |alloc| {
        let empty = Vec::<u32, _>::new_in(alloc).into_boxed_slice();
        let mut full = Vec::<u32, _>::new_in(alloc);
        full.try_reserve(10).map(|()| drop((empty, full)))
    });
    assert_eq!(checked.unwrap().allocations, 1);
}
