//! Free lists and their pool: what is on which list, what goes back when, and what the cookie tells.
//!
//! # Safety
//!
//! Blocks are freed once and as what they are, but where a test says otherwise; there the misuse is caught before it has
//! an effect.
#![allow(unsafe_code)]

use crate::conformance::{
    OnAlloc, Parent, Serves, check, check_over_failing_parent, check_owns, check_reset,
    check_resize_in_place, check_usable_size, hunt, layout,
};
use freestone_kit::free_list::{FreeList, FreeLists};
use freestone_kit::{Alloc, Stats};
use freestone_testkit::Mix;
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

type Lists = FreeLists<Parent>;

const SERVES: Serves = Serves::up_to(200, 64);

fn list(parent: Parent) -> FreeList<Parent> {
    FreeList::new(layout(200, 64), parent)
}

#[test]
fn a_list_keeps_the_contract() {
    let parent = Parent::new();
    let mut alloc = list(parent.clone());
    check(&alloc, SERVES);
    check_owns(&alloc, SERVES);
    check_usable_size(&alloc, SERVES);
    check_resize_in_place(&alloc, SERVES);
    check_reset(&mut alloc, SERVES);
    drop(alloc);
    assert_eq!(parent.live(), (0, 0));
    check_over_failing_parent(|parent| Some(list(parent)), SERVES);
}

#[test]
fn the_pool_keeps_the_contract() {
    let parent = Parent::new();
    let alloc = Lists::new(parent.clone());
    check(&alloc, Serves::ALL);
    check_usable_size(&alloc, Serves::ALL);
    drop(alloc);
    assert_eq!(parent.live(), (0, 0));
    check_over_failing_parent(|parent| Some(Lists::new(parent)), Serves::ALL);
    hunt(40, Mix::All, || OnAlloc::here(Lists::new(Parent::new())));
    // The lists' own blocks and the other allocator's.
    let mixed = FreeLists::with_large(Parent::new(), list(Parent::new()));
    check_owns(&mixed, SERVES);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    /// Against two stacks: what is out is on the closed list, and what comes back is the next to go out.
    #[test]
    fn blocks_move_between_the_two_lists(steps in prop::collection::vec(0_u8..100, 1..300)) {
        let list = list(Parent::new());
        let (mut out, mut back) = (Vec::new(), Vec::new());
        for step in steps {
            if step < 60 || out.is_empty() {
                let block = list.take().unwrap();
                if let Some(expected) = back.pop() {
                    prop_assert_eq!(block, expected);
                }
                out.push(block);
            } else {
                let block = out.remove(usize::from(step) % out.len());
                // SAFETY: it is out.
                unsafe { list.give(block) };
                back.push(block);
            }
            prop_assert!(list.out().eq(out.iter().rev().copied()));
            prop_assert_eq!((list.live(), list.blocks() % 64), (out.len(), 0));
        }
    }
}

#[test]
fn a_list_grows_by_64_and_gives_all_back_together() {
    let parent = Parent::new();
    let mut list = list(parent.clone());
    let blocks: Vec<_> = (0..129).map(|_| list.take().unwrap()).collect();
    assert_eq!((parent.calls(), list.blocks(), list.live()), (3, 192, 129));
    assert_eq!(parent.live().1, list.held());
    assert!(blocks.windows(2).take(63).all(|pair| pair[0] < pair[1]), "in the order of addresses");
    list.clear();
    assert_eq!((list.live(), parent.live().0), (0, 3));
    drop(list);
    assert_eq!(parent.live(), (0, 0));
}

#[test]
fn other_growths_and_layouts() {
    let parent = Parent::new();
    let list = FreeList::<_, 3>::growing(layout(1, 1), parent.clone());
    let blocks: Vec<_> = (0..4).map(|_| list.take().unwrap()).collect();
    assert_eq!((list.blocks(), parent.calls()), (6, 2));
    // SAFETY: a byte each, all out.
    blocks.iter().for_each(|block| unsafe { block.write(0xff) });
    // SAFETY: all are out.
    blocks.into_iter().for_each(|block| unsafe { list.give(block) });
    assert_eq!(list.live(), 0);
    assert!(FreeList::new(layout(isize::MAX as usize / 2, 1), parent).take().is_err());
}

#[test]
fn each_size_has_the_list_of_the_next_power_of_two() {
    let lists = Lists::new(Parent::new());
    for (size, served) in [(0, 8), (1, 8), (8, 8), (9, 16), (33, 64), (1000, 1024), (65_536, 65_536)] {
        let block = lists.malloc(size).unwrap();
        // SAFETY: a live block.
        assert_eq!(unsafe { lists.size(block) }, served);
        assert_eq!(lists.list(size), Some((1, 64)));
        // SAFETY: a live block.
        unsafe { lists.free(block) };
        assert_eq!(lists.list(size), Some((0, 64)));
    }
    assert_eq!(lists.list(65_537), None);
}

#[test]
fn larger_blocks_come_from_the_other_allocator() {
    let (parent, large) = (Parent::new(), Parent::new());
    let lists = FreeLists::with_large(parent.clone(), large.clone());
    let block = lists.malloc(65_537).unwrap();
    assert_eq!((parent.calls(), large.live().0), (0, 1));
    // SAFETY: a live block, which takes on several sizes and is freed.
    unsafe {
        block.write_bytes(7, 65_537);
    }
    // SAFETY: a live block.
    let block = unsafe { lists.realloc(block, 1 << 20) }.unwrap();
    // SAFETY: a live block of so many bytes at least.
    let kept = unsafe { std::slice::from_raw_parts(block.as_ptr(), 65_537) };
    assert!(kept.iter().all(|&byte| byte == 7));
    // SAFETY: a live block.
    let block = unsafe { lists.realloc(block, 100) }.unwrap();
    assert_eq!((lists.list(100), large.live()), (Some((1, 64)), (0, 0)));
    // SAFETY: a live block, freed by its address.
    unsafe { lists.free(block) };
    assert_eq!(lists.stats().live_blocks, 0);
}

#[test]
fn alignments_above_16_are_large_and_have_cookies_too() {
    let large = Parent::new();
    let lists = FreeLists::with_large(Parent::new(), large.clone());
    let block = lists.allocate(layout(10, 4096)).unwrap().cast::<u8>();
    assert!(block.as_ptr().addr().is_multiple_of(4096) && large.live().0 == 1);
    // SAFETY: a live block, freed by its address.
    unsafe { lists.free(block) };
    assert_eq!(large.live(), (0, 0));
}

#[test]
fn misuse_is_named() {
    fn message(misuse: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(misuse)).unwrap_err();
        payload.downcast_ref::<String>().unwrap().clone()
    }
    let lists = Lists::new(Parent::new());
    let block = lists.malloc(100).unwrap();
    // SAFETY: caught; the block has a word before this address.
    let said = message(|| unsafe { lists.free(NonNull::new(block.as_ptr().wrapping_add(16)).unwrap()) });
    assert!(said.contains("is no block of these lists"), "{said}");
    let alone = FreeList::new(layout(100, 16), Parent::new());
    // SAFETY: caught; the block has a head before it.
    let said = message(|| unsafe { alone.give(block) });
    assert!(said.contains("is no block of it"), "{said}");
    // SAFETY: a live block, once.
    unsafe { lists.free(block) };
    // SAFETY: caught; a free block keeps its cookie.
    assert!(message(|| unsafe { lists.free(block) }).contains("freed twice"));
    let block = alone.take().unwrap();
    // SAFETY: a live block, once.
    unsafe { alone.give(block) };
    // SAFETY: caught; a free block keeps its cookie.
    assert!(message(|| unsafe { alone.give(block) }).contains("twice"));
}

#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
#[test]
fn collections_live_in_it() {
    let lists = Lists::new(Parent::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &lists);
    let mut vec = allocator_api2_04::vec::Vec::new_in(&lists);
    for at in 0..2000_u32 {
        map.insert(at, at * 3);
        vec.push(at);
    }
    assert!(vec.iter().all(|at| map[at] == at * 3));
    drop((map, vec));
    assert_eq!(lists.stats().live_blocks, 0);
}
