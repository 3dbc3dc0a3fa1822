//! Blocks of random classes in and out of an arena, beside a plain record of what is out.

use std::ptr::NonNull;

use super::*;

/// Bytes that nobody touches.
fn base(number: usize) -> Base {
    Base(NonNull::without_provenance(std::num::NonZeroUsize::new((number + 1) << 32).unwrap()))
}

fn take(arena: &mut Arena, class: usize, classes: &SizeClasses, chunks: &mut usize) -> Place {
    arena.take(class, classes).unwrap_or_else(|| {
        *chunks += 1;
        arena.add_chunk(base(*chunks), classes);
        arena.take(class, classes).unwrap()
    })
}

#[test]
fn blocks_never_overlap_and_empty_chunks_go_back() {
    let classes = SizeClasses::new(13, 1 << 20);
    let mut arena = Arena::new(&classes);
    let (mut out, mut chunks, mut gone) = (Vec::<(Place, usize)>::new(), 0, 0);
    let mut random = 1_u64;
    for step in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (random >> 33) as usize;
        // Grows for a while, then shrinks for a while.
        if pick % 8 < if step / 2000 % 2 == 0 { 5 } else { 3 } {
            let class = pick / 8 % classes.count();
            let place = take(&mut arena, class, &classes, &mut chunks);
            assert!(place.offset.is_multiple_of(16) && place.offset + classes.size(class) <= classes.chunk);
            for &(other, other_class) in &out {
                let apart = other.chunk != place.chunk
                    || other.offset + classes.size(other_class) <= place.offset
                    || place.offset + classes.size(class) <= other.offset;
                assert!(apart, "{place:?} of class {class} overlaps {other:?} of class {other_class}");
            }
            out.push((place, class));
        } else if !out.is_empty() {
            let (place, class) = out.swap_remove(pick % out.len());
            gone += usize::from(arena.give(place, class, &classes).is_some());
        }
        let bytes: usize = out.iter().map(|&(_, class)| classes.size(class)).sum();
        assert_eq!(arena.out, bytes);
        if step % 500 == 0 {
            check_lists(&arena, &classes);
        }
    }
    for (place, class) in out {
        gone += usize::from(arena.give(place, class, &classes).is_some());
    }
    check_lists(&arena, &classes);
    assert!(gone > 10 && arena.chunks().count() == chunks - gone, "{chunks} chunks, {gone} went back");
    // What is left is held by the last subpage of a class, and by the first list.
    assert!(arena.chunks().all(|chunk| chunk.usage(&classes) < 50));
}

fn check_lists(arena: &Arena, classes: &SizeClasses) {
    for chunk in arena.chunks() {
        let (low, high) = LISTS[chunk.list as usize];
        let usage = chunk.usage(classes) as usize;
        assert!(usage >= low.min(99) && usage < high.max(1), "{usage} % in the list {low}..{high}");
    }
}

#[test]
fn a_chunk_goes_up_and_down_the_lists() {
    let classes = SizeClasses::new(13, 1 << 20);
    let mut arena = Arena::new(&classes);
    arena.add_chunk(base(0), &classes);
    // A sixteenth of the chunk each.
    let class = classes.class(64 << 10).unwrap();
    let mut lists = Vec::new();
    let mut out = Vec::new();
    for _ in 0..16 {
        out.push(arena.take(class, &classes).unwrap());
        lists.push(arena.chunks().next().unwrap().list);
    }
    assert_eq!(lists, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 5]);
    assert_eq!(arena.take(class, &classes), None);
    lists.clear();
    let mut gone = false;
    for place in out {
        gone = arena.give(place, class, &classes).is_some();
        lists.extend(arena.chunks().next().map(|chunk| chunk.list));
    }
    assert_eq!(lists, [4, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1]);
    assert!(gone, "an empty chunk goes back once it has left the first list");
}

#[test]
#[should_panic(expected = "was not taken")]
fn a_small_block_that_is_free_cannot_be_freed() {
    let classes = SizeClasses::new(13, 1 << 20);
    let mut arena = Arena::new(&classes);
    arena.add_chunk(base(0), &classes);
    let place = arena.take(0, &classes).unwrap();
    arena.give(place, 0, &classes);
    arena.give(place, 0, &classes);
}

#[test]
#[should_panic(expected = "begins no run in use")]
fn a_run_that_is_free_cannot_be_freed() {
    let classes = SizeClasses::new(13, 1 << 20);
    let mut arena = Arena::new(&classes);
    arena.add_chunk(base(0), &classes);
    let class = classes.class(64 << 10).unwrap();
    let places = [(); 3].map(|()| arena.take(class, &classes).unwrap());
    arena.give(places[1], class, &classes);
    arena.give(places[0], class, &classes);
    arena.give(places[1], class, &classes);
}
