//! A buffer with a parent behind it.

use crate::conformance::{self as suite, Held, OnAlloc, Parent, Serves, hunt, layout};
use freestone_kit::arena::Arena;
use freestone_kit::c::C;
use freestone_kit::stack_fallback::StackFallback;
use freestone_kit::{Capacity, Reset, Stats, counting::Counting};
use freestone_testkit::Mix;

#[test]
fn keeps_the_contract() {
    let stack = StackFallback::<4096, _>::new(Parent::new());
    suite::check(&&stack, Serves::ALL);
    assert_eq!(stack.parent().live(), (0, 0));
    let empty = StackFallback::<0, _>::new(Parent::new());
    suite::check(&&empty, Serves::ALL);
    let extending = StackFallback::<100, _>::new(C);
    suite::check_resize_in_place(&&extending, Serves::ALL);
    suite::check_over_failing_parent(
        |parent| {
            let stack: &'static StackFallback<1000, _> = Box::leak(Box::new(StackFallback::new(parent)));
            Some(stack)
        },
        Serves::ALL,
    );
}

#[test]
fn random_sequences() {
    hunt(60, Mix::Small, || {
        let stack: &'static StackFallback<2000, _> = Box::leak(Box::new(StackFallback::new(C)));
        OnAlloc::here(stack)
    });
}

#[test]
fn the_parent_is_not_called_while_the_buffer_serves() {
    let stack = StackFallback::<1024, _>::new(Counting::new(C));
    let held: Vec<Held> = (0..8).map(|_| Held::new(&&stack, layout(128, 16)).unwrap()).collect();
    assert_eq!((stack.parent().stats().total_blocks, stack.buffer().remaining()), (0, 0));
    let beyond = Held::new(&&stack, layout(1, 1)).unwrap();
    assert_eq!(stack.parent().stats().live_blocks, 1);
    beyond.free(&&stack);
    held.into_iter().rev().for_each(|held| held.free(&&stack));
    assert_eq!((stack.parent().stats().live_blocks, stack.buffer().used()), (0, 0));
}

#[test]
fn a_block_that_outgrows_the_buffer_moves_and_gives_its_place_back() {
    let stack = StackFallback::<256, _>::new(Counting::new(C));
    let held = Held::new(&&stack, layout(100, 8)).unwrap();
    let held = held.resize(&&stack, 200, false).unwrap();
    assert_eq!(stack.parent().stats().total_blocks, 0);
    let held = held.resize(&&stack, 300, true).unwrap();
    assert_eq!((stack.parent().stats().live_blocks, stack.buffer().used()), (1, 0));
    let held = held.resize(&&stack, 20, false).unwrap();
    held.check("back at a small size");
    held.free(&&stack);
}

#[test]
fn a_reset_empties_both() {
    let mut stack = StackFallback::<64, _>::new(Arena::new(C));
    for _ in 0..10 {
        Held::new(&&stack, layout(32, 8)).unwrap().forget();
    }
    stack.reset();
    assert_eq!((stack.buffer().used(), stack.parent().used()), (0, 0));
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn a_vector_moves_over() {
    let stack = StackFallback::<64, _>::new(C);
    let mut numbers = allocator_api2_04::vec::Vec::new_in(&stack);
    numbers.extend(0..1000);
    assert!(numbers.iter().copied().eq(0..1000));
}
