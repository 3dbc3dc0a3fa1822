//! Per-thread caches: for kernels and C libraries without restartable sequences, valgrind, emulators.
//!
//! A thread gets a region on its first miss and gives it back, emptied, when it ends. The thread's `busy` mark
//! keeps a signal handler out of a half-done operation. Each region starts with a small budget of its own
//! and draws more from a common one, so that many threads share a bounded amount.
//!
//! # Safety
//!
//! H1: a region is in exactly one place: one thread's state, or the list of idle regions. The thread that
//! has it is its owner (R1 of `region.rs`).
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

use freestone_base::ClassId;
use freestone_sys::System;
use freestone_sys::linux::control::ThreadKey;

use super::Access;
use super::region::{Header, REGION_SIZE, Region};
use crate::pageheap::Span;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU32, Ordering};
use crate::tls::{self, ThreadState};

/// Bytes that every thread may cache, before it draws on the common budget.
const OWN_BYTES: isize = 8 << 10;
/// What all threads may draw together unless told otherwise.
const DEFAULT_BUDGET: usize = 4 << 20;
/// Bytes drawn from the common budget at a time.
const STEP: isize = 64 << 10;

/// Bytes that threads may still draw, all together.
static COMMON: AtomicIsize = AtomicIsize::new(0);
/// The key whose destructor empties a thread's cache, plus one; 0 before `start`.
static KEY: AtomicU32 = AtomicU32::new(0);
/// Regions of threads that ended.
static IDLE: Lock<Idle> = Lock::new(Idle { first: None });
/// All regions ever made, linked through `RegionState::older`.
static NEWEST: AtomicPtr<u8> = AtomicPtr::new(null_mut());

struct Idle {
    first: Option<Region>,
}

const STAGE_ENDED: u8 = 2;

/// Prepares per-thread mode. May allocate. False when libc has no key left, without which a thread's cache could
/// not be emptied when it ends: then nothing is cached.
#[cold]
#[inline(never)]
pub(crate) fn start(budget: Option<usize>) -> bool {
    COMMON.store(budget.unwrap_or(DEFAULT_BUDGET) as isize, Ordering::Relaxed);
    let Some(key) = ThreadKey::new(thread_ends) else { return false };
    KEY.store(key.number() + 1, Ordering::Relaxed);
    true
}

/// The calling thread's cache. While it exists the thread is marked busy.
#[derive(Clone, Copy)]
pub(crate) struct ThreadAccess {
    region: Region,
}

/// Runs `work` on the thread's region with the thread marked busy; `None` when it has none or is busy.
#[inline]
pub(crate) fn with_own<R>(work: impl FnOnce(Region) -> R) -> Option<R> {
    let thread = tls::current();
    let region = own_region(thread)?;
    if thread.busy.load(Ordering::Relaxed) != 0 {
        return None;
    }
    thread.busy.store(1, Ordering::Relaxed);
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    let result = work(region);
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    thread.busy.store(0, Ordering::Relaxed);
    Some(result)
}

#[inline]
fn own_region(thread: &ThreadState) -> Option<Region> {
    let base = NonNull::new(thread.region.load(Ordering::Relaxed))?;
    // SAFETY: H1; `current` below stored a region.
    Some(unsafe { Region::new(base) })
}

impl ThreadAccess {
    /// The thread's region, made on first use; `None` when the thread has ended its life as a user of
    /// caches, or memory is refused. The gate has been entered.
    pub(crate) fn current(system: &impl System) -> Option<ThreadAccess> {
        let thread = tls::current();
        if let Some(region) = own_region(thread) {
            return Some(ThreadAccess { region });
        }
        let key = KEY.load(Ordering::Relaxed);
        if thread.stage.load(Ordering::Relaxed) == STAGE_ENDED || key == 0 {
            return None;
        }
        let region = take_idle().or_else(|| make(system))?;
        if !ThreadKey::from_number(key - 1).arm() {
            put_idle(region);
            return None;
        }
        region.state().spare.store(OWN_BYTES, Ordering::Relaxed);
        thread.region.store(region.base(), Ordering::Relaxed);
        Some(ThreadAccess { region })
    }
}

fn take_idle() -> Option<Region> {
    let mut idle = IDLE.lock();
    let region = idle.first?;
    let next = region.state().next.load(Ordering::Relaxed);
    // SAFETY: the list links regions (H1).
    idle.first = NonNull::new(next).map(|base| unsafe { Region::new(base) });
    Some(region)
}

fn put_idle(region: Region) {
    let mut idle = IDLE.lock();
    let next = idle.first.map_or(null_mut(), Region::base);
    region.state().next.store(next, Ordering::Relaxed);
    idle.first = Some(region);
}

fn make(system: &impl System) -> Option<Region> {
    let base = NonNull::new(core::ptr::with_exposed_provenance_mut(system.map(REGION_SIZE).ok()?))?;
    // SAFETY: freshly mapped, zeroed, never unmapped.
    let region = unsafe { Region::new(base) };
    let mut newest = NEWEST.load(Ordering::Relaxed);
    loop {
        region.state().older.store(newest, Ordering::Relaxed);
        // Release: whoever finds the region finds its link (Acquire in `regions`).
        match NEWEST.compare_exchange(newest, region.base(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return Some(region),
            Err(now) => newest = now,
        }
    }
}

/// All regions, to be read for counts only.
pub(crate) fn regions() -> impl Iterator<Item = Region> {
    let mut next = NEWEST.load(Ordering::Acquire);
    core::iter::from_fn(move || {
        // SAFETY: the list links regions, which are never unmapped.
        let region = unsafe { Region::new(NonNull::new(next)?) };
        next = region.state().older.load(Ordering::Relaxed);
        Some(region)
    })
}

/// libc calls this when a thread with a region ends.
unsafe extern "C" fn thread_ends(_: *mut c_void) {
    let thread = tls::current();
    let Some(region) = own_region(thread) else { return };
    let inside = crate::slow::enter_at_last();
    thread.region.store(null_mut(), Ordering::Relaxed);
    thread.stage.store(STAGE_ENDED, Ordering::Relaxed);
    crate::slow::empty_region(region);
    // What the region held or could hold returns to the common budget, but for its own share.
    let held: isize = ClassId::all()
        .map(|class| {
            let header = region.header(class);
            let bytes = header.capacity(class) * freestone_base::class_info(class).size as usize;
            region.set_header(class, header.with_capacity(class, 0));
            bytes as isize
        })
        .sum();
    let drawn = held + region.state().spare.swap(0, Ordering::Relaxed) - OWN_BYTES;
    COMMON.fetch_add(drawn.max(0), Ordering::Relaxed);
    put_idle(region);
    drop(inside);
}

impl Access for ThreadAccess {
    fn region(self) -> Region {
        self.region
    }

    fn pop_batch(self, class: ClassId, out: &mut [usize]) -> usize {
        self.region.pop_batch(class, out)
    }

    fn push_batch(self, class: ClassId, blocks: &[usize]) -> usize {
        self.region.push_batch(class, blocks)
    }

    fn replace_header(self, class: ClassId, _old: Header, new: Header) -> bool {
        self.region.set_header(class, new);
        true
    }

    /// Threads share the slab of a class whose blocks share no cache line: one each would cost memory by the thread.
    fn filling(self, class: ClassId) -> &'static AtomicPtr<Span> {
        const LINE: u32 = 64;
        if freestone_base::class_info(class).size.is_multiple_of(LINE) {
            crate::slow::shared_filling(class)
        } else {
            &self.region.state().filling[class.index()]
        }
    }

    fn more_bytes(self) -> isize {
        let mut left = COMMON.load(Ordering::Relaxed);
        loop {
            let take = STEP.min(left);
            if take <= 0 {
                return 0;
            }
            match COMMON.compare_exchange_weak(left, left - take, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return take,
                Err(now) => left = now,
            }
        }
    }
}
