//! Fixed buffers.

use crate::conformance::{self as suite, Held, OnAlloc, Serves, hunt, hunt_threads, layout};
use freestone_kit::fixed::{Fixed, Inline, SharedFixed, SharedInline};
use freestone_kit::{Alloc, Capacity, Owns, Reset};
use freestone_testkit::{Mix, StressConfig};
use std::mem::MaybeUninit;

const LARGE: usize = 4 * (4 << 20);

fn buffer(len: usize) -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); len]
}

/// Leaks a buffer, for allocators that outlive the closure which makes them.
fn leaked(len: usize) -> &'static mut [MaybeUninit<u8>] {
    buffer(len).leak()
}

#[test]
fn keeps_the_contract() {
    let mut bytes = buffer(LARGE);
    let mut fixed = Fixed::new(&mut bytes);
    suite::check(&fixed, Serves::within(LARGE));
    fixed.reset();
    suite::check_resize_in_place(&fixed, Serves::within(LARGE));
    suite::check_owns(&fixed, Serves::within(LARGE));
    suite::check_reset(&mut fixed, Serves::within(LARGE));
    fixed.reset();
    suite::check_capacity(&fixed, Serves::within(LARGE));

    let mut shared = SharedFixed::new(&mut bytes);
    suite::check(&shared, Serves { size: 1000, align: 64, total: LARGE });
    suite::check_owns(&shared, Serves::within(1 << 10));
    shared.reset();
    suite::check_reset(&mut shared, Serves { size: 1000, align: 64, total: LARGE });

    let inline = Box::new(Inline::<{ 1 << 16 }>::new());
    // Full after a while, since nothing but the last block is ever freed: what is still served must be right.
    suite::check(&&*inline, Serves { size: 0, align: 16, total: 1 << 16 });
    suite::check_owns(&&*inline, Serves::within(1 << 10));
    static STATIC: SharedInline<{ 1 << 20 }> = SharedInline::new();
    suite::check(&&STATIC, Serves { size: 0, align: 16, total: 1 << 20 });
}

#[test]
fn random_sequences() {
    hunt(40, Mix::Small, || OnAlloc::here(Fixed::new(leaked(1 << 16))).may_refuse());
    hunt(40, Mix::Small, || OnAlloc::shared(SharedFixed::new(leaked(1 << 16))).may_refuse());
}

#[test]
fn threads_get_blocks_that_are_apart() {
    let shared = OnAlloc::shared(SharedFixed::new(leaked(8 << 20))).may_refuse();
    let config = StressConfig { threads: 3, ops_per_thread: 3000, ..StressConfig::default() };
    hunt_threads(&shared, &config);
}

#[test]
fn the_last_block_gives_its_bytes_back() {
    let mut bytes = buffer(100);
    let fixed = Fixed::new(&mut bytes);
    let first = Held::new(&fixed, layout(50, 1)).unwrap();
    let second = Held::new(&fixed, layout(50, 1)).unwrap();
    assert!(fixed.allocate(layout(1, 1)).is_err());
    assert!(fixed.is_last(second.address(), second.layout()));
    assert!(!fixed.is_last(first.address(), first.layout()));
    second.free(&fixed);
    assert_eq!((fixed.used(), fixed.remaining(), fixed.capacity()), (50, 50, 100));
    // To the last byte, in place.
    let first = first.resize(&fixed, 100, false).unwrap();
    assert_eq!(fixed.remaining(), 0);
    let (first, _) = first.resize(&fixed, 101, false).unwrap_err();
    first.check("after a growth beyond the end");
    first.free(&fixed);
    assert_eq!(fixed.used(), 0);
}

#[test]
fn what_is_freed_out_of_turn_stays_taken() {
    let mut bytes = buffer(100);
    let fixed = Fixed::new(&mut bytes);
    let first = Held::new(&fixed, layout(10, 1)).unwrap();
    let second = Held::new(&fixed, layout(10, 1)).unwrap();
    first.free(&fixed);
    assert_eq!(fixed.used(), 20);
    second.free(&fixed);
    assert_eq!(fixed.used(), 10);
}

#[test]
fn the_buffer_is_owned_and_nothing_beside_it() {
    let mut bytes = buffer(64);
    let (before, inside) = bytes.split_at_mut(16);
    let (inside, behind) = inside.split_at_mut(32);
    let fixed = Fixed::new(inside);
    let address = |bytes: &mut [MaybeUninit<u8>]| std::ptr::NonNull::from(bytes).cast::<u8>();
    assert!(!fixed.owns(address(&mut before[15..])));
    assert!(!fixed.owns(address(behind)));
    let held = Held::new(&fixed, layout(32, 1)).unwrap();
    assert!(held.ends().iter().all(|&end| fixed.owns(end)));
    held.free(&fixed);
}

#[test]
fn an_empty_buffer_serves_nothing_but_no_bytes() {
    let mut bytes = buffer(0);
    let fixed = Fixed::new(&mut bytes);
    assert!(fixed.allocate(layout(1, 1)).is_err());
    let nothing = Held::new(&fixed, layout(0, 1)).unwrap();
    nothing.free(&fixed);
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_lives_on_the_stack() {
    let inline = Inline::<2048>::new();
    let mut map = hashbrown::HashMap::new_in(&inline);
    let mut served = 0_u16;
    while map.try_reserve(1).is_ok() {
        map.insert(served, served);
        served += 1;
    }
    assert!(served > 50);
    assert!((0..served).all(|key| map[&key] == key));
}
