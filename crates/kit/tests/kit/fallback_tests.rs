//! Fallback: the primary first, the secondary for the rest, and every block back to where it is from.
//!
//! # Safety
//!
//! Blocks are live, and freed once with a layout that fits.
#![allow(unsafe_code)]

use crate::conformance::{
    Held, OnAlloc, Parent, Serves, check, check_over_failing_parent, check_owns, check_resize_in_place,
    check_usable_size, hunt, layout,
};
use freestone_kit::fallback::Fallback;
use freestone_kit::free_list::FreeList;
use freestone_kit::memory_pool::MemoryPool;
use freestone_kit::{Alloc, Stats};
use freestone_testkit::Mix;

/// Ten slots of 256 bytes, then the parent.
type Slots = MemoryPool<[u8; 256], Parent, 64, false>;
type Alloc2 = Fallback<Slots, Parent>;

fn slots(parent: Parent) -> Slots {
    let pool = Slots::new(parent);
    let _ = pool.preheat(10);
    pool
}

#[test]
fn keeps_the_contract() {
    let (under, secondary) = (Parent::new(), Parent::new());
    let both = Alloc2::new(slots(under.clone()), secondary.clone());
    check(&both, Serves::ALL);
    assert_eq!((both.primary().live(), secondary.live()), (0, (0, 0)));
    drop(both);
    assert_eq!(under.live(), (0, 0));
    check_over_failing_parent(|parent| Some(Alloc2::new(slots(parent.clone()), parent)), Serves::ALL);
    hunt(40, Mix::All, || OnAlloc::here(Alloc2::new(slots(Parent::new()), Parent::new())));
}

#[test]
fn the_traits_beside_it_hold_on_both_sides() {
    let serves = Serves::up_to(256, 64);
    let both = Fallback::new(slots(Parent::new()), FreeList::new(layout(256, 64), Parent::new()));
    check_owns(&both, serves);
    check_usable_size(&both, serves);
    check_resize_in_place(&both, serves);
    let all: Vec<_> = (0..30).map(|_| Held::new(&both, layout(100, 8)).unwrap()).collect();
    assert_eq!((both.primary().live(), both.secondary().live()), (10, 20));
    assert_eq!((both.stats().live_blocks, both.stats().refused), (30, 20));
    all.into_iter().for_each(|held| held.free(&both));
}

#[test]
fn the_primary_is_full_and_later_has_room_again() {
    let both = Alloc2::new(slots(Parent::new()), Parent::new());
    let mut all: Vec<_> = (0..11).map(|_| Held::new(&both, layout(200, 8)).unwrap()).collect();
    assert_eq!(both.secondary().live().0, 1);
    all.swap_remove(0).free(&both);
    all.push(Held::new(&both, layout(200, 8)).unwrap());
    assert_eq!((both.primary().live(), both.secondary().live().0), (10, 1));
    all.into_iter().for_each(|held| held.free(&both));
    assert_eq!((both.primary().live(), both.secondary().live().0), (0, 0));
}

#[test]
fn a_block_that_the_primary_cannot_grow_moves_over() {
    let both = Alloc2::new(slots(Parent::new()), Parent::new());
    let held = Held::new(&both, layout(200, 8)).unwrap();
    let held = held.resize(&both, 256, true).unwrap();
    assert_eq!((both.primary().live(), both.secondary().live().0), (1, 0));
    let held = held.resize(&both, 1000, true).unwrap();
    assert_eq!((both.primary().live(), both.secondary().live().0), (0, 1));
    held.free(&both);
}

#[test]
fn when_both_refuse_nothing_has_changed() {
    let both = Alloc2::new(slots(Parent::new()), Parent::granting(0));
    let held = Held::new(&both, layout(200, 8)).unwrap();
    let (held, _) = held.resize(&both, 1000, false).unwrap_err();
    held.check("after both refused");
    assert!(both.allocate(layout(1000, 8)).is_err());
    held.free(&both);
}

#[test]
fn they_nest() {
    let both = Fallback::new(slots(Parent::new()), Fallback::new(slots(Parent::new()), slots(Parent::new())));
    let all: Vec<_> = (0..30).map(|_| Held::new(&both, layout(8, 8)).unwrap()).collect();
    assert!(both.allocate(layout(8, 8)).is_err());
    all.into_iter().for_each(|held| held.free(&both));
}
