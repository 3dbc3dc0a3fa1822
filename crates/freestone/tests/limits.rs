//! A Rust program at its limits: errors that it can answer, nothing lost, and all as before when something was dropped.
//! Each in a process of its own with one thread: the limits are the process's, and a test harness that prints at a limit dies.
//!
//! # Safety
//!
//! The only symbol of a fixed name is the one that [`Options`] is meant for.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use freestone::limit::{self, Amount};
use freestone::{Freestone, Options};
use freestone_testkit::soon;

#[global_allocator]
static GLOBAL: Freestone = Freestone;

/// So much that no test meets it, but one that was set from the start all the same.
const FROM_THE_START: usize = 1 << 40;

// Hardened mode keeps addresses to their class, which these limits count as in use.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"limit_hard:1024G,limit_soft:512G,harden:0");

const MIB: usize = 1 << 20;

/// Runs `test` alone in a process of its own, which is this program with only the test `name`.
fn alone(name: &str, test: fn()) {
    const INNER: &str = "FREESTONE_LIMITS_INNER";
    if std::env::var_os(INNER).is_some() {
        assert_eq!((limit::hard(), limit::soft()), (Some(FROM_THE_START), Some(FROM_THE_START / 2)));
        return test();
    }
    let program = std::env::current_exe().expect("this program");
    let arguments = ["--exact", name, "--nocapture", "--test-threads=1"];
    // At the limit a backtrace would ask for memory that there is not.
    let output = Command::new(program)
        .args(arguments)
        .env(INNER, "1")
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Room for so many bytes more than there are in use.
fn set_room(bytes: usize) -> usize {
    let most = limit::footprint() + bytes;
    limit::set_hard(Some(Amount::Bytes(most)));
    most
}

/// Vectors of `size` bytes, each filled with its number, until there is no memory for another.
fn exhaust(size: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if all.try_reserve_exact(4096).is_err() {
        return all;
    }
    while all.len() < all.capacity() {
        let mut one = Vec::new();
        if one.try_reserve_exact(size).is_err() {
            break;
        }
        one.resize(size, all.len() as u8);
        all.push(one);
    }
    all
}

fn check(all: &[Vec<u8>], size: usize) {
    for (number, one) in all.iter().enumerate() {
        assert!(one.len() == size && one.iter().step_by(61).all(|&byte| byte == number as u8), "{number}");
    }
}

#[test]
fn a_constant_sets_limits_and_calls_change_them() {
    alone("a_constant_sets_limits_and_calls_change_them", || {
        limit::set_hard(Some(Amount::Percent(50)));
        let half = limit::hard().expect("set");
        limit::set_hard(Some(Amount::Percent(100)));
        let all = limit::hard().expect("set");
        assert!(all > half && all.abs_diff(2 * half) < MIB, "{all}, {half}");
        limit::set_hard(None);
        assert_eq!(limit::hard(), None);
    });
}

#[test]
fn at_the_hard_limit_try_reserve_fails_and_nothing_is_lost() {
    alone("at_the_hard_limit_try_reserve_fails_and_nothing_is_lost", || {
        for size in [5_000, 100_000, MIB, 3 * MIB] {
            let most = set_room(32 * MIB);
            let all = exhaust(size);
            assert!(all.len() * size > 16 * MIB, "{} of {size}", all.len());
            assert!(limit::footprint() <= most);
            check(&all, size);
            // A vector that cannot grow stays as it is.
            let mut grown = all;
            if let Some(last) = grown.last_mut() {
                last.try_reserve_exact(64 * MIB).expect_err("beyond the limit");
            }
            check(&grown, size);
            grown.truncate(grown.len() / 2);
            let again = exhaust(size);
            assert!(!again.is_empty());
            check(&grown, size);
            check(&again, size);
        }
    });
}

#[test]
fn a_map_at_the_limit_says_so_and_goes_on() {
    alone("a_map_at_the_limit_says_so_and_goes_on", || {
        set_room(16 * MIB);
        let mut map = HashMap::new();
        let mut entered = 0u64;
        while map.try_reserve(1).is_ok() {
            map.insert(entered, entered * 7);
            entered += 1;
        }
        assert!(entered > 100_000, "{entered}");
        assert!((0..entered).all(|key| map.get(&key) == Some(&(key * 7))));
        limit::set_hard(None);
        (entered..2 * entered).for_each(|key| assert!(map.insert(key, key).is_none()));
        assert!((0..entered).all(|key| map[&key] == key * 7));
    });
}

#[test]
fn a_heap_of_ones_own_is_limited_too() {
    alone("a_heap_of_ones_own_is_limited_too", || {
        let heap = freestone::Heap::new().expect("memory");
        set_room(16 * MIB);
        let layout = Layout::new::<[u8; 10_000]>();
        let blocks = std::iter::from_fn(|| heap.allocate(layout)).count();
        assert!((1200..1800).contains(&blocks), "{blocks}");
        drop(heap);
        assert!(exhaust(10_000).len() >= blocks);
    });
}

#[test]
fn threads_at_once_do_not_cross_the_hard_limit() {
    alone("threads_at_once_do_not_cross_the_hard_limit", || {
        let stop = AtomicBool::new(false);
        let (started, limited) = (Barrier::new(5), Barrier::new(5));
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (stop, started, limited) = (&stop, &started, &limited);
                scope.spawn(move || {
                    started.wait();
                    limited.wait();
                    let sizes = [300, 20_000, 200_000, MIB, 3 * MIB];
                    for size in sizes.into_iter().cycle().skip(number) {
                        check(&exhaust(size), size);
                        if stop.load(SeqCst) {
                            break;
                        }
                    }
                });
            }
            started.wait();
            let most = set_room(24 * MIB);
            limited.wait();
            let until = Instant::now() + Duration::from_secs(2);
            while Instant::now() < until {
                let footprint = limit::footprint();
                assert!(footprint <= most, "{footprint} of {most}");
            }
            stop.store(true, SeqCst);
        });
        freestone::verify().expect("sound");
        assert!(exhaust(100_000).len() > 150);
    });
}

static TOLD: AtomicUsize = AtomicUsize::new(0);
static SHED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Frees what the program keeps for better times.
extern "C" fn shed_load(footprint: usize, limit: usize) {
    assert!(footprint > limit);
    TOLD.fetch_add(1, SeqCst);
    let kept = std::mem::take(&mut *SHED.lock().unwrap_or_else(PoisonError::into_inner));
    drop(kept);
}

#[test]
fn the_soft_limit_is_told_once_a_crossing_and_a_callback_may_free() {
    alone("the_soft_limit_is_told_once_a_crossing_and_a_callback_may_free", || {
        limit::on_soft(Some(shed_load));
        for round in 1..=3 {
            let below = limit::footprint();
            SHED.lock().unwrap().extend((0..200).map(|_| vec![1; 100_000]));
            limit::set_soft(Some(Amount::Bytes(limit::footprint() + 8 * MIB)));
            let blocks: Vec<_> = (0..150).map(|_| vec![2u8; 100_000]).collect();
            assert_eq!(TOLD.load(SeqCst), round);
            assert!(SHED.lock().unwrap().is_empty());
            drop(blocks);
            assert!(soon(|| limit::footprint() < below + 4 * MIB), "{}", limit::footprint());
        }
    });
}
