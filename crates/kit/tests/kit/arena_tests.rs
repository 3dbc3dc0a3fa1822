//! Arenas, of bytes and of one type.

use crate::conformance::{self as suite, Held, OnAlloc, Parent, Serves, hunt, layout};
use freestone_kit::arena::{Arena, ResetMode, TypedArena};
use freestone_kit::c::C;
use freestone_kit::page::Page;
use freestone_kit::{Alloc, Capacity, Reset, Stats, counting::Counting};
use freestone_testkit::Mix;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn keeps_the_contract() {
    suite::check(&Arena::new(Parent::new()), Serves::ALL);
    suite::check(&Arena::extending(Page), Serves::ALL);
    suite::check_resize_in_place(&Arena::new(C), Serves::ALL);
    suite::check_owns(&Arena::new(C), Serves::ALL);
    suite::check_reset(&mut Arena::new(C), Serves::ALL);
    suite::check_reset(&mut Arena::extending(Page), Serves::ALL);
    suite::check_over_failing_parent(|parent| Some(Arena::new(parent)), Serves::ALL);
}

#[test]
fn random_sequences() {
    hunt(60, Mix::All, || OnAlloc::here(Arena::new(Parent::new())));
    hunt(60, Mix::Small, || OnAlloc::here(Arena::extending(C)));
}

#[test]
fn the_newest_block_grows_shrinks_and_is_freed_in_place() {
    let arena = Arena::new(Parent::new());
    Held::new(&arena, layout(3000, 8)).unwrap().free(&arena);
    let held = Held::new(&arena, layout(100, 8)).unwrap();
    let (address, used) = (held.address(), arena.used());
    let held = held.resize(&arena, 1000, false).unwrap().resize(&arena, 40, false).unwrap();
    assert_eq!((held.address(), arena.used()), (address, used - 60));
    held.free(&arena);
    assert_eq!(arena.used(), used - 100);
}

#[test]
fn the_parent_is_asked_seldom() {
    let parent = Parent::new();
    let arena = Arena::new(parent.clone());
    for _ in 0..10_000 {
        Held::new(&arena, layout(64, 8)).unwrap().forget();
    }
    assert!(parent.calls() < 25, "{} calls for 640 KB", parent.calls());
}

#[test]
fn resets_keep_what_they_say() {
    let parent = Parent::new();
    let mut arena = Arena::new(parent.clone());
    let fill =
        |arena: &Arena<Parent>| (0..2000).for_each(|_| Held::new(arena, layout(50, 2)).unwrap().forget());
    fill(&arena);
    let held = arena.held_bytes();
    assert!(arena.node_count() > 1);

    assert!(arena.reset_with(ResetMode::RetainCapacity));
    assert_eq!((arena.node_count(), arena.held_bytes(), arena.used()), (1, held, 0));
    let calls = parent.calls();
    fill(&arena);
    assert_eq!(parent.calls(), calls, "the second round asked the parent");

    assert!(arena.reset_with(ResetMode::RetainLimit(4096)));
    assert_eq!((arena.node_count(), arena.held_bytes()), (1, 4096));
    assert!(arena.reset_with(ResetMode::RetainLimit(1 << 30)));
    assert_eq!(arena.held_bytes(), 4096);
    assert!(arena.reset_with(ResetMode::RetainLimit(7)));
    assert_eq!(arena.held_bytes(), 0);

    fill(&arena);
    assert!(arena.reset_with(ResetMode::FreeAll));
    assert_eq!((arena.held_bytes(), parent.live()), (0, (0, 0)));
    fill(&arena);
}

#[test]
fn a_reset_that_the_parent_refuses_keeps_the_longest_node() {
    let parent = Parent::new();
    let mut arena = Arena::new(parent.clone());
    (0..2000).for_each(|_| Held::new(&arena, layout(50, 2)).unwrap().forget());
    parent.grant(0);
    assert!(!arena.reset_with(ResetMode::RetainCapacity));
    assert_eq!(arena.node_count(), 1);
    assert!(arena.held_bytes() > 0);
    Held::new(&arena, layout(50, 2)).unwrap().forget();
}

#[test]
fn a_limit_holds_over_a_parent_that_gives_whole_pages() {
    let page = Page::page_size();
    let mut arena = Arena::new(Page);
    for _ in 0..3 {
        (0..10).for_each(|_| Held::new(&arena, layout(page, 8)).unwrap().forget());
        assert!(arena.reset_with(ResetMode::RetainLimit(page * 5 / 4)));
        assert_eq!((arena.node_count(), arena.held_bytes()), (1, page));
    }
    // One page is all that can be kept: it is not exchanged for another.
    let before = arena.allocate(layout(8, 8)).unwrap().cast::<u8>();
    assert!(arena.reset_with(ResetMode::RetainLimit(page * 5 / 4)));
    assert_eq!(arena.allocate(layout(8, 8)).unwrap().cast::<u8>(), before);
    (0..10).for_each(|_| Held::new(&arena, layout(page, 8)).unwrap().forget());
    assert!(arena.reset_with(ResetMode::RetainLimit(page - 1)));
    assert_eq!((arena.node_count(), arena.held_bytes()), (0, 0));
}

#[test]
fn a_node_grows_in_place_where_the_parent_can() {
    // The first page of a mapping that was cut leaves room behind it.
    let mut arena = Arena::extending(Page);
    Held::new(&arena, layout(100_000, 8)).unwrap().forget();
    assert!(arena.reset_with(ResetMode::RetainLimit(8192)));
    assert_eq!((arena.node_count(), arena.held_bytes()), (1, 8192));
    for _ in 0..100 {
        Held::new(&arena, layout(1000, 8)).unwrap().forget();
    }
    assert!(arena.held_bytes() >= 100_000);
    arena.reset();
}

/// Notes when it is dropped.
struct Noted<'a>(u32, &'a RefCell<Vec<u32>>);

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

#[test]
fn a_typed_arena_drops_its_values_in_order() {
    let notes = RefCell::new(Vec::new());
    let parent = Parent::new();
    let mut arena = TypedArena::new(parent.clone());
    for number in 0..300 {
        assert_eq!(arena.alloc(Noted(number, &notes)).0, number);
    }
    assert_eq!(arena.len(), 300);
    assert!(arena.iter_mut().map(|noted| noted.0).eq(0..300));
    arena.clear();
    assert!(notes.borrow().iter().copied().eq(0..300));
    assert!(arena.is_empty());
    assert_eq!(parent.live().0, 1);
    arena.alloc(Noted(300, &notes));
    drop(arena);
    assert_eq!(notes.borrow().len(), 301);
    assert_eq!(parent.live(), (0, 0));
}

#[test]
fn a_typed_arena_takes_slices_of_unknown_length() {
    let arena = TypedArena::new(Parent::new());
    let first = arena.alloc_extend(0..3_u64);
    let one = arena.alloc(77);
    // The iterator stores values itself, and tells nothing of its length.
    let second = arena.alloc_extend((0..2000).filter(|n| n % 2 == 0).inspect(|&n| {
        arena.alloc(n + 1);
    }));
    assert!(second.iter().copied().eq((0..1000).map(|n| n * 2)));
    assert_eq!((&*first, *one), (&[0, 1, 2][..], 77));
    assert_eq!(arena.len(), 3 + 1 + 1000 + 2000 / 2);
    let mut arena = arena;
    let mut all: Vec<u64> = arena.iter_mut().map(|n| *n).collect();
    assert_eq!(all.len(), arena.len());
    all.sort_unstable();
    let mut expected: Vec<u64> = (0..2000).chain([0, 1, 2, 77]).collect();
    expected.sort_unstable();
    assert_eq!(all, expected);
}

#[test]
fn a_slice_first_and_then_values_share_a_chunk() {
    let mut arena = TypedArena::new(Parent::new());
    arena.alloc_extend([1, 2, 3]);
    for n in 4..200 {
        arena.alloc(n);
    }
    assert!(arena.iter_mut().map(|n| *n).eq(1..200));
}

#[test]
fn values_without_size_are_counted_and_dropped() {
    thread_local!(static DROPS: Cell<u32> = const { Cell::new(0) });
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.set(DROPS.get() + 1);
        }
    }
    let mut arena = TypedArena::new(C);
    arena.alloc(Nothing);
    arena.alloc_extend([Nothing, Nothing]);
    assert_eq!((arena.len(), arena.iter_mut().count(), DROPS.get()), (3, 3, 0));
    drop(arena);
    assert_eq!(DROPS.get(), 3);
}

#[test]
fn aligned_values_and_a_parent_that_refuses() {
    #[repr(align(256))]
    struct Wide(#[allow(dead_code)] u8);
    let parent = Parent::new();
    let arena = TypedArena::with_capacity(parent.clone(), 3).unwrap();
    parent.grant(0);
    let mut stored = 0;
    while let Ok(wide) = arena.try_alloc(Wide(1)) {
        assert!((&raw const *wide).addr().is_multiple_of(256));
        stored += 1;
    }
    assert!(stored >= 3);
}

#[test]
fn a_destructor_that_panics_leads_to_no_second_drop() {
    struct Bomb<'a>(u32, &'a RefCell<Vec<u32>>);
    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            self.1.borrow_mut().push(self.0);
            assert!(self.0 != 5, "boom");
        }
    }
    let notes = RefCell::new(Vec::new());
    let mut arena = TypedArena::new(C);
    (0..100).for_each(|n| assert_eq!(arena.alloc(Bomb(n, &notes)).0, n));
    assert!(catch_unwind(AssertUnwindSafe(|| arena.clear())).is_err());
    assert!(arena.is_empty());
    arena.alloc(Bomb(1000, &notes));
    drop(arena);
    let mut noted = notes.into_inner();
    let all = noted.len();
    noted.sort_unstable();
    noted.dedup();
    assert_eq!(noted.len(), all, "dropped twice");
}

#[test]
fn an_iterator_that_panics_leaves_its_values_to_the_arena() {
    let notes = RefCell::new(Vec::new());
    let arena = TypedArena::new(C);
    let broken = (0..10).map(|n| if n < 7 { Noted(n, &notes) } else { panic!("no more") });
    assert!(catch_unwind(AssertUnwindSafe(|| arena.alloc_extend(broken).len())).is_err());
    assert_eq!((arena.len(), notes.borrow().len()), (7, 0));
    drop(arena);
    assert_eq!(notes.borrow().len(), 7);
}

#[test]
fn an_arena_may_be_sent_to_another_thread() {
    let counting = Counting::new(C);
    let arena = Arena::new(&counting);
    Held::new(&arena, layout(100, 8)).unwrap().forget();
    std::thread::scope(|scope| {
        scope.spawn(move || Held::new(&arena, layout(100, 8)).unwrap().forget());
    });
    assert_eq!(counting.stats().live_blocks, 0);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn collections_live_in_it() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let mut arena = Arena::new(C);
    for _ in 0..3 {
        let mut words: Vec<Box<[u8], _>, _> = Vec::new_in(&arena);
        for length in 0..200 {
            let mut word = Vec::new_in(&arena);
            word.resize(length, b'x');
            words.push(word.into_boxed_slice());
        }
        assert_eq!(words.iter().map(|word| word.len()).sum::<usize>(), 199 * 100);
        drop(words);
        arena.reset();
    }
}
