//! Allocators of the kit as that of the program, and others' as parents.

use crate::conformance::{self as suite, Parent, Serves};
use freestone_kit::arena::Arena;
use freestone_kit::c::C;
use freestone_kit::foreign::AdoptedGlobal;
use freestone_kit::global::AsGlobal;
use freestone_kit::locked::Locked;
use freestone_testkit::{Global, Hunt, Mix};
use std::alloc::System;

#[test]
fn a_program_could_run_on_it() {
    let hunt = Hunt { cases: 40, mix: Mix::All, ..Hunt::default() };
    hunt.run(|| Global::new(AsGlobal::new(C))).unwrap_or_else(|found| panic!("{found}"));
    hunt.run(|| Global::new(AsGlobal::new(Parent::new()))).unwrap_or_else(|found| panic!("{found}"));
    hunt.run(|| Global::new(AsGlobal::new(Locked::new(Arena::new(C)))))
        .unwrap_or_else(|found| panic!("{found}"));
}

#[test]
fn others_allocators_keep_the_contract() {
    suite::check(&AdoptedGlobal(&System), Serves::ALL);
    suite::check(&AdoptedGlobal(&AsGlobal::new(Parent::new())), Serves::ALL);
    #[cfg(feature = "allocator-api2-02")]
    suite::check(&freestone_kit::foreign::Adopted02(allocator_api2_02::alloc::Global), Serves::ALL);
    #[cfg(feature = "allocator-api2-04")]
    suite::check(&freestone_kit::foreign::Adopted04(allocator_api2_04::alloc::Global), Serves::ALL);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn both_ways_at_once() {
    use freestone_kit::foreign::Adopted04;
    // Ours as another's, and that as a parent of ours.
    let inner = Arena::new(C);
    let arena = Arena::new(Adopted04(&inner));
    let mut numbers = allocator_api2_04::vec::Vec::new_in(&arena);
    numbers.extend(0..1000);
    assert_eq!(numbers.iter().sum::<i32>(), 499_500);
}
