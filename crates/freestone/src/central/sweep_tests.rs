//! Sweeping, on the simulated system.
//!
//! # Safety
//!
//! Blocks are written and read only while the test has them.
#![allow(unsafe_code)]

use super::super::tests::Heap;
use super::*;
use crate::pageheap::Span;
use crate::sync::atomic::AtomicPtr;
use freestone_base::class_of;
use freestone_sys::sim::Simulated;

const ALL: usize = usize::MAX;

fn effort() -> Effort {
    Effort { slabs: ALL, calls: ALL, wanted: false, breaks: true }
}

/// A list that has handed out `count` blocks of `size` bytes, in the order of their addresses.
fn filled(heap: &Heap, size: usize, count: usize) -> (Central, ClassId, Vec<usize>) {
    let class = class_of(size).unwrap();
    let central = Central::new();
    let place = AtomicPtr::<Span>::new(core::ptr::null_mut());
    let mut blocks = vec![0; count];
    let mut got = 0;
    while got < count {
        got += central.fetch(class, heap, &place, &mut blocks[got..]);
    }
    central.stop_filling(heap, &place);
    blocks.sort_unstable();
    (central, class, blocks)
}

/// Sparse slabs go at once, others once they are at rest.
fn swept(central: &Central, class: ClassId, heap: &Heap) -> usize {
    (0..2).map(|_| central.sweep(class, heap, &mut effort())).sum()
}

#[test]
fn pages_without_live_blocks_go_back_and_the_others_keep_their_contents() {
    let purged = go_back_and_keep(Simulated::new());
    // Slabs without live blocks are gone already, with most of what was freed.
    assert!(purged.iter().all(|&bytes| bytes >= 16 << 10), "{purged:?}");
}

#[test]
fn so_they_do_where_the_pages_of_the_system_are_longer_than_ours() {
    let purged = go_back_and_keep(Simulated::with_os_pages(16 << 10));
    assert!(purged.iter().any(|&bytes| bytes > 0), "{purged:?}");
}

/// The bytes that went, for each size.
fn go_back_and_keep(system: Simulated) -> Vec<usize> {
    let heap = Heap::new(&system);
    // Slabs begin in the midst of an OS page, if it is longer.
    let _front = heap.alloc_large(1, 1, false);
    let mut all = Vec::new();
    for size in [48, 320, 1000, 3000, 10_000] {
        let (central, class, blocks) = filled(&heap, size, 4000);
        let (mut live, mut freed) = (Vec::new(), Vec::new());
        for (n, &block) in blocks.iter().enumerate() {
            let at = core::ptr::with_exposed_provenance_mut::<u8>(block);
            // SAFETY: a block of this test's.
            unsafe { at.write_bytes(n as u8 | 1, size) };
            // Runs of free blocks.
            if n % 200 < 150 || n % 7 == 3 { freed.push(block) } else { live.push((n, block)) }
        }
        central.give_back(class, &heap, &freed);
        let purged = swept(&central, class, &heap);
        all.push(purged);
        assert_eq!(central.sweep(class, &heap, &mut effort()), 0);
        central.verify(class, &heap).unwrap();
        for (n, block) in live {
            let at = core::ptr::with_exposed_provenance::<u8>(block);
            for place in [at, at.wrapping_add(size - 1)] {
                // SAFETY: as above; the first and the last byte.
                assert_eq!(unsafe { place.read() }, n as u8 | 1);
            }
            central.give_back(class, &heap, &[block]);
        }
        central.verify(class, &heap).unwrap();
        assert_eq!(central.stats().slabs, 0);
    }
    heap.verify().unwrap();
    all
}

#[test]
fn the_last_run_of_a_slab_goes_back_as_far_as_there_are_pages() {
    const OS_PAGE: usize = 4096;
    const SLABS: usize = 20;
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let info = class_info(class_of(3000).unwrap());
    let (size, in_slab) = (info.size as usize, info.blocks as usize);
    let (central, class, blocks) = filled(&heap, 3000, SLABS * in_slab);
    let (kept, freed): (Vec<_>, Vec<_>) = blocks.iter().enumerate().partition(|(n, _)| n % in_slab < 2);
    let only = |blocks: Vec<(usize, &usize)>| blocks.into_iter().map(|(_, block)| *block).collect::<Vec<_>>();
    central.give_back(class, &heap, &only(freed));
    let purged = swept(&central, class, &heap);
    assert!(purged >= SLABS * ((in_slab - 2) * size / OS_PAGE - 1) * OS_PAGE, "{purged}");
    central.give_back(class, &heap, &only(kept));
    heap.verify().unwrap();
}

#[test]
fn what_was_swept_serves_last_and_is_swept_again_once_blocks_came_back() {
    let system = Simulated::new();
    let heap = Heap::new(&system);
    let (central, class, mut blocks) = filled(&heap, 4096 - 512, 1000);
    let kept: Vec<usize> = blocks.iter().copied().step_by(4).collect();
    blocks.retain(|block| !kept.contains(block));
    central.give_back(class, &heap, &blocks);
    assert!(swept(&central, class, &heap) > 0);
    central.give_back(class, &heap, &kept[..1]);
    central.verify(class, &heap).unwrap();
    assert!(swept(&central, class, &heap) > 0);
    // Few calls a time, and refusals, do no harm.
    system.refuse_all(true);
    central.give_back(class, &heap, &kept[1..3]);
    central.sweep(class, &heap, &mut Effort { slabs: 3, calls: 1, wanted: false, breaks: true });
    central.sweep(class, &heap, &mut effort());
    assert_eq!(central.sweep(class, &heap, &mut effort()), 0);
    system.refuse_all(false);
    central.give_back(class, &heap, &kept[3..]);
    assert_eq!(central.stats().slabs, 0);
    heap.verify().unwrap();
}
