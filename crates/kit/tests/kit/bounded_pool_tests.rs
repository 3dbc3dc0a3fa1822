//! The bounded pool: the bound, the order, time, closing, and a parent without memory.

use crate::conformance::Parent;
use freestone_kit::BoundedPool;
use freestone_kit::bounded_pool::BoundedError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// Waits until so many threads wait for the pool.
fn until_waiting(pool: &BoundedPool<Parent>, threads: usize) {
    while pool.stats().waiting != threads {
        std::thread::yield_now();
    }
}

#[test]
fn blocks_of_one_size_are_kept_and_given_up_for_others() {
    let parent = Parent::new();
    let pool = BoundedPool::new(100, 40, parent.clone());
    let mut first = pool.acquire(40).unwrap();
    assert!(first.iter().all(|&byte| byte == 0), "fresh memory is zero");
    first.fill(7);
    let address = first.as_ptr();
    drop(first);
    assert_eq!((pool.available(), pool.stats().unpooled, parent.live()), (100, 60, (1, 40)));
    let again = pool.acquire(40).unwrap();
    assert_eq!((again.as_ptr(), again[39]), (address, 7), "the same block");
    let other = pool.acquire(40).unwrap();
    drop((again, other));
    assert_eq!((pool.stats().reused, pool.stats().unpooled, parent.live()), (1, 20, (2, 80)));
    // 90 bytes take both blocks apart; memory never exceeds the bound.
    let large = pool.acquire(90).unwrap();
    assert_eq!((pool.available(), parent.live()), (10, (1, 90)));
    assert_eq!(large.len(), 90);
    drop(large);
    assert_eq!((pool.available(), pool.stats().unpooled), (100, 100));
    assert!(pool.acquire(0).unwrap().is_empty());
    drop(pool);
    assert_eq!(parent.live(), (0, 0));
}

#[test]
fn more_than_the_bound_is_refused_at_once() {
    let pool = BoundedPool::new(100, 40, Parent::new());
    assert_eq!(pool.acquire(101).unwrap_err(), BoundedError::TooBig { wanted: 101, total: 100 });
    let huge = BoundedPool::new(usize::MAX, 40, Parent::new());
    assert!(matches!(huge.acquire(usize::MAX).unwrap_err(), BoundedError::TooBig { .. }));
    assert!(pool.acquire(100).is_ok());
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let pool = BoundedPool::new(100, 10, Parent::new());
    let order = Mutex::new(Vec::new());
    let mut held: Vec<_> = (0..10).map(|_| pool.acquire(10).unwrap()).collect();
    scope(|scope| {
        // A big request first, then small ones, which may not overtake it.
        for (place, bytes) in [100, 10, 30, 5, 10].into_iter().enumerate() {
            let (pool, order) = (&pool, &order);
            scope.spawn(move || {
                let buffer = pool.acquire(bytes).unwrap();
                order.lock().unwrap().push(place);
                // The first one wakes the others by its drop.
                drop(buffer);
            });
            until_waiting(pool, place + 1);
        }
        for left in (0..10).rev() {
            assert!(order.lock().unwrap().is_empty());
            assert_eq!(pool.stats().gathered, 100 - 10 * (left + 1));
            assert!(matches!(pool.try_acquire(1), Err(BoundedError::TimedOut { .. })), "nobody overtakes");
            held.pop();
        }
    });
    let order = order.into_inner().unwrap();
    assert_eq!(order[0], 0, "{order:?}");
    assert_eq!(order.len(), 5);
    assert_eq!(pool.available(), 100);
}

#[test]
fn small_waiters_are_served_one_by_one() {
    let pool = BoundedPool::new(20, 20, Parent::new());
    let order = Mutex::new(Vec::new());
    let held = pool.acquire(20).unwrap();
    scope(|scope| {
        for place in 0..6 {
            let (pool, order) = (&pool, &order);
            scope.spawn(move || {
                let buffer = pool.acquire(20).unwrap();
                order.lock().unwrap().push(place);
                drop(buffer);
            });
            until_waiting(pool, place + 1);
        }
        drop(held);
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!((pool.stats().reused, pool.stats().waits), (6, 6));
    assert!(pool.stats().wait_time > Duration::ZERO);
}

#[test]
fn who_is_late_leaves_what_he_had_gathered_to_the_next() {
    let pool = BoundedPool::new(100, 10, Parent::new());
    let held = pool.acquire(60).unwrap();
    scope(|scope| {
        let late = scope.spawn(|| pool.acquire_timeout(80, 300 * MS).unwrap_err());
        until_waiting(&pool, 1);
        assert_eq!(pool.stats().gathered, 40);
        // He waits behind, and is served when the first gives up.
        let start = Instant::now();
        let next = scope.spawn(|| pool.acquire(40).unwrap().len());
        // What is available by the time he is told depends on who of the two is faster.
        assert!(matches!(late.join().unwrap(), BoundedError::TimedOut { wanted: 80, .. }));
        assert_eq!(next.join().unwrap(), 40);
        assert!(start.elapsed() < Duration::from_secs(20));
    });
    assert_eq!((pool.available(), pool.stats().gathered, pool.stats().exhausted), (40, 0, 1));
    drop(held);
    assert_eq!(pool.available(), 100);
}

#[test]
fn closing_wakes_all() {
    let pool = BoundedPool::new(10, 10, Parent::new());
    let held = pool.acquire(10).unwrap();
    scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.acquire(5).map(drop))).collect();
        until_waiting(&pool, 3);
        pool.close();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(BoundedError::Closed));
        }
    });
    assert_eq!(pool.acquire(1).unwrap_err(), BoundedError::Closed);
    assert_eq!(pool.try_acquire(1).unwrap_err(), BoundedError::Closed);
    drop(held);
    assert_eq!((pool.available(), pool.stats().waiting), (10, 0));
}

#[test]
fn a_parent_without_memory_costs_no_bytes() {
    let parent = Parent::granting(1);
    let pool = BoundedPool::new(100, 10, parent.clone());
    let one = pool.acquire(10).unwrap();
    assert_eq!(pool.acquire(90).unwrap_err(), BoundedError::OutOfMemory);
    assert_eq!(pool.available(), 90);
    drop(one);
    assert_eq!(pool.acquire(10).unwrap().len(), 10, "a block for reuse needs no parent");
    assert_eq!(pool.available(), 100);
}

#[test]
fn the_bound_holds_for_memory_among_many_threads() {
    const TOTAL: usize = 1000;
    let parent = Parent::new();
    let pool = BoundedPool::new(TOTAL, 100, parent.clone());
    let (live, barrier) = (AtomicUsize::new(0), Barrier::new(4));
    scope(|scope| {
        for thread in 0..4_usize {
            let (pool, live, barrier) = (&pool, &live, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..300_usize {
                    let bytes = [100, 100, 37, 700, 100, 999][(round * 5 + thread) % 6];
                    let buffer = if round % 11 == 0 {
                        pool.acquire_timeout(bytes, MS / 10)
                    } else {
                        pool.acquire(bytes)
                    };
                    let Ok(mut buffer) = buffer else { continue };
                    assert!(live.fetch_add(bytes, Ordering::SeqCst) + bytes <= TOTAL);
                    buffer.fill(thread as u8);
                    if round % 50 == 0 {
                        sleep(MS / 20);
                    }
                    assert!(buffer.iter().all(|&byte| byte == thread as u8));
                    live.fetch_sub(bytes, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!((pool.available(), pool.stats().gathered), (TOTAL, 0));
    assert!(parent.most_bytes() <= TOTAL, "{} bytes of memory", parent.most_bytes());
}
