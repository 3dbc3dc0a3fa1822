//! Spans that lie ready for a block of their length.

use freestone_sys::sim::Simulated;

use super::super::*;
use super::parked::{PAGES, sparse_heap};
use super::{Heap, checked, large};

const BYTES: usize = 40 * PAGE_SIZE;

fn take<S: System>(heap: &PageHeap<S>, bytes: usize) -> Option<SpanRef> {
    heap.take_ready(bytes, 0, || 0)
}

#[test]
fn the_span_freed_last_serves_a_block_of_its_length_alone() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let block = large(&heap, 40);
    let before = checked(&heap);
    assert!(heap.lay_ready(block.first_block()));
    assert_eq!((block.state(), checked(&heap).large), (SpanState::Recent, 0));
    for bytes in [BYTES + 1, BYTES - PAGE_SIZE, 1, NEVER, usize::MAX] {
        assert_eq!(take(&heap, bytes), None);
    }
    let again = take(&heap, BYTES - 5).unwrap();
    assert_eq!((again, again.requested(), again.is_zeroed()), (block, BYTES - 5, false));
    assert_eq!(checked(&heap), before);
    assert_eq!(take(&heap, BYTES), None);
}

#[test]
fn what_it_counts_is_what_the_long_way_counts() {
    let (short, long) = (sparse_heap(), sparse_heap());
    let stats = |heap: &PageHeap<_>| checked(heap);
    for pages in [PAGES, 40, PAGES - 1, 40, PAGES, 500] {
        let ready = take(&short.0, pages * PAGE_SIZE).unwrap_or_else(|| large(&short.0, pages));
        let other = large(&long.0, pages);
        assert_eq!(stats(&short.0), stats(&long.0));
        if !short.0.lay_ready(ready.first_block()) {
            short.0.free(ready);
        }
        long.0.free(other);
        assert_eq!(stats(&short.0), stats(&long.0));
    }
}

#[test]
fn a_parked_span_serves_and_is_parked_again() {
    let (heap, parked) = sparse_heap();
    let bytes = (PAGES - 5) * PAGE_SIZE;
    for colour in [64, 128] {
        let block = heap.take_ready(bytes, 4032, || colour).unwrap();
        assert_eq!((block, block.colour(), block.pages().0), (parked, colour, PAGES));
        checked(&heap);
        // A block is known by where it begins.
        assert!(!heap.lay_ready(block.start()));
        assert!(heap.lay_ready(block.first_block()));
        assert!(block.is(SpanState::Parked));
        assert!(!heap.lay_ready(block.first_block()));
        checked(&heap);
    }
}

#[test]
fn nothing_lies_ready_under_a_limit_or_once_memory_was_refused_or_if_too_long() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let (block, long) = (large(&heap, 40), large(&heap, 1025));
    assert!(!heap.lay_ready(long.first_block()));
    heap.watch().set_limit(10_000);
    assert!(!heap.lay_ready(block.first_block()));
    heap.free(block);
    assert_eq!(take(&heap, BYTES), None);
    heap.watch().set_limit(usize::MAX);
    let block = large(&heap, 40);
    system.refuse_all(true);
    assert!(heap.alloc_large(1 << 40, 1, false).is_none());
    system.refuse_all(false);
    assert!(!heap.lay_ready(block.first_block()));
    heap.free(block);
    checked(&heap);
}

#[test]
fn what_is_none_of_ours_or_no_large_block_is_left_to_others() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let slab = heap.alloc_slab(ClassId(1)).unwrap();
    let heaps = heap.alloc_heap_large(BYTES, 16, false, 7).unwrap();
    let watched = large(&heap, 40);
    heap.mark_watched(watched, true);
    for addr in [0, 64, usize::MAX, slab.first_block(), heaps.first_block(), watched.first_block()] {
        assert!(!heap.lay_ready(addr));
    }
    checked(&heap);
}

#[test]
fn threads_that_go_both_ways_at_once_keep_the_invariants() {
    let (heap, _) = sparse_heap();
    let lengths = [PAGES, 40, 41, 500];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (heap, untouched) = (&heap, &heap.system().simulated);
            scope.spawn(move || {
                for n in thread..4_000 {
                    let pages = lengths[n % lengths.len()];
                    let ready = if n % 3 == 0 { None } else { take(heap, pages * PAGE_SIZE) };
                    let block = ready.unwrap_or_else(|| large(heap, pages));
                    assert!(block.is(SpanState::Large) && block.pages().0 >= pages);
                    if n % 5 == 0 || !heap.lay_ready(block.first_block()) {
                        heap.free(block);
                    }
                    if thread == 0 && n % 200 == 0 {
                        untouched.seem_untouched(n % 400 == 0);
                    }
                }
            });
        }
    });
    checked(&heap);
    assert_eq!(heap.stats().large_blocks, 2);
}
