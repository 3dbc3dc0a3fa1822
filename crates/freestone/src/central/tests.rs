//! A central list on a page heap on the simulated system: at random against a model, with every system call
//! refused in turn, and from many threads.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use freestone_base::class_of;
use freestone_sys::sim::Simulated;
use freestone_testkit::{Refusal, fail_each};
use proptest::prelude::*;

use super::*;
use crate::pageheap::PageHeap;

pub(super) type Heap<'a> = PageHeap<&'a Simulated>;

thread_local! {
    /// Whether the places of this thread's test share slabs.
    static SHARES: Cell<bool> = const { Cell::new(false) };
}

impl SlabSource for Heap<'_> {
    fn take_slab(&self, class: ClassId) -> Option<SpanRef> {
        self.alloc_slab(class)
    }

    fn return_slab(&self, span: SpanRef) {
        self.free(span);
    }

    fn purge_pages(&self, span: SpanRef, addr: usize, len: usize) -> bool {
        self.purge_unused(span, addr, len)
    }

    fn os_page_size(&self) -> usize {
        PageHeap::os_page_size(self)
    }

    fn span_of(&self, addr: usize) -> Option<SpanRef> {
        self.page_map().span_of(addr)
    }

    fn room(&self, _: Room) -> Option<&'static mut [usize]> {
        Some(vec![0; transfer::MANY_SLOTS].leak())
    }

    fn footprint(&self) -> usize {
        usize::MAX
    }
    fn shares_slabs(&self) -> bool {
        SHARES.get()
    }
    fn note_stock(&self) {}

    fn take_foreign(&self, _: usize) -> bool {
        false
    }
}

const PLACES: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Op {
    Fetch { place: usize, count: usize },
    Refill { place: usize, count: usize, room: usize },
    GiveBack { first: usize, count: usize },
    Flush { first: usize, count: usize, own: bool },
    Drain,
    StopFilling { place: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..PLACES, 1..=64usize).prop_map(|(place, count)| Op::Fetch { place, count }),
        4 => (0..PLACES, 1..=64usize, 0..=64usize)
            .prop_map(|(place, count, room)| Op::Refill { place, count, room }),
        4 => (any::<usize>(), 1..=64usize).prop_map(|(first, count)| Op::GiveBack { first, count }),
        4 => (any::<usize>(), 1..=64usize, any::<bool>())
            .prop_map(|(first, count, own)| Op::Flush { first, count, own }),
        1 => Just(Op::Drain),
        1 => (0..PLACES).prop_map(|place| Op::StopFilling { place }),
    ]
}

/// A central list, the caches' places, and the model: which blocks are out.
struct Subject<'a> {
    class: ClassId,
    heap: Heap<'a>,
    central: Central,
    places: [AtomicPtr<Span>; PLACES],
    out: BTreeSet<usize>,
}

impl<'a> Subject<'a> {
    fn new(system: &'a Simulated, class: ClassId) -> Self {
        let places = [const { AtomicPtr::new(null_mut()) }; PLACES];
        Subject { class, heap: Heap::new(system), central: Central::new(), places, out: BTreeSet::new() }
    }

    fn filling(&self, place: usize) -> Option<SpanRef> {
        SpanRef::from_ptr(self.places[place].load(Ordering::Relaxed))
    }

    fn span(&self, block: usize) -> SpanRef {
        self.heap.span_of(block).expect("a block lies in a span")
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Fetch { place, count } => self.fetch(place, count),
            Op::Refill { place, count, room } => self.refill(place, count, room),
            Op::GiveBack { first, count } => self.give_back(first, count),
            Op::Flush { first, count, own } => self.flush(first, count, own),
            Op::Drain => self.central.drain(self.class, &self.heap),
            Op::StopFilling { place } => self.central.stop_filling(&self.heap, &self.places[place]),
        }
        self.check();
    }

    /// Fetches, and checks which blocks it were. Returns nothing only when memory was refused.
    fn fetch(&mut self, place: usize, count: usize) {
        let before = self.filling(place);
        let (in_transfer, partial) = {
            let state = self.central.state.lock();
            let partial = state.partial.iter().map(|list| list.iter().collect::<Vec<_>>());
            (state.transfer.blocks().to_vec(), partial.collect::<Vec<_>>())
        };
        let mut blocks = vec![0; count];
        let got = self.central.fetch(self.class, &self.heap, &self.places[place], &mut blocks);
        blocks.truncate(got);
        let passed_on = got.min(in_transfer.len());
        assert_eq!(blocks[..passed_on], in_transfer[in_transfer.len() - passed_on..]);
        for &block in &blocks {
            assert!(self.out.insert(block), "a block was handed out twice");
        }
        // What was not in transfer comes from the slab being filled from, then from one of the fullest.
        let fresh = &blocks[passed_on..];
        let mut taken = BTreeMap::<usize, Vec<usize>>::new();
        for &block in fresh {
            taken.entry(self.span(block).start()).or_default().push(block);
        }
        if let (Some(before), Some(&first)) = (before, fresh.first()) {
            assert_eq!(self.span(first), before);
        }
        let next = fresh.iter().map(|&block| self.span(block)).find(|&span| Some(span) != before);
        if let (Some(next), Some(fullest)) = (next, partial.iter().find(|list| !list.is_empty())) {
            assert!(fullest.contains(&next), "a fuller slab was passed over");
        }
        let info = class_info(self.class);
        for blocks in taken.values() {
            assert!(blocks.is_sorted_by(|one, next| one > next), "the lowest is to be handed out first");
            let (span, last) = (self.span(blocks[0]), blocks[0]);
            let mut below = (span.first_block()..last).step_by(info.size as usize);
            assert!(!below.any(|block| slab::is_free(span, info, block)), "a lower block was passed over");
        }
    }

    /// Refills a cache that has room for `room` blocks: it gets what lies in transfer, in that order, if that is enough.
    fn refill(&mut self, place: usize, count: usize, room: usize) {
        let in_transfer = self.central.state.lock().transfer.blocks().to_vec();
        let mut kept = Vec::new();
        let keep = |blocks: &[usize]| {
            kept.extend(&blocks[..room.min(blocks.len())]);
            kept.len()
        };
        let (class, filling) = (self.class, &self.places[place]);
        let Some(block) = self.central.refill::<64>(class, &self.heap, filling, count, keep) else { return };
        if let Some(from) = in_transfer.len().checked_sub(count) {
            assert_eq!(
                (Some(&block), kept.as_slice()),
                (in_transfer.last(), &in_transfer[from..][..kept.len()])
            );
        }
        for block in kept.into_iter().chain([block]) {
            assert!(self.out.insert(block), "a block was handed out twice");
        }
    }

    /// Chooses up to `count` of the blocks that are out, which are not any more.
    fn choose(&mut self, first: usize, count: usize) -> Vec<usize> {
        let blocks: Vec<usize> = self.out.iter().copied().collect();
        let count = count.min(blocks.len()).min(class_info(self.class).batch as usize);
        let back: Vec<usize> =
            blocks.iter().cycle().skip(first % blocks.len().max(1)).take(count).copied().collect();
        back.iter().for_each(|block| assert!(self.out.remove(block)));
        back
    }

    fn give_back(&mut self, first: usize, count: usize) {
        let back = self.choose(first, count);
        self.central.give_back(self.class, &self.heap, &back);
    }

    /// Flushes a cache, which may hold fewer blocks than it is asked for.
    fn flush(&mut self, first: usize, count: usize, own: bool) {
        let Some((block, cached)) =
            self.choose(first, count).split_first().map(|(&one, all)| (one, all.to_vec()))
        else {
            return;
        };
        let pop = |out: &mut [usize]| {
            let taken = out.len().min(cached.len());
            out[..taken].copy_from_slice(&cached[..taken]);
            taken
        };
        self.central.flush::<64>(self.class, &self.heap, (block, 64), own, pop);
    }

    fn check(&self) {
        assert_eq!(self.central.verify(self.class, &self.heap), Ok(()));
        assert_eq!(self.heap.verify(), Ok(()));
        let stats = self.central.stats();
        let info = class_info(self.class);
        let all = stats.slabs * info.blocks as usize;
        assert_eq!(stats.free_in_slabs + stats.in_transfer + self.out.len(), all);
        assert_eq!(
            self.heap.stats().slabs,
            stats.slabs * info.slab_pages as usize * freestone_base::PAGE_SIZE
        );
        let filling: Vec<SpanRef> = (0..PLACES).filter_map(|place| self.filling(place)).collect();
        for (n, span) in filling.iter().enumerate() {
            assert!(span.is_filling() && span.free_blocks() > 0);
            assert!(!filling[..n].contains(span), "two caches are being filled from one slab");
        }
        for &block in &self.out {
            assert!(!slab::is_free(self.span(block), info, block), "a block that is out is marked free");
        }
    }

    /// Gives everything back, after which nothing may be left.
    fn end(mut self) {
        while !self.out.is_empty() {
            self.act(Op::GiveBack { first: 0, count: 64 });
        }
        self.act(Op::Drain);
        (0..PLACES).for_each(|place| self.act(Op::StopFilling { place }));
        assert_eq!((self.central.stats().slabs, self.heap.stats().slabs), (0, 0));
    }
}

fn class(size: usize) -> ClassId {
    class_of(size).expect("a small size")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn blocks_are_out_once_and_come_from_where_they_should(
        size in prop_oneof![Just(208usize), Just(1024), Just(5000), Just(32 << 10)],
        ops in proptest::collection::vec(op(), 1..80),
        shares: bool,
    ) {
        SHARES.set(shares);
        let system = Simulated::new();
        let mut subject = Subject::new(&system, class(size));
        ops.into_iter().for_each(|op| subject.act(op));
        subject.end();
    }
}

#[test]
fn places_never_share_a_slab_though_one_is_stopped_while_others_fill() {
    let system = Simulated::new();
    let mut subject = Subject::new(&system, class(1024));
    for place in [0, 1, 2, 1, 0] {
        subject.act(Op::Fetch { place, count: 5 });
    }
    let slab = subject.filling(0);
    assert!((1..PLACES).all(|place| subject.filling(place) != slab));
    subject.act(Op::StopFilling { place: 0 });
    for _ in 0..10 {
        subject.act(Op::Fetch { place: 1, count: 5 });
    }
    subject.end();
}

#[test]
fn where_places_share_one_slab_serves_them_all() {
    SHARES.set(true);
    let system = Simulated::new();
    let mut subject = Subject::new(&system, class(1024));
    for place in [0, 1, 2, 1, 0] {
        subject.act(Op::Fetch { place, count: 5 });
        assert!(subject.filling(place).is_none());
    }
    assert_eq!(subject.central.stats().slabs, 1);
    subject.end();
    let mut subject = Subject::new(&system, class(MOST_APART));
    for place in [0, 1] {
        subject.act(Op::Fetch { place, count: 5 });
    }
    assert_eq!(subject.central.stats().slabs, 2, "neighbours share cache lines");
    subject.end();
}

#[test]
fn every_call_refused_leaves_all_as_it_was() {
    let refused = fail_each(|n| {
        let system = Simulated::new();
        let mut subject = Subject::new(&system, class(8 << 10));
        system.refuse_nth(n as u64 + 1, None);
        for round in 0..12 {
            subject.act(Op::Fetch { place: round % PLACES, count: 40 });
            if round % 4 == 3 {
                subject.act(Op::GiveBack { first: round * 7, count: 30 });
            }
        }
        let met = system.call_count() > n as u64;
        system.forgive();
        let before = subject.out.len();
        subject.act(Op::Fetch { place: 0, count: 4 });
        assert!(subject.out.len() > before, "memory is to be had again");
        subject.end();
        if met { Refusal::Met } else { Refusal::NotMet }
    });
    assert!(refused >= 3, "{refused}");
}

#[test]
fn many_threads_pass_blocks_through_one_list() {
    const THREADS: usize = 8;
    let system = Simulated::new();
    let subject = Subject::new(&system, class(1024));
    let Subject { class, heap, central, .. } = &subject;
    let class = *class;
    std::thread::scope(|scope| {
        for seed in 1..=THREADS {
            scope.spawn(move || {
                let filling = AtomicPtr::new(null_mut());
                let mut rng = freestone_testkit::Rng::new(seed as u64);
                let mut held = Vec::new();
                for _ in 0..if cfg!(debug_assertions) { 400 } else { 4000 } {
                    let mut blocks = [0; 32];
                    let count = 1 + rng.below(32);
                    if held.len() < 200 && rng.below(3) != 0 {
                        let got = central.fetch(class, heap, &filling, &mut blocks[..count]);
                        for &block in &blocks[..got] {
                            let mark: *mut usize = core::ptr::with_exposed_provenance_mut(block);
                            mark_block(mark, seed);
                            held.push(block);
                        }
                    } else {
                        let count = count.min(held.len());
                        let back = held.split_off(held.len() - count);
                        back.iter()
                            .for_each(|&block| check_mark(core::ptr::with_exposed_provenance(block), seed));
                        central.give_back(class, heap, &back);
                    }
                    if rng.below(50) == 0 {
                        central.stop_filling(heap, &filling);
                        central.drain(class, heap);
                    }
                }
                held.chunks(32).for_each(|back| central.give_back(class, heap, back));
                central.stop_filling(heap, &filling);
            });
        }
    });
    subject.check();
    subject.end();
}

#[allow(unsafe_code)]
fn mark_block(mark: *mut usize, seed: usize) {
    // SAFETY: the first word of a block that was handed to this thread.
    unsafe { mark.write_volatile(seed) }
}

#[allow(unsafe_code)]
fn check_mark(mark: *const usize, seed: usize) {
    // SAFETY: the first word of a block that this thread holds.
    assert_eq!(unsafe { mark.read_volatile() }, seed, "a block had two holders");
}

#[test]
fn blocks_taken_at_random_are_out_once_and_near_each_other() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let class = class_of(48).unwrap();
    let span = heap.alloc_slab(class).expect("memory");
    let (info, state) = (class_info(class), std::cell::Cell::new(1u32));
    let random = || {
        state.set(state.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        state.get().rotate_left(13)
    };
    let (mut order, mut some) = (Vec::new(), [0; 5]);
    while span.free_blocks() > 0 {
        let taken = slab::take_random(span, info, &mut some, random);
        order.extend(some[..taken].iter().rev().map(|addr| (addr - span.first_block()) / info.size as usize));
        slab::verify(span).expect("counts and hint agree with the bits");
    }
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), span.blocks());
    assert!(order.iter().enumerate().all(|(at, block)| block / 4 == at / 4), "windows come in their order");
    let starts: BTreeSet<_> = order.chunks(4).map(|window| window[0] % 4).collect();
    assert_eq!(starts.len(), 4, "each place of a window comes first now and then");
}

#[test]
fn what_is_no_live_block_is_not_put_back() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let class = class_of(48).unwrap();
    let span = heap.alloc_slab(class).expect("memory");
    let (info, size) = (class_info(class), class_info(class).size as usize);
    let mut some = [0; 16];
    assert_eq!(slab::take(span, info, &mut some), 16);
    let first = span.first_block();
    let block = |number: usize| first + number * size;
    assert_eq!(slab::put(span, info, first + 1), Err(slab::Misuse::NotABlock));
    assert_eq!(slab::put(span, info, block(16)), Err(slab::Misuse::AlreadyFree));
    // In some order: what is no block ends the run, and is named when it comes first.
    let mixed: Vec<usize> = [3, 1, 0, 2, 7, 6, 5, 4].into_iter().map(block).collect();
    let with = |last: usize| [&mixed[..], &[last]].concat();
    let inside = block(3) + 8;
    assert_eq!(slab::put_run(span, info, &with(inside)), Ok(8));
    assert_eq!(slab::put_run(span, info, &[inside]), Err((slab::Misuse::NotABlock, inside)));
    assert_eq!(slab::take(span, info, &mut some[..8]), 8);
    // No further than the slab.
    let outside = with(first.wrapping_sub(size));
    assert_eq!(slab::put_run(span, info, &outside), Ok(8));
    assert_eq!(slab::put_run(span, info, &outside[8..]), Err((slab::Misuse::NotABlock, outside[8])));
    slab::verify(span).expect("counts and hint agree with the bits");
    // In a row, downwards and upwards: the one that is free is named.
    let downwards: Vec<usize> = (0..16).rev().map(block).collect();
    assert_eq!(slab::put_run(span, info, &downwards[..8]), Ok(8));
    slab::verify(span).expect("counts and hint agree with the bits");
    assert_eq!(slab::take(span, info, &mut some), 16);
    let upwards: Vec<usize> = (8..17).map(block).collect();
    assert_eq!(slab::put_run(span, info, &upwards), Err((slab::Misuse::AlreadyFree, block(16))));
    // Few, one at a time.
    assert_eq!(slab::put_run(span, info, &[]), Ok(0));
    assert_eq!(slab::put_run(span, info, &downwards[13..]), Ok(1));
    assert_eq!(slab::take(span, info, &mut some[..1]), 1);
    // The one that comes twice is named, and of those that are free already the lowest.
    assert_eq!(slab::put_run(span, info, &with(block(3))), Err((slab::Misuse::AlreadyFree, block(3))));
    assert_eq!(slab::put_run(span, info, &with(block(16))), Err((slab::Misuse::AlreadyFree, block(0))));
}

#[test]
fn blocks_are_taken_lowest_first_and_put_back_in_any_order() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let mut next = 1_u64;
    let mut random = |below: usize| {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (next >> 33) as usize % below
    };
    // Slabs of many blocks and of few.
    for class in [8, 40, 200].map(|size| class_of(size).unwrap()) {
        let span = heap.alloc_slab(class).expect("memory");
        let (info, size) = (class_info(class), class_info(class).size as usize);
        let mut free: BTreeSet<usize> =
            (0..span.blocks()).map(|number| span.first_block() + number * size).collect();
        let mut held: Vec<usize> = Vec::new();
        for _ in 0..100 {
            let mut some = vec![0; 1 + random(span.blocks())];
            let taken = slab::take(span, info, &mut some);
            let lowest: Vec<usize> = free.iter().copied().take(taken).collect();
            assert!(taken == some.len().min(free.len()) && some[..taken].iter().rev().eq(&lowest));
            if let Some(&last) = lowest.last() {
                free = free.split_off(&(last + 1));
            }
            held.extend(lowest);
            // In a row, with gaps, or anyhow.
            match random(4) {
                0 => held.sort(),
                1 => held.sort_by_key(|&block| core::cmp::Reverse(block)),
                2 => held.sort_by_key(|&block| (block / size / 3, core::cmp::Reverse(block))),
                _ => held.sort_by_cached_key(|_| random(1 << 20)),
            }
            let back = held.split_off(random(held.len() + 1));
            let mut left = &back[..];
            while !left.is_empty() {
                left = &left[slab::put_run(span, info, left).expect("blocks that are out")..];
            }
            free.extend(back);
            slab::verify(span).expect("counts and hint agree with the bits");
            assert_eq!(span.free_blocks(), free.len());
        }
    }
}
