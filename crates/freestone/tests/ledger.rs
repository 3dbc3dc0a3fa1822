//! The ledger in a process whose allocator is Freestone: each use of memory shows in its own line, and nowhere else.
//!
//! # Safety
//!
//! The symbol `freestone_conf` is an `Options`. Mappings are made, touched and unmapped within one function; nobody else has them.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use freestone::ledger::{self, Ledger, Line, Share};
use freestone::{Freestone, Options};

#[global_allocator]
static ALLOCATOR: Freestone = Freestone;

/// Hardened mode drops the contents of large blocks when they are freed: there would be no dirty pages to show.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"harden:0");

const MIB: usize = 1 << 20;

/// A ledger that adds up within a hundredth.
fn taken() -> Ledger {
    let ledger = freestone::ledger().expect("a ledger");
    let off = ledger.unexplained().unsigned_abs();
    assert!(off <= ledger.resident / 100, "{off} of {} unexplained: {ledger:?}", ledger.resident);
    assert_eq!(ledger.total(), Line::ALL.iter().map(|&line| ledger.line(line)).sum());
    ledger
}

/// What `work` holds must be found in `line`: about `bytes` more than before, and no other line of its kind much larger.
fn shows<T>(line: Line, bytes: usize, work: impl FnOnce() -> T) -> T {
    let before = taken();
    let held = work();
    let after = taken();
    let grown = after.line(line) as isize - before.line(line) as isize;
    let slack = (bytes / 16).max(MIB) as isize;
    assert!((grown - bytes as isize).abs() <= slack, "{}: {grown} for {bytes}", line.name());
    for other in Line::ALL.into_iter().filter(|&other| other != line) {
        let grown = after.line(other) as isize - before.line(other) as isize;
        assert!(grown <= slack, "{} grew by {grown}, not only {}", other.name(), line.name());
    }
    held
}

fn mapped(flags: i32, len: usize) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags | libc::MAP_ANONYMOUS, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: just mapped, that long.
    unsafe { at.cast::<u8>().write_bytes(1, len) };
    at.cast()
}

fn unmapped(at: *mut u8, len: usize) {
    // SAFETY: mapped above, not used again.
    unsafe { libc::munmap(at.cast(), len) };
}

fn blocks_in_their_lines() {
    let large = shows(Line::Live, 64 * MIB, || vec![1u8; 64 * MIB]);
    drop(shows(Line::Live, 0, || Vec::<u8>::with_capacity(64 * MIB)));
    shows(Line::FreeDirty, 64 * MIB, || drop(large));
    freestone::raw::trim();
    assert!(taken().line(Line::FreeDirty) <= MIB);

    let small: Vec<Box<[u8; 1024]>> = shows(Line::Live, 32 * MIB, || {
        (0..32 * 1024).map(|n| black_box(Box::new([n as u8; 1024]))).collect()
    });
    // Every second block goes: the others keep their slabs.
    let left: Vec<_> = shows(Line::FreeInSlabs, 16 * MIB, || {
        let left: Vec<_> = small.into_iter().enumerate().filter(|(n, _)| n % 2 == 0).collect();
        freestone::raw::trim();
        left
    });
    drop(left);
    freestone::raw::trim();
}

fn rounding_is_estimated() {
    // 520 bytes are rounded to the next class, which is at most an eighth larger.
    let before = taken();
    let blocks: Vec<Box<[u8; 520]>> = (0..20_000).map(|n| black_box(Box::new([n as u8; 520]))).collect();
    let after = taken();
    let size = freestone::raw::good_size(520, 8);
    let expected = blocks.len() * (size - 520);
    let rounding = after.line(Line::Rounding) - before.line(Line::Rounding);
    assert!(
        rounding.abs_diff(expected) <= expected / 10 + 100_000,
        "{rounding}, expected {expected} ({size})"
    );
}

fn others_in_theirs() {
    let own = shows(Line::OtherAnonymous, 16 * MIB, || mapped(libc::MAP_PRIVATE, 16 * MIB));
    unmapped(own, 16 * MIB);
    let shared = shows(Line::Shared, 16 * MIB, || mapped(libc::MAP_SHARED, 16 * MIB));
    unmapped(shared, 16 * MIB);
}

/// Uses a MiB of stack below `top`.
#[inline(never)]
fn deep(top: usize) -> usize {
    let room = black_box([1u8; 2000]);
    if top - room.as_ptr().addr() >= MIB { room[0] as usize } else { deep(top) + room[1] as usize }
}

fn stacks_of_threads() {
    const THREADS: usize = 16;
    static STAY: AtomicBool = AtomicBool::new(true);
    let threads: Vec<_> = shows(Line::Stacks, THREADS * MIB, || {
        let (ready, wait) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let ready = ready.clone();
                thread::spawn(move || {
                    let here = black_box(0u8);
                    black_box(deep(std::ptr::from_ref(&here).addr()));
                    ready.send(()).unwrap();
                    while STAY.load(Ordering::Relaxed) {
                        thread::park_timeout(std::time::Duration::from_millis(10));
                    }
                })
            })
            .collect();
        (0..THREADS).for_each(|_| wait.recv().unwrap());
        threads
    });
    assert!(taken().threads > THREADS);
    STAY.store(false, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Nobody is stopped, so lines are a little off while others allocate; but nothing breaks.
fn while_others_allocate() {
    static STAY: AtomicBool = AtomicBool::new(true);
    thread::scope(|scope| {
        for seed in 0..3usize {
            scope.spawn(move || {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                for n in 0.. {
                    if !STAY.load(Ordering::Relaxed) {
                        break;
                    }
                    let size = (n * 7919 + seed * 31) % 20_000 + if n % 500 == 0 { MIB } else { 1 };
                    kept.push(vec![n as u8; size]);
                    if kept.len() > 300 {
                        kept.swap_remove(n % 300);
                    }
                }
            });
        }
        for _ in 0..200 {
            let ledger = freestone::ledger().expect("a ledger");
            let off = ledger.unexplained().unsigned_abs();
            assert!(off <= ledger.resident / 5, "{off} of {}", ledger.resident);
        }
        STAY.store(false, Ordering::Relaxed);
    });
    freestone::verify().unwrap();
}

fn texts() {
    ledger::history::tick(5);
    let mut json = String::new();
    ledger::write_json(&mut json).unwrap();
    assert_eq!(json.matches('{').count(), json.matches('}').count());
    assert!(json.contains("\"ledger\":{\"resident\":") && json.contains("\"history\":[["), "{json}");
    assert!(Line::ALL.iter().all(|line| json.contains(&format!("\"{}\":", line.name()))));

    let mut text = String::new();
    freestone::prometheus(&mut text).unwrap();
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().unwrap());
        } else if !line.starts_with('#') {
            // Samples stand behind their family's head, and each has a number.
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(Some(&name), families.last(), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<u64>().is_ok(), "{line}");
        }
    }
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "a family twice");
    assert!(all > 15);

    let mut xml = String::new();
    ledger::write_xml(&mut xml).unwrap();
    assert!(xml.contains("<line name=\"free_dirty\" share=\"free\" bytes=\""), "{xml}");
}

/// One test, since each looks at the whole process.
#[test]
fn every_use_of_memory_has_its_line() {
    let ledger = taken();
    assert!(ledger.line(Line::Code) > 0 && ledger.line(Line::Stacks) > 0 && ledger.line(Line::Files) > 0);
    assert!(ledger.share(Share::Metadata) < 2 * MIB, "{ledger:?}");
    blocks_in_their_lines();
    rounding_is_estimated();
    others_in_theirs();
    stacks_of_threads();
    texts();
    while_others_allocate();
}
