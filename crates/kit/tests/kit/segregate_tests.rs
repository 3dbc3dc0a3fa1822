//! Segregate: each block on its side of the border, also when it changes its size or is freed by its usable one.
//!
//! # Safety
//!
//! Blocks are live, and freed once with a layout that fits.
#![allow(unsafe_code)]

use crate::conformance::{
    Held, OnAlloc, Parent, Serves, check, check_over_failing_parent, check_owns, check_remap,
    check_resize_in_place, check_usable_size, hunt, layout,
};
use freestone_kit::free_list::{FreeList, FreeLists};
use freestone_kit::memory_pool::MemoryPool;
use freestone_kit::page::Page;
use freestone_kit::segregate::{Segregate, hybrid};
use freestone_kit::{Alloc, Stats};
use freestone_testkit::Mix;

type Both = Segregate<100, Parent, Parent>;

#[test]
fn keeps_the_contract() {
    let (small, large) = (Parent::new(), Parent::new());
    check(&Both::new(small.clone(), large.clone()), Serves::ALL);
    assert_eq!((small.live(), large.live()), ((0, 0), (0, 0)));
    check_over_failing_parent(|parent| Some(Both::new(parent.clone(), parent)), Serves::ALL);
    hunt(40, Mix::All, || OnAlloc::here(Both::new(Parent::new(), Parent::new())));
}

#[test]
fn the_traits_beside_it_hold_on_both_sides() {
    // Both sides round sizes up, the small one beyond the border.
    let lists = Segregate::<100, _, _>::new(FreeLists::new(Parent::new()), FreeLists::new(Parent::new()));
    check_usable_size(&lists, Serves::ALL);
    check(&lists, Serves::ALL);
    assert_eq!(lists.stats().live_blocks, 0);
    let fixed = |size| FreeList::<_, 8>::growing(layout(size, 64), Parent::new());
    let slots = Segregate::<64, _, _>::new(fixed(64), fixed(200));
    check_owns(&slots, Serves::up_to(200, 64));
    check_resize_in_place(&slots, Serves::up_to(200, 64));
    check_remap(&Segregate::<4096, _, _>::new(Page, Page), Serves::up_to(1 << 20, 4096));
}

#[test]
fn the_border_itself_is_small() {
    let (small, large) = (Parent::new(), Parent::new());
    let both = Both::new(small.clone(), large.clone());
    let held = Held::new(&both, layout(100, 1)).unwrap();
    assert_eq!((small.live().0, large.live().0), (1, 0));
    let held = held.resize(&both, 101, true).unwrap();
    assert_eq!((small.live().0, large.live().0), (0, 1));
    let held = held.resize(&both, 100, true).unwrap();
    assert_eq!((small.live().0, large.live().0), (1, 0));
    held.free(&both);
}

#[test]
fn a_small_block_is_never_told_longer_than_the_border() {
    let pool = MemoryPool::<[u8; 128], Parent>::new(Parent::new());
    let both = Segregate::<100, _, _>::new(pool, Parent::new());
    let block = both.allocate(layout(60, 1)).unwrap();
    assert_eq!(block.len(), 100);
    // SAFETY: the block fits this layout, too: it is between what was asked for and what was given.
    unsafe { both.deallocate(block.cast(), layout(100, 1)) };
    assert_eq!((both.small().live(), both.large().live()), (0, (0, 0)));
}

#[test]
fn a_refused_crossing_leaves_the_block_alone() {
    let large = Parent::granting(0);
    let both = Both::new(Parent::new(), large);
    let held = Held::new(&both, layout(90, 8)).unwrap();
    let (held, _) = held.resize(&both, 500, true).unwrap_err();
    held.check("after a crossing that was refused");
    held.free(&both);
}

#[cfg(all(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
#[test]
fn collections_live_in_it() {
    let both = Segregate::<512, _, _>::new(FreeLists::new(Parent::new()), Page);
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &both);
    let mut vec = allocator_api2_04::vec::Vec::new_in(&both);
    for at in 0..2000_u32 {
        map.insert(at, allocator_api2_04::boxed::Box::new_in(at, &both));
        vec.push(at);
    }
    assert!(vec.iter().all(|at| *map[at] == *at));
}

#[test]
fn the_hybrid_keeps_the_contract() {
    let parent = Parent::new();
    let alloc = hybrid(parent.clone());
    check(&alloc, Serves::ALL);
    drop(alloc);
    assert_eq!(parent.live(), (0, 0));
    check_usable_size(&hybrid(Page), Serves::ALL);
    check_over_failing_parent(|parent| Some(hybrid(parent)), Serves::ALL);
    hunt(40, Mix::All, || OnAlloc::here(hybrid(Parent::new())));
}

#[test]
fn the_hybrid_sends_each_size_where_it_belongs() {
    let parent = Parent::new();
    let alloc = hybrid(parent.clone());
    for (size, align, len) in [(1, 1, 16), (17, 16, 32), (65, 8, 128), (256, 8, 256)] {
        let block = alloc.allocate(layout(size, align)).unwrap();
        assert_eq!(block.len(), len);
        // SAFETY: a live block of that layout.
        unsafe { alloc.deallocate(block.cast(), layout(size, align)) };
    }
    let bins = alloc.large().large().large().large().large().small();
    for (size, align) in [(8, 64), (300, 8), (100_000, 8)] {
        let held = Held::new(&alloc, layout(size, align)).unwrap();
        assert_eq!(bins.stats().live_blocks, 1, "{size} bytes, align {align}");
        held.free(&alloc);
    }
    let calls = parent.calls();
    let held = Held::new(&alloc, layout(200_000, 8)).unwrap();
    assert_eq!((parent.calls(), bins.stats().live_blocks), (calls + 1, 0));
    held.free(&alloc);
}

#[test]
fn a_border_on_the_alignment() {
    let (small, large) = (Parent::new(), Parent::new());
    let both = Segregate::<100, _, _, 16>::new(small.clone(), large.clone());
    check(&both, Serves::ALL);
    let held = Held::new(&both, layout(10, 32)).unwrap();
    assert_eq!((small.live().0, large.live().0), (0, 1));
    let held = held.relayout(&both, layout(10, 16)).unwrap();
    assert_eq!((small.live().0, large.live().0), (1, 0));
    held.free(&both);
}
