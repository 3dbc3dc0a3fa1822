//! The oracle accepts correct allocators and finds every mistake of the toy allocator, in a
//! sequence shrunk to a few operations.

mod toy;

use freestone_testkit::{Counterexample, Fault, Global, Hunt, Mix, Op, run_sequence};
use std::alloc::System;
use toy::{Bug, Toy};

/// Asserts that `bug` is found, as a fault that `expected` accepts, in at most `most` operations.
fn finds(bug: Bug, mix: Mix, most: usize, expected: fn(&Fault) -> bool) {
    let found = Hunt { cases: 500, mix, ..Hunt::default() }.run(|| Toy::new(bug));
    let found = found.expect_err("the mistake is found");
    println!("{bug:?}: {found}");
    let Counterexample { ops, violation } = *found;
    assert!(expected(&violation.fault), "{bug:?}: {violation}");
    assert!(ops.len() <= most, "{bug:?}: {} operations: {ops:?}", ops.len());
}

#[test]
fn overlap_is_found() {
    finds(Bug::TooClose, Mix::All, 2, |fault| matches!(fault, Fault::Overlap { .. }));
}

#[test]
fn lost_contents_are_found() {
    finds(Bug::LosesHalf, Mix::All, 2, |fault| matches!(fault, Fault::ContentsLost { .. }));
}

#[test]
fn misalignment_is_found() {
    finds(Bug::Misaligns, Mix::OverAligned, 2, |fault| matches!(fault, Fault::Misaligned { .. }));
}

#[test]
fn memory_that_is_not_zeroed_is_found() {
    finds(Bug::SkipsZeroing, Mix::Tiny, 3, |fault| matches!(fault, Fault::NotZeroed { .. }));
}

#[test]
fn a_usable_size_that_reaches_too_far_is_found() {
    finds(Bug::BoastsUsable, Mix::All, 2, |fault| matches!(fault, Fault::Overlap { .. }));
}

#[test]
fn a_usable_size_that_is_too_small_is_found() {
    finds(Bug::UnderstatesUsable, Mix::All, 1, |fault| matches!(fault, Fault::UsableTooSmall { .. }));
}

#[test]
fn a_leak_is_found_by_the_subjects_own_check() {
    finds(Bug::Leaks, Mix::All, 1, |fault| matches!(fault, Fault::Unsound(_)));
}

#[test]
fn a_write_behind_a_block_is_found() {
    finds(Bug::Scribbles, Mix::Small, 3, |fault| matches!(fault, Fault::Damaged { .. }));
}

#[test]
fn a_refusal_without_cause_is_found() {
    finds(Bug::Balks, Mix::All, 1, |fault| matches!(fault, Fault::Refused { .. }));
}

#[test]
fn serving_the_impossible_is_found() {
    finds(Bug::Wraps, Mix::All, 2, |fault| matches!(fault, Fault::ImpossibleServed { .. }));
}

#[test]
fn a_refused_growth_that_clobbers_is_found() {
    finds(Bug::ClobbersOnRefusal, Mix::All, 2, |fault| matches!(fault, Fault::Damaged { .. }));
}

#[test]
fn a_block_served_twice_is_found() {
    finds(Bug::FreesTwice, Mix::Tiny, 8, |fault| matches!(fault, Fault::Overlap { .. }));
}

#[test]
fn correct_allocators_pass_with_every_mix() {
    for mix in Mix::ALL {
        let hunt = Hunt { cases: 12, mix, ..Hunt::default() };
        hunt.run(|| Toy::new(Bug::None)).unwrap_or_else(|found| panic!("{mix:?}: {found}"));
        hunt.run(|| Global::new(System)).unwrap_or_else(|found| panic!("{mix:?}: {found}"));
    }
}

#[test]
fn a_counterexample_prints_as_the_code_of_a_test() {
    let hunt = Hunt { mix: Mix::Small, ..Hunt::default() };
    let found = hunt.run(|| Toy::new(Bug::Balks)).unwrap_err();
    assert!(found.to_string().contains("\n    Op::Alloc { size: 3000, align: 1 },\n"), "{found}");
}

#[test]
fn blocks_of_no_bytes_have_addresses_of_their_own_and_are_not_written() {
    let ops = [Op::AllocMany { count: 100, size: 0, align: 1 }, Op::Realloc { victim: 3, new_size: 9 }];
    let outcome = run_sequence(&Global::new(System), &ops).unwrap();
    assert_eq!((outcome.allocs, outcome.reallocs, outcome.peak_bytes), (100, 1, 9));
}

#[test]
fn a_violation_names_the_operation_and_both_blocks() {
    let ops = [Op::Alloc { size: 4096, align: 8 }, Op::Verify, Op::Alloc { size: 1, align: 1 }];
    let violation = run_sequence(&Toy::new(Bug::TooClose), &ops).unwrap_err();
    assert_eq!((violation.step, violation.op), (2, Some(ops[2])));
    let Fault::Overlap { new, live } = *violation.fault else { panic!("{violation}") };
    assert_eq!((new.step, new.size, live.step, live.size), (2, 1, 0, 4096));
    let text = violation.to_string();
    assert!(text.starts_with("thread 0, step 2, Alloc { size: 1, align: 1 }: overlap: block"), "{text}");
}
