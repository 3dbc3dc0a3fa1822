//! The memory pool: what it recycles, how it grows, what a reset keeps, and what misuse it names.
//!
//! # Safety
//!
//! Misuse is committed on slots that nobody reads or writes again, and is caught before it has an effect.
#![allow(unsafe_code)]

use crate::conformance::{
    OnAlloc, Parent, Serves, check, check_capacity, check_over_failing_parent, check_owns, check_reset,
    check_resize_in_place, check_usable_size, hunt,
};
use freestone_kit::memory_pool::{MemoryPool, PoolReset};
use freestone_kit::{AllocError, Stats};
use freestone_testkit::Mix;
use proptest::prelude::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

type Pool<T> = MemoryPool<T, Parent>;
type Large = MemoryPool<[u8; 5000], Parent, 64>;

const SERVES: Serves = Serves::up_to(5000, 64);

#[test]
fn keeps_the_contract() {
    let parent = Parent::new();
    let mut pool = Large::new(parent.clone());
    check(&pool, SERVES);
    check_owns(&pool, SERVES);
    check_usable_size(&pool, SERVES);
    check_resize_in_place(&pool, SERVES);
    check_capacity(&pool, SERVES);
    check_reset(&mut pool, SERVES);
    drop(pool);
    assert_eq!(parent.live(), (0, 0));
    check_over_failing_parent(|parent| Some(Large::new(parent)), SERVES);
    check_over_failing_parent(|parent| Large::preheated(parent, 9).ok(), SERVES);
    hunt(40, Mix::Small, || {
        OnAlloc::here(MemoryPool::<[u8; 2048], _, 4096>::new(Parent::new())).may_refuse()
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    /// Against a stack of addresses: the last freed is created first, and every value stays what it was.
    #[test]
    fn the_last_freed_is_created_first(steps in prop::collection::vec(0_u8..100, 1..300)) {
        let pool = Pool::<u64>::new(Parent::new());
        let mut live = Vec::new();
        let mut freed: Vec<*const u64> = Vec::new();
        for (value, step) in steps.into_iter().enumerate() {
            if step < 60 || live.is_empty() {
                let object = pool.create(value as u64).unwrap();
                if let Some(expected) = freed.pop() {
                    prop_assert_eq!(&raw const *object, expected);
                }
                live.push((value as u64, object));
            } else {
                let (value, object) = live.swap_remove(usize::from(step) % live.len());
                freed.push(&raw const *object);
                prop_assert_eq!(object.into_inner(), value);
            }
            prop_assert_eq!(pool.live(), live.len());
            prop_assert!(live.iter().all(|(value, object)| **object == *value));
        }
    }
}

#[test]
fn grows_by_asking_seldom() {
    let parent = Parent::new();
    let pool = Pool::<u64>::new(parent.clone());
    assert_eq!(parent.calls(), 0);
    let objects: Vec<_> = (0..10_000).map(|value| pool.create(value).unwrap()).collect();
    assert!(parent.calls() < 12, "{} requests", parent.calls());
    drop(objects);
    assert_eq!((pool.live(), pool.stats().total_blocks), (0, 10_000));
}

#[test]
fn a_preheated_pool_asks_no_more() {
    let parent = Parent::new();
    let pool = Pool::<[u8; 100]>::preheated(parent.clone(), 500).unwrap();
    assert_eq!((pool.available(), parent.calls()), (500, 1));
    parent.grant(0);
    let objects: Vec<_> = (0..500).map(|_| pool.create([1; 100]).unwrap()).collect();
    assert_eq!(pool.create([1; 100]).err(), Some(AllocError));
    drop(objects);
    // There is room for 500 already.
    pool.preheat(500).unwrap();
    assert_eq!(pool.preheat(501), Err(AllocError));
    assert_eq!(pool.preheat(usize::MAX), Err(AllocError));
    assert_eq!(pool.available(), 500);
}

#[test]
fn one_that_may_not_grow_does_so_only_by_preheating() {
    let pool = MemoryPool::<u8, Parent, 1, false>::new(Parent::new());
    let made = Cell::new(false);
    assert!(pool.create_with(|| u8::from(made.replace(true))).is_err());
    assert!(!made.get(), "the value was made for nothing");
    pool.preheat(2).unwrap();
    let (_first, second) = (pool.create(1).unwrap(), pool.create(2).unwrap());
    assert!(pool.create(3).is_err());
    drop(second);
    assert!(pool.create(3).is_ok());
    assert_eq!(pool.stats().refused, 2);
}

#[test]
fn the_alignment_can_be_raised() {
    let pool = MemoryPool::<u8, Parent, 4096>::new(Parent::new());
    let objects: Vec<_> = (0..20).map(|value| pool.create(value).unwrap()).collect();
    assert!(objects.iter().all(|object| (&raw const **object).addr().is_multiple_of(4096)));
}

#[test]
fn resets_keep_what_they_are_to_keep() {
    let parent = Parent::new();
    let mut pool = Pool::<[u64; 4]>::new(parent.clone());
    let fill = |pool: &Pool<[u64; 4]>| (0..1000).for_each(|at| pool.create([at; 4]).unwrap().leak()[0] += 1);
    fill(&pool);
    let (calls, held) = (parent.calls(), parent.live());

    pool.reset(PoolReset::RetainCapacity);
    assert_eq!((parent.live(), pool.live()), (held, 0));
    fill(&pool);
    assert_eq!(parent.calls(), calls, "the same objects again, no request");

    pool.reset(PoolReset::RetainWithLimit(10_000));
    let kept = parent.live().1;
    assert!(kept <= 10_000 && kept > 0 && pool.stats().held_bytes == kept);
    fill(&pool);

    pool.reset(PoolReset::FreeAll);
    assert_eq!((parent.live(), pool.available()), ((0, 0), 0));
    fill(&pool);
    drop(pool);
    assert_eq!(parent.live(), (0, 0));
}

#[test]
fn objects_are_dropped_once() {
    let pool = Pool::<Rc<()>>::new(Parent::new());
    let witness = Rc::new(());
    drop(pool.create(witness.clone()).unwrap());
    assert_eq!(Rc::strong_count(&witness), 1);
    let inner = pool.create(witness.clone()).unwrap().into_inner();
    assert_eq!((Rc::strong_count(&witness), pool.live()), (2, 0));
    drop(inner);
    pool.create(witness.clone()).unwrap().leak();
    drop(pool);
    assert_eq!(Rc::strong_count(&witness), 2, "a leaked object is not dropped");
}

#[test]
fn a_panic_while_an_object_is_made_or_dropped_loses_no_slot() {
    struct Falls;
    impl Drop for Falls {
        fn drop(&mut self) {
            panic!("falls");
        }
    }
    let pool = Pool::<Falls>::new(Parent::new());
    let unwound = catch_unwind(AssertUnwindSafe(|| drop(pool.create_with(|| panic!("no value")))));
    assert!(unwound.is_err());
    let unwound = catch_unwind(AssertUnwindSafe(|| drop(pool.create(Falls))));
    assert!(unwound.is_err());
    assert_eq!(pool.live(), 0);
}

#[test]
fn a_pool_moves_to_another_thread() {
    let mut pool = MemoryPool::<u32, Parent>::preheated(Parent::new(), 3).unwrap();
    pool = std::thread::spawn(move || pool.create(7).map(|object| assert_eq!(*object, 7)).map(|()| pool))
        .join()
        .unwrap()
        .unwrap();
    assert_eq!(pool.live(), 0);
}

#[cfg(debug_assertions)]
#[test]
fn misuse_is_named() {
    fn message(misuse: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(misuse)).unwrap_err();
        payload.downcast_ref::<String>().unwrap().clone()
    }
    let (pool, other) = (Pool::<u64>::new(Parent::new()), Pool::<u64>::new(Parent::new()));
    let slot = pool.take().unwrap();
    // SAFETY: caught before it has an effect.
    assert!(message(|| unsafe { other.give(slot) }).contains("a pool that it is not from"));
    let inside = slot.cast::<u8>().as_ptr().wrapping_add(4);
    // SAFETY: caught before it has an effect.
    let said = message(|| unsafe { pool.give(std::ptr::NonNull::new(inside.cast()).unwrap()) });
    assert!(said.contains("is inside an object"), "{said}");
    // SAFETY: taken above, given once.
    unsafe { pool.give(slot) };
    // SAFETY: caught before it has an effect.
    assert!(message(|| unsafe { pool.give(slot) }).contains("twice"));
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn boxes_live_in_it() {
    use allocator_api2_04::boxed::Box;
    let pool = MemoryPool::<[u64; 2], Parent>::new(Parent::new());
    let first = Box::new_in((1_u64, 2_u8), &pool);
    let second = Box::new_in(7_u16, &pool);
    assert_eq!((first.0 + u64::from(*second), pool.live()), (8, 2));
    assert!(Box::try_new_in([0_u64; 3], &pool).is_err());
}
