//! Netty's buffers: as an allocator, as buffers, through threads' caches, over a parent without memory, and leaked.

use crate::conformance::{self, OnAlloc, Parent, Serves};
use freestone_kit::netty::{Buf, BufferPool, CompositeBuf, Config, LeakLevel};
use freestone_kit::{Alloc, AllocError};
use freestone_testkit::{Mix, StressConfig};
use std::alloc::Layout;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::scope;
use std::time::Duration;

const SMALL: Config =
    Config { chunk: 256 << 10, arenas: 2, leaks: LeakLevel::Disabled, trim_every: 64, ..Config::CLASSIC };
const UNCACHED: Config = Config { small_cached: 0, normal_cached: 0, arenas: 1, ..SMALL };

fn pool(config: Config) -> BufferPool<Parent> {
    BufferPool::new(config, Parent::new())
}

#[test]
fn it_is_an_allocator() {
    for config in [SMALL, UNCACHED, Config { page: 4096, chunk: 32 << 10, ..SMALL }] {
        let pool = pool(config);
        conformance::check(&pool, Serves::ALL);
        conformance::check_owns(&pool, Serves::ALL);
        conformance::check_usable_size(&pool, Serves::ALL);
        conformance::check_resize_in_place(&pool, Serves::ALL);
        pool.trim_thread();
        assert_eq!(pool.metrics().pinned_bytes, 0, "{:?}", pool.metrics());
    }
}

#[test]
fn a_parent_without_memory_loses_nothing() {
    let build = |parent| Some(BufferPool::new(SMALL, parent));
    conformance::check_over_failing_parent(build, Serves::ALL);
}

#[test]
fn random_sequences_and_threads() {
    conformance::hunt(20, Mix::All, || OnAlloc::here(pool(SMALL)));
    let shared = OnAlloc::shared(pool(Config { trim_every: 300, ..SMALL }));
    let config = StressConfig { threads: 4, ops_per_thread: 1500, ..StressConfig::default() };
    conformance::hunt_threads(&shared, &config);
}

#[cfg(feature = "allocator-api2-02")]
#[test]
fn hash_maps_live_in_it() {
    let pool = pool(SMALL);
    let mut map = hashbrown::HashMap::with_hasher_in(std::hash::RandomState::new(), &pool);
    map.extend((0..5000_u64).map(|key| (key, key * 3)));
    map.retain(|key, _| key % 2 == 1);
    assert_eq!((map.len(), map.get(&4999)), (2500, Some(&14_997)));
    drop(map);
    pool.trim_thread();
    assert_eq!(pool.metrics().pinned_bytes, 0);
}

#[cfg(feature = "allocator-api2-04")]
#[test]
fn vectors_and_boxes_live_in_it() {
    use allocator_api2_04::{boxed::Box, vec::Vec};
    let pool = pool(SMALL);
    let mut vec = Vec::new_in(&pool);
    vec.extend((0..10_000).map(|number| Box::new_in(number, &pool)));
    assert_eq!(vec.iter().map(|number| **number).sum::<i32>(), 49_995_000);
}

#[test]
fn buffers_grow_in_place_and_elsewhere() {
    let pool = pool(SMALL);
    let mut buf = pool.buffer(20).unwrap();
    assert_eq!((buf.capacity(), buf.readable()), (20, 0));
    buf.write(&[1; 30]).unwrap();
    assert_eq!(buf.capacity(), 64, "doubled from 64 on");
    let all: Vec<u8> = (0..200_000).map(|byte| (byte % 251) as u8).collect();
    buf.clear();
    for piece in all.chunks(777) {
        buf.write(piece).unwrap();
    }
    assert_eq!(*buf, *all);
    assert_eq!(buf.capacity(), 256 << 10);
    // Larger than a chunk: the parent's.
    buf.write(&all).unwrap();
    assert_eq!((buf.capacity(), pool.metrics().huge_allocations), (512 << 10, 1));
    buf.set_capacity(1000).unwrap();
    assert_eq!((*buf == all[..1000], pool.metrics().huge_deallocations), (true, 1));
    // Within the block.
    let before = buf.as_ptr();
    buf.set_capacity(600).unwrap();
    buf.set_capacity(1024).unwrap();
    assert_eq!((buf.as_ptr(), buf.readable()), (before, 600));
    let mut bounded = pool.buffer_up_to(10, 100).unwrap();
    assert_eq!((bounded.write(&[0; 101]), bounded.write(&[0; 100])), (Err(AllocError), Ok(())));
    assert_eq!((bounded.set_capacity(101), bounded.write(&[0])), (Err(AllocError), Err(AllocError)));
    assert_eq!(bounded.capacity(), 100);
}

#[test]
fn what_is_written_is_read_in_order() {
    let pool = pool(SMALL);
    let mut buf = pool.buffer(16).unwrap();
    buf.write(&0xdead_beef_u32.to_be_bytes()).unwrap();
    write!(&mut buf, "and text").unwrap();
    assert_eq!(buf.read_array().map(u32::from_be_bytes), Some(0xdead_beef));
    let mut text = String::new();
    Read::read_to_string(&mut buf, &mut text).unwrap();
    assert_eq!((text.as_str(), buf.read_array::<1>()), ("and text", None));
    buf.set_read_index(8);
    assert_eq!(*buf, *b"text");
    buf.discard_read();
    assert_eq!((&*buf, buf.read_index()), (&b"text"[..], 0));
    buf.readable_mut().make_ascii_uppercase();
    buf.truncate(2);
    assert_eq!(*buf, *b"TE");
    let mut short = [0; 3];
    assert!(!buf.read(&mut short));
    assert_eq!(buf.spare_mut().len(), buf.writable());
    buf.spare_mut()[0].write(b'x');
    // SAFETY: one byte was written.
    #[allow(unsafe_code)]
    unsafe {
        buf.advance(1);
    }
    assert_eq!(*buf, *b"TEx");
}

#[test]
fn the_last_view_gives_the_memory_back() {
    let pool = pool(UNCACHED);
    let mut buf = pool.buffer(100).unwrap();
    buf.write(b"head and body").unwrap();
    buf.skip(5);
    let mut shared = buf.share();
    assert_eq!((&*shared, shared.references()), (&b"and body"[..], 1));
    let and = shared.split_to(3);
    let body = shared.slice(1..);
    assert_eq!((&*and, &*body, shared.references()), (&b"and"[..], &b"body"[..], 3));
    drop(shared);
    assert!(pool.metrics().pinned_bytes >= 100);
    let body = body.try_unique().expect_err("there is another");
    drop(and);
    let mut again = body.try_unique().unwrap();
    assert_eq!(*again, *b"body");
    again.write(b"guard").unwrap();
    assert_eq!(*again, *b"bodyguard");
    drop(again);
    assert_eq!(pool.metrics().pinned_bytes, 0);
}

#[test]
fn composites_read_as_one() {
    let pool = pool(UNCACHED);
    let part = |text: &[u8]| {
        let mut buf = pool.buffer(text.len()).unwrap();
        buf.write(text).unwrap();
        buf.share()
    };
    let mut all: CompositeBuf<_> = [&b"one "[..], b"", b"two ", b"three"].into_iter().map(part).collect();
    assert_eq!((all.len(), all.get(4), all.get(12), all.get(13)), (13, Some(b't'), Some(b'e'), None));
    let middle = all.slice(2..10);
    assert_eq!(&*middle.consolidate(&pool).unwrap(), b"e two th");
    let mut first = [0; 6];
    assert!(all.read(&mut first) && !all.read(&mut [0; 8]));
    assert_eq!((&first, all.get(0), all.slices().next()), (b"one tw", Some(b'o'), Some(&b"o "[..])));
    let before = pool.metrics().pinned_bytes;
    drop(middle);
    assert!(pool.metrics().pinned_bytes < before, "the first part went with its last view");
    let mut rest = Vec::new();
    assert_eq!(Read::read_to_end(&mut all, &mut rest).unwrap(), 7);
    assert_eq!((rest.as_slice(), all.is_empty(), pool.metrics().pinned_bytes), (&b"o three"[..], true, 0));
}

#[test]
fn a_thread_keeps_what_it_uses_and_trims_the_rest() {
    let pool = pool(Config { arenas: 1, trim_every: 100, ..SMALL });
    drop((0..50).map(|_| pool.buffer(1000).unwrap()).collect::<Vec<_>>());
    let metrics = pool.metrics();
    assert_eq!((metrics.cached_bytes, metrics.cache_misses, metrics.pinned_bytes), (50 << 10, 50, 0));
    // Two at a time of another size: the hundredth request trims the fifty that nobody wanted.
    for _ in 0..30 {
        drop([pool.buffer(100).unwrap(), pool.buffer(100).unwrap()]);
    }
    let metrics = pool.metrics();
    assert_eq!((metrics.cached_bytes, metrics.cache_hits), (2 * 112, 58), "{metrics:?}");
    pool.trim_thread();
    assert_eq!((pool.metrics().cached_bytes, pool.metrics().arenas[0].out_bytes), (0, 0));
}

#[test]
fn blocks_return_to_the_thread_that_made_them() {
    let pool = pool(SMALL);
    drop(pool.buffer(10).unwrap());
    let before = pool.metrics();
    let (sender, receiver) = mpsc::channel::<Buf<'_, Parent>>();
    scope(|scope| {
        scope.spawn(move || receiver.into_iter().for_each(drop));
        for _ in 0..1000 {
            sender.send(pool.buffer(10).unwrap()).unwrap();
        }
        drop(sender);
    });
    drop(pool.buffer(10).unwrap());
    let after = pool.metrics();
    assert!(after.cache_hits > before.cache_hits, "{after:?}");
    assert_eq!((after.pinned_bytes, after.thread_caches), (0, 1), "the other thread never needed a cache");
}

#[test]
fn threads_that_exit_leave_their_blocks_to_others() {
    let parent = Parent::new();
    let pool = BufferPool::new(Config { arenas: 1, ..SMALL }, parent.clone());
    for _ in 0..30 {
        scope(|scope| {
            let work = || drop((0..64).map(|_| pool.buffer(2000).unwrap()).collect::<Vec<_>>());
            // A scope alone does not wait for the end of thread-locals.
            scope.spawn(work).join().unwrap();
        });
    }
    // 128 KiB each time, one chunk for all of them.
    assert_eq!(parent.live().0, 1, "{:?}", pool.metrics());
    assert_eq!(pool.metrics().thread_caches, 0);
    pool.trim_thread();
    assert_eq!(pool.metrics().cached_bytes, 0);
    assert_eq!(pool.metrics().arenas[0].threads, 1, "this one");
    drop(pool);
    assert_eq!(parent.live(), (0, 0));
}

#[test]
fn threads_share_out_the_arenas() {
    let pool = pool(Config { arenas: 3, ..SMALL });
    let barrier = std::sync::Barrier::new(6);
    scope(|scope| {
        let used: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let kept = pool.buffer(100).unwrap();
                    barrier.wait();
                    pool.metrics().arenas.iter().map(|arena| arena.threads).collect::<Vec<_>>().len()
                        + kept.len()
                })
            })
            .collect();
        used.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 3));
    });
    let metrics = pool.metrics();
    assert!(metrics.arenas.iter().all(|arena| arena.threads == 2 && arena.small_allocations == 2));
}

#[test]
fn memory_is_found_in_other_arenas_when_the_parent_has_none() {
    let parent = Parent::granting(1);
    let pool = BufferPool::new(Config { arenas: 2, ..SMALL }, parent.clone());
    let held = pool.buffer(1000).unwrap();
    scope(|scope| {
        // Another arena, which has no chunk and gets none.
        scope.spawn(|| assert_eq!(pool.buffer(1000).unwrap().capacity(), 1000));
    });
    assert!(parent.refused_any());
    assert!(pool.buffer(1 << 20).is_err() && pool.buffer(200 << 10).is_ok());
    drop(held);
}

#[test]
fn what_is_forgotten_is_reported_with_its_history() {
    for (level, touches) in
        [(LeakLevel::Disabled, 0), (LeakLevel::Simple, 1), (LeakLevel::Advanced, 3), (LeakLevel::Paranoid, 3)]
    {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let parent = Parent::new();
        let sink = reports.clone();
        let pool = BufferPool::new(Config { leaks: level, ..SMALL }, parent.clone())
            .with_leak_sink(move |leak| sink.lock().unwrap().push(leak.clone()));
        for round in 0..129 {
            let buf = pool.buffer(if round == 128 { 1 << 20 } else { 500 }).unwrap();
            buf.touch("decoded");
            // The first and the hundred and twenty-ninth are the ones of a sample; the last is huge.
            if round % 64 == 0 { std::mem::forget(buf.share()) } else { drop(buf) }
        }
        let suspects = pool.suspects(Duration::ZERO).len();
        assert!(pool.suspects(Duration::from_secs(3600)).is_empty());
        drop(pool);
        assert_eq!(parent.live(), (0, 0), "what was leaked goes with the pool");
        let reports = reports.lock().unwrap();
        let expected = match level {
            LeakLevel::Disabled => 0,
            LeakLevel::Simple | LeakLevel::Advanced => 2,
            LeakLevel::Paranoid => 3,
        };
        assert_eq!((reports.len(), suspects), (expected, expected), "{level:?}");
        for leak in reports.iter() {
            assert!(leak.bytes == 512 || leak.bytes == 1 << 20);
            let hints: Vec<_> = leak.touches.iter().map(|touch| touch.hint.as_str()).collect();
            assert_eq!(hints, if touches == 3 { vec!["made", "decoded", "shared"] } else { vec![] });
            assert!(leak.to_string().starts_with("LEAK: a buffer of "));
            assert_eq!(leak.to_string().contains("netty_tests"), touches == 3, "the stack names the place");
        }
    }
}

#[test]
fn misuse_is_named() {
    let pool = pool(UNCACHED);
    let small = Layout::from_size_align(100, 8).unwrap();
    let block = pool.allocate(small).unwrap().cast::<u8>();
    let free = || {
        // SAFETY: none: the second call breaks the rules, and must say so before it does harm.
        #[allow(unsafe_code)]
        unsafe {
            pool.deallocate(block, small);
        }
    };
    free();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(free)).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("is freed and was not taken"));
    std::panic::catch_unwind(|| BufferPool::new(Config { page: 5000, ..SMALL }, Parent::new()))
        .err()
        .unwrap();
}
