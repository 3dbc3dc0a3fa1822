//! The C library's allocator.

use crate::conformance::{self as suite, Held, OnAlloc, Serves, hunt, hunt_threads, layout};
use freestone_kit::c::{C, RawC};
use freestone_kit::{Alloc, UsableSize};
use freestone_testkit::{Mix, StressConfig};

#[test]
fn keeps_the_contract() {
    suite::check(&C, Serves::ALL);
    suite::check(&RawC, Serves::up_to(1 << 20, 16));
    suite::check_usable_size(&C, Serves::ALL);
    suite::check_resize_in_place(&C, Serves::ALL);
}

#[test]
fn random_sequences() {
    hunt(60, Mix::All, || OnAlloc::shared(C));
    hunt(60, Mix::Small, || OnAlloc::shared(RawC).may_refuse());
    let config = StressConfig { threads: 2, ops_per_thread: 2000, ..StressConfig::default() };
    hunt_threads(&OnAlloc::shared(C), &config);
}

#[test]
fn an_aligned_block_that_shrinks_gives_back_what_it_had() {
    let held = Held::new(&C, layout(1 << 20, 64)).unwrap();
    let held = held.resize(&C, 900_000, false).unwrap();
    let held = held.resize(&C, 100, false).unwrap();
    // SAFETY: live, with that layout.
    #[allow(unsafe_code)]
    let usable = unsafe { C.usable_size(held.address(), layout(100, 64)) };
    assert!(usable < 4096, "{usable}");
    held.free(&C);
}

#[test]
fn the_raw_form_refuses_what_malloc_does_not_align() {
    assert!(RawC.allocate(layout(64, 16)).is_ok_and(|block| {
        // SAFETY: a live block of that layout.
        #[allow(unsafe_code)]
        unsafe {
            RawC.deallocate(block.cast(), layout(64, 16));
        };
        true
    }));
    assert!(RawC.allocate(layout(64, 32)).is_err());
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_lives_in_it() {
    let mut map = hashbrown::HashMap::new_in(C);
    map.extend((0..1000).map(|key| (key, key.to_string())));
    assert_eq!(map[&999], "999");
}
