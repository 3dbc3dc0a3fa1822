//! Per-CPU caches: one region a concurrency id (`mm_cid`) where the kernel has it, else one a CPU.
//!
//! Needs restartable sequences. glibc from 2.35 on registers an area for every thread; where it did not, each
//! thread registers its own on its first miss, and is numbered by CPU. Until then, and after its
//! destructors ran, such a thread's number is -1, which leads to a region of zeros: every operation misses.
//!
//! # Stopping all caches
//!
//! To look into other CPUs' regions, [`with_stopped`] swaps `HOT.regions` for zeros of the same extent and
//! has the kernel restart every sequence under way (`membarrier`). A sequence reads the base after its start,
//! so afterwards every running or future sequence works on zeros, and the real regions belong to the
//! stopper alone (R1 of `region.rs`). Swapping back needs no barrier: a sequence sees the zeros or the real.
//! Who stops them in the midst of the program's work only copies addresses out meanwhile, and not for long ([`may_stop`]).
//!
//! # Safety
//!
//! - C1: `regions` are `1 + count` real regions, the first of them zeros for ever (number -1), followed by
//!   `1 + count` regions of zeros; mapped once, never unmapped. All are zeros to be read only; a real one becomes writable when it is
//!   [`ACTIVE`] for the first time, before anything is written to it.
//! - C2: an [`CpuAccess`] holds a real region. Nothing writes to the zeros: pushes find them full, and
//!   headers are replaced only where the region's address matches.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;
mod withdrawn;

#[cfg(target_arch = "x86_64")]
use core::arch::asm;
use core::mem::offset_of;
use core::ptr::NonNull;

use freestone_base::{ClassId, MAX_SMALL};
use freestone_sys::{System, linux};

use super::region::{ACTIVE, Header, NEVER, REGION_SIZE, Region};
use super::{Access, rseq};
use crate::harden::yard;
use crate::hot::{HOT, ZEROS};
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Lock, one_thread};
use crate::tls::{self, STAGE_ENDED, ThreadState};

pub(crate) use withdrawn::{enroll, forget_number, withdraw};

/// Number of real regions, the one for -1 not counted.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Region of cache 0.
static REAL: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
/// The number behind the highest that was ever used: what lies beyond has not been touched.
static USED: AtomicUsize = AtomicUsize::new(0);
/// Regions that are in use: not those that were given up since.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
/// Bytes that each region may cache without taking from others.
static BUDGET: AtomicIsize = AtomicIsize::new(0);
/// The budgets of regions that are not in use, less what others have taken of them. Below zero where all are in use, and
/// some still have more than their own.
static UNUSED: AtomicIsize = AtomicIsize::new(0);
/// Offset from the thread pointer of the field that numbers the cache.
pub(crate) static INDEX: AtomicUsize = AtomicUsize::new(0);
/// Offset from the thread pointer of the registered area; 0 when there is none.
static AREA: AtomicUsize = AtomicUsize::new(0);
/// Threads register their own areas.
static OWN_AREAS: AtomicBool = AtomicBool::new(false);
/// The key whose destructor unregisters a thread's own area; 0 when there is none, else the key plus one.
static KEY: AtomicU32 = AtomicU32::new(0);
static STOP: Lock<()> = Lock::new(());

const AREA_LEN: u32 = 32;
const CPU_ID_OFFSET: usize = 4;
const CS_OFFSET: usize = 8;
const MM_CID_OFFSET: usize = 24;
/// `AT_RSEQ_FEATURE_SIZE`: bytes of the area that the kernel fills.
const AT_RSEQ_FEATURE_SIZE: u64 = 27;

/// What all caches together may hold unless told otherwise, where that leaves each between the least and the most.
const ALL_BUDGETS: usize = 64 << 20;
const LEAST_BUDGET: usize = 1 << 20;
const MOST_BUDGET: usize = 3 << 20;

/// The life of a thread's own area, in `ThreadState::stage`.
const STAGE_NEW: u8 = 0;
const STAGE_REGISTERED: u8 = 1;

/// Makes the fast paths of free and sized free miss, until [`open`]: they announce themselves in the thread's own
/// state, and find number -1. To be called before any block is handed out, by whoever hands it out: hence idempotent.
#[inline]
pub(crate) fn shut() {
    if HOT.rseq_index.load(Ordering::Relaxed) == 0 {
        shut_first();
    }
}

#[cold]
fn shut_first() {
    let own_cs = tls::offset().wrapping_add(CS_OFFSET);
    let _ = HOT.rseq_cs.compare_exchange(0, own_cs, Ordering::Relaxed, Ordering::Relaxed);
    let no_cache = tls::offset().wrapping_add(offset_of!(ThreadState, no_cache));
    let zeros = (&raw const ZEROS).cast::<u8>().cast_mut().wrapping_add(REGION_SIZE);
    let _ = HOT.regions.compare_exchange(core::ptr::null_mut(), zeros, Ordering::Relaxed, Ordering::Relaxed);
    // Release: who reads these offsets finds the others set.
    let _ = HOT.sized_index.compare_exchange(0, no_cache, Ordering::Release, Ordering::Relaxed);
    let _ = HOT.rseq_index.compare_exchange(0, no_cache, Ordering::Release, Ordering::Relaxed);
}

/// Lets the fast paths use the caches.
pub(crate) fn open() {
    HOT.rseq_index.store(INDEX.load(Ordering::Relaxed), Ordering::Release);
    let_sized_frees(true);
    let_requests(true);
}

/// Lets the fast paths of requests use the caches, or has them miss. Only while they are [`open`].
pub(crate) fn let_requests(open: bool) {
    HOT.limit.store(if open { MAX_SMALL + 1 } else { 0 }, Ordering::Release);
    HOT.entries.store(if open { MAX_SMALL / 8 + 1 } else { 0 }, Ordering::Release);
}

/// Lets the fast path of sized frees use the caches, or has it miss. Only while they are [`open`].
pub(crate) fn let_sized_frees(open: bool) {
    let index = if open {
        INDEX.load(Ordering::Relaxed)
    } else {
        tls::offset().wrapping_add(offset_of!(ThreadState, no_cache))
    };
    HOT.sized_index.store(index, Ordering::Release);
}

/// Whether the fast path of sized frees may use the caches.
pub(crate) fn lets_sized_frees() -> bool {
    HOT.sized_index.load(Ordering::Relaxed) == INDEX.load(Ordering::Relaxed)
}

/// Sets up the regions; false when this machine has no restartable sequences or memory is refused. Opens nothing
/// for the fast paths.
pub(crate) fn start(system: &impl System, budget: Option<usize>) -> bool {
    if !rseq::SUPPORTED {
        return false;
    }
    let (area, has_mm_cid) = match libc_area() {
        Some((offset, _)) => (offset, linux::auxiliary_value(AT_RSEQ_FEATURE_SIZE) >= MM_CID_OFFSET + 4),
        None if !use_own_areas() => return false,
        // Unregistering resets `cpu_id` to -1 but `mm_cid` to 0: number by CPU.
        None => (tls::offset(), false),
    };
    let count = linux::possible_cpus();
    // Most of it is never used, so nothing is counted as committed for it where the kernel counts strictly (`vm.overcommit_memory=2`): for 128
    // CPUs that would be 129 MiB in each process. Nor is a huge page made of one that is touched, where the system makes them of all.
    let Ok(base) = system.map_zeros(2 * (1 + count) * REGION_SIZE) else { return false };
    let base: *mut u8 = core::ptr::with_exposed_provenance_mut(base);
    let index = if has_mm_cid { MM_CID_OFFSET } else { CPU_ID_OFFSET };
    COUNT.store(count, Ordering::Relaxed);
    AREA.store(area, Ordering::Relaxed);
    let budget = budget.unwrap_or((ALL_BUDGETS / count).clamp(LEAST_BUDGET, MOST_BUDGET));
    BUDGET.store(budget as isize, Ordering::Relaxed);
    UNUSED.store(budget.saturating_mul(count).min(isize::MAX as usize / 2) as isize, Ordering::Relaxed);
    REAL.store(base.wrapping_add(REGION_SIZE), Ordering::Relaxed);
    HOT.rseq_cs.store(area.wrapping_add(CS_OFFSET), Ordering::Relaxed);
    INDEX.store(area.wrapping_add(index), Ordering::Relaxed);
    HOT.regions.store(base.wrapping_add(REGION_SIZE), Ordering::Release);
    // Sets the region up that is used first: were it read first, that would cost a page fault more.
    let _ = CpuAccess::current();
    true
}

/// Has each thread register an area of its own; false where this one cannot.
#[cold]
#[inline(never)]
fn use_own_areas() -> bool {
    // The key first: this thread's area, too, is unregistered when the thread ends.
    if let Some(key) = linux::control::ThreadKey::new(unregister_own_area) {
        KEY.store(key.number() + 1, Ordering::Relaxed);
    }
    let registered = register_own_area();
    OWN_AREAS.store(registered, Ordering::Relaxed);
    registered
}

/// Where glibc registered its area relative to the thread pointer, if it did, and the size that it tells.
#[cfg(not(target_arch = "x86_64"))]
fn libc_area() -> Option<(usize, u32)> {
    None
}

/// Where glibc registered its area relative to the thread pointer, if it did, and the size that it tells.
#[cfg(target_arch = "x86_64")]
fn libc_area() -> Option<(usize, u32)> {
    let offset_at: *const isize;
    let size_at: *const u32;
    // SAFETY: reads two weak symbols' addresses; null where libc does not define them.
    unsafe {
        asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "mov {0}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {1}, qword ptr [rip + __rseq_size@GOTPCREL]",
            out(reg) offset_at, out(reg) size_at, options(nostack, preserves_flags)
        );
    }
    if offset_at.is_null() || size_at.is_null() {
        return None;
    }
    // SAFETY: glibc's constant, set before any code of ours runs.
    let size = unsafe { size_at.read() };
    // SAFETY: as above.
    let offset = unsafe { offset_at.read() };
    (size > 0).then_some((offset as usize, size))
}

/// Whether the kernel has taken the calling thread off its processor, or brought it a signal, since its last use of a cache: it then
/// clears the announcement (since Linux 6.19 not within a system call). Where there is none, always.
#[inline(always)]
pub(crate) fn was_away() -> bool {
    let at = tls::thread_pointer().wrapping_add(HOT.rseq_cs.load(Ordering::Relaxed));
    let announcement = core::ptr::with_exposed_provenance::<AtomicUsize>(at);
    // SAFETY: Q1 of rseq.rs: a field of an area that every thread has, or, before that is known, of libc's own thread block.
    unsafe { &*announcement }.load(Ordering::Relaxed) == 0
}

/// Leaves an announcement, as each use of a cache does: so that [`was_away`] is false until the thread was.
pub(crate) fn announce() {
    if AREA.load(Ordering::Relaxed) != 0 {
        CpuAccess::pop(ClassId::NONE);
    }
}

/// How far below the thread pointer libc's area lies; 0 where it lies above.
pub(crate) fn area_depth() -> usize {
    (AREA.load(Ordering::Relaxed) as isize).min(0).unsigned_abs()
}

/// Registers the calling thread's own area.
fn register_own_area() -> bool {
    let thread = tls::current();
    if thread.stage.load(Ordering::Relaxed) != STAGE_NEW {
        return false;
    }
    let area = core::ptr::from_ref::<ThreadState>(thread).cast_mut().cast::<u8>();
    // SAFETY: the first 32 bytes of the thread's state are for this alone (tls.rs) and live as long as the
    // thread, or until `unregister_own_area`.
    if unsafe { linux::rseq_register(area, AREA_LEN, rseq::SIGNATURE) }.is_err() {
        return false;
    }
    thread.stage.store(STAGE_REGISTERED, Ordering::Relaxed);
    let key = KEY.load(Ordering::Relaxed);
    if key != 0 {
        // Where this fails the area stays registered to the end, which only a libc that unmaps the
        // stack of a running thread would mind.
        linux::control::ThreadKey::from_number(key - 1).arm();
    }
    true
}

unsafe extern "C" fn unregister_own_area(_: *mut core::ffi::c_void) {
    let thread = tls::current();
    if thread.stage.swap(STAGE_ENDED, Ordering::Relaxed) == STAGE_REGISTERED {
        let area = core::ptr::from_ref::<ThreadState>(thread).cast_mut().cast::<u8>();
        // SAFETY: the arguments of the registration; no sequence is under way in a destructor.
        let _ = unsafe { linux::rseq_unregister(area, AREA_LEN, rseq::SIGNATURE) };
    }
}

/// The calling thread's cache, as far as it has one at this moment.
#[derive(Clone, Copy)]
pub(crate) struct CpuAccess {
    region: Region,
    variant: usize,
}

impl CpuAccess {
    /// `None` when the thread has no number or all caches are stopped. The gate has been entered.
    pub(crate) fn current() -> Option<CpuAccess> {
        // SAFETY: Q1, set by `start`.
        let mut number = unsafe { rseq::cache_number(INDEX.load(Ordering::Relaxed)) };
        if number < 0 && OWN_AREAS.load(Ordering::Relaxed) && register_own_area() {
            // SAFETY: as above.
            number = unsafe { rseq::cache_number(INDEX.load(Ordering::Relaxed)) };
        }
        let real = REAL.load(Ordering::Relaxed);
        if number < 0 || HOT.regions.load(Ordering::Relaxed) != real {
            return None;
        }
        let region = region(number as usize)?;
        let state = region.state();
        let mut life = state.active.load(Ordering::Relaxed);
        while life != ACTIVE {
            if life == NEVER && !make_writable(region) {
                return None;
            }
            USED.fetch_max(number as usize + 1, Ordering::Relaxed);
            // Counted first: it may be given up again at once.
            IN_USE.fetch_add(1, Ordering::Relaxed);
            life = match state.active.compare_exchange(life, ACTIVE, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    region.write_classes(variant_number(number as usize));
                    grant(region, BUDGET.load(Ordering::Relaxed));
                    ACTIVE
                }
                // Another thread made it active, and it may have been given up since.
                Err(now) => {
                    IN_USE.fetch_sub(1, Ordering::Relaxed);
                    now
                }
            };
        }
        Some(CpuAccess { region, variant: variant_number(number as usize) })
    }

    /// The variant of `class` that this cache hands out.
    pub(crate) fn own(self, class: ClassId) -> ClassId {
        class.variant(self.variant)
    }

    /// The variant of `class` that the cache hands out on which the thread is at this moment.
    pub(crate) fn own_now(class: ClassId) -> ClassId {
        // SAFETY: Q1, set by `start`: the mode is per CPU.
        let number = unsafe { rseq::cache_number(INDEX.load(Ordering::Relaxed)) };
        class.variant(variant_number(number.max(0) as usize))
    }

    /// Takes a block from the cache the thread is on; 0 when there is none. O(1).
    pub(crate) fn pop(class: ClassId) -> usize {
        // SAFETY: the mode is per CPU, so `start` has set Q1 and Q2.
        unsafe { rseq::pop(INDEX.load(Ordering::Relaxed), class.index()) }.expose_provenance()
    }

    /// The same of the class that stands so many bytes behind `WORDS_OFFSET` in the cache's region, in one of its tables of classes. O(1).
    #[inline(always)]
    pub(crate) fn pop_at(at: usize) -> usize {
        // SAFETY: as `pop`; the callers pass offsets within the tables.
        unsafe { rseq::pop_at(INDEX.load(Ordering::Relaxed), at) }.expose_provenance()
    }

    /// As [`pop`](CpuAccess::pop), with the block that the next one would take, or 0. O(1).
    pub(crate) fn pop_and_peek(class: ClassId) -> (usize, usize) {
        // SAFETY: as `pop`.
        unsafe { rseq::pop_and_peek(INDEX.load(Ordering::Relaxed), class.index()) }
    }

    /// The same of a class as [`pop_at`](CpuAccess::pop_at) has it; and that class. O(1).
    pub(crate) fn pop_and_peek_at(at: usize) -> (usize, usize, ClassId) {
        // SAFETY: as `pop`; the callers pass offsets within the tables.
        unsafe { rseq::pop_and_peek_at(INDEX.load(Ordering::Relaxed), at) }
    }

    /// Exchanges the word whose turn it is, of the class at byte `at` of the cache's yard with `mask + 1` places, for `block`;
    /// [`rseq::NO_YARD`] where the thread has none. O(1).
    #[inline(always)]
    pub(crate) fn exchange(at: usize, mask: usize, block: usize) -> usize {
        // SAFETY: as `pop`; there are no yards, or one for each number, and `at` is where one has the class.
        unsafe { rseq::exchange(INDEX.load(Ordering::Relaxed), at, mask, block) }
    }

    /// Puts a block into the cache the thread is on; false when it is full. O(1).
    pub(crate) fn push(class: ClassId, block: usize) -> bool {
        // SAFETY: as `pop`; the caller gives up the block.
        unsafe { rseq::push(INDEX.load(Ordering::Relaxed), class.index(), block) }
    }
}

impl Access for CpuAccess {
    fn region(self) -> Region {
        self.region
    }

    fn pop_batch(self, class: ClassId, out: &mut [usize]) -> usize {
        // SAFETY: as `CpuAccess::pop`.
        unsafe { rseq::pop_batch(INDEX.load(Ordering::Relaxed), class, out) }
    }

    fn push_batch(self, class: ClassId, blocks: &[usize]) -> usize {
        // SAFETY: as `CpuAccess::push`.
        unsafe { rseq::push_batch(INDEX.load(Ordering::Relaxed), class, blocks) }
    }

    fn replace_header(self, class: ClassId, old: Header, new: Header) -> bool {
        // SAFETY: C2, a real region; the callers in `cache` keep R2.
        unsafe { rseq::replace_header(INDEX.load(Ordering::Relaxed), self.region, class, old, new) }
    }

    /// An eighth of a budget, from those of CPUs that idle; no cache gets more than twice its own.
    fn more_bytes(self) -> isize {
        let budget = BUDGET.load(Ordering::Relaxed);
        let part = budget / 8;
        let granted = self.region.state().granted.load(Ordering::Relaxed);
        if granted + part > 2 * budget || UNUSED.load(Ordering::Relaxed) < part {
            return 0;
        }
        // Two threads at once may overdraw by a part, which the next ones find missing.
        UNUSED.fetch_sub(part, Ordering::Relaxed);
        self.region.state().granted.fetch_add(part, Ordering::Relaxed);
        part
    }

    fn is_foreign(self, class: ClassId) -> bool {
        class.is_foreign_to(self.variant)
    }
}

/// Has a region be written to; false where the kernel refuses, which may know too many mappings.
#[cold]
fn make_writable(region: Region) -> bool {
    // SAFETY: C1: a part of the mapping made at the start.
    unsafe { LEVELS.pages.system().commit(region.base().expose_provenance(), REGION_SIZE) }.is_ok()
}

/// Gives bytes of the common budget to a region.
fn grant(region: Region, bytes: isize) {
    UNUSED.fetch_sub(bytes, Ordering::Relaxed);
    region.state().granted.fetch_add(bytes, Ordering::Relaxed);
    region.state().spare.fetch_add(bytes, Ordering::Relaxed);
}

/// Takes the bytes of a region, which is empty, back for others; its next miss gives it its budget anew. Only inside
/// [`with_stopped`].
pub(crate) fn retire(region: Region, system: &impl System) {
    region.forget_capacities();
    region.state().spare.store(0, Ordering::Relaxed);
    let granted = region.state().granted.swap(0, Ordering::Relaxed);
    UNUSED.fetch_add(granted, Ordering::Relaxed);
    IN_USE.fetch_sub(1, Ordering::Relaxed);
    region.retire(system);
}

/// Whether the region has bytes of others that have come into use since.
pub(crate) fn has_too_much(region: Region) -> bool {
    UNUSED.load(Ordering::Relaxed) < 0
        && region.state().granted.load(Ordering::Relaxed) > BUDGET.load(Ordering::Relaxed)
}

/// By which number a cache chooses its variants: concurrency ids stay with their threads. Where caches are numbered by CPU,
/// threads wander among them, and a program of one thread would spread over all variants.
fn variant_number(number: usize) -> usize {
    let by_cpu = INDEX.load(Ordering::Relaxed) != AREA.load(Ordering::Relaxed).wrapping_add(MM_CID_OFFSET);
    if by_cpu { 0 } else { number }
}

/// The cache of this number.
pub(crate) fn region(number: usize) -> Option<Region> {
    if number >= COUNT.load(Ordering::Relaxed) {
        return None;
    }
    let base = NonNull::new(REAL.load(Ordering::Relaxed).wrapping_add(number * REGION_SIZE))?;
    // SAFETY: C1.
    Some(unsafe { Region::new(base) })
}

/// The number of a cache of [`regions`].
pub(crate) fn number_of(region: Region) -> usize {
    (region.base().addr() - REAL.load(Ordering::Relaxed).addr()) / REGION_SIZE
}

/// The regions that were ever used, to be read only for counts while caches run, or at will inside [`with_stopped`].
pub(crate) fn regions() -> impl Iterator<Item = Region> {
    (0..USED.load(Ordering::Relaxed))
        .filter_map(region)
        .filter(|region| region.state().active.load(Ordering::Relaxed) != NEVER)
}

/// Those that hold blocks, or did. They need not follow one another: where caches are numbered by CPU, a program may be allowed
/// some only, and those of ids that are not in use are given up.
pub(crate) fn active_regions() -> impl Iterator<Item = Region> {
    regions().filter(|region| region.state().active.load(Ordering::Relaxed) == ACTIVE)
}

/// Has all caches know that the classes of these groups, a bit each, are merged no more.
pub(crate) fn part_classes(groups: u32) {
    active_regions().for_each(|region| region.part_classes(groups));
}

/// How many caches there are, if a heap of so many bytes is small for them; none is for one alone. Each may come to keep a slab and a
/// batch of every class, which are 5 MiB.
pub(crate) fn crowd(footprint: usize) -> Option<usize> {
    const EACH: usize = 8 << 20;
    let caches = IN_USE.load(Ordering::Relaxed);
    (caches > 1 && footprint < caches.saturating_mul(EACH)).then_some(caches)
}

/// How many caches there can be.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// The addresses of all regions, those of zeros included, from a start to an end.
pub(crate) fn memory() -> (usize, usize) {
    let real = REAL.load(Ordering::Relaxed).addr();
    if real == 0 {
        return (0, 0);
    }
    let start = real - REGION_SIZE;
    (start, start + 2 * (1 + COUNT.load(Ordering::Relaxed)) * REGION_SIZE)
}

/// The kernel knows that caches of this process are stopped.
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// For how many times as long as they were stopped caches are left alone, and for how many nanoseconds at most: a process may itself be stopped
/// meanwhile, for hours.
const LEFT_ALONE: u64 = 99;
const LEFT_ALONE_MOST_NS: u64 = 2_000_000_000;

/// When caches were stopped for so long that they are left alone for now, in nanoseconds: until then.
static LEFT_ALONE_NS: AtomicU64 = AtomicU64::new(0);

/// Whether caches may be stopped by who can wait. What that costs is not the caller's time: all threads go through the central lists
/// meanwhile. The kernel's part lasts microseconds, but milliseconds where the host of a virtual machine runs something else on one of its
/// CPUs, and so does ours when the system lets another thread go first. So no more than a hundredth of the time goes by stopped. O(1).
pub(crate) fn may_stop() -> bool {
    linux::monotonic_ns() >= LEFT_ALONE_NS.load(Ordering::Relaxed)
}

/// Whether [`with_stopped`] takes microseconds. The first time the kernel waits, where there are threads, for all CPUs: some 10 ms.
pub(crate) fn stops_at_once() -> bool {
    REGISTERED.load(Ordering::Relaxed) || one_thread()
}

/// Runs `work` while no thread uses any region; `None` when the kernel cannot stop them, or may not be asked to (and there are other
/// threads than the calling one).
pub(crate) fn with_stopped<R>(work: impl FnOnce() -> R) -> Option<R> {
    let _alone = STOP.lock();
    let real = REAL.load(Ordering::Relaxed);
    if real.is_null() {
        return None;
    }
    let stops_others = linux::membarrier_register_rseq();
    // The program's only thread is in no sequence, being here, and nobody else uses a cache. The allocator's own thread is another.
    let is_alone = one_thread() && !tls::current().is_cacheless();
    if !stops_others && !is_alone {
        return None;
    }
    REGISTERED.fetch_or(stops_others, Ordering::Relaxed);
    let zeros = real.wrapping_add((1 + COUNT.load(Ordering::Relaxed)) * REGION_SIZE);
    let stopped_ns = linux::monotonic_ns();
    HOT.regions.store(zeros, Ordering::SeqCst);
    yard::close();
    let result = (!stops_others || linux::membarrier_private_rseq(None)).then(work);
    yard::open();
    HOT.regions.store(real, Ordering::Release);
    let now = linux::monotonic_ns();
    let alone_ns = now.saturating_sub(stopped_ns).saturating_mul(LEFT_ALONE).min(LEFT_ALONE_MOST_NS);
    LEFT_ALONE_NS.fetch_max(now.saturating_add(alone_ns), Ordering::Relaxed);
    result
}
