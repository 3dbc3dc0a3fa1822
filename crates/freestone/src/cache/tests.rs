//! Misses of a cache, on regions that one thread has to itself: capacities add up and no block is lost, also
//! when the region is never the right one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ptr::NonNull;

use freestone_base::{CLASS_COUNT, class_of};
use freestone_sys::System;
use freestone_sys::sim::Simulated;
use freestone_testkit::{Refusal, Rng, fail_each};
use proptest::prelude::*;

use super::region::REGION_SIZE;
use super::*;
use crate::pageheap::PageHeap;

const SIZES: [usize; 5] = [16, 208, 1024, 8192, 32 << 10];

/// Where an operation finds itself when it looks: an operation on a region that is not the caller's any
/// more happens elsewhere, or not at all.
struct Fate {
    rng: RefCell<Rng>,
    /// Operations in ten that miss the region.
    astray: usize,
}

#[derive(Clone, Copy)]
struct TestAccess<'a> {
    region: Region,
    other: Region,
    fate: &'a Fate,
    common: &'a Cell<isize>,
}

impl TestAccess<'_> {
    fn place(&self) -> Option<Region> {
        let mut rng = self.fate.rng.borrow_mut();
        if !rng.chance(self.fate.astray, 10) {
            return Some(self.region);
        }
        rng.chance(1, 2).then_some(self.other)
    }
}

impl Access for TestAccess<'_> {
    fn region(self) -> Region {
        self.region
    }

    fn pop_batch(self, class: ClassId, out: &mut [usize]) -> usize {
        self.place().map_or(0, |region| region.pop_batch(class, out))
    }

    fn push_batch(self, class: ClassId, blocks: &[usize]) -> usize {
        self.place().map_or(0, |region| region.push_batch(class, blocks))
    }

    fn replace_header(self, class: ClassId, old: Header, new: Header) -> bool {
        if self.place() != Some(self.region) || self.region.header(class) != old {
            return false;
        }
        self.region.set_header(class, new);
        true
    }

    fn more_bytes(self) -> isize {
        let more = self.common.get().min(4096);
        self.common.set(self.common.get() - more);
        more
    }
}

/// Two regions over central lists on a simulated system, and the blocks that are out.
struct Subject<'a> {
    heap: PageHeap<&'a Simulated>,
    centrals: Box<[Central; CLASS_COUNT]>,
    regions: [Region; 2],
    fate: Fate,
    common: Cell<isize>,
    /// All bytes that capacities may take, spare or not.
    bytes: isize,
    out: [BTreeSet<usize>; SIZES.len()],
}

fn class(number: usize) -> ClassId {
    class_of(SIZES[number]).expect("a small size")
}

#[allow(unsafe_code)]
fn region(system: &Simulated, budget: isize) -> Region {
    let base = NonNull::new(core::ptr::with_exposed_provenance_mut(system.map(REGION_SIZE).unwrap()));
    // SAFETY: freshly mapped, and unmapped only with the system, at the end of the test.
    let region = unsafe { Region::new(base.unwrap()) };
    region.state().spare.store(budget, Ordering::Relaxed);
    region
}

impl<'a> Subject<'a> {
    fn new(system: &'a Simulated, budget: isize, common: isize, astray: usize) -> Self {
        Subject {
            regions: [region(system, budget), region(system, budget)],
            heap: PageHeap::new(system),
            centrals: Box::new([const { Central::new() }; CLASS_COUNT]),
            fate: Fate { rng: RefCell::new(Rng::new(7)), astray },
            common: Cell::new(common),
            bytes: 2 * budget + common,
            out: Default::default(),
        }
    }

    fn access(&self, on: usize) -> TestAccess<'_> {
        let (region, other) = (self.regions[on], self.regions[1 - on]);
        TestAccess { region, other, fate: &self.fate, common: &self.common }
    }

    /// Whether a block was to be had.
    fn alloc(&mut self, on: usize, number: usize) -> bool {
        let class = class(number);
        let block = match self.regions[on].pop(class) {
            0 => refill(self.access(on), &self.centrals[..], &self.heap, class),
            block => Some(block),
        };
        if let Some(block) = block {
            assert!(self.out[number].insert(block), "a block was handed out twice");
        }
        block.is_some()
    }

    fn free(&mut self, on: usize, number: usize, which: usize) {
        let out = &mut self.out[number];
        let Some(&block) = out.iter().nth(which % out.len().max(1)) else { return };
        out.remove(&block);
        if !self.regions[on].push(class(number), block) {
            flush(self.access(on), &self.centrals[..], &self.heap, class(number), block);
        }
    }

    fn spare(&self) -> isize {
        self.regions.iter().map(|region| region.state().spare.load(Ordering::Relaxed)).sum()
    }

    fn capacity(&self, on: usize, number: usize) -> usize {
        self.regions[on].header(class(number)).capacity(class(number))
    }

    fn check(&self) {
        let mut granted = 0;
        for (number, out) in self.out.iter().enumerate() {
            let class = class(number);
            let info = class_info(class);
            let mut all = out.clone();
            for region in &self.regions {
                let header = region.header(class);
                granted += (header.capacity(class) * info.size as usize) as isize;
                if header.0 != 0 {
                    assert!(header.begin(class) <= header.current() && header.current() <= header.end());
                    assert!(header.capacity(class) <= capacity_limit(class));
                }
                region.for_each_block(class, |block| {
                    assert!(all.insert(block), "a cached block is cached twice or out");
                });
            }
            let central = &self.centrals[class.index()];
            assert_eq!(central.verify(class, &self.heap), Ok(()));
            let stats = central.stats();
            assert_eq!(
                all.len() + stats.in_transfer + stats.free_in_slabs,
                stats.slabs * info.blocks as usize,
                "blocks were lost or doubled"
            );
            for &block in &all {
                assert_eq!(self.heap.page_map().class_of(block), class);
            }
        }
        assert!(self.regions.iter().all(|region| region.state().spare.load(Ordering::Relaxed) >= 0));
        assert_eq!(
            self.spare() + granted + self.common.get(),
            self.bytes,
            "bytes of capacity were lost or made"
        );
    }

    /// Frees everything and empties everything; nothing may be left.
    fn end(mut self) {
        for number in 0..SIZES.len() {
            while !self.out[number].is_empty() {
                self.free(0, number, 0);
            }
            let (class, central) = (class(number), &self.centrals[class(number).index()]);
            for region in self.regions {
                let mut blocks = [0; MAX_BATCH];
                while let taken @ 1.. = region.pop_batch(class, &mut blocks) {
                    central.give_back(class, &self.heap, &blocks[..taken]);
                }
                central.stop_filling(&self.heap, &region.state().filling[class.index()]);
            }
            central.drain(class, &self.heap);
        }
        self.check();
        assert_eq!(self.heap.stats().slabs, 0);
        assert_eq!(self.heap.verify(), Ok(()));
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Alloc { on: usize, number: usize, count: usize },
    Free { on: usize, number: usize, count: usize, which: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let alloc = (0..2usize, 0..SIZES.len(), 1..50usize);
    let free = (0..2usize, 0..SIZES.len(), 1..50usize, any::<usize>());
    prop_oneof![
        alloc.prop_map(|(on, number, count)| Op::Alloc { on, number, count }),
        free.prop_map(|(on, number, count, which)| Op::Free { on, number, count, which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_whatever_the_budget_and_wherever_operations_land(
        budget in prop_oneof![Just(0isize), Just(3000), Just(100_000), Just(1 << 20)],
        common in prop_oneof![Just(0isize), Just(200_000)],
        astray in prop_oneof![Just(0usize), Just(4), Just(10)],
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let system = Simulated::new();
        let mut subject = Subject::new(&system, budget, common, astray);
        for op in ops {
            match op {
                Op::Alloc { on, number, count } => (0..count).for_each(|_| assert!(subject.alloc(on, number))),
                Op::Free { on, number, count, which } => (0..count).for_each(|_| subject.free(on, number, which)),
            }
            subject.check();
        }
        subject.end();
    }
}

#[test]
fn without_a_budget_nothing_is_cached() {
    let system = Simulated::new();
    let mut subject = Subject::new(&system, 0, 0, 0);
    for _ in 0..100 {
        assert!(subject.alloc(0, 2));
    }
    for _ in 0..100 {
        subject.free(0, 2, 0);
    }
    assert_eq!(subject.capacity(0, 2), 0);
    subject.check();
    subject.end();
}

#[test]
fn a_class_in_demand_takes_capacity_from_one_that_is_not() {
    let system = Simulated::new();
    let mut subject = Subject::new(&system, 64 << 10, 0, 0);
    let churn = |subject: &mut Subject, number: usize| {
        (0..200).for_each(|_| assert!(subject.alloc(0, number)));
        (0..200).for_each(|_| subject.free(0, number, 0));
        subject.check();
    };
    churn(&mut subject, 2);
    let before = subject.capacity(0, 2);
    assert!(before >= 48, "{before} of 1 KiB fit the budget");
    for _ in 0..20 {
        churn(&mut subject, 1);
    }
    assert!(subject.capacity(0, 2) < before && subject.capacity(0, 1) >= 100);
    subject.end();
}

#[test]
fn sparse_slabs_empty_themselves_though_freed_blocks_serve_again() {
    let system = Simulated::new();
    let mut subject = Subject::new(&system, 1 << 20, 0, 0);
    let mut rng = Rng::new(3);
    (0..2000).for_each(|_| assert!(subject.alloc(0, 2)));
    (0..1500).for_each(|_| subject.free(0, 2, rng.below(2000)));
    let class = class(2);
    let slabs = || subject.centrals[class.index()].stats().slabs;
    let (sparse, most) = (slabs(), class_info(class).blocks as usize);
    assert!(sparse * most >= 1800, "{sparse} slabs are too few to begin with");
    subject.centrals[class.index()].trim(class, &subject.heap, false);
    // Now more requests, now more frees: so it is for each class in a program that replaces blocks of many.
    for _ in 0..60_000 {
        if rng.chance(500, 500 + subject.out[2].len()) {
            assert!(subject.alloc(0, 2));
        } else {
            subject.free(0, 2, rng.below(500));
        }
    }
    let slabs = subject.centrals[class.index()].stats().slabs;
    let live = subject.out[2].len();
    assert!(slabs * most < 1000, "{slabs} slabs for {live} blocks");
    subject.check();
    subject.end();
}

#[test]
fn every_call_refused_loses_nothing() {
    let refused = fail_each(|n| {
        let system = Simulated::new();
        let mut subject = Subject::new(&system, 100_000, 0, 2);
        let before = system.call_count();
        system.refuse_nth(n as u64 + 1, None);
        for round in 0..60 {
            let had = subject.alloc(round % 2, round % SIZES.len());
            assert!(had || n < 60);
            subject.check();
            if round % 3 == 0 {
                subject.free(round % 2, round % SIZES.len(), round);
            }
        }
        let met = system.call_count() - before > n as u64;
        system.forgive();
        assert!(subject.alloc(0, 3), "memory is to be had again");
        subject.end();
        if met { Refusal::Met } else { Refusal::NotMet }
    });
    assert!(refused >= 3, "{refused}");
}

#[test]
fn a_region_that_holds_nothing_has_all_its_bytes_again() {
    let system = Simulated::new();
    let mut subject = Subject::new(&system, 1 << 20, 0, 0);
    for number in 0..SIZES.len() {
        assert!(subject.alloc(0, number));
    }
    let region = subject.regions[0];
    assert!(region.state().spare.load(Ordering::Relaxed) < 1 << 20);
    let mut blocks = [0; SHORT_BATCH];
    for number in 0..SIZES.len() {
        while region.pop_batch(class(number), &mut blocks) > 0 {}
        region.forget_capacity(class(number));
        assert_eq!(region.header(class(number)), Header(0));
    }
    assert_eq!(region.state().spare.load(Ordering::Relaxed), 1 << 20);
}

#[test]
fn medium_classes_share_a_part_of_a_small_heap() {
    let system = Simulated::new();
    let region = region(&system, 8 << 20);
    assert_eq!(room_for_medium(region, 1 << 20), 256 << 10);
    assert_eq!(room_for_medium(region, 8 << 20), 1 << 20);
    assert_eq!(room_for_medium(region, 16 << 20), usize::MAX);
    let class = class_of(100_000).unwrap();
    region.set_header(class, Header(0).with_capacity(class, 3));
    let held = 3 * class_info(class).size as usize;
    assert_eq!(room_for_medium(region, 8 << 20), (1 << 20) - held);
    assert_eq!(room_for_medium(region, 1 << 20), 0);
}

#[test]
fn beyond_batches_all_caches_share_a_part_of_a_small_heap() {
    let system = Simulated::new();
    let region = region(&system, 8 << 20);
    assert_eq!(room_beyond_batches(region, 1 << 20), usize::MAX, "a thread's cache");
    region.state().granted.store(8 << 20, Ordering::Relaxed);
    assert_eq!(room_beyond_batches(region, 16 << 20), usize::MAX);
    // This region is none of the process's, of which others may be in use.
    assert!((512 << 10..=1536 << 10).contains(&room_beyond_batches(region, 1 << 20)));
    assert!(room_beyond_batches(region, 12 << 20) <= 3 << 20);
    region.state().spare.fetch_sub(500 << 10, Ordering::Relaxed);
    assert_eq!(held(region), 500 << 10);
    assert!(room_beyond_batches(region, 1 << 20) >= 12 << 10);
}

#[test]
fn one_of_many_caches_has_its_part_of_a_small_heap() {
    let system = Simulated::new();
    let region = region(&system, 8 << 20);
    assert_eq!(room_in_crowd(region, Some(16), 4 << 20), isize::MAX, "a thread's cache");
    region.state().granted.store(8 << 20, Ordering::Relaxed);
    assert_eq!(room_in_crowd(region, None, 4 << 20), isize::MAX);
    assert_eq!(room_in_crowd(region, Some(2), 4 << 20), isize::MAX);
    assert_eq!(room_in_crowd(region, Some(16), 4 << 20), 512 << 10);
    assert_eq!(room_in_crowd(region, Some(16), 64 << 20), 1 << 20);
    region.state().spare.fetch_sub(1 << 20, Ordering::Relaxed);
    assert_eq!(room_in_crowd(region, Some(16), 4 << 20), -(512 << 10));
}

#[test]
fn a_scattered_cache_keeps_its_lower_half_in_order() {
    let sorts = || {
        let system = Simulated::new();
        let mut subject = Subject::new(&system, 1 << 20, 0, 0);
        let (number, blocks) = (1, 3000);
        (0..blocks).for_each(|_| assert!(subject.alloc(0, number)));
        let region = subject.regions[0];
        let held = || {
            let mut blocks = Vec::new();
            region.for_each_block(class(number), |block| blocks.push(block));
            blocks
        };
        // Each far from the one before.
        for n in 0.. {
            let (before, left) = (held().len(), blocks - n);
            subject.free(0, number, n * 1009 % left);
            let after = held();
            if before > after.len() && after.len() > 32 {
                subject.check();
                let is_half = after.len() == before.div_ceil(2);
                let sorted = after.windows(2).all(|pair| pair[0] > pair[1]);
                subject.end();
                return is_half && sorted;
            }
        }
        false
    };
    // Another test may be sorting.
    assert!((0..100).any(|_| sorts()));
}
