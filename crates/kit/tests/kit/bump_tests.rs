//! Bump allocation.

use crate::conformance::{self as suite, OnAlloc, Parent, Serves, hunt, layout};
use freestone_kit::bump::Bump;
use freestone_kit::c::C;
use freestone_kit::{Alloc, Capacity, Owns, Reset, Stats, counting::Counting};
use freestone_testkit::Mix;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn keeps_the_contract() {
    suite::check(&Bump::<_>::new(Parent::new()), Serves::ALL);
    suite::check(&Bump::<_, 8>::new(Parent::new()), Serves::ALL);
    suite::check(&Bump::<_, 16>::new(Parent::new()), Serves::ALL);
    suite::check_resize_in_place(&Bump::<_>::new(C), Serves::ALL);
    suite::check_owns(&Bump::<_>::new(C), Serves::ALL);
    suite::check_reset(&mut Bump::<_>::new(C), Serves::ALL);
    suite::check_over_failing_parent(|parent| Some(Bump::<_>::new(parent)), Serves::ALL);
    suite::check_over_failing_parent(|parent| Bump::<_, 4>::with_capacity(parent, 700).ok(), Serves::ALL);
}

#[test]
fn random_sequences() {
    hunt(60, Mix::All, || OnAlloc::here(Bump::<_>::new(Parent::new())));
    hunt(60, Mix::Small, || OnAlloc::here(Bump::<_, 8>::new(Parent::new())));
}

#[test]
fn the_newest_block_gives_its_memory_back_and_grows_by_a_copy_alone() {
    let bump = Bump::<_>::with_capacity(Parent::new(), 1 << 10).unwrap();
    let first = suite::Held::new(&bump, layout(100, 4)).unwrap();
    let used = bump.used();
    let second = suite::Held::new(&bump, layout(64, 4)).unwrap();
    let second = second.resize(&bump, 200, false).unwrap();
    assert_eq!(bump.used(), used + 200);
    second.free(&bump);
    assert_eq!(bump.used(), used);
    first.check("below a block that came and went");
}

#[test]
fn sizes_are_rounded_to_the_least_alignment() {
    let bump = Bump::<_, 8>::with_capacity(C, 1 << 10).unwrap();
    let used = bump.used();
    for _ in 0..10 {
        assert!(bump.allocate(layout(3, 1)).unwrap().cast::<u8>().addr().get().is_multiple_of(8));
    }
    assert_eq!(bump.used() - used, 80);
}

#[test]
fn a_reset_keeps_the_longest_chunk_and_a_second_round_takes_no_other() {
    let parent = Parent::new();
    let mut bump = Bump::<_>::new(parent.clone());
    for _ in 0..1000 {
        bump.alloc([0_u64; 8]);
    }
    assert!(parent.live().0 > 3);
    bump.reset();
    assert_eq!(parent.live().0, 1);
    let (held, calls) = (bump.held_bytes(), parent.calls());
    for _ in 0..held / 64 - 1 {
        bump.alloc([0_u64; 8]);
    }
    assert_eq!(parent.calls(), calls);
}

#[test]
fn values_slices_and_texts() {
    let bump = Bump::<_>::new(C);
    let number = bump.alloc(7_u128);
    let copy = bump.alloc_slice_copy(&[1_u16, 2, 3]);
    let made = bump.alloc_slice_fill_with(5, |index| index * index);
    let all = bump.alloc_slice_iter((0..3).map(|n| n * 10));
    let text = bump.alloc_str("größer");
    *number += 1;
    copy[0] = 9;
    assert_eq!((*number, &*copy, &*made), (8, &[9, 2, 3][..], &[0, 1, 4, 9, 16][..]));
    assert_eq!((&*all, &*text), (&[0, 10, 20][..], "größer"));
    let nothing: &mut [u64] = bump.alloc_slice_fill_with(0, |_| unreachable!());
    assert!(nothing.is_empty());
    assert_eq!(*bump.try_alloc(()).unwrap(), ());
}

#[test]
fn a_box_drops_its_value_once() {
    struct Counted<'a>(&'a Cell<u32>);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Cell::new(0);
    let bump = Bump::<_>::new(C);
    let boxed = bump.alloc_boxed(Counted(&drops));
    drop(boxed);
    assert_eq!(drops.get(), 1);
    drop(freestone_kit::bump::BumpBox::into_inner(bump.alloc_boxed(Counted(&drops))));
    assert_eq!(drops.get(), 2);
    freestone_kit::bump::BumpBox::leak(bump.alloc_boxed(Counted(&drops)));
    assert_eq!(drops.get(), 2);
}

#[test]
fn a_scope_frees_what_was_allocated_in_it_and_nothing_else() {
    let parent = Parent::new();
    let mut bump = Bump::<_>::new(parent.clone());
    let mut scope = bump.scope();
    let outer = scope.alloc_slice_fill_with(20, |index| index);
    let mut most = 0;
    for round in 0..50 {
        let sum = scope.nested(|mut inner| {
            let numbers = inner.alloc_slice_copy(&[round; 1000]);
            let deeper = inner.nested(|deepest| deepest.alloc_slice_copy(&[1_u8; 5000]).len());
            numbers.iter().sum::<i32>() + deeper as i32
        });
        assert_eq!(sum, round * 1000 + 5000);
        if round == 2 {
            most = parent.calls();
        }
    }
    assert_eq!(parent.calls(), most, "the same round again took more from the parent");
    assert!(outer.iter().copied().eq(0..20));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        scope.nested(|inner| {
            inner.alloc([0_u8; 3000]);
            panic!("inside");
        })
    }));
    assert!(panicked.is_err());
    assert!(outer.iter().copied().eq(0..20));
    let again = scope.alloc(5);
    assert_eq!(*again, 5);
}

#[test]
fn blocks_stay_when_the_allocator_moves_and_go_when_it_goes() {
    let counting = Counting::new(C);
    let bump = Bump::<_>::new(&counting);
    let held = suite::Held::new(&bump, layout(1000, 8)).unwrap();
    let moved = Box::new(bump);
    held.check("after the allocator moved");
    assert!(moved.owns(held.address()));
    drop(moved);
    assert_eq!(counting.stats().live_blocks, 0);
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_and_a_vector_live_in_it() {
    let bump = Bump::<_>::new(C);
    let mut map = hashbrown::HashMap::new_in(&bump);
    let mut list = allocator_api2_02::vec::Vec::new_in(&bump);
    for key in 0..500_u32 {
        map.insert(key, key * 2);
        list.push(key);
    }
    assert!(list.iter().all(|key| map[key] == key * 2));
}
