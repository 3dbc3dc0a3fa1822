//! Large blocks of which little was touched.

use std::sync::Arc;

use freestone_sys::sim::Simulated;

use super::super::*;
use super::away::Meanwhile;
use super::{checked, large};

/// A length that blocks are given where they are sparse.
pub(super) const PAGES: usize = 304;

/// A large heap whose blocks seem to be hardly touched, which is known; and a parked span between two others.
pub(super) fn sparse_heap() -> (Arc<PageHeap<Meanwhile>>, SpanRef) {
    let heap = Arc::new(PageHeap::new(Meanwhile::new(Simulated::new())));
    heap.look_at_blocks();
    heap.system().simulated.seem_untouched(true);
    large(&heap, 2000);
    let first = large(&heap, PAGES - 1);
    assert_eq!(first.pages().0, PAGES - 1);
    heap.free(first);
    assert!(!first.is(SpanState::Parked));
    let second = large(&heap, PAGES - 1);
    assert_eq!(second.pages().0, PAGES);
    large(&heap, 1);
    heap.free(second);
    assert!(second.is(SpanState::Parked));
    checked(&heap);
    (heap, second)
}

#[test]
fn a_sparse_block_is_parked_for_the_next_of_its_length() {
    let (heap, parked) = sparse_heap();
    // What is hardly resident is hardly dirty.
    assert!(checked(&heap).free_dirty < (PAGES + PAGES / 8) * PAGE_SIZE);
    let start = parked.start();
    for bytes in [(PAGES - 8) * PAGE_SIZE + 1, PAGES * PAGE_SIZE, (PAGES - 5) * PAGE_SIZE] {
        let again = heap.alloc_large(bytes, 16, false).unwrap();
        assert_eq!((again, again.start(), again.pages().0, again.is_zeroed()), (parked, start, PAGES, false));
        checked(&heap);
        heap.free(again);
        assert!(again.is(SpanState::Parked));
    }
    // Others do not get it.
    for (pages, align, zeroed) in [(PAGES, 1, true), (PAGES, 2 * PAGE_SIZE, false), (PAGES + 1, 1, false)] {
        assert_ne!(heap.alloc_large(pages * PAGE_SIZE, align, zeroed).unwrap().start(), start);
        checked(&heap);
    }
}

#[test]
fn a_block_that_shrinks_a_little_keeps_a_length_to_be_parked() {
    let (heap, parked) = sparse_heap();
    let block = large(&heap, PAGES);
    assert_eq!(block, parked);
    assert_eq!(heap.resize(block, (PAGES - 2) * PAGE_SIZE, false), Some(block));
    assert_eq!(block.pages().0, PAGES);
    assert_eq!(heap.resize(block, (PAGES / 2) * PAGE_SIZE, false), Some(block));
    assert_eq!(block.pages().0, PAGES / 2);
    checked(&heap);
}

#[test]
fn parked_spans_go_back_with_what_is_dirty() {
    let (heap, parked) = sparse_heap();
    assert!(heap.purge_all().0 > 0);
    assert!(!parked.is(SpanState::Parked));
    assert_eq!(checked(&heap).free_dirty, 0);
}

#[test]
fn parked_spans_are_wanted_while_they_are_taken() {
    let (heap, _) = sparse_heap();
    let all = heap.demand().dirty;
    assert_eq!(heap.demand().dirty, all);
    let block = large(&heap, PAGES);
    heap.free(block);
    assert!(heap.demand().dirty < all);
    assert_eq!(heap.demand().dirty, all);
}

#[test]
fn blocks_that_are_touched_all_over_are_parked_no_more() {
    let (heap, parked) = sparse_heap();
    heap.system().simulated.seem_untouched(false);
    let other = large(&heap, 2 * PAGES);
    heap.free(other);
    let mut rounds = 0;
    while heap.habits.length_if_sparse(PAGES).is_some() {
        let block = large(&heap, PAGES);
        heap.free(block);
        checked(&heap);
        rounds += 1;
        assert!(rounds < 100);
    }
    assert!(!parked.is(SpanState::Parked));
    assert_eq!(heap.locked(|op| op.state.parking.pages), 0);
}

#[test]
fn nothing_is_parked_below_a_limit() {
    let (heap, _) = sparse_heap();
    heap.watch().set_limit(1 << 20);
    let block = large(&heap, PAGES);
    heap.free(block);
    assert!(!block.is(SpanState::Parked));
    checked(&heap);
}

#[test]
fn a_block_grows_into_a_parked_span_behind_it() {
    let (heap, _) = sparse_heap();
    let [_, front, back] = [PAGES; 3].map(|pages| large(&heap, pages));
    let (front, back) = if front.start() < back.start() { (front, back) } else { (back, front) };
    assert_eq!(front.start() + front.bytes(), back.start());
    heap.free(back);
    assert!(back.is(SpanState::Parked));
    assert!(heap.grow_in_place(front, PageCount(PAGES + 100)));
    checked(&heap);
}

#[test]
fn what_is_parked_serves_all_when_memory_is_refused() {
    let (heap, parked) = sparse_heap();
    let start = parked.start();
    heap.system().simulated.refuse_all(true);
    let mut served = false;
    while let Some(span) = heap.alloc_large(PAGE_SIZE, 1, true) {
        served |= span.start() == start;
    }
    assert!(served);
    checked(&heap);
}

#[test]
fn what_was_noted_of_a_longer_block_is_forgotten_when_it_shrinks() {
    let (heap, _) = sparse_heap();
    // Both lengths are known to be sparse; of the longer one more was resident than the shorter one has.
    let some = |pages: usize| {
        let block = large(&heap, pages);
        heap.free(block);
        large(&heap, pages)
    };
    let (short, long) = (some(40), some(1024));
    heap.free(short);
    heap.free(long);
    let long = large(&heap, 1024);
    assert_eq!((long.pages().0, long.noted_look()), (1024, Some(128)));
    assert_eq!(heap.resize(long, 40 * PAGE_SIZE, false), Some(long));
    assert_eq!((long.pages().0, long.noted_look()), (40, None));
    heap.free(long);
    checked(&heap);
}

#[test]
fn a_block_that_ends_where_the_page_map_ends_grows() {
    let heap = Arc::new(PageHeap::new(Simulated::new()));
    large(&heap, 1);
    for _ in 0..3 {
        let pages = heap.locked(|op| {
            let tail = op.map.span_at(op.state.top - 1).filter(|span| span.is(SpanState::Free));
            let covered = |index: &usize| op.map.index_of((op.map.base() + index) * PAGE_SIZE).is_some();
            let end = (op.state.top..).take_while(covered).count() + op.state.top;
            end - tail.map_or(op.state.top, |span| op.map.index(span))
        });
        let block = large(&heap, pages);
        assert!(heap.grow_in_place(block, PageCount(pages + 1)));
        checked(&heap);
    }
}
