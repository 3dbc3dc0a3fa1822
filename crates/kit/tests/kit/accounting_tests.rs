//! Accounting: exact figures, the limit, the handler; slabs and their hints; a cycle that makes memory free.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout that they were asked for with.
#![allow(unsafe_code)]

use crate::conformance::{self, OnAlloc, Parent, Serves};
use freestone_kit::accounting::{
    Accounting, Cause, Clock, Cycle, Defrag, DefragConfig, Fragmentation, MOST, MoveHints, Mover, OomHandler,
    Owned, Refuse, Requested, SLAB, Shortage, Slabs, Tick, Usable, Verdict,
};
use freestone_kit::{Alloc, Capacity};
use freestone_testkit::{Mix, StressConfig};
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

fn bytes(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Frees a block that was allocated with `bytes(size)`.
fn free<A: Alloc>(alloc: &A, block: NonNull<[u8]>, size: usize) {
    // SAFETY: every caller below hands in a live block of that layout, once.
    unsafe { alloc.deallocate(block.cast(), bytes(size)) }
}

#[test]
fn all_of_them_are_allocators() {
    let requested = Accounting::new(Slabs::new(Parent::new()));
    conformance::check(&requested, Serves::ALL);
    conformance::check_usable_size(&requested, Serves::ALL);
    assert_eq!(requested.used(), 0);
    let usable: Accounting<_, Usable, _> = Accounting::with(Slabs::new(Parent::new()), usize::MAX, Refuse);
    conformance::check(&usable, Serves::ALL);
    conformance::check_usable_size(&usable, Serves::ALL);
    assert_eq!(usable.used(), 0);
    let slabs = Slabs::new(Parent::new());
    conformance::check(&slabs, Serves::ALL);
    conformance::check_usable_size(&slabs, Serves::ALL);
    let limited: Accounting<_, Requested, _> = Accounting::with(Parent::new(), 1 << 20, Refuse);
    conformance::check(&limited, Serves::within(1 << 20));
    conformance::check_capacity(&limited, Serves::within(1 << 20));
}

#[test]
fn a_parent_without_memory_loses_nothing() {
    conformance::check_over_failing_parent(|parent| Some(Accounting::new(parent)), Serves::ALL);
    conformance::check_over_failing_parent(|parent| Some(Slabs::new(parent)), Serves::ALL);
    let usable = |parent| Some(Accounting::<_, Usable, _>::with(Slabs::new(parent), usize::MAX, Refuse));
    conformance::check_over_failing_parent(usable, Serves::ALL);
}

#[test]
fn random_sequences_and_threads() {
    let verify = |alloc: &Accounting<Slabs<Parent>>| {
        let Fragmentation { active, live } = alloc.parent().fragmentation();
        if live <= active { Ok(()) } else { Err(format!("{live} bytes live in {active}")) }
    };
    let make = || Accounting::new(Slabs::new(Parent::new()));
    conformance::hunt(20, Mix::All, || OnAlloc::here(make()).verified_by(verify));
    let config = StressConfig { threads: 4, ops_per_thread: 1500, ..StressConfig::default() };
    conformance::hunt_threads(&OnAlloc::shared(make()), &config);
    let handler = |_: &Shortage| Verdict::Refuse;
    let limited = Accounting::<_, Usable, _>::with(Slabs::new(Parent::new()), 200 << 10, handler);
    conformance::hunt_threads(&OnAlloc::shared(limited).may_refuse(), &config);
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_is_counted() {
    let memory = Accounting::new(Slabs::new(Parent::new()));
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &memory);
    map.extend((0..1000_u64).map(|key| (key, [key; 3])));
    assert!(memory.used() >= 32_000 && map.len() == 1000);
    drop(map);
    assert_eq!(memory.used(), 0);
}

#[test]
fn requested_and_usable_bytes_are_told_apart() {
    let requested = Accounting::new(Slabs::new(Parent::new()));
    let usable: Accounting<_, Usable, _> = Accounting::with(Slabs::new(Parent::new()), usize::MAX, Refuse);
    let (one, other) = (requested.allocate(bytes(65)).unwrap(), usable.allocate(bytes(65)).unwrap());
    assert_eq!((one.len(), requested.used()), (65, 65));
    assert_eq!((other.len(), usable.used()), (80, 80));
    free(&requested, one, 65);
    // A block may be freed with any size between what was asked for and what was got.
    free(&usable, other, 77);
    assert_eq!((requested.used(), usable.used()), (0, 0));
}

#[test]
fn the_limit_is_reached_to_the_byte_and_never_passed() {
    const LIMIT: usize = 100_000;
    let memory: Accounting<_, Requested, _> = Accounting::with(Parent::new(), LIMIT, Refuse);
    // Every thread leaves spare bytes in its own shard, which the last one needs.
    scope(|scope| {
        for _ in 0..8 {
            let memory = &memory;
            scope.spawn(move || free(memory, memory.allocate(bytes(5000)).unwrap(), 5000));
        }
    });
    assert!(memory.allocate(bytes(LIMIT + 1)).is_err());
    let all = memory.allocate(bytes(LIMIT)).unwrap();
    assert_eq!((memory.used(), memory.remaining(), memory.stats().refused), (LIMIT, 0, 1));
    assert!(memory.allocate(bytes(1)).is_err() && memory.allocate(bytes(0)).is_ok());
    free(&memory, all, LIMIT);
    assert_eq!((memory.used(), memory.stats().peak), (0, LIMIT));
    // A limit below what is in use.
    let half = memory.allocate(bytes(LIMIT / 2)).unwrap();
    memory.set_limit(LIMIT / 4);
    assert!(memory.allocate(bytes(1)).is_err());
    // SAFETY: a live block of that layout.
    let less = unsafe { memory.shrink(half.cast(), bytes(LIMIT / 2), bytes(LIMIT / 4 - 1)) }.unwrap();
    free(&memory, memory.allocate(bytes(1)).unwrap(), 1);
    free(&memory, less, LIMIT / 4 - 1);
}

#[test]
fn what_comes_back_under_a_lowered_limit_is_not_granted_again() {
    let memory: Accounting<_, Requested, _> = Accounting::with(Parent::new(), 1 << 20, Refuse);
    let (large, small) = (memory.allocate(bytes(500_000)).unwrap(), memory.allocate(bytes(10_000)).unwrap());
    memory.set_limit(100_000);
    free(&memory, small, 10_000);
    assert_eq!(memory.used(), 500_000);
    assert!(memory.allocate(bytes(5000)).is_err());
    free(&memory, large, 500_000);
    let again = memory.allocate(bytes(100_000)).unwrap();
    assert_eq!(memory.used(), 100_000);
    free(&memory, again, 100_000);
}

#[test]
fn many_threads_are_counted_exactly() {
    const LIMIT: usize = 200 << 10;
    let memory: Accounting<_, Requested, _> = Accounting::with(Parent::new(), LIMIT, Refuse);
    let (live, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    scope(|scope| {
        for thread in 0..4_usize {
            let (memory, live, refused) = (&memory, &live, &refused);
            scope.spawn(move || {
                let mut mine = Vec::new();
                for round in 0..2000_usize {
                    let size = 1 + (round * 7919 + thread * 31) % 6000;
                    match memory.allocate(bytes(size)) {
                        Ok(block) => {
                            // After the allocation, before the free: never more than is in use.
                            assert!(live.fetch_add(size, Ordering::SeqCst) + size <= LIMIT);
                            mine.push((block.cast::<u8>(), size));
                        }
                        Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    }
                    if mine.len() > 100 || round % 3 == 0 && !mine.is_empty() {
                        let (block, size) = mine.swap_remove(round % mine.len());
                        live.fetch_sub(size, Ordering::SeqCst);
                        free(memory, NonNull::slice_from_raw_parts(block, size), size);
                    }
                    assert!(memory.used() <= LIMIT);
                }
                for (block, size) in mine {
                    live.fetch_sub(size, Ordering::SeqCst);
                    free(memory, NonNull::slice_from_raw_parts(block, size), size);
                }
            });
        }
    });
    assert_eq!((memory.used(), live.load(Ordering::SeqCst)), (0, 0));
    assert!(refused.load(Ordering::Relaxed) > 0, "the limit was met");
}

#[test]
fn the_handler_decides() {
    let parent = Parent::new();
    let (told, frees) = (Mutex::new(Vec::new()), Cell::new(None));
    let handler = |shortage: &Shortage| {
        told.lock().unwrap().push(*shortage);
        match frees.take() {
            Some(()) => Verdict::Retry,
            None => Verdict::Refuse,
        }
    };
    let memory: Accounting<_, Requested, _> = Accounting::with(parent.clone(), 1000, handler);
    let first = memory.allocate(bytes(900)).unwrap();
    frees.set(Some(()));
    assert!(memory.allocate(bytes(200)).is_err(), "tried twice");
    let seen: Vec<_> = told.lock().unwrap().drain(..).collect();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[0].cause, seen[0].used, seen[0].limit, seen[0].layout.size()),
        (Cause::Limit, 900, 1000, 200)
    );
    assert_eq!((seen[0].retries, seen[1].retries), (0, 1));
    parent.grant(0);
    assert!(memory.allocate(bytes(10)).is_err());
    assert_eq!(told.lock().unwrap()[0].cause, Cause::Parent);
    free(&memory, first, 900);
    assert_eq!(memory.used(), 0);
}

/// Frees something of the heap itself when memory is short, as a cache does.
struct Evicts {
    evicted: AtomicUsize,
    can: AtomicBool,
}

impl OomHandler for &Evicts {
    fn out_of_memory(&self, _: &Shortage) -> Verdict {
        self.evicted.fetch_add(1, Ordering::Relaxed);
        if self.can.swap(false, Ordering::Relaxed) { Verdict::Retry } else { Verdict::Refuse }
    }
}

#[test]
fn a_handler_may_make_room() {
    let evicts = Evicts { evicted: AtomicUsize::new(0), can: AtomicBool::new(true) };
    let memory: Accounting<_, Requested, _> = Accounting::with(Parent::new(), 100, &evicts);
    let block = memory.allocate(bytes(100)).unwrap();
    assert!(memory.allocate(bytes(1)).is_err());
    assert_eq!(evicts.evicted.load(Ordering::Relaxed), 2);
    memory.set_limit(200);
    // SAFETY: a live block of that layout.
    let grown = unsafe { memory.grow_zeroed(block.cast(), bytes(100), bytes(200)) }.unwrap();
    assert_eq!(memory.used(), 200);
    free(&memory, grown, 200);
}

#[test]
fn sparse_slabs_are_told_apart_from_full_ones() {
    let heap = Slabs::new(Parent::new());
    let per_slab = (SLAB - 64) / 1024;
    let blocks: Vec<_> = (0..per_slab * 4).map(|_| heap.allocate(bytes(1024)).unwrap()).collect();
    let should = |at: usize| {
        // SAFETY: asked of live blocks only.
        unsafe { heap.should_move(blocks[at].cast(), bytes(1024)) }
    };
    assert!((0..blocks.len()).all(|at| !should(at)), "full slabs are well");
    // The first slab keeps one block, the second half, the third all but one, the fourth all.
    (1..per_slab).for_each(|at| free(&heap, blocks[at], 1024));
    (0..per_slab / 2).for_each(|at| free(&heap, blocks[per_slab + at], 1024));
    free(&heap, blocks[per_slab * 2], 1024);
    assert!(should(0), "the sparsest");
    assert!(should(per_slab * 2 - 1), "no fuller than the average");
    assert!(!should(per_slab * 2 + 1), "where the next block comes from");
    assert!(!should(per_slab * 3));
    let large = heap.allocate(bytes(MOST + 1)).unwrap();
    // SAFETY: live, and too large for a slab.
    let should = unsafe { heap.should_move(large.cast(), bytes(MOST + 1)) };
    assert!(!should);
    free(&heap, large, MOST + 1);
    assert_eq!(heap.fragmentation().active, 4 * SLAB);
}

#[test]
fn all_slabs_go_with_the_heap() {
    let parent = Parent::new();
    let heap = Slabs::new(parent.clone());
    // Slabs that are full, and one that is not, with blocks that nobody frees.
    let blocks = (SLAB - 64) / 1024 * 3 + 1;
    (0..blocks).for_each(|_| assert!(heap.allocate(bytes(1024)).is_ok()));
    assert_eq!(parent.live().0, 4);
    drop(heap);
    assert_eq!(parent.live(), (0, 0));
}

/// Time that passes with each look.
struct Ticks(Cell<u64>, u64);

impl Clock for Ticks {
    fn now(&self) -> Duration {
        self.0.set(self.0.get() + self.1);
        Duration::from_micros(self.0.get())
    }
}

/// A table of boxes, scanned ten at a time.
struct Table<'a, A: Alloc>(Vec<Option<Owned<'a, [u64; 16], A>>>);

impl<'a, A: MoveHints> Defrag<A> for Table<'a, A> {
    fn defrag(&mut self, cursor: usize, mover: &mut Mover<'_, A>) -> Option<usize> {
        let end = (cursor + 10).min(self.0.len());
        for owned in self.0[cursor..end].iter_mut().flatten() {
            mover.offer(owned);
        }
        (end < self.0.len()).then_some(end)
    }
}

const KEEN: DefragConfig = DefragConfig { ignore_bytes: 0, ..DefragConfig::DEFAULT };

#[test]
fn a_cycle_makes_sparse_memory_free() {
    let parent = Parent::new();
    let memory = Accounting::new(Slabs::new(parent.clone()));
    let mut table = Table((0..20_000_u64).map(|n| Some(Owned::new([n; 16], &memory).unwrap())).collect());
    let full = memory.fragmentation().active;
    // One of eight stays.
    (0..table.0.len()).filter(|at| at % 8 != 3).for_each(|at| table.0[at] = None);
    let sparse = memory.fragmentation();
    assert_eq!((sparse.active, memory.used()), (full, 2500 * 128));
    assert!(sparse.percent() > 600);
    let (mut cycle, clock) = (Cycle::new(KEEN), Ticks(Cell::new(0), 1000));
    let mut ticks = 0;
    while cycle.tick(&memory, &mut table, &clock) != Tick::Idle {
        ticks += 1;
        assert!(ticks < 1000, "{:?} {:?}", cycle.stats(), memory.fragmentation());
    }
    let after = memory.fragmentation();
    assert!(after.active * 5 < full && after.percent() < 20, "{after:?} of {sparse:?}");
    assert_eq!((memory.used(), parent.live().0), (2500 * 128, after.active / SLAB));
    let intact = |(n, owned): (usize, &Option<Owned<'_, [u64; 16], _>>)| match owned {
        Some(owned) => n % 8 == 3 && **owned == [n as u64; 16],
        None => n % 8 != 3,
    };
    assert!(table.0.iter().enumerate().all(intact), "contents moved with their blocks");
    // 25 % of 100 ms, a millisecond a look: some 25 pieces a tick.
    assert!(ticks > 50 && cycle.stats().scans > 0, "{ticks} ticks, {:?}", cycle.stats());
    drop(table);
    assert_eq!(memory.used(), 0);
}

#[test]
fn a_cycle_works_at_the_limit_and_asks_nobody() {
    let asked = AtomicUsize::new(0);
    let handler = |_: &Shortage| {
        asked.fetch_add(1, Ordering::Relaxed);
        Verdict::Refuse
    };
    let memory = Accounting::<_, Usable, _>::with(Slabs::new(Parent::new()), usize::MAX, handler);
    let mut table = Table((0..5000_u64).map(|n| Some(Owned::new([n; 16], &memory).unwrap())).collect());
    (0..5000).filter(|at| at % 8 != 3).for_each(|at| table.0[at] = None);
    memory.set_limit(memory.used());
    let (mut cycle, clock) = (Cycle::new(KEEN), Ticks(Cell::new(0), 1000));
    let before = memory.fragmentation().active;
    while cycle.tick(&memory, &mut table, &clock) != Tick::Idle {}
    assert!(memory.fragmentation().active * 4 < before && cycle.stats().moved > 300);
    assert_eq!((memory.used(), memory.limit(), asked.load(Ordering::Relaxed)), (80_000, 80_000, 0));
}

#[test]
fn a_cycle_in_vain_is_not_begun_again() {
    // Every slab keeps the same share of blocks of a size of its own: nothing to be gained by moving.
    let heap = Slabs::new(Parent::new());
    let mut table = Table((0..3).map(|n| Some(Owned::new([n; 16], &heap).unwrap())).collect());
    let (mut cycle, clock) = (Cycle::new(KEEN), Ticks(Cell::new(0), 1));
    assert_eq!(cycle.tick(&heap, &mut table, &clock), Tick::Done);
    assert_eq!(cycle.tick(&heap, &mut table, &clock), Tick::Idle);
    table.0.push(Some(Owned::new([9; 16], &heap).unwrap()));
    assert_eq!(cycle.tick(&heap, &mut table, &clock), Tick::Done, "memory has changed");
    assert_eq!((cycle.stats().scanned, cycle.stats().moved), (7, 0));
}

#[test]
fn the_effort_follows_the_fragmentation() {
    let effort = |percent: usize| {
        DefragConfig { ignore_bytes: 1000, ..KEEN }
            .effort(Fragmentation { active: 10_000 + percent * 100, live: 10_000 })
    };
    assert_eq!(
        [effort(9), effort(10), effort(55), effort(100), effort(1000)],
        [None, Some(1), Some(13), Some(25), Some(25)]
    );
    let little = Fragmentation { active: 1999, live: 1000 };
    assert_eq!(DefragConfig { ignore_bytes: 1000, ..KEEN }.effort(little), None);
    assert_eq!(Fragmentation { active: 0, live: 0 }.percent(), 0);
}

#[test]
#[should_panic(expected = "a block of another allocator is offered")]
fn a_block_of_another_heap_is_not_moved() {
    let (one, other) = (Slabs::new(Parent::new()), Slabs::new(Parent::new()));
    let mut table = Table(vec![Some(Owned::new([1; 16], &one).unwrap())]);
    let _kept = Owned::new([2; 16], &other).unwrap();
    Cycle::new(KEEN).tick(&other, &mut table, &Ticks(Cell::new(0), 1));
}
