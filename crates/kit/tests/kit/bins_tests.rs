//! Doug Lea's heap.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation, but where a test is about not doing so.
#![allow(unsafe_code)]

use crate::conformance::{self, OnAlloc, Parent, Serves, layout};
use freestone_kit::bins::{Bins, BinsConfig};
use freestone_kit::{Alloc, AllocError, Allocated, ResizeInPlace, Stats};
use freestone_testkit::Mix;
use std::alloc::Layout;
use std::ptr::NonNull;

fn small(parent: Parent) -> Bins<Parent> {
    let config = BinsConfig::DEFAULT.granularity(4096).mmap_threshold(20_000).trim_threshold(8192);
    Bins::with_config(parent, config)
}

#[test]
fn it_conforms() {
    for make in [Bins::new, small] {
        let parent = Parent::new();
        let mut bins = make(parent.clone());
        conformance::check(&bins, Serves::ALL);
        conformance::check_resize_in_place(&bins, Serves::ALL);
        conformance::check_owns(&bins, Serves::ALL);
        conformance::check_usable_size(&bins, Serves::ALL);
        conformance::check_reset(&mut bins, Serves::ALL);
        assert_eq!((bins.verify(), bins.taken_bytes(), bins.stats().live_blocks), (Ok(()), 0, 0));
        bins.trim();
        assert_eq!(parent.live(), (0, 0));
        conformance::check_over_failing_parent(|parent| Some(make(parent)), Serves::ALL);
    }
}

#[test]
fn random_sequences_keep_every_chunk_in_its_place() {
    for mix in [Mix::Tiny, Mix::Small, Mix::ClassEdges, Mix::All] {
        conformance::hunt(25, mix, || {
            OnAlloc::here(small(Parent::new())).verified_by(|bins| bins.verify().map_err(str::to_owned))
        });
    }
}

fn take(bins: &Bins<Parent>, size: usize) -> NonNull<u8> {
    bins.allocate(layout(size, 1)).unwrap().cast()
}

fn free(bins: &Bins<Parent>, block: NonNull<u8>, size: usize) {
    // SAFETY: freed once, with its layout.
    unsafe { bins.deallocate(block, layout(size, 1)) };
    assert_eq!(bins.verify(), Ok(()));
}

#[test]
fn a_small_block_costs_eight_bytes_and_its_neighbour_lies_behind_it() {
    let bins = Bins::new(Parent::new());
    let blocks: Vec<_> = (0..10).map(|_| take(&bins, 56)).collect();
    assert!(blocks.windows(2).all(|pair| pair[1].addr().get() - pair[0].addr().get() == 64));
    assert_eq!(bins.taken_bytes(), 640);
}

#[test]
fn an_exact_bin_comes_before_all_else() {
    let bins = Bins::new(Parent::new());
    let [hole, _, larger, _] = [100, 40, 200, 40].map(|size| take(&bins, size));
    free(&bins, larger, 200);
    free(&bins, hole, 100);
    // They wait in the quick lists until then.
    bins.trim();
    assert_eq!(take(&bins, 100), hole);
    // None of this size is free: the next larger is split, and the victim it leaves serves the next.
    assert_eq!(take(&bins, 100), larger);
    assert_eq!(take(&bins, 50).addr().get(), larger.addr().get() + 112);
}

#[test]
fn a_small_chunk_waits_for_the_next_request_of_its_size() {
    let parent = Parent::new();
    let bins = Bins::with_config(parent.clone(), BinsConfig::DEFAULT.trim_threshold(0));
    let blocks: Vec<_> = (0..20).map(|_| take(&bins, 100)).collect();
    let last = take(&bins, 100);
    blocks.iter().for_each(|&block| free(&bins, block, 100));
    // Of its size the first eight wait, and no more; the others are one chunk.
    assert!(blocks[..8].iter().rev().all(|&block| take(&bins, 100) == block));
    assert_eq!(take(&bins, 1200), blocks[8]);
    blocks[..8].iter().for_each(|&block| free(&bins, block, 100));
    // Nobody has anything any more: none of them keeps the segment.
    free(&bins, blocks[8], 1200);
    free(&bins, last, 100);
    assert_eq!((parent.live(), bins.taken_bytes()), ((0, 0), 0));
}

#[test]
fn what_waits_is_merged_before_the_parent_is_asked() {
    let parent = Parent::new();
    let bins = small(parent.clone());
    let blocks: Vec<_> = (0..8).map(|_| take(&bins, 488)).collect();
    assert_eq!(parent.live().0, 1);
    blocks.into_iter().for_each(|block| free(&bins, block, 488));
    take(&bins, 3500);
    assert_eq!(parent.live().0, 1);
}

#[test]
fn large_requests_get_a_chunk_of_the_nearest_size() {
    let bins = Bins::new(Parent::new());
    let sizes = [5000, 1000, 3000, 1100, 2000, 1000, 9000, 700, 1010, 30_000, 4000];
    let holes = sizes.map(|size| {
        let hole = take(&bins, size);
        take(&bins, 16);
        hole
    });
    for (hole, size) in holes.into_iter().zip(sizes) {
        free(&bins, hole, size);
    }
    for (wanted, best) in
        [(1100, 1100), (3500, 4000), (2500, 3000), (600, 700), (5001, 9000), (20_000, 30_000)]
    {
        let block = take(&bins, wanted);
        assert_eq!(sizes[holes.iter().position(|&hole| hole == block).unwrap()], best, "{wanted}");
        assert_eq!(bins.verify(), Ok(()));
    }
    // Two of one size, both to be had.
    let [first, second] = [take(&bins, 1000), take(&bins, 1000)];
    let mut twins = [first, second];
    twins.sort();
    assert_eq!(twins, [holes[1], holes[5]]);
}

#[test]
fn blocks_at_the_border_go_to_the_parent_and_come_back() {
    let parent = Parent::new();
    let bins = Bins::with_config(parent.clone(), BinsConfig::DEFAULT.trim_threshold(128 << 10));
    let below = take(&bins, (128 << 10) - 1);
    let at = take(&bins, 128 << 10);
    assert_eq!(parent.live().0, 2);
    free(&bins, at, 128 << 10);
    assert_eq!(parent.live().0, 1);
    free(&bins, below, (128 << 10) - 1);
    assert_eq!((parent.live(), bins.stats().held_bytes), ((0, 0), 0));
}

#[test]
fn idle_segments_go_back_beyond_the_trim_threshold() {
    let parent = Parent::new();
    let bins = small(parent.clone());
    let blocks: Vec<_> = (0..40).map(|_| take(&bins, 3000)).collect();
    let most = parent.live().0;
    blocks.into_iter().for_each(|block| free(&bins, block, 3000));
    assert!(most >= 10 && parent.live().1 <= 16_384, "{:?} of {most}", parent.live());
}

#[test]
fn a_block_grows_into_the_free_chunk_behind_it() {
    let bins = Bins::new(Parent::new());
    let block = take(&bins, 100);
    // The top is behind it.
    // SAFETY: the block is live, and has that layout.
    assert_eq!(unsafe { bins.resize_in_place(block, layout(100, 1), layout(5000, 1)) }, Ok(()));
    let behind = take(&bins, 100);
    assert_eq!(bins.verify(), Ok(()));
    // SAFETY: the block is live, and has that layout.
    assert!(unsafe { bins.resize_in_place(block, layout(5000, 1), layout(6000, 1)) }.is_err());
    free(&bins, behind, 100);
    free(&bins, block, 5000);
}

/// A parent that can shorten its blocks in place; it remembers what it gave out.
struct Shortens(Parent, std::cell::Cell<usize>);

// SAFETY: the parent keeps the contract; a shortened block goes back with the layout that the parent knows.
unsafe impl Alloc for Shortens {
    fn allocate(&self, wanted: Layout) -> Allocated {
        self.0.allocate(wanted)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, wanted: Layout) {
        let whole = layout(wanted.size() + self.1.take(), wanted.align());
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(block, whole) }
    }
}

// SAFETY: only shortens, and notes by how much.
unsafe impl ResizeInPlace for Shortens {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let less = old.size().checked_sub(new.size()).ok_or(AllocError)?;
        // SAFETY: the end of the block is the parent's again.
        let end = unsafe { block.add(new.size()) };
        // SAFETY: the same.
        unsafe { end.write_bytes(0xdd, less) };
        self.1.set(self.1.get() + less);
        Ok(())
    }
}

#[test]
fn the_top_is_trimmed_where_the_parent_can_shorten() {
    let bins = Bins::new(Shortens(Parent::new(), Default::default()));
    let block = bins.allocate(layout(1000, 1)).unwrap().cast();
    let held = bins.stats().held_bytes;
    let trimmed = bins.trim_top(100);
    assert_eq!((bins.stats().held_bytes, bins.verify()), (held - trimmed, Ok(())));
    assert!(trimmed > held - 1300);
    assert!(bins.allocate(layout(90, 1)).is_ok());
    // SAFETY: freed once.
    unsafe { bins.deallocate(block, layout(1000, 1)) };
    assert_eq!(bins.verify(), Ok(()));
}

#[test]
fn a_top_that_is_to_keep_all_keeps_all() {
    let bins = Bins::new(Shortens(Parent::new(), Default::default()));
    let block = bins.allocate(layout(1000, 1)).unwrap().cast();
    for keep in [usize::MAX, usize::MAX - 16, 1 << 40] {
        assert_eq!((bins.trim_top(keep), bins.verify()), (0, Ok(())));
    }
    // SAFETY: freed once.
    unsafe { bins.deallocate(block, layout(1000, 1)) };
}

#[test]
fn borders_set_by_hand_are_rounded() {
    let mut config = BinsConfig::DEFAULT;
    for granularity in [0, 1, 24, 65_544] {
        (config.granularity, config.mmap_threshold) = (granularity, granularity / 2);
        let bins = Bins::with_config(Parent::new(), config);
        suite_of_sizes(&bins);
        assert_eq!(bins.verify(), Ok(()));
    }
    config.granularity = usize::MAX;
    assert!(Bins::with_config(Parent::new(), config).allocate(layout(8, 8)).is_ok());
    assert_eq!(BinsConfig::DEFAULT.granularity(usize::MAX).granularity % 16, 0);
}

fn suite_of_sizes(bins: &Bins<Parent>) {
    let blocks: Vec<_> = (1..60).map(|n| (take(bins, n * 37), n * 37)).collect();
    for (block, size) in blocks {
        free(bins, block, size);
    }
}

fn misuse(wrong: impl Fn(&Bins<Parent>, NonNull<u8>, NonNull<u8>)) {
    let bins = Bins::new(Parent::new());
    let [first, second, _] = [0; 3].map(|_| take(&bins, 40));
    wrong(&bins, first, second);
}

#[test]
#[should_panic(expected = "double or invalid free")]
fn a_second_free_is_named() {
    misuse(|bins, first, _| {
        free(bins, first, 40);
        free(bins, first, 40);
    });
}

#[test]
#[should_panic(expected = "double or invalid free")]
fn a_second_free_is_named_even_after_a_merge() {
    misuse(|bins, first, second| {
        free(bins, second, 40);
        free(bins, first, 40);
        bins.trim();
        free(bins, second, 40);
    });
}

#[test]
#[should_panic(expected = "was overwritten")]
fn an_overrun_into_the_next_head_is_named() {
    misuse(|bins, first, _| {
        // SAFETY: inside the segment, and not ours.
        let behind = unsafe { first.add(40) };
        // SAFETY: the same.
        unsafe { behind.write_bytes(0x60, 8) };
        // SAFETY: freed once.
        unsafe { bins.deallocate(first, layout(40, 1)) };
    });
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_lives_on_it() {
    let bins = Bins::new(Parent::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &bins);
    for n in 0..5000_u32 {
        map.insert(n, n.to_string());
    }
    assert!((0..5000).all(|n| map[&n] == n.to_string()));
    drop(map);
    assert_eq!((bins.taken_bytes(), bins.verify()), (0, Ok(())));
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn vectors_and_boxes_live_on_it() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let bins = Bins::new(Parent::new());
    let mut all = Vec::new_in(&bins);
    (0..20_000_u64).for_each(|n| all.push(Box::new_in(n, &bins)));
    assert_eq!(all.iter().map(|n| **n).sum::<u64>(), 19_999 * 10_000);
    drop(all);
    assert_eq!((bins.taken_bytes(), bins.verify()), (0, Ok(())));
}
