//! Per-thread caches: for kernels and C libraries without restartable sequences, valgrind, emulators.
//!
//! A thread gets a region on its first miss and gives it back, emptied, when it ends. Each region starts with a small budget of its own
//! and draws more from a common one, so that many threads share a bounded amount. A thread that rests keeps nothing:
//! others may empty its region. Who may touch it tells its [`Custody`], which also
//! keeps a signal handler out of a half-done operation.
//!
//! # Safety
//!
//! - H1: a region is in exactly one place: one thread's state, or the list of idle regions. The thread that
//!   has it is its owner.
//! - H2: a region is touched by its owner inside the custody, or by whoever closed that and found it deserted (R1 of
//!   `region.rs`).
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::compiler_fence;

use freestone_base::ClassId;
use freestone_sys::System;
use freestone_sys::linux;
use freestone_sys::linux::control::{self, ThreadKey};

use super::Access;
use super::region::{ACTIVE, Header, REGION_SIZE, Region};
use crate::pageheap::Span;
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Guard, Lock};
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
/// Regions of threads that ended; used by [`idle`].
static IDLE: Lock<Idle> = Lock::new(Idle { first: None });
/// All regions ever made, linked through `RegionState::older`.
static NEWEST: AtomicPtr<u8> = AtomicPtr::new(null_mut());

struct Idle {
    first: Option<Region>,
}

impl Idle {
    fn put(&mut self, region: Region) {
        let next = self.first.map_or(null_mut(), Region::base);
        region.state().next.store(next, Ordering::Relaxed);
        self.first = Some(region);
    }
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
    LEVELS.pages.page_map().show_nothing();
    true
}

/// The calling thread's cache, while [`Own`] exists.
#[derive(Clone, Copy)]
pub(crate) struct ThreadAccess {
    region: Region,
}

/// The calling thread is inside its region until this is dropped.
pub(crate) struct Own {
    region: Region,
}

impl Own {
    pub(crate) fn access(&self) -> ThreadAccess {
        ThreadAccess { region: self.region }
    }
}

impl Drop for Own {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.region.state().custody.leave();
    }
}

/// Takes a block of `class` from the thread's cache; 0 where it has none. O(1).
#[inline(always)]
pub(crate) fn take(class: ClassId) -> usize {
    with_own(|region| region.pop(class)).unwrap_or(0)
}

/// Puts a block of `class` into the thread's cache; false where it has no room. O(1).
#[inline(always)]
pub(crate) fn give(class: ClassId, block: usize) -> bool {
    with_own(|region| region.push(class, block)) == Some(true)
}

/// Runs `work` on the thread's region, inside; `None` when it has none, or may not.
#[inline(always)]
fn with_own<R>(work: impl FnOnce(Region) -> R) -> Option<R> {
    let own = enter_if_there(tls::current())?;
    Some(work(own.region))
}

#[inline(always)]
fn enter_if_there(thread: &ThreadState) -> Option<Own> {
    let region = own_region(thread)?;
    // An `Own` made in any case would leave where it never entered.
    region.state().custody.enter(|| compiler_fence(Ordering::SeqCst)).then(|| Own { region })
}

#[inline]
fn own_region(thread: &ThreadState) -> Option<Region> {
    let base = NonNull::new(thread.region.load(Ordering::Relaxed))?;
    // SAFETY: H1; `current` below stored a region.
    Some(unsafe { Region::new(base) })
}

/// Enters the thread's region, made on first use; `None` when the thread has ended its life as a user of
/// caches, memory is refused, the caller is inside already (a signal handler's), or somebody empties the region. The gate has been entered.
pub(crate) fn enter(system: &impl System) -> Option<Own> {
    let thread = tls::current();
    if own_region(thread).is_none() {
        adopt(thread, system)?;
    }
    let own = enter_if_there(thread)?;
    own.region.state().active.store(ACTIVE, Ordering::Relaxed);
    Some(own)
}

/// Gives the thread a region, if it may have one.
#[cold]
#[inline(never)]
fn adopt(thread: &ThreadState, system: &impl System) -> Option<()> {
    let key = KEY.load(Ordering::Relaxed);
    if thread.stage.load(Ordering::Relaxed) == STAGE_ENDED || key == 0 {
        return None;
    }
    let region = take_idle().or_else(|| make(system))?;
    if !ThreadKey::from_number(key - 1).arm() {
        put_idle(region);
        return None;
    }
    thread.region.store(region.base(), Ordering::Relaxed);
    Some(())
}

/// Held while regions are closed, and while an owner leaves for good.
static CLOSING: Lock<()> = Lock::new(());

/// Regions that are closed at a time.
const BATCH: usize = 64;

/// Regions to be closed together.
type Batch = [Option<Region>; BATCH];

/// Calls `each` with the regions in use that `wanted` picks, [`BATCH`] at a time, until it says no.
pub(crate) fn in_batches(wanted: impl Fn(Region) -> bool, mut each: impl FnMut(&Batch) -> bool) {
    let mut picked = active_regions().filter(|&region| wanted(region));
    loop {
        let mut batch = [None; BATCH];
        batch.iter_mut().zip(&mut picked).for_each(|(place, region)| *place = Some(region));
        if batch[0].is_none() || !each(&batch) {
            return;
        }
    }
}

/// Whether regions can be closed: not where the kernel has no barrier, or should not be asked for one, since a filter may kill for it. The first time in
/// a process, which may be a child of fork, the kernel waits for all CPUs.
pub(crate) fn may_close() -> bool {
    !control::is_newly_filtered() && linux::membarrier_register_private()
}

/// Runs `work` on each of these regions whose owner is not inside, which is kept out. False where no barrier came.
/// The gate has been entered, after [`may_close`] said yes.
pub(crate) fn with_closed(batch: &Batch, mut work: impl FnMut(Region)) -> bool {
    let _one_at_a_time = CLOSING.lock();
    batch.iter().flatten().for_each(|region| region.state().custody.close());
    let came = linux::membarrier_private();
    for region in batch.iter().flatten() {
        if came && region.state().custody.is_deserted() {
            work(*region);
        }
        region.state().custody.open();
    }
    came
}

/// Takes the bytes that a region drew, which is empty, back for others, and lets its slots go; its owner's next miss fills it anew. Only inside
/// [`with_closed`].
pub(crate) fn retire(region: Region, system: &impl System) {
    return_share(region);
    region.retire(system);
}

/// Returns what a region could hold, which is empty, to the common budget, but for its own share.
fn return_share(region: Region) {
    region.forget_capacities();
    let drawn = region.state().spare.swap(OWN_BYTES, Ordering::Relaxed) - OWN_BYTES;
    COMMON.fetch_add(drawn.max(0), Ordering::Relaxed);
}

/// Who has a region is gone, but for the one whose base this is, plus one: in a child of fork. Zero: not so.
static ORPHANED: AtomicUsize = AtomicUsize::new(0);

/// In a fork's child. The regions are not touched before one is wanted: each would cost a copy of its pages.
pub(crate) fn forked_child() {
    let thread = tls::current();
    // Who forked in a signal handler that interrupted it inside may hold a region that it has not noted yet.
    if thread.busy.load(Ordering::Relaxed) == 0 {
        let own = own_region(thread).map_or(0, |region| region.base().addr());
        ORPHANED.store(own + 1, Ordering::Relaxed);
    }
}

/// The idle regions, with those of threads that are gone. These hold blocks, for whoever has the region next: outside the gate, every
/// operation is done with one store. The gate has been entered.
fn idle() -> Guard<'static, Idle> {
    let mut idle = IDLE.lock();
    let orphaned = ORPHANED.load(Ordering::Relaxed);
    if orphaned != 0 {
        idle.first = None;
        for region in regions().filter(|region| region.base().addr() + 1 != orphaned) {
            // Its owner may have been inside.
            region.state().custody.leave();
            idle.put(region);
        }
        ORPHANED.store(0, Ordering::Relaxed);
    }
    idle
}

/// Has regions of threads that are gone looked after as those of threads that rest. The gate has been entered.
pub(crate) fn find_orphans() {
    if ORPHANED.load(Ordering::Relaxed) != 0 {
        drop(idle());
    }
}

fn take_idle() -> Option<Region> {
    let mut idle = idle();
    let region = idle.first?;
    let next = region.state().next.load(Ordering::Relaxed);
    // SAFETY: the list links regions (H1).
    idle.first = NonNull::new(next).map(|base| unsafe { Region::new(base) });
    Some(region)
}

fn put_idle(region: Region) {
    idle().put(region);
}

fn make(system: &impl System) -> Option<Region> {
    let base = NonNull::new(core::ptr::with_exposed_provenance_mut(system.map(REGION_SIZE).ok()?))?;
    // SAFETY: freshly mapped, zeroed, never unmapped.
    let region = unsafe { Region::new(base) };
    region.state().spare.store(OWN_BYTES, Ordering::Relaxed);
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

/// Those that hold blocks, or did, since they were retired last.
pub(crate) fn active_regions() -> impl Iterator<Item = Region> {
    regions().filter(|region| region.state().active.load(Ordering::Relaxed) == ACTIVE)
}

/// libc calls this when a thread with a region ends.
unsafe extern "C" fn thread_ends(_: *mut c_void) {
    let thread = tls::current();
    let Some(region) = own_region(thread) else { return };
    let inside = crate::slow::enter_at_last();
    let closing = CLOSING.lock();
    region.state().custody.enter_at_last();
    drop(closing);
    thread.region.store(null_mut(), Ordering::Relaxed);
    thread.stage.store(STAGE_ENDED, Ordering::Relaxed);
    crate::slow::empty_region(region);
    return_share(region);
    region.state().custody.leave();
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
