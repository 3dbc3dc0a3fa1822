//! The buddy system over a parent and over buffers.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation, but where a test is about not doing so.
#![allow(unsafe_code)]

use crate::conformance::{self, OnAlloc, Parent, Serves, layout};
use freestone_kit::buddy::Buddy;
use freestone_kit::{Alloc, Capacity, ResizeInPlace, Stats};
use freestone_testkit::Mix;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

type OverParent = Buddy<Parent, 4, 21>;

#[test]
fn over_a_parent_it_conforms() {
    let parent = Parent::new();
    let mut buddy = OverParent::new(parent.clone());
    conformance::check(&buddy, Serves::ALL);
    conformance::check_resize_in_place(&buddy, Serves::ALL);
    conformance::check_owns(&buddy, Serves::ALL);
    conformance::check_usable_size(&buddy, Serves::ALL);
    conformance::check_capacity(&buddy, Serves::ALL);
    assert_eq!(buddy.verify(), Ok(()));
    conformance::check_reset(&mut buddy, Serves::up_to(1 << 20, 1 << 16));
    assert_eq!((buddy.stats().live_blocks, buddy.used()), (0, 0));
    drop(buddy);
    assert_eq!(parent.live(), (0, 0));
    let small = |parent| Some(Buddy::<_, 5, 16>::new(parent));
    conformance::check_over_failing_parent(small, Serves::up_to(1 << 16, 1 << 16));
}

#[test]
fn over_a_buffer_it_conforms() {
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 20];
    // An odd start and an odd length.
    let mut buddy = Buddy::<_, 6, 20>::over(&mut buffer[3..]);
    let serves = Serves { size: 100_000, align: 4096, total: 1 << 18 };
    conformance::check(&buddy, serves);
    conformance::check_capacity(&buddy, serves);
    conformance::check_reset(&mut buddy, serves);
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn random_sequences_keep_every_block_whole() {
    for mix in [Mix::Tiny, Mix::All] {
        conformance::hunt(12, mix, || {
            OnAlloc::here(Buddy::<_, 4, 16>::new(Parent::new()))
                .may_refuse()
                .verified_by(|buddy| buddy.verify().map_err(str::to_owned))
        });
    }
}

#[test]
fn buffers_of_every_length_and_start_are_tiled() {
    let mut buffer = [MaybeUninit::uninit(); 700];
    for start in 0..40 {
        for end in (start..700).step_by(13) {
            let buddy = Buddy::<_, 4, 9>::over(&mut buffer[start..end]);
            assert_eq!(buddy.verify(), Ok(()));
            let mut served = 0;
            while buddy.allocate(layout(16, 1)).is_ok() {
                served += 16;
            }
            assert_eq!(served, buddy.capacity());
            // Head, map and alignment are all that is lost.
            assert!(
                served + served / 16 + 100 > end - start || end - start < 100,
                "{served} of {}",
                end - start
            );
        }
    }
}

#[test]
fn blocks_split_into_halves_and_merge_back() {
    let buddy = Buddy::<_, 4, 10>::new(Parent::new());
    let first = buddy.allocate(layout(16, 1)).unwrap().cast::<u8>();
    // One of each order is left of the zone.
    assert!((4..10).all(|order| buddy.free_blocks(order) == 1));
    let second = buddy.allocate(layout(16, 1)).unwrap().cast::<u8>();
    assert_eq!(first.addr().get() ^ 16, second.addr().get());
    assert_eq!(buddy.free_blocks(4), 0);
    for block in [first, second] {
        // SAFETY: freed once.
        unsafe { buddy.deallocate(block, layout(16, 1)) };
    }
    assert_eq!((4..10).map(|order| buddy.free_blocks(order)).sum::<usize>(), 0);
    assert_eq!(buddy.free_blocks(10), 1);
}

#[test]
fn blocks_grow_over_free_buddies_and_shrink_in_place() {
    let buddy = Buddy::<_, 4, 10>::new(Parent::new());
    let block = buddy.allocate(layout(16, 1)).unwrap().cast::<u8>();
    let resize = |old, new| {
        // SAFETY: the block is live, and has that layout.
        unsafe { buddy.resize_in_place(block, layout(old, 1), layout(new, 1)) }
    };
    assert_eq!(resize(16, 1024), Ok(()));
    assert_eq!((buddy.used(), buddy.verify()), (1024, Ok(())));
    assert_eq!(resize(1024, 100), Ok(()));
    assert_eq!((buddy.used(), buddy.verify()), (128, Ok(())));
    let above = buddy.allocate(layout(128, 1)).unwrap().cast::<u8>();
    assert_eq!(above.addr().get(), block.addr().get() + 128);
    assert!(resize(100, 200).is_err());
    // SAFETY: freed once.
    unsafe { buddy.deallocate(block, layout(100, 1)) };
    // SAFETY: freed once.
    unsafe { buddy.deallocate(above, layout(128, 1)) };
    assert_eq!(buddy.verify(), Ok(()));
}

#[test]
fn zones_go_back_but_for_one() {
    let parent = Parent::new();
    let buddy = Buddy::<_, 4, 12>::new(parent.clone());
    let blocks: Vec<NonNull<u8>> = (0..4).map(|_| buddy.allocate(layout(4096, 1)).unwrap().cast()).collect();
    assert_eq!(parent.live().0, 8);
    assert!(buddy.allocate(layout(4097, 1)).is_err());
    for block in blocks {
        // SAFETY: freed once.
        unsafe { buddy.deallocate(block, layout(4096, 1)) };
    }
    assert_eq!((parent.live().0, buddy.capacity()), (2, 4096));
    assert_eq!(buddy.stats().held_bytes, parent.live().1);
}

fn misuse(wrong: impl Fn(&Buddy<Parent>, NonNull<u8>)) {
    let buddy = Buddy::<_>::new(Parent::new());
    let block = buddy.allocate(layout(100, 8)).unwrap().cast();
    wrong(&buddy, block);
}

#[test]
#[should_panic(expected = "double free")]
fn a_second_free_is_named() {
    misuse(|buddy, block| {
        let _neighbour = buddy.allocate(layout(100, 8)).unwrap();
        // SAFETY: the first free is right.
        unsafe { buddy.deallocate(block, layout(100, 8)) };
        // SAFETY: not kept on purpose; the buddy system must notice.
        unsafe { buddy.deallocate(block, layout(100, 8)) };
    });
}

#[test]
#[should_panic(expected = "no block begins at")]
fn the_free_of_an_inner_address_is_named() {
    misuse(|buddy, block| {
        // SAFETY: inside the block.
        let inside = unsafe { block.add(32) };
        // SAFETY: not kept on purpose; the buddy system must notice.
        unsafe { buddy.deallocate(inside, layout(32, 8)) };
    });
}

#[test]
#[should_panic(expected = "wrong layout")]
fn a_wrong_size_is_named() {
    // SAFETY: not kept on purpose; the buddy system must notice.
    misuse(|buddy, block| unsafe { buddy.deallocate(block, layout(200, 8)) });
}

#[test]
#[should_panic(expected = "not in this buddy system")]
fn a_foreign_block_is_named() {
    // SAFETY: not kept on purpose; the buddy system must notice.
    misuse(|buddy, _| unsafe { buddy.deallocate(NonNull::from(&0_u64).cast(), layout(8, 8)) });
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_lives_on_it() {
    let buddy = OverParent::new(Parent::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &buddy);
    for n in 0..1000_u32 {
        map.insert(n, n.to_string());
    }
    assert!((0..1000).all(|n| map[&n] == n.to_string()));
    drop(map);
    assert_eq!(buddy.used(), 0);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn vectors_and_boxes_live_in_a_buffer() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let buddy = Buddy::<_, 4, 16>::over(&mut buffer);
    let mut all = Vec::new_in(&buddy);
    (0..500_u64).for_each(|n| all.push(Box::new_in(n, &buddy)));
    assert_eq!(all.iter().map(|n| **n).sum::<u64>(), 499 * 250);
    drop(all);
    assert_eq!((buddy.used(), buddy.verify()), (0, Ok(())));
}
