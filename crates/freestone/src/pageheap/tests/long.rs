//! Blocks that ask for huge pages instead of being made of them.

use super::*;

/// A system that gives huge pages to those who ask, soon.
fn offering() -> Simulated {
    let system = Simulated::new();
    system.offer_huge_pages(1_000);
    system
}

/// Has long blocks looked at until there is nothing to look at; how often.
fn looks(system: &Simulated, heap: &Heap<'_>) -> usize {
    let wait = |_: &usize| {
        heap.look_at_long().is_some_and(|ns| {
            system.pass(ns);
            true
        })
    };
    (0..).take_while(wait).count()
}

#[test]
fn longer_blocks_ask_for_huge_pages_where_such_blocks_were_touched_all_over() {
    const PAGES: usize = 4_000;
    for touched in [true, false] {
        let system = offering();
        let heap = Heap::new(&system);
        let mut spans = Vec::new();
        for _ in 0..12 {
            let span = large(&heap, PAGES);
            touch(span, (0..PAGES).step_by(if touched { 1 } else { PAGES - 1 }));
            spans.push(span);
        }
        let asking = spans.iter().filter(|span| span.is_asking()).count();
        // All but the first and one by which the time is seen again, at most.
        assert!(if touched { asking >= 10 } else { asking == 0 }, "{asking}");
        if touched {
            // What is not touched is not resident.
            let span = large(&heap, PAGES);
            assert!(resident(span) <= PIECE_BYTES && !large(&heap, 3 * PAGES).is_asking());
            heap.free(span);
        }
        spans.drain(..).for_each(|span| heap.free(span));
        checked(&heap);
        heap.purge_all();
        assert!(reads_as_zeros(large(&heap, PAGES)));
    }
}

#[test]
fn a_few_sparse_blocks_end_the_requests_of_longer_ones() {
    const PAGES: usize = 4_000;
    let system = offering();
    let heap = Heap::new(&system);
    let full = large(&heap, PAGES);
    touch(full, 0..PAGES);
    // The first of its kind has to show how it is used before others ask.
    let sparse: Vec<_> = (0..6).map(|_| large(&heap, PAGES)).collect();
    assert_eq!(sparse.iter().filter(|span| span.is_asking()).count(), 1);
    sparse.into_iter().for_each(|span| heap.free(span));
    heap.purge_all();
    assert!((0..6).all(|_| !large(&heap, PAGES).is_asking()));
    checked(&heap);
}

#[test]
fn sparse_blocks_that_are_never_freed_end_the_requests_of_longer_ones() {
    const PAGES: usize = 4_000;
    let system = offering();
    let heap = Heap::new(&system);
    for _ in 0..12 {
        let full = large(&heap, PAGES);
        touch(full, 0..PAGES);
        heap.free(full);
        heap.purge_all();
    }
    let sparse: Vec<_> = (0..60).map(|_| large(&heap, PAGES)).collect();
    let asking = sparse.iter().filter(|span| span.is_asking()).count();
    assert!((1..=17).contains(&asking), "{asking}");
    assert!(!sparse[20..].iter().any(|span| span.is_asking()));
    sparse.into_iter().for_each(|span| heap.free(span));
    checked(&heap);
}

#[test]
fn a_long_block_that_asks_as_others_did_and_is_touched_here_and_there_asks_no_more() {
    const PAGES: usize = 4_000;
    // One piece in the middle, all from the beginning, and the beginning.
    for (touched, goes_on) in [(1_300..1_900, false), (0..PAGES, true), (0..1_000, true)] {
        let system = offering();
        let heap = Heap::new(&system);
        let full = large(&heap, PAGES);
        touch(full, 0..PAGES);
        let span = large(&heap, PAGES);
        assert!(span.is_asking());
        // Nobody looks at the other any more.
        heap.free(full);
        touch(span, touched);
        assert_eq!((looks(&system, &heap), span.is_asking()), (1, goes_on));
        assert_eq!(heap.add_asking(0), usize::from(goes_on));
        heap.free(span);
        assert_eq!(heap.add_asking(0), 0);
        checked(&heap);
    }
}

#[test]
fn a_long_block_that_is_being_filled_asks_for_the_rest() {
    const PAGES: usize = 4_000;
    let system = offering();
    let heap = Heap::new(&system);
    assert_eq!(heap.look_at_long(), None);
    // A piece that is made resident ahead, and no page more. Where nothing was filled the next is looked at later; one that is filled, again and again.
    for (filled, ahead, expected) in [(0, 0, 8), (100, 0, 8), (1_000, PIECE_BYTES, 9)] {
        let span = large(&heap, PAGES);
        touch(span, (0..filled).chain([PAGES / 2, PAGES - 1]));
        let (asked, before) = (system.huge_pages_asked(), resident(span));
        let looks = looks(&system, &heap);
        let is_filled = filled == 1_000;
        assert_eq!((span.is_asking(), looks), (is_filled, expected));
        assert_eq!(system.huge_pages_asked() > asked, is_filled);
        assert_eq!(resident(span), before + ahead);
        heap.free(span);
        heap.purge_all();
        checked(&heap);
    }
}

#[test]
fn a_long_block_that_is_filled_asks_for_nothing_where_that_takes_long_or_memory_is_limited() {
    const PAGES: usize = 4_000;
    for limited in [false, true] {
        let system = Simulated::new();
        // Two readings of the clock are a millisecond apart.
        system.offer_huge_pages(if limited { 1_000 } else { 1_000_000 });
        let heap = Heap::new(&system);
        let spans = [0; 2].map(|_| large(&heap, PAGES));
        heap.huge_looks_at_once();
        spans.iter().for_each(|&span| touch(span, 0..1_000));
        if limited {
            heap.watch().set_limit(1 << 20);
        }
        assert_eq!(heap.look_at_long().is_some(), limited);
        assert!(spans.iter().all(|span| !span.is_asking()));
        // Two parts of one were asked for, and taken back.
        assert_eq!((system.huge_pages_asked(), heap.add_asking(0)), (2 * u64::from(!limited), 0));
        spans.into_iter().for_each(|span| heap.free(span));
        checked(&heap);
    }
}

#[test]
fn a_long_block_asks_for_twice_what_was_filled_and_for_more_while_it_is_filled_on() {
    const PAGES: usize = 20_000;
    const BEGINNING: usize = 1_000;
    for goes_on in [false, true] {
        let system = offering();
        let heap = Heap::new(&system);
        let span = large(&heap, PAGES);
        touch(span, 0..BEGINNING);
        let wait = heap.look_at_long().unwrap();
        let asked = || system.huge_bytes_asked() as usize;
        let first = asked();
        assert!(first > PIECE_BYTES && first <= 2 * BEGINNING * PAGE_SIZE, "{first}");
        assert_eq!(resident(span), BEGINNING * PAGE_SIZE + PIECE_BYTES);
        system.pass(wait);
        if goes_on {
            for filled in (2 * BEGINNING..PAGES).step_by(BEGINNING) {
                touch(span, filled - BEGINNING..filled);
                if let Some(wait) = heap.look_at_long() {
                    system.pass(wait);
                }
                assert!(asked() <= 3 * filled * PAGE_SIZE);
            }
            assert!(asked() > PAGES / 4 * 3 * PAGE_SIZE, "{}", asked());
            // Known to be fast, no more of them is made resident.
            assert_eq!(looks(&system, &heap), 0);
        } else {
            // What asks may become resident as a whole; then each piece here and there.
            touch(span, BEGINNING..BEGINNING + huge::PIECE);
            touch(span, (0..PAGES).step_by(50));
            assert_eq!(looks(&system, &heap), 7);
            assert_eq!(asked(), first);
        }
        assert_eq!(heap.add_asking(0), 1);
        heap.free(span);
        assert_eq!(heap.add_asking(0), 0);
        checked(&heap);
    }
}

#[test]
fn how_long_huge_pages_take_is_seen_once_in_a_while() {
    const PAGES: usize = 1_536;
    let system = offering();
    let heap = Heap::new(&system);
    let ahead = |_: usize| {
        system.pass(1 << 30);
        let span = large(&heap, PAGES);
        touch(span, 0..PAGES / 2);
        let before = resident(span);
        looks(&system, &heap);
        assert!(span.is_asking());
        let ahead = resident(span) - before;
        heap.free(span);
        heap.purge_all();
        ahead
    };
    let times: Vec<_> = (0..34).map(ahead).collect();
    let seen: Vec<_> = (0..34).filter(|&n| times[n] == PIECE_BYTES).collect();
    assert_eq!(seen, [0, 17], "{times:?}");
}

#[test]
fn a_long_block_that_asks_as_others_did_is_looked_at_when_its_time_has_come() {
    const PAGES: usize = 4_000;
    const LATE_NS: u64 = 128_000_000;
    let system = offering();
    let heap = Heap::new(&system);
    let full = large(&heap, PAGES);
    touch(full, 0..PAGES);
    let span = large(&heap, PAGES);
    assert!(span.is_asking());
    heap.free(full);
    let began = heap.look_at_long();
    assert_eq!(began, Some(LATE_NS));
    // It is looked at no sooner since another is, for which the thread is woken.
    touch(span, 1_300..1_900);
    heap.watch().arm(0, usize::MAX);
    system.pass(20_000_000);
    let other = large(&heap, 4 * PAGES);
    assert!(heap.watch().has_rung() && !other.is_asking());
    touch(other, 0..4 * PAGES);
    assert!(heap.look_at_long().is_some() && span.is_asking());
    system.pass(LATE_NS - 20_000_001);
    heap.look_at_long();
    assert!(span.is_asking());
    system.pass(1);
    heap.look_at_long();
    assert!(!span.is_asking());
    [span, other].into_iter().for_each(|span| heap.free(span));
    checked(&heap);
}

#[test]
fn so_many_long_blocks_ask_at_once_and_no_more() {
    const PAGES: usize = 1_600;
    let system = offering();
    let heap = Heap::new(&system);
    let blocks = || {
        let spans: Vec<_> = (0..8)
            .map(|_| {
                let span = large(&heap, PAGES);
                touch(span, 0..PAGES);
                span
            })
            .collect();
        looks(&system, &heap);
        let asking = spans.iter().filter(|span| span.is_asking()).count();
        assert!(heap.add_asking(0) >= asking && heap.add_asking(0) <= huge::long::MOST_ASKING);
        spans.into_iter().for_each(|span| heap.free(span));
        heap.purge_all();
        system.pass(1 << 30);
        asking
    };
    assert!(blocks() > 1);
    // All but one ask already, then all.
    for left in [1, 0] {
        assert_eq!(heap.add_asking(huge::long::MOST_ASKING - left), 0);
        assert_eq!(blocks(), left);
        let others = heap.add_asking(0usize.wrapping_sub(huge::long::MOST_ASKING - left));
        assert_eq!(others, huge::long::MOST_ASKING - left);
    }
    checked(&heap);
}

#[test]
fn a_long_block_that_is_no_more_is_not_looked_at() {
    const PAGES: usize = 4_000;
    let system = offering();
    let heap = Heap::new(&system);
    for end in 0..4 {
        let span = large(&heap, PAGES);
        heap.huge_looks_at_once();
        touch(span, 0..1_000);
        let left = match end {
            0 => None,
            1 => heap.resize(span, PAGES / 2 * PAGE_SIZE, true),
            2 => heap.move_grow(span, 2 * PAGES * PAGE_SIZE, 0),
            _ => {
                heap.forget_fillings();
                Some(span)
            }
        };
        if left.is_none() {
            heap.free(span);
        }
        assert_eq!((heap.look_at_long(), heap.waits_for_looks()), (None, false), "{end}");
        assert!(left.is_none_or(|left| !left.is_asking()) && !span.is_asking());
        assert_eq!(system.huge_pages_asked(), 0);
        left.into_iter().for_each(|left| heap.free(left));
        heap.purge_all();
        checked(&heap);
    }
}

#[test]
fn what_a_long_block_grows_by_asks_for_huge_pages_if_the_rest_was_touched() {
    for touched in [true, false] {
        let system = offering();
        let heap = Heap::new(&system);
        let span = large(&heap, 3_000);
        touch(span, (0..3_000).step_by(if touched { 1 } else { 2_999 }));
        let grown = heap.resize(span, 6_000 * PAGE_SIZE, true).unwrap();
        assert_eq!((grown.is_asking(), grown.pages().0), (touched, 6_000));
        let at = core::ptr::with_exposed_provenance::<u8>(grown.start() + 2_999 * PAGE_SIZE);
        // SAFETY: the block's own page.
        assert_eq!(unsafe { at.read() }, 2_999usize as u8);
        // What it was touched for is what it was asked for, not the room it got besides.
        let kept = heap.resize(grown, 5_990 * PAGE_SIZE, true).unwrap();
        assert_eq!((kept.pages().0, kept.is_asking()), (6_000, touched));
        let cut = heap.resize(kept, 4_000 * PAGE_SIZE, true).unwrap();
        assert_eq!((cut.pages().0, cut.is_asking()), (4_000, false));
        checked(&heap);
    }
}
