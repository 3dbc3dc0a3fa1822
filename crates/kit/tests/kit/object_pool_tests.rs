//! Object pools: who gets what, ages, resets, limits, exile, and many threads.

use freestone_kit::ObjectPool;
use freestone_kit::object_pool::{Options, Pooled, Recycle};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Knows whether it is in use, how many there are, and how often it was reset.
struct Context {
    alive: Arc<AtomicUsize>,
    used: bool,
    resets: usize,
    body: Vec<u8>,
}

impl Recycle for Context {
    fn reset(&mut self) {
        self.resets += 1;
        self.used = false;
        self.body.clear();
    }

    fn retained(&self) -> usize {
        self.body.capacity()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

fn maker(alive: &Arc<AtomicUsize>) -> impl Fn() -> Context + use<> {
    let alive = alive.clone();
    move || {
        alive.fetch_add(1, Ordering::Relaxed);
        Context { alive: alive.clone(), used: false, resets: 0, body: Vec::new() }
    }
}

const ONE_SHARD: Options = Options { shards: 1, ..Options::DEFAULT };

#[test]
fn what_came_back_last_is_got_first() {
    let pool = ObjectPool::with_options(|| 0_u32.to_string(), ONE_SHARD);
    let mut all: Vec<_> = (0..20).map(|_| pool.get()).collect();
    let addresses: Vec<_> = all.iter().map(|object| &raw const **object).collect();
    while !all.is_empty() {
        drop(all.remove(0));
    }
    // The first put is the private one; then the queue, the newest first.
    let expected: Vec<_> =
        std::iter::once(addresses[0]).chain(addresses[1..].iter().rev().copied()).collect();
    let got: Vec<_> = (0..20).map(|_| pool.take()).collect();
    assert_eq!(got.iter().map(|object| &raw const **object).collect::<Vec<_>>(), expected);
    let stats = pool.stats();
    assert_eq!((stats.made, stats.private, stats.shared, stats.kept), (20, 1, 19, 20));
}

#[test]
fn two_ages_without_use_are_the_end() {
    let alive = Arc::default();
    let pool = ObjectPool::with_options(maker(&alive), ONE_SHARD);
    let all: Vec<_> = (0..10).map(|_| pool.get()).collect();
    drop(all);
    pool.age();
    assert_eq!(alive.load(Ordering::Relaxed), 10, "victims still live");
    // Used again, three of them begin a new life.
    let saved: Vec<_> = (0..3).map(|_| pool.get()).collect();
    assert!(saved.iter().all(|object| object.resets == 1), "a victim is as good as any");
    drop(saved);
    pool.age();
    assert_eq!(alive.load(Ordering::Relaxed), 3);
    assert_eq!((pool.stats().victims, pool.stats().aged), (3, 7));
    pool.age();
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    drop(pool.get());
    drop(pool);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "a pool takes its objects with it");
}

#[test]
fn objects_come_back_reset_small_and_not_at_all_in_exile() {
    let alive = Arc::default();
    let options = Options { most_retained: 1000, ..ONE_SHARD };
    let pool = ObjectPool::with_options(maker(&alive), options);
    let mut object = pool.get();
    object.used = true;
    object.body.extend([1; 500]);
    drop(object);
    let mut object = pool.get();
    assert!(!object.used && object.body.is_empty() && object.body.capacity() >= 500 && object.resets == 1);
    object.body.reserve(1001);
    drop(object);
    assert_eq!((pool.stats().oversize, alive.load(Ordering::Relaxed)), (1, 0), "oversize: dropped");
    let mut object = pool.get();
    Pooled::exile(&mut object);
    assert!(Pooled::is_exiled(&object));
    drop(object);
    assert_eq!((pool.stats().exiled, alive.load(Ordering::Relaxed)), (1, 0), "exiled: dropped");
    let mine = Pooled::into_inner(pool.get());
    assert_eq!(mine.resets, 0);
    assert_eq!((pool.stats().exiled, alive.load(Ordering::Relaxed)), (2, 1));
    let lent = Pooled::detach(pool.get());
    pool.put(lent);
    assert_eq!(pool.get().resets, 1);
}

#[test]
fn a_reset_that_panics_loses_the_object_alone() {
    struct Fragile(bool);
    impl Recycle for Fragile {
        fn reset(&mut self) {
            assert!(!self.0, "broken");
        }
    }
    let pool = ObjectPool::with_options(|| Fragile(false), ONE_SHARD);
    let mut object = pool.get();
    object.0 = true;
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || drop(object))).unwrap_err();
    drop(pool.get());
    let stats = pool.stats();
    assert_eq!((stats.made, stats.kept), (2, 1));
}

#[test]
fn an_object_may_use_its_pool_when_it_goes() {
    static POOL: ObjectPool<Nested> = ObjectPool::with_options(|| Nested(None), ONE_SHARD);
    struct Nested(Option<Box<u32>>);
    impl Recycle for Nested {
        fn reset(&mut self) {
            if self.0.take().is_some() {
                drop(POOL.get());
            }
        }
    }
    impl Drop for Nested {
        fn drop(&mut self) {
            drop(POOL.get());
        }
    }
    for round in 0..10 {
        let mut object = POOL.get();
        object.0 = Some(Box::new(round));
    }
    POOL.age();
    POOL.age();
}

#[test]
fn the_clock_ages_too() {
    let alive = Arc::default();
    let options = Options { age_every: Some(Duration::from_millis(2)), ..ONE_SHARD };
    let pool = ObjectPool::with_options(maker(&alive), options);
    drop([(); 50].map(|()| pool.get()));
    assert_eq!(alive.load(Ordering::Relaxed), 50);
    for _ in 0..2000 {
        std::thread::sleep(Duration::from_micros(500));
        // Two at once, so that the queue is used; whoever comes by looks at the clock now and then.
        drop([pool.get(), pool.get()]);
        if alive.load(Ordering::Relaxed) <= 2 {
            return;
        }
    }
    panic!("{} objects of 50 are still alive: {:?}", alive.load(Ordering::Relaxed), pool.stats());
}

#[test]
fn other_shards_are_stolen_from() {
    // As many shards as there may be CPUs: an object put by a thread here is found by one there.
    let pool = ObjectPool::with_options(Vec::<u64>::new, Options { shards: 8, ..Options::DEFAULT });
    for round in 0..100 {
        drop([(); 10].map(|()| pool.get()));
        std::thread::scope(|scope| {
            scope.spawn(|| drop([(); 10].map(|()| pool.get())));
        });
        assert_eq!(pool.stats().made, 10, "in round {round}");
    }
}

#[test]
fn many_threads_never_share_an_object() {
    let alive = Arc::default();
    let pool = ObjectPool::new(maker(&alive));
    let handed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pool, handed) = (&pool, &handed);
            scope.spawn(move || {
                for round in 0..4000 {
                    let mut some: Vec<_> = (0..round % 7 + 1).map(|_| pool.get()).collect();
                    for object in &mut some {
                        assert!(!object.used, "in use by two");
                        object.used = true;
                        object.body.push(thread);
                    }
                    assert!(some.iter().all(|object| object.body == [thread]));
                    if round % 3 == 0 {
                        handed.lock().unwrap().extend(some.pop());
                    }
                    if round % 50 == 0 {
                        handed.lock().unwrap().clear();
                    }
                    if round % 500 == 0 {
                        pool.age();
                    }
                }
            });
        }
    });
    handed.lock().unwrap().clear();
    let stats = pool.stats();
    let gets = stats.private + stats.shared + stats.stolen + stats.victims + stats.made;
    let puts = stats.kept + stats.oversize + stats.exiled + stats.refused;
    assert_eq!(gets, puts, "{stats:?}");
    let kept = stats.made - stats.aged - stats.refused;
    assert_eq!(alive.load(Ordering::Relaxed), kept as usize, "{stats:?}");
    let different: HashSet<_> = (0..kept).map(|_| Box::into_raw(pool.take())).collect();
    assert_eq!(different.len(), kept as usize);
    assert_eq!(alive.load(Ordering::Relaxed), kept as usize);
}
