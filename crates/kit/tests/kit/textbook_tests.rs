//! The textbook heap under all five policies.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation, but where a test is about not doing so.
#![allow(unsafe_code)]

use crate::conformance::{self, OnAlloc, Parent, Serves, layout};
use freestone_kit::textbook::{BestFit, FirstFit, NextFit, Policy, SegregatedFit, Textbook, WorstFit};
use freestone_kit::{Alloc, Stats};
use freestone_testkit::Mix;
use std::ptr::NonNull;

fn verified<P: Policy>(heap: &Textbook<P, Parent>) -> Result<(), String> {
    heap.verify().map_err(str::to_owned)
}

fn conforms<P: Policy>() {
    let parent = Parent::new();
    let mut heap = Textbook::<P, _>::new(parent.clone());
    conformance::check(&heap, Serves::ALL);
    conformance::check_resize_in_place(&heap, Serves::ALL);
    conformance::check_owns(&heap, Serves::ALL);
    conformance::check_usable_size(&heap, Serves::ALL);
    conformance::check_reset(&mut heap, Serves::ALL);
    assert_eq!(heap.verify(), Ok(()));
    assert_eq!((heap.stats().live_blocks, heap.stats().live_bytes), (0, 0));
    drop(heap);
    assert_eq!(parent.live(), (0, 0));
    let build = |parent| Some(Textbook::<P, _>::with_region(parent, 4096));
    conformance::check_over_failing_parent(build, Serves::ALL);
    for mix in [Mix::Tiny, Mix::All] {
        conformance::hunt(12, mix, || {
            OnAlloc::here(Textbook::<P, _>::with_region(Parent::new(), 4096)).verified_by(verified)
        });
    }
}

#[test]
fn first_fit_conforms() {
    conforms::<FirstFit>();
}

#[test]
fn next_fit_conforms() {
    conforms::<NextFit>();
}

#[test]
fn best_fit_conforms() {
    conforms::<BestFit>();
}

#[test]
fn worst_fit_conforms() {
    conforms::<WorstFit>();
}

#[test]
fn segregated_fit_conforms() {
    conforms::<SegregatedFit>();
}

/// A heap of one region with free blocks of 112, 64 and 208 bytes, in that order, then one of 640 at the end; and the
/// addresses of the first three.
fn with_holes<P: Policy>() -> (Textbook<P, Parent>, [NonNull<u8>; 3]) {
    let total: usize = 64 + [96, 48, 192].iter().map(|size| size + 16 + 32).sum::<usize>() + 640;
    let heap = Textbook::<P, _>::with_region(Parent::new(), total);
    let take = |size| heap.allocate(layout(size, 16)).unwrap().cast::<u8>();
    let holes = [96, 48, 192].map(|size| {
        let hole = take(size);
        take(16);
        (hole, size)
    });
    for (hole, size) in holes {
        // SAFETY: freed once.
        unsafe { heap.deallocate(hole, layout(size, 16)) };
    }
    assert_eq!(heap.free_blocks().collect::<Vec<_>>(), [112, 64, 208, 640]);
    (heap, holes.map(|(hole, _)| hole))
}

#[test]
fn each_policy_chooses_by_its_rule() {
    fn choice<P: Policy>(sizes: &[usize]) -> Vec<Option<usize>> {
        let (heap, holes) = with_holes::<P>();
        let place = |size: &usize| heap.allocate(layout(*size, 16)).unwrap().cast::<u8>();
        sizes.iter().map(place).map(|got| holes.iter().position(|&hole| hole == got)).collect()
    }
    assert_eq!(choice::<FirstFit>(&[48, 48, 100]), [Some(0), Some(1), Some(2)]);
    assert_eq!(choice::<BestFit>(&[48, 100, 90]), [Some(1), Some(2), Some(0)]);
    assert_eq!(choice::<WorstFit>(&[48, 48, 150]), [None, None, None]);
    assert_eq!(choice::<SegregatedFit>(&[48, 96, 192]), [Some(1), Some(0), Some(2)]);
    // The rover stands behind the last block; the first request uses up what is there.
    assert_eq!(choice::<NextFit>(&[600, 96, 48, 96]), [None, Some(0), Some(1), Some(2)]);
}

#[test]
fn next_fit_does_not_return_to_the_start_before_the_end() {
    let (heap, holes) = with_holes::<NextFit>();
    let place = |size| heap.allocate(layout(size, 16)).unwrap().cast::<u8>();
    // All holes would do, but lie before the rover.
    assert!(place(48) > holes[2]);
    assert!(place(100) > holes[2]);
    assert!(place(424) > holes[2]);
    assert_eq!(place(48), holes[0]);
}

#[test]
fn freed_blocks_merge_with_both_neighbours_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let heap = Textbook::<BestFit, _>::new(Parent::new());
        let blocks: Vec<_> = (0..4).map(|_| heap.allocate(layout(100, 8)).unwrap().cast()).collect();
        for n in order {
            // SAFETY: freed once.
            unsafe { heap.deallocate(blocks[n], layout(100, 8)) };
            assert_eq!(heap.verify(), Ok(()));
        }
        assert_eq!(heap.free_blocks().next(), Some(3 * 128));
    }
}

#[test]
fn one_empty_region_is_kept_and_the_others_go_back() {
    let parent = Parent::new();
    let heap = Textbook::<FirstFit, _>::with_region(parent.clone(), 1 << 12);
    let blocks: Vec<_> = (0..5).map(|_| heap.allocate(layout(4000, 8)).unwrap().cast()).collect();
    assert_eq!(parent.live().0, 5);
    for block in blocks {
        // SAFETY: freed once.
        unsafe { heap.deallocate(block, layout(4000, 8)) };
    }
    assert_eq!(parent.live().0, 1);
    assert_eq!(heap.verify(), Ok(()));
}

/// Frees the first of three blocks wrongly, or after damage.
fn misuse(damage: impl Fn(&Textbook<SegregatedFit, Parent>, NonNull<u8>, NonNull<u8>)) {
    let heap = Textbook::<SegregatedFit, _>::new(Parent::new());
    let [before, block, _] = [0; 3].map(|_| heap.allocate(layout(48, 8)).unwrap().cast::<u8>());
    damage(&heap, before, block);
    // SAFETY: not kept on purpose; the heap must notice before it does harm.
    unsafe { heap.deallocate(block, layout(48, 8)) };
}

#[test]
#[should_panic(expected = "double free")]
fn a_second_free_is_named() {
    // SAFETY: the first of two frees.
    misuse(|heap, _, block| unsafe { heap.deallocate(block, layout(48, 8)) });
}

#[test]
#[should_panic(expected = "double free")]
fn a_second_free_is_named_even_after_a_merge() {
    misuse(|heap, before, block| {
        for block in [block, before] {
            // SAFETY: the first of two frees.
            unsafe { heap.deallocate(block, layout(48, 8)) };
        }
    });
}

#[test]
#[should_panic(expected = "overrun")]
fn an_overrun_is_named() {
    misuse(|_, _, block| {
        // SAFETY: inside the region.
        let footer = unsafe { block.add(48) };
        // SAFETY: not ours, but there.
        unsafe { footer.write(0x61) };
    });
}

#[test]
#[should_panic(expected = "header was overwritten")]
fn an_underrun_is_named() {
    misuse(|_, _, block| {
        // SAFETY: inside the region.
        let header = unsafe { block.sub(1) };
        // SAFETY: not ours, but there.
        unsafe { header.write(0x61) };
    });
}

#[test]
#[should_panic(expected = "not a block of this heap")]
fn the_free_of_an_inner_address_is_named() {
    let heap = Textbook::<FirstFit, _>::new(Parent::new());
    let block = heap.allocate_zeroed(layout(64, 8)).unwrap().cast::<u8>();
    // SAFETY: inside the block.
    let inside = unsafe { block.add(16) };
    // SAFETY: not kept on purpose; the heap must notice.
    unsafe { heap.deallocate(inside, layout(16, 8)) };
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_lives_on_it() {
    let heap = Textbook::<SegregatedFit, _>::new(Parent::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &heap);
    for n in 0..1000_u32 {
        map.insert(n, n.to_string());
    }
    assert!((0..1000).all(|n| map[&n] == n.to_string()));
    drop(map);
    assert_eq!(heap.stats().live_blocks, 0);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn vectors_and_boxes_live_on_it() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let heap = Textbook::<BestFit, _>::new(Parent::new());
    let mut all = Vec::new_in(&heap);
    (0..500_u64).for_each(|n| all.push(Box::new_in(n, &heap)));
    assert_eq!(all.iter().map(|n| **n).sum::<u64>(), 499 * 250);
    drop(all);
    assert_eq!(heap.verify(), Ok(()));
    assert_eq!(heap.stats().live_blocks, 0);
}
