//! One lock around an allocator.

use crate::conformance::{self as suite, Held, OnAlloc, Parent, Serves, hunt_threads, layout};
use freestone_kit::arena::Arena;
use freestone_kit::bump::Bump;
use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::locked::Locked;
use freestone_kit::page::Page;
use freestone_kit::sync::Lock;
use freestone_kit::{Alloc, Capacity, Reset, Stats};
use freestone_testkit::StressConfig;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn keeps_the_contract() {
    suite::check(&Locked::new(Parent::new()), Serves::ALL);
    let mut arena = Locked::new(Arena::new(C));
    suite::check_owns(&arena, Serves::ALL);
    suite::check_resize_in_place(&arena, Serves::ALL);
    suite::check_reset(&mut arena, Serves::ALL);
    suite::check_usable_size(&Locked::new(C), Serves::ALL);
    suite::check_remap(&Locked::new(Page), Serves::ALL);
    suite::check_over_failing_parent(|parent| Some(Locked::new(Bump::<_>::new(parent))), Serves::ALL);
}

#[test]
fn threads_share_what_one_could_use() {
    let config = StressConfig { threads: 4, ops_per_thread: 2000, ..StressConfig::default() };
    hunt_threads(&OnAlloc::shared(Locked::new(Arena::new(C))), &config);
    hunt_threads(&OnAlloc::shared(Locked::new(Bump::<_, 16>::new(Page))), &config);
}

#[test]
fn what_is_inside_can_be_asked() {
    let mut locked = Locked::new(Counting::new(Arena::new(C)));
    let held = Held::new(&locked, layout(100, 4)).unwrap();
    assert_eq!(locked.stats().live_bytes, 100);
    assert_eq!(locked.with(|counting| counting.parent().used()), locked.used());
    assert_eq!(locked.capacity(), locked.used() + locked.remaining());
    held.free(&locked);
    locked.get_mut().restart_peak();
    assert_eq!(locked.into_inner().stats().peak_bytes, 0);
}

/// Panics under the lock, as a report of misuse does.
struct Grumpy;

// SAFETY: it serves nothing.
#[allow(unsafe_code)]
unsafe impl Alloc for Grumpy {
    fn allocate(&self, _layout: std::alloc::Layout) -> freestone_kit::Allocated {
        Err(freestone_kit::AllocError)
    }

    unsafe fn deallocate(&self, _block: std::ptr::NonNull<u8>, _layout: std::alloc::Layout) {
        panic!("not mine");
    }
}

#[test]
fn a_panic_under_the_lock_releases_it() {
    let locked = Locked::new(Grumpy);
    // SAFETY: nothing is freed: it panics.
    #[allow(unsafe_code)]
    let freed = catch_unwind(AssertUnwindSafe(|| unsafe {
        locked.deallocate(std::ptr::NonNull::dangling(), layout(1, 1));
    }));
    assert!(freed.is_err());
    assert!(locked.allocate(layout(1, 1)).is_err());
}

#[test]
fn the_lock_counts_exactly() {
    let lock = Lock::new(0_u32);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| *lock.lock() += 1));
        }
    });
    assert_eq!(*lock.lock(), 40_000);
    let held = lock.lock();
    assert!(lock.try_lock().is_none());
    drop(held);
    assert!(lock.try_lock().is_some());
    assert_eq!(format!("{lock:?}"), "Lock(40000)");
    assert_eq!(lock.into_inner(), 40_000);
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_a_thread_in_one_arena() {
    let mut arena = Locked::new(Arena::new(C));
    std::thread::scope(|scope| {
        for thread in 0..3_u32 {
            let arena = &arena;
            scope.spawn(move || {
                let mut map = hashbrown::HashMap::new_in(arena);
                map.extend((0..500).map(|key| (key, key * thread)));
                assert!((0..500).all(|key| map[&key] == key * thread));
            });
        }
    });
    arena.reset();
}
