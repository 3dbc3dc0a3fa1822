//! A memory that times single calls of another one.
//!
//! # Safety
//!
//! Each call is passed on as it came; the contracts are those of the memory below.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::histogram::{BUCKETS, UNITS_PER_NS, bucket_of};
use crate::{Histogram, Memory};

/// Times one of so many calls of `M`.
#[derive(Clone, Copy, Debug)]
pub struct Timed<M>(PhantomData<M>);

/// Counts of one kind of call. Shared by all threads: an addition behind a call that is over disturbs nothing
/// that is measured, and a thread needs no destructor, for which it would have to allocate.
struct Counts {
    buckets: [AtomicU64; BUCKETS],
    worst: AtomicU64,
}

static COUNTS: [Counts; 3] =
    [const { Counts { buckets: [const { AtomicU64::new(0) }; BUCKETS], worst: AtomicU64::new(0) } }; 3];
const ALLOC: usize = 0;
const FREE: usize = 1;
const REALLOC: usize = 2;

static EVERY: AtomicU32 = AtomicU32::new(1);
/// Units in 2^20 ticks of the clock.
static RATE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Calls of each kind until the next that is timed.
    static WAIT: [Cell<u32>; 3] = const { [const { Cell::new(0) }; 3] };
    /// Random numbers for the distance to the one after it.
    static RANDOM: Cell<u64> = const { Cell::new(1) };
}

/// The clock in ticks: the processor's, ordered after what came before it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 processor has it.
    unsafe { _mm_lfence() };
    // SAFETY: every x86-64 processor has it, and Linux allows it.
    let ticks = unsafe { _rdtsc() };
    // SAFETY: every x86-64 processor has it.
    unsafe { _mm_lfence() };
    ticks
}

/// The clock in ticks of a nanosecond.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ticks() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[inline(always)]
fn timed<R>(kind: usize, call: impl FnOnce() -> R) -> R {
    let wait = WAIT.with(|wait| {
        let left = wait[kind].get();
        wait[kind].set(if left == 0 { distance() } else { left - 1 });
        left
    });
    if wait > 0 {
        return call();
    }
    let start = ticks();
    let result = call();
    count(kind, ticks() - start);
    result
}

/// Calls to leave out: on average as many as said, but never in step with a loop of the workload.
#[inline(never)]
fn distance() -> u32 {
    let random = RANDOM.get().wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
    RANDOM.set(random);
    let choices = 2 * u64::from(EVERY.load(Ordering::Relaxed)) - 1;
    (((random >> 32) * choices) >> 32) as u32
}

#[inline(never)]
fn count(kind: usize, ticks: u64) {
    let units = (ticks * RATE.load(Ordering::Relaxed)) >> 20;
    let counts = &COUNTS[kind];
    counts.buckets[bucket_of(units)].fetch_add(1, Ordering::Relaxed);
    if units > counts.worst.load(Ordering::Relaxed) {
        counts.worst.fetch_max(units, Ordering::Relaxed);
    }
}

/// Prepares to time one of `every` calls; returns what the clock itself costs, in ns.
pub fn start(every: u32) -> f64 {
    let (instant, first) = (Instant::now(), ticks());
    while instant.elapsed() < Duration::from_millis(20) {}
    let (ns, passed) = (instant.elapsed().as_nanos() as f64, ticks() - first);
    let rate = ns * UNITS_PER_NS / passed as f64;
    RATE.store((rate * f64::from(1 << 20)) as u64, Ordering::Relaxed);
    EVERY.store(every.max(1), Ordering::Relaxed);
    for counts in &COUNTS {
        counts.worst.store(0, Ordering::Relaxed);
        counts.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }
    let least = (0..1000)
        .map(|_| {
            let start = ticks();
            ticks() - start
        })
        .min();
    least.unwrap_or(0) as f64 * rate / UNITS_PER_NS
}

/// What was counted since the start: requests, frees, resizes.
pub fn finish() -> [Histogram; 3] {
    COUNTS.each_ref().map(|counts| {
        let buckets = counts.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        Histogram::from_counts(buckets, counts.worst.load(Ordering::Relaxed))
    })
}

impl<M: Memory> Memory for Timed<M> {
    fn name() -> &'static str {
        M::name()
    }

    #[inline(always)]
    unsafe fn alloc(size: usize) -> *mut u8 {
        // SAFETY: passed on.
        timed(ALLOC, || unsafe { M::alloc(size) })
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(size: usize) -> *mut u8 {
        // SAFETY: passed on.
        timed(ALLOC, || unsafe { M::alloc_zeroed(size) })
    }

    #[inline(always)]
    unsafe fn alloc_aligned(align: usize, size: usize) -> *mut u8 {
        // SAFETY: passed on.
        timed(ALLOC, || unsafe { M::alloc_aligned(align, size) })
    }

    #[inline(always)]
    unsafe fn realloc(block: *mut u8, old_size: usize, new_size: usize) -> *mut u8 {
        // SAFETY: passed on.
        timed(REALLOC, || unsafe { M::realloc(block, old_size, new_size) })
    }

    #[inline(always)]
    unsafe fn free(block: *mut u8, size: usize) {
        // SAFETY: passed on.
        timed(FREE, || unsafe { M::free(block, size) });
    }

    #[inline(always)]
    unsafe fn free_aligned(block: *mut u8, align: usize, size: usize) {
        // SAFETY: passed on.
        timed(FREE, || unsafe { M::free_aligned(block, align, size) });
    }
}
