//! Slab caches, constructed objects, magazines, and the heap of caches.
//!
//! # Safety
//!
//! Blocks are freed once, with the layout of their allocation, but where a test is about not doing so.
#![allow(unsafe_code)]

use crate::conformance::{self, OnAlloc, Parent, Serves, layout};
use freestone_kit::slab::{Magazines, ObjectCache, Raw, Reap, SlabCache, SlabHeap};
use freestone_kit::{Alloc, Stats};
use freestone_testkit::{Mix, StressConfig};
use std::cell::Cell;
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn a_cache_conforms_for_what_fits_into_its_objects() {
    for (size, align) in [(1, 1), (48, 16), (600, 8), (5000, 64)] {
        let parent = Parent::new();
        let mut cache = SlabCache::new(parent.clone(), layout(size, align)).unwrap();
        let serves = Serves::up_to(size, align);
        conformance::check(&cache, serves);
        conformance::check_owns(&cache, serves);
        conformance::check_usable_size(&cache, serves);
        conformance::check_reset(&mut cache, serves);
        assert_eq!((cache.verify(), cache.stats().live_blocks), (Ok(()), 0));
        assert_eq!(cache.stats().held_bytes, parent.live().1);
        cache.reap(Reap::All);
        assert_eq!(cache.stats().held_bytes, parent.live().1);
        assert_eq!(cache.slabs(), [0, 0, 0]);
        drop(cache);
        assert_eq!(parent.live(), (0, 0));
        let build = |parent| SlabCache::new(parent, layout(size, align)).ok();
        conformance::check_over_failing_parent(build, serves);
    }
}

#[test]
fn a_heap_of_caches_conforms() {
    let parent = Parent::new();
    let heap = SlabHeap::new(parent.clone());
    conformance::check(&heap, Serves::ALL);
    conformance::check_usable_size(&heap, Serves::ALL);
    assert_eq!((heap.verify(), heap.taken_bytes(), heap.stats().live_blocks), (Ok(()), 0, 0));
    heap.reap(Reap::All);
    assert_eq!(heap.stats().held_bytes, parent.live().1);
    drop(heap);
    assert_eq!(parent.live(), (0, 0));
    conformance::check_over_failing_parent(|parent| Some(SlabHeap::new(parent)), Serves::ALL);
    for mix in [Mix::Tiny, Mix::All] {
        conformance::hunt(15, mix, || {
            let heap = SlabHeap::new(Parent::new());
            OnAlloc::here(heap).verified_by(|heap| heap.verify().map_err(str::to_owned))
        });
    }
}

#[test]
fn magazines_conform_and_lose_nothing_among_threads() {
    let parent = Parent::new();
    let shared = Magazines::<_, Raw, 2>::new(parent.clone(), layout(128, 16)).unwrap();
    conformance::check(&shared, Serves::up_to(128, 16));
    drop(shared);
    assert_eq!(parent.live(), (0, 0));
    let build = |parent| Magazines::<_, Raw, 2>::new(parent, layout(128, 16)).ok();
    conformance::check_over_failing_parent(build, Serves::up_to(128, 16));

    let shared = Magazines::<_, Raw, 2>::new(parent.clone(), layout(64, 16)).unwrap();
    let subject = OnAlloc::shared(shared)
        .may_refuse()
        .verified_by(|shared| shared.with_slabs(SlabCache::verify).map_err(str::to_owned));
    let config = StressConfig {
        threads: 4,
        ops_per_thread: 3000,
        mix: Mix::Tiny,
        rounds: 2,
        verify_every: 1000,
        ..StressConfig::default()
    };
    conformance::hunt_threads(&subject, &config);
    drop(subject);
    assert_eq!(parent.live(), (0, 0));
}

/// Counts what is constructed and dropped.
struct Tracked<'a> {
    uses: u32,
    dropped: &'a Cell<usize>,
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        self.dropped.set(self.dropped.get() + 1);
    }
}

#[test]
fn objects_are_constructed_once_a_slab_and_stay_so_while_they_are_free() {
    let (constructed, dropped) = (Cell::new(0), Cell::new(0));
    let cache = ObjectCache::new(Parent::new(), || {
        constructed.set(constructed.get() + 1);
        Tracked { uses: 0, dropped: &dropped }
    })
    .unwrap();
    for _ in 0..100 {
        cache.get().unwrap().uses += 1;
    }
    let slab = constructed.get();
    assert_eq!((cache.get().unwrap().uses, dropped.get()), (100, 0));
    let out: Vec<_> = (0..slab + 1).map(|_| cache.get().unwrap()).collect();
    assert_eq!(constructed.get(), 2 * slab);
    assert_eq!(out.iter().map(|object| object.uses).sum::<u32>(), 100);
    drop(out);
    assert_eq!(dropped.get(), 0);
    assert_eq!(cache.reap(Reap::All), 8192);
    assert_eq!(dropped.get(), 2 * slab);
    let _last = cache.get().unwrap();
    drop(_last);
    drop(cache);
    assert_eq!(dropped.get(), constructed.get());
}

#[test]
fn a_constructor_that_panics_loses_nothing() {
    let (parent, dropped) = (Parent::new(), Cell::new(0));
    let calls = Cell::new(0);
    let cache = ObjectCache::new(parent.clone(), || {
        calls.set(calls.get() + 1);
        assert!(calls.get() != 5, "the fifth");
        Tracked { uses: 0, dropped: &dropped }
    })
    .unwrap();
    let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.get().map(drop)));
    assert!(got.is_err());
    assert_eq!((dropped.get(), parent.live()), (4, (0, 0)));
    assert!(cache.get().is_ok());
}

#[test]
fn objects_of_successive_slabs_have_different_colours() {
    let cache = SlabCache::new(Parent::new(), layout(384, 8)).unwrap();
    let shape = cache.shape();
    assert!(shape.colours > 1 && shape.on_slab, "{shape:?}");
    let starts: HashSet<usize> = (0..shape.objects * shape.colours)
        .map(|_| cache.take().unwrap().addr().get() % shape.slab_bytes % shape.stride)
        .collect();
    assert_eq!(starts.len(), shape.colours);
    // Drop frees what is out.
}

#[test]
fn large_objects_have_their_records_elsewhere_and_fill_their_slabs() {
    let parent = Parent::new();
    let cache = SlabCache::new(parent.clone(), layout(4096, 4096)).unwrap();
    let shape = cache.shape();
    assert!(!shape.on_slab && shape.objects * 4096 == shape.slab_bytes, "{shape:?}");
    let blocks: Vec<_> = (0..400).map(|_| cache.take().unwrap()).collect();
    let slabs = 400 / shape.objects;
    assert_eq!((cache.slabs(), cache.verify()), ([slabs, 0, 0], Ok(())));
    for (n, block) in blocks.iter().enumerate() {
        // SAFETY: taken from there.
        unsafe { cache.put(*block) };
        assert_eq!(cache.slabs()[2], (n + 1) / shape.objects);
    }
    assert_eq!((cache.slabs(), cache.verify()), ([0, 0, slabs], Ok(())));
    // The records share their pages.
    assert!(cache.stats().held_bytes < 400 * 4096 + 40_000);
}

#[test]
fn reaping_what_is_idle_keeps_the_working_set() {
    let cache = SlabCache::new(Parent::new(), layout(256, 8)).unwrap();
    let objects = cache.shape().objects;
    let use_slabs = |count: usize| {
        let out: Vec<_> = (0..count * objects).map(|_| cache.take().unwrap()).collect();
        // SAFETY: taken from there.
        out.into_iter().for_each(|object| unsafe { cache.put(object) });
    };
    use_slabs(10);
    // All ten were in use since the cache began.
    assert_eq!((cache.reap(Reap::Idle), cache.slabs()[2]), (0, 10));
    use_slabs(4);
    assert_eq!((cache.reap(Reap::Idle), cache.slabs()[2]), (6 * cache.shape().slab_bytes, 4));
    assert_eq!((cache.reap(Reap::Idle), cache.slabs()[2]), (4 * cache.shape().slab_bytes, 0));
}

#[test]
fn memory_goes_from_one_class_to_another_when_it_is_short() {
    let parent = Parent::new();
    let heap = SlabHeap::new(parent.clone());
    let churn = |size: usize| {
        let blocks: Vec<NonNull<u8>> =
            (0..200_000 / size).map(|_| heap.allocate(layout(size, 8)).unwrap().cast()).collect();
        // SAFETY: freed once.
        blocks.into_iter().for_each(|block| unsafe { heap.deallocate(block, layout(size, 8)) });
    };
    churn(100);
    parent.grant(0);
    assert!(heap.allocate(layout(5000, 8)).is_err());
    assert_eq!(parent.live(), (0, 0));
    parent.grant(1_000_000);
    let mut most = 0;
    for size in [100, 1000, 200, 3000, 64] {
        churn(size);
        most = most.max(heap.stats().held_bytes);
    }
    assert!(most < 300_000, "{most}");
}

#[test]
fn the_depot_takes_full_magazines_and_gives_them_out_again() {
    let shared = Magazines::<_, Raw, 1>::new(Parent::new(), layout(32, 8)).unwrap();
    let capacity = shared.magazine_stats().capacity;
    let out: Vec<_> = (0..10 * capacity).map(|_| shared.take().unwrap()).collect();
    // SAFETY: taken from there.
    out.iter().for_each(|&object| unsafe { shared.put(object) });
    let stats = shared.magazine_stats();
    assert_eq!((stats.full, stats.empty, stats.loaded), (8, 0, 2 * capacity));
    let again: HashSet<_> = (0..10 * capacity).map(|_| shared.take().unwrap()).collect();
    assert_eq!(again, out.into_iter().collect());
    let stats = shared.magazine_stats();
    assert_eq!((stats.full, stats.loaded), (0, 0));
    // SAFETY: taken from there.
    again.into_iter().for_each(|object| unsafe { shared.put(object) });
    shared.reap(Reap::All);
    let stats = shared.magazine_stats();
    assert_eq!((stats.full, stats.empty, stats.loaded), (0, 0, 0));
    assert_eq!(shared.with_slabs(|slabs| (slabs.slabs(), slabs.verify())), ([0, 0, 0], Ok(())));
}

#[test]
fn magazines_grow_where_the_depot_is_contended() {
    let shared = Magazines::<_, Raw, 16>::new(Parent::new(), layout(32, 8)).unwrap();
    let first = shared.magazine_stats().capacity;
    let started = std::time::Instant::now();
    // Contention is up to the scheduler: until it came to pass, or for some seconds.
    while shared.magazine_stats().resizes == 0 && started.elapsed().as_secs() < 5 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let out: Vec<_> = (0..200).map(|_| shared.take().unwrap().addr()).collect();
                        for address in out {
                            let object = NonNull::with_exposed_provenance(address);
                            // SAFETY: taken from there.
                            unsafe { shared.put(object) };
                        }
                    }
                });
            }
        });
    }
    let stats = shared.magazine_stats();
    assert_eq!(stats.capacity > first, stats.resizes > 0);
    assert_eq!(shared.with_slabs(SlabCache::verify), Ok(()));
}

/// Adds its uses to a sum when it is destroyed.
struct Summed<'a>(usize, &'a AtomicUsize);

impl Drop for Summed<'_> {
    fn drop(&mut self) {
        self.1.fetch_add(self.0, Relaxed);
    }
}

#[test]
fn threads_share_constructed_objects() {
    let (constructed, uses) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cache: ObjectCache<_, _, Magazines<_, _, 4>> = ObjectCache::shared(Parent::new(), || {
        constructed.fetch_add(1, Relaxed);
        Summed(0, &uses)
    })
    .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut some: Vec<_> = (0..8).map(|_| cache.get().unwrap()).collect();
                    some.iter_mut().for_each(|object| object.0 += 1);
                }
            });
        }
    });
    drop(cache);
    assert_eq!(uses.load(Relaxed), 4 * 500 * 8);
    // At most what was out at once, what the magazines of four processors hold, and the rest of a slab.
    assert!(constructed.load(Relaxed) < 2000, "{constructed:?}");
}

fn misuse(size: usize, wrong: impl Fn(&SlabCache<Parent>, NonNull<u8>)) {
    let cache = SlabCache::new(Parent::new(), layout(size, 8)).unwrap();
    let object = cache.take().unwrap();
    wrong(&cache, object);
}

#[test]
#[should_panic(expected = "double free")]
fn a_second_put_is_named() {
    misuse(40, |cache, object| {
        // SAFETY: the first is right; the second must be noticed.
        (0..2).for_each(|_| unsafe { cache.put(object) });
    });
}

#[test]
#[should_panic(expected = "no object begins at")]
fn an_inner_address_is_named() {
    misuse(40, |cache, object| {
        // SAFETY: inside the object.
        let inside = unsafe { object.add(8) };
        // SAFETY: not kept on purpose; the cache must notice.
        unsafe { cache.put(inside) };
    });
}

#[test]
#[should_panic(expected = "in no slab of this cache")]
fn a_foreign_object_is_named() {
    // SAFETY: not kept on purpose; the cache must notice.
    misuse(4096, |cache, _| unsafe { cache.put(NonNull::from(&0_u64).cast()) });
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "double free")]
fn a_second_put_into_a_magazine_is_named_in_debug_builds() {
    let shared = Magazines::<_, Raw, 1>::new(Parent::new(), layout(32, 8)).unwrap();
    let object = shared.take().unwrap();
    // SAFETY: the first is right; the second must be noticed.
    (0..2).for_each(|_| unsafe { shared.put(object) });
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn a_hash_map_lives_on_it() {
    let heap = SlabHeap::new(Parent::new());
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &heap);
    for n in 0..1000_u32 {
        map.insert(n, n.to_string());
    }
    assert!((0..1000).all(|n| map[&n] == n.to_string()));
    drop(map);
    assert_eq!(heap.taken_bytes(), 0);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn boxes_live_in_a_cache_and_vectors_in_a_heap() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let cache = SlabCache::new(Parent::new(), layout(8, 8)).unwrap();
    let heap = SlabHeap::new(Parent::new());
    let mut all = Vec::new_in(&heap);
    (0..2000_u64).for_each(|n| all.push(Box::new_in(n, &cache)));
    assert_eq!(all.iter().map(|n| **n).sum::<u64>(), 1999 * 1000);
    drop(all);
    assert_eq!((cache.taken_bytes(), heap.taken_bytes()), (0, 0));
}
