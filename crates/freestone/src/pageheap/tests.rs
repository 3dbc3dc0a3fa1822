//! The page heap as a whole, on the simulated system: by example, and with every call refused; at random in
//! `random`, while spans are away in `away`, and with blocks that are hardly touched in `parked`;
//! what lies ready in `ready`.

mod away;
mod long;
mod parked;
mod random;
mod ready;

use std::ptr::with_exposed_provenance_mut;

use freestone_base::class_of;
use freestone_sys::sim::{CallKind, MoveMode, Simulated};
use freestone_sys::{Linux, SystemCalls};

use super::*;

type Heap<'a> = PageHeap<&'a Simulated>;

const PIECE_BYTES: usize = huge::PIECE * PAGE_SIZE;

/// A word at the beginning and one at the end of each page.
fn marks(span: SpanRef, pages: usize) -> impl Iterator<Item = *mut u64> {
    let places = (0..2 * pages).map(|n| n / 2 * PAGE_SIZE + n % 2 * (PAGE_SIZE - 8));
    places.map(move |offset| {
        assert!(offset < span.bytes());
        with_exposed_provenance_mut::<u64>(span.start() + offset)
    })
}

fn write(span: SpanRef, tag: u64) {
    for (n, mark) in marks(span, span.pages().0).enumerate() {
        // SAFETY: within a span that the test owns.
        unsafe { mark.write_volatile(tag + n as u64) }
    }
}

fn holds(span: SpanRef, pages: usize, tag: u64) -> bool {
    marks(span, pages).enumerate().all(|(n, mark)| {
        // SAFETY: within a span that the test owns.
        unsafe { mark.read_volatile() == tag + n as u64 }
    })
}

fn reads_as_zeros(span: SpanRef) -> bool {
    let at = with_exposed_provenance_mut::<u64>(span.start());
    // SAFETY: the pages of a span that the test owns.
    let words = unsafe { std::slice::from_raw_parts(at, span.bytes() / 8) };
    words.iter().all(|&word| word == 0)
}

fn large<S: System>(heap: &PageHeap<S>, pages: usize) -> SpanRef {
    heap.alloc_large(pages * PAGE_SIZE, 1, false).unwrap()
}

fn resident(span: SpanRef) -> usize {
    Linux::new().resident_bytes(span.start(), span.bytes())
}

/// Touches these pages of a block.
fn touch(span: SpanRef, pages: impl Iterator<Item = usize>) {
    for half in pages.flat_map(|page| [2 * page, 2 * page + 1]) {
        let at = with_exposed_provenance_mut::<u8>(span.start() + half * PAGE_SIZE / 2);
        // SAFETY: the block's own OS pages.
        unsafe { at.write((half / 2) as u8) };
    }
}

fn checked<S: System>(heap: &PageHeap<S>) -> PageHeapStats {
    assert_eq!(heap.verify(), Ok(()));
    heap.stats()
}

fn dirty_pages<S: System>(heap: &PageHeap<S>) -> usize {
    checked(heap).free_dirty / PAGE_SIZE
}

#[test]
fn an_unused_heap_asks_nothing_of_the_system() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    assert_eq!(checked(&heap), PageHeapStats::default());
    assert_eq!(heap.system().calls(), SystemCalls::default());
}

#[test]
fn a_slab_has_all_blocks_free_and_is_known_by_all_its_pages() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    for class in ClassId::all() {
        let info = class_info(class);
        let span = heap.alloc_slab(class).unwrap();
        assert_eq!((span.class(), span.free_blocks()), (class, info.blocks as usize));
        let bits: u32 = span
            .bitmap()
            .iter()
            .map(|word| word.load(std::sync::atomic::Ordering::Relaxed).count_ones())
            .sum();
        assert_eq!(bits, info.blocks as u32);
        let map = heap.page_map();
        for addr in (span.start()..span.start() + span.bytes()).step_by(PAGE_SIZE) {
            if span.blocks() > 1 || addr == span.start() {
                assert_eq!((map.span_of(addr), map.class_of(addr)), (Some(span), class));
            } else {
                assert_eq!(map.class_of(addr), ClassId::NONE);
            }
        }
        let private = heap.alloc_heap_slab(class, 77).unwrap();
        assert_eq!((private.heap(), private.state()), (77, SpanState::HeapSlab));
        assert_eq!(heap.page_map().class_of(private.start()), ClassId::NONE);
        assert_eq!(heap.page_map().span_of(private.start() + private.bytes() - 1), Some(private));
        checked(&heap);
    }
}

#[test]
fn neighbours_merge_whatever_the_order_of_freeing() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let system = Simulated::new();
        let heap = Heap::new(&system);
        let spans = [3, 70, 5].map(|pages| large(&heap, pages));
        for span in order {
            heap.free(spans[span]);
            checked(&heap);
        }
        let stats = heap.stats();
        assert_eq!(heap.alloc_large(stats.mapped, 1, false).unwrap().bytes(), stats.mapped);
        assert_eq!(heap.stats().mapped, stats.mapped);
    }
}

#[test]
fn dirty_pages_are_reused_first_and_only_they_are_cleared() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let span = large(&heap, 10);
    assert!(span.is_zeroed() && reads_as_zeros(span));
    write(span, 1);
    let start = span.start();
    let _fence = large(&heap, 1);
    heap.free(span);
    assert_eq!(checked(&heap).free_dirty, 10 * PAGE_SIZE);
    let again = heap.alloc_large(10 * PAGE_SIZE, 1, true).unwrap();
    assert_eq!(again.start(), start);
    assert!(again.is_zeroed() && reads_as_zeros(again));
}

#[test]
fn a_long_block_to_be_cleared_becomes_no_more_resident_than_it_was() {
    const PAGES: usize = 100;
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let linux = freestone_sys::Linux::new();
    let at = |span: SpanRef, place: usize| with_exposed_provenance_mut::<u8>(span.start() + place);
    let mut span = large(&heap, PAGES);
    linux.ask_for_huge_pages(span.start(), span.bytes(), false);
    let (start, _fence) = (span.start(), large(&heap, 1));
    // Writes so many bytes, frees the block, and has it again, cleared: how much of it is resident then.
    let mut again = |bytes: usize| {
        // SAFETY: the block is this test's.
        unsafe { at(span, 0).write_bytes(1, bytes) };
        // And one far behind, which the next block is not expected to use.
        // SAFETY: as above.
        unsafe { at(span, PAGES * PAGE_SIZE / 2).write(1) };
        heap.free(span);
        let next = heap.alloc_large(PAGES * PAGE_SIZE, 1, true).unwrap();
        assert_eq!(next.start(), span.start());
        let resident = linux.resident_bytes(next.start(), next.bytes());
        checked(&heap);
        // SAFETY: as above.
        let is_zero = |place: usize| unsafe { at(next, place).read() } == 0;
        assert!(next.is_zeroed() && (0..bytes).chain([PAGES * PAGE_SIZE / 2]).all(is_zero));
        span = next;
        resident
    };
    let few = PAGE_SIZE;
    assert_eq!([few; 3].map(&mut again), [few; 3]);
    // What was touched all over is written. After some of those nobody looks,
    let all = PAGES * PAGE_SIZE;
    assert_eq!([all; 9].map(&mut again), [all; 9]);
    // but for one in sixteen. From there on they all are looked at again.
    let mut looked = (0..32).map(|_| {
        // SAFETY: nobody relies on what is in the block.
        unsafe { linux.purge(start, all) }.unwrap();
        again(few)
    });
    assert_eq!(looked.position(|resident| resident == few), Some(15));
    assert!(looked.all(|resident| resident == few));
    // Where the system may not be asked, it is not.
    heap.ask_before_clearing(false);
    assert_eq!(again(few), all);
}

#[test]
fn the_span_freed_last_is_taken_back_as_it_is_or_merged_first() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let [_first, freed, _last] = [3, 70, 5].map(|pages| large(&heap, pages));
    let start = freed.start();
    heap.free(freed);
    assert_eq!((freed.state(), checked(&heap).free_dirty), (SpanState::Recent, 70 * PAGE_SIZE));
    assert_eq!(large(&heap, 70), freed);
    checked(&heap);
    heap.free(freed);
    // What it is asked for does not fit it as it is: it is cut like any other.
    let aligned = heap.alloc_large(PAGE_SIZE, 2 * PAGE_SIZE, false).unwrap();
    assert!((start..start + 70 * PAGE_SIZE).contains(&aligned.start()));
    checked(&heap);
    heap.free(aligned);
    let slab = heap.alloc_slab(ClassId(1)).unwrap();
    assert_eq!(slab.start(), start);
    checked(&heap);
    heap.free(slab);
    assert_eq!((heap.purge_all(), checked(&heap).free_dirty), (PageCount(70), 0));
}

#[test]
fn alignments_up_to_many_gibibytes_are_met() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    for shift in 0..34 {
        let _odd = large(&heap, 1);
        let span = heap.alloc_large(100_000, 1 << shift, false).unwrap();
        assert_eq!((span.start() % (1 << shift), span.pages().0), (0, 13));
        checked(&heap);
        if shift % 2 == 0 {
            heap.free(span);
            checked(&heap);
        }
    }
    assert!(heap.alloc_large(1, 1 << 63, false).is_none());
    checked(&heap);
}

#[test]
fn what_cannot_be_had_is_refused_without_a_trace() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let kept = large(&heap, 1);
    let before = checked(&heap);
    for bytes in [usize::MAX, isize::MAX as usize, SPAN_PAGES_END * PAGE_SIZE] {
        assert!(heap.alloc_large(bytes, 1, true).is_none());
        assert!(!heap.grow_in_place(kept, PageCount(bytes / PAGE_SIZE)));
        assert!(heap.move_grow(kept, bytes, 0).is_none());
        let after = checked(&heap);
        assert_eq!((after.mapped, after.large), (before.mapped, before.large));
    }
}

#[test]
fn a_block_grows_into_what_is_free_behind_it_and_shrinks_back() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let span = large(&heap, 10);
    write(span, 5);
    for pages in [11, 64, 65, 66, 1000, 20_000] {
        assert!(heap.grow_in_place(span, PageCount(pages)), "{pages}");
        assert!(holds(span, 10, 5) && span.pages().0 == pages);
        checked(&heap);
    }
    for pages in [500, 65, 64, 10, 1] {
        assert!(heap.shrink(span, PageCount(pages)));
        assert!(span.pages().0 == pages && checked(&heap).large == pages * PAGE_SIZE);
    }
    let _next = large(&heap, 1);
    assert!(!heap.grow_in_place(span, PageCount(2)));
    checked(&heap);
}

#[test]
fn resizing_keeps_the_contents_and_the_place_of_the_block_in_its_span() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let span = large(&heap, 50);
    span.set_colour(128);
    write(span, 4);
    let grown = heap.resize(span, 60 * PAGE_SIZE, false).unwrap();
    assert_eq!((grown, span.pages().0, span.first_block()), (span, 61, span.start() + 128));
    assert_eq!((span.requested(), span.usable_bytes()), (60 * PAGE_SIZE, 61 * PAGE_SIZE - 128));
    let _next = large(&heap, 1);
    assert!(heap.resize(span, 61 * PAGE_SIZE, false).is_none());
    let moved = heap.resize(span, 100 * PAGE_SIZE - 128, true).unwrap();
    assert!(holds(moved, 50, 4) && moved.pages().0 == 100 && moved.colour() == 128);
    let shrunk = heap.resize(moved, 1, true).unwrap();
    assert!(shrunk == moved && moved.pages().0 == 1 && holds(moved, 1, 4));
    assert!(heap.resize(moved, usize::MAX, true).is_none());
    checked(&heap);
}

#[test]
fn a_block_moves_without_copying_and_leaves_clean_pages() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let span = heap.alloc_large(200 * PAGE_SIZE, 1, false).unwrap();
    span.set_colour(64);
    write(span, 9);
    let _next = large(&heap, 1);
    let bytes = 1000 * PAGE_SIZE - 64;
    let moved = heap.move_grow(span, bytes, 0).unwrap();
    assert!(holds(moved, 200, 9));
    assert_eq!((moved.colour(), moved.requested()), (64, bytes));
    let stats = checked(&heap);
    assert_eq!((stats.large, stats.large_blocks, stats.free_dirty), (1001 * PAGE_SIZE, 2, 0));
    let again = heap.alloc_large(200 * PAGE_SIZE, 1, false).unwrap();
    assert!(reads_as_zeros(again));
}

#[test]
fn a_block_is_not_moved_onto_memory_that_is_resident_already() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let (span, _next) = (large(&heap, 200), large(&heap, 1));
    let (freed, _last) = (large(&heap, 300), large(&heap, 1));
    write(span, 9);
    write(freed, 1);
    heap.free(freed);
    let before = checked(&heap);
    assert!(before.free_dirty >= 300 * PAGE_SIZE && heap.move_grow(span, 290 * PAGE_SIZE, 0).is_none());
    assert!(holds(span, 200, 9) && checked(&heap).free_dirty == before.free_dirty);
    // Less than half of what it would get is.
    let moved = heap.move_grow(span, 700 * PAGE_SIZE, 0).unwrap();
    assert!(holds(moved, 200, 9));
    checked(&heap);
}

#[test]
fn a_block_that_shrinks_a_little_keeps_its_pages_and_one_that_grows_a_little_gets_room() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let span = large(&heap, 1_000);
    write(span, 5);
    let _next = large(&heap, 1);
    let resize = |span, pages: usize| heap.resize(span, pages * PAGE_SIZE, true).unwrap();
    // A MiB at most.
    let kept = resize(span, 900);
    assert_eq!((kept.pages().0, kept.requested()), (1_000, 900 * PAGE_SIZE));
    let cut = resize(kept, 800);
    assert_eq!((cut.pages().0, cut.requested()), (800, 800 * PAGE_SIZE));
    // A quarter at most.
    let small = large(&heap, 100);
    assert_eq!(resize(small, 75).pages().0, 100);
    assert_eq!(resize(small, 74).pages().0, 74);
    let moved = resize(cut, 1_050);
    assert_eq!((moved.pages().0, moved.requested()), (1_050, 1_050 * PAGE_SIZE));
    let _next = large(&heap, 1_200);
    let moved = resize(moved, 1_100);
    assert_eq!((moved.pages().0, moved.requested()), (1_100 + 1_100 / ROOM, 1_100 * PAGE_SIZE));
    assert!(holds(moved, 800, 5));
    checked(&heap);
}

#[test]
fn a_move_that_loses_addresses_leaves_a_hole() {
    for mode in [MoveMode::SourceGone, MoveMode::TargetGone] {
        let system = Simulated::new();
        let heap = Heap::new(&system);
        let span = large(&heap, 200);
        let _next = large(&heap, 1);
        write(span, 3);
        system.next_move(mode);
        let moved = heap.move_grow(span, 300 * PAGE_SIZE, 0);
        assert_eq!(moved.is_some(), mode == MoveMode::SourceGone);
        let now = moved.unwrap_or(span);
        assert!(holds(now, 200, 3));
        let stats = checked(&heap);
        assert_eq!(stats.mapped + stats.metadata_mapped + stats.page_map, system.mapped_bytes());
        heap.free(now);
        assert!(heap.alloc_large(400 * PAGE_SIZE, 1, true).is_some_and(reads_as_zeros));
        checked(&heap);
    }
}

#[test]
fn occupied_addresses_are_skipped_and_left_alone() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let span = large(&heap, 1);
    let top = span.start() + heap.stats().mapped;
    let foreign = Linux::new();
    foreign.map_at(top + (1 << 20), PAGE_SIZE).unwrap();
    foreign.map_at(top + (64 << 20), PAGE_SIZE).unwrap();
    let beyond = large(&heap, 10_000);
    assert!(beyond.start() > top + (64 << 20));
    checked(&heap);
    let still = large(&heap, 10_000);
    write(beyond, 1);
    write(still, 2);
    assert!(holds(beyond, 10_000, 1));
    let stats = checked(&heap);
    assert_eq!(stats.mapped + stats.metadata_mapped + stats.page_map, system.mapped_bytes());
    for addr in [top + (1 << 20), top + (64 << 20)] {
        // SAFETY: mapped above, used by nobody.
        unsafe { foreign.release(addr, PAGE_SIZE) }.unwrap();
    }
}

#[test]
fn purging_takes_the_longest_spans_first_and_no_more_than_asked() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let spans: Vec<_> = [300, 1, 5, 1, 40, 1].map(|pages| large(&heap, pages)).into();
    spans.iter().for_each(|&span| write(span, 8));
    for span in [0, 2, 4] {
        heap.free(spans[span]);
    }
    assert_eq!(dirty_pages(&heap), 345);
    assert_eq!(heap.purge(PageCount(100)), PageCount(100));
    assert_eq!(dirty_pages(&heap), 245);
    assert_eq!(heap.purge(PageCount(210)), PageCount(210));
    assert_eq!(dirty_pages(&heap), 35);
    system.refuse_all(true);
    assert_eq!(heap.purge_all(), PageCount(0));
    assert_eq!(dirty_pages(&heap), 35);
    system.refuse_all(false);
    assert_eq!(heap.purge_all(), PageCount(35));
    assert_eq!(dirty_pages(&heap), 0);
    assert!(heap.alloc_large(300 * PAGE_SIZE, 1, false).is_some_and(reads_as_zeros));
}

#[test]
fn huge_pages_are_purged_whole_until_they_may_be_broken() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let spans = [700, 1, 200, 1].map(|pages| large(&heap, pages));
    heap.free(spans[0]);
    heap.free(spans[2]);
    let whole = heap.purge_breaking(PageCount(usize::MAX), Breaking::No);
    assert!(whole.0.is_multiple_of(256) && whole.0 >= 256, "{whole:?}");
    assert_eq!(dirty_pages(&heap), 900 - whole.0);
    assert_eq!(heap.purge_breaking(PageCount(usize::MAX), Breaking::No), PageCount(0));
    assert_eq!(heap.purge_all().0, 900 - whole.0);
    checked(&heap);
}

#[test]
fn a_span_is_emptied_beside_others_where_the_pages_of_the_system_are_longer_than_ours() {
    for os_page in [0, 16 << 10, 64 << 10] {
        let system = Simulated::with_os_pages(os_page);
        let heap = Heap::new(&system);
        let spans: Vec<_> = (0..60).map(|n| large(&heap, 1 + n * 7 % 23)).collect();
        for (n, &span) in spans.iter().enumerate() {
            write(span, (n as u64) << 32);
        }
        for &span in spans.iter().step_by(2) {
            assert!(heap.close(span) && reads_as_zeros(span));
        }
        for (n, &span) in spans.iter().enumerate().skip(1).step_by(2) {
            assert!(holds(span, span.pages().0, (n as u64) << 32), "{n} with {os_page}");
        }
        spans.into_iter().for_each(|span| heap.free(span));
        checked(&heap);
    }
}

#[test]
fn long_blocks_get_huge_pages_where_such_blocks_were_touched_all_over() {
    const PAGES: usize = 700;
    let long = |heap: &Heap<'_>| {
        let bytes = PAGES * PAGE_SIZE;
        heap.alloc_large(bytes, heap.piece_alignment(bytes), false).unwrap()
    };
    for (touched, guarded) in [(true, false), (false, false), (true, true), (false, true)] {
        let system = Simulated::new();
        system.offer_huge_pages(1_000);
        let heap = Heap::new(&system);
        if guarded {
            heap.policy.set_guards();
        }
        for _ in 0..24 {
            let span = long(&heap);
            let step = if touched { 1 } else { PAGES - 1 };
            for page in (0..PAGES).step_by(step) {
                let at = core::ptr::with_exposed_provenance_mut::<u8>(span.start() + page * PAGE_SIZE);
                // SAFETY: the block's own pages.
                unsafe { at.write(1) };
            }
        }
        // A part of the first blocks was below the least heap, and one in eight is left as it is.
        let asked = system.huge_pages_asked();
        assert!(if touched { asked >= 30 } else { asked == 0 }, "{touched} {guarded}: {asked}");
        checked(&heap);
        if guarded && touched {
            assert!(long(&heap).first_page().is_multiple_of(256));
        }
    }
}

#[test]
fn a_heap_that_grows_asks_for_one_huge_page_at_a_time_where_they_come_quickly() {
    let mib = |heap: &Heap<'_>| heap.stats().large >> 20;
    for (step_ns, most) in [(1_000, 26), (1_000_000, 4)] {
        let system = Simulated::new();
        system.offer_huge_pages(step_ns);
        let heap = Heap::new(&system);
        // Lengths that do not divide a huge page.
        let mut spans = Vec::new();
        while mib(&heap) < 60 {
            let before = system.huge_pages_asked();
            let dirty = heap.stats().free_dirty;
            spans.push(large(&heap, 3 + spans.len() % 4));
            let asked = system.huge_pages_asked() - before;
            let limit = if asked == 0 { dirty } else { (2 << 20) - PAGE_SIZE };
            assert!(heap.stats().free_dirty <= limit && asked <= 1);
            assert!(mib(&heap) >= 11 || asked == 0);
        }
        let asked = system.huge_pages_asked();
        assert!(asked > 0 && asked <= most && (step_ns > 1_000 || asked > 20), "{asked}");
        checked(&heap);
        // What a huge page brought goes back with the rest.
        spans.drain(..).for_each(|span| heap.free(span));
        heap.purge_all();
        assert_eq!(dirty_pages(&heap), 0);
        assert!(reads_as_zeros(large(&heap, 3)));
    }
}

#[test]
fn a_heap_whose_blocks_are_hardly_touched_gets_no_huge_pages_until_they_are() {
    let system = Simulated::new();
    system.offer_huge_pages(1_000);
    let heap = Heap::new(&system);
    for (untouched, mib) in [(true, 40), (false, 60)] {
        system.seem_untouched(untouched);
        while heap.stats().large < mib << 20 {
            large(&heap, 18);
        }
        assert_eq!(system.huge_pages_asked() == 0, untouched);
    }
    checked(&heap);
}

#[test]
fn what_cannot_be_purged_does_not_shield_what_can() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let spans: Vec<_> = (0..3).map(|_| [large(&heap, 40), large(&heap, 1)]).collect();
    spans.iter().for_each(|pair| heap.free(pair[0]));
    for refused in [1, 2] {
        system.refuse_from(1);
        assert_eq!(heap.purge(PageCount(40)), PageCount(0));
        system.forgive();
        system.refuse_nth(refused, Some(CallKind::Purge));
        assert_eq!(heap.purge(PageCount(40)), PageCount(40));
        system.forgive();
    }
    assert_eq!(dirty_pages(&heap), 40);
}

#[test]
fn whoever_takes_clean_pages_returns_as_many_dirty_ones_beyond_the_limit() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let limit = heap.policy().dirty_limit(0);
    let spans: Vec<_> = (0..limit / 128 + 10).map(|_| [large(&heap, 128), large(&heap, 1)]).collect();
    for pair in &spans {
        heap.free(pair[0]);
    }
    // Freeing purges nothing, nor does taking what is dirty.
    let again = large(&heap, 100);
    assert_eq!(system.calls().purge, 0);
    let dirty = dirty_pages(&heap);
    assert!(dirty > limit);
    // What is taken clean makes more pages resident.
    let clean = large(&heap, 200);
    assert!(system.calls().purge > 0 && dirty_pages(&heap) <= limit);
    let purges = system.calls().purge;
    let more = large(&heap, 200);
    assert_eq!(system.calls().purge, purges);
    [again, clean, more].into_iter().for_each(|span| heap.free(span));
    checked(&heap);
}

#[test]
fn the_bell_rings_for_dirty_pages_or_after_so_many_spans() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    heap.watch().note_footprint(1 << 20);
    let spans = [10, FIRST_LOOK, 10].map(|pages| large(&heap, pages));
    heap.free(spans[0]);
    assert!(!heap.watch().has_rung());
    heap.free(spans[1]);
    assert!(heap.watch().has_rung());
    heap.watch().arm(2, usize::MAX);
    let span = large(&heap, 10);
    assert!(!heap.watch().has_rung());
    heap.free(span);
    assert!(heap.watch().has_rung());
    heap.watch().arm(0, usize::MAX);
    (0..100).for_each(|_| heap.free(large(&heap, 10)));
    assert!(!heap.watch().has_rung());
    let demand = heap.demand();
    assert!(demand.used == 10 && demand.peak == FIRST_LOOK + 20 && demand.dirty == FIRST_LOOK + 10);
    assert_eq!(heap.demand().peak, 10);
}

#[test]
fn the_bell_rings_each_time_the_heap_has_grown_by_a_sixteenth() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    heap.watch().arm(0, usize::MAX);
    heap.watch().note_footprint(0);
    let mut rung_at = Vec::new();
    for pages in 1..=40 * FIRST_LOOK {
        large(&heap, 1);
        if heap.watch().has_rung() {
            rung_at.push(pages);
            heap.watch().arm(0, usize::MAX);
        }
    }
    assert_eq!(rung_at[..3], [1, 2, 3].map(|looks| looks * (FIRST_LOOK + 1)));
    let beyond: Vec<_> = rung_at.windows(2).filter(|pair| pair[0] > 16 * FIRST_LOOK).collect();
    assert!(!beyond.is_empty() && beyond.iter().all(|pair| pair[1] == pair[0] + pair[0] / 16 + 1));
}

#[test]
fn the_window_widens_when_it_is_full() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let slab = heap.alloc_slab(ClassId(3)).unwrap();
    let spans = [50usize << 30, 50 << 30, 1 << 40].map(|bytes| heap.alloc_large(bytes, 1, true).unwrap());
    write(slab, 1);
    checked(&heap);
    assert_eq!(heap.page_map().class_of(slab.start()), ClassId(3));
    spans.into_iter().for_each(|span| heap.free(span));
    heap.free(slab);
    checked(&heap);
}

#[test]
fn what_lies_low_lies_below_all_else_and_is_refused_where_there_is_no_room() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let (class, floor) = (class_of(200).unwrap(), heap.floor());
    // Records of coloured slabs are used again.
    let coloured: Vec<_> = (0..20).map(|_| heap.alloc_slab(class_of(2048).unwrap()).unwrap()).collect();
    coloured.into_iter().for_each(|span| heap.free(span));
    let usual = [heap.alloc_slab(class).unwrap(), large(&heap, 70)];
    let mut low = Vec::new();
    while let Some(span) = heap.alloc_low_watched_slab(class) {
        if low.len() % 100 == 0 {
            assert_eq!(heap.page_map().span_of(span.start() + 300), Some(span));
            write(span, low.len() as u64);
            checked(&heap);
        }
        low.push(span);
    }
    assert!(low.len() * low[0].bytes() > 20 << 20, "{}", low.len());
    assert!(
        low.iter().all(|span| span.start() + span.bytes() <= floor && span.first_block() == span.start())
    );
    assert!(usual.iter().all(|span| span.start() >= floor) && heap.floor() == floor);
    assert_eq!(heap.window().0, low.last().unwrap().start());
    assert!(low.iter().step_by(100).enumerate().all(|(n, &span)| holds(
        span,
        span.pages().0,
        100 * n as u64
    )));
    usual.into_iter().for_each(|span| heap.free(span));
    checked(&heap);
}

#[test]
fn a_refused_low_slab_changes_nothing() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let class = class_of(200).unwrap();
    let floor = heap.floor();
    for refused in 1..3 {
        system.refuse_from(refused);
        let before = heap.window();
        if heap.alloc_low_watched_slab(class).is_none() {
            assert_eq!(heap.window(), before);
        }
        system.forgive();
        checked(&heap);
    }
    assert!(heap.alloc_low_watched_slab(class).unwrap().start() < floor);
}

/// Does a little of everything; what it held at the end is freed.
fn little_of_everything(heap: &Heap) {
    let mut held: Vec<SpanRef> = Vec::new();
    held.extend(heap.alloc_slab(ClassId(1)));
    held.extend(heap.alloc_large(3 << 20, 1 << 22, true));
    if let Some(span) = heap.alloc_large(1 << 20, 1, false) {
        write(span, 6);
        heap.grow_in_place(span, PageCount(400));
        held.extend(heap.alloc_large(9 << 20, 1, false));
        let span = heap.move_grow(span, 5 << 20, 0).unwrap_or(span);
        heap.shrink(span, PageCount(70));
        assert!(holds(span, 70, 6));
        held.push(span);
    }
    held.into_iter().for_each(|span| heap.free(span));
    heap.purge_all();
    assert!(heap.alloc_large(2 << 20, 1, true).is_none_or(reads_as_zeros));
}

#[test]
fn every_call_may_be_refused_once_or_from_then_on() {
    let system = Simulated::new();
    little_of_everything(&Heap::new(&system));
    let calls = system.call_count();
    assert!(calls > 10);
    for n in 1..=calls {
        for lasting in [false, true] {
            let system = Simulated::new();
            let heap = Heap::new(&system);
            if lasting {
                system.refuse_from(n)
            } else {
                system.refuse_nth(n, None)
            }
            little_of_everything(&heap);
            checked(&heap);
            system.forgive();
            little_of_everything(&heap);
            let stats = checked(&heap);
            assert_eq!(stats.slabs, 0);
        }
    }
}

#[test]
fn once_memory_was_refused_free_addresses_go_back_and_are_mapped_again() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let kept = large(&heap, 10);
    let freed: Vec<_> = (0..8).map(|_| large(&heap, 512)).collect();
    system.refuse_all(true);
    assert!(heap.alloc_large(1 << 40, 1, false).is_none());
    system.refuse_all(false);
    system.forgive();
    freed.into_iter().for_each(|span| heap.free(span));
    let mapped = checked(&heap).mapped;
    assert!(mapped <= 8 << 20, "{mapped}");
    let again = large(&heap, 2000);
    write(again, 3);
    heap.free(again);
    heap.free(kept);
    assert!(checked(&heap).mapped <= 8 << 20);
    assert!(heap.alloc_large(1 << 20, 1, true).is_some_and(reads_as_zeros));
}
