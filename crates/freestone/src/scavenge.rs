//! When free memory goes back to the system: by demand and time, smoothly.
//!
//! Ten times a second, while anything happens, [`tick`] looks
//!
//! 1. at the caches: one that neither refilled nor flushed since the last look, and holds what it held, is idle and is emptied, so that its
//!    slabs can become whole; its next miss fills it anew. One that was not used since leaves its share of the budget to others;
//! 2. at the transfer caches: the blocks that nobody asked for since the last look go back to their slabs;
//! 3. at slabs that have been at rest: OS pages on which no live block lies go back (`central/sweep.rs`);
//! 4. at the page heap: pages that were in use within the last two looks are taken to be wanted again. Of what is dirty beyond that,
//!    two thirds go back, but no less than [`LEAST`]. Of huge pages that the allocator made, small parts stay while the program runs, as long
//!    as they are little in all. Where the kernel makes them of whatever it can, only whole ones go at first; what is left of broken ones
//!    goes when it was not wanted for some looks more.
//!
//! Once that is done, so do the records of spans that are no more.
//!
//! One thing waits for no look: where what is in use grows by a sixteenth though much is free in slabs, whoever asks for it empties the
//! caches that keep those slabs from becoming whole ([`relieve`]).
//!
//! Beyond the soft limit (`limit.rs`), or under pressure (`pressure.rs`), all caches are emptied and all dirty pages go back.
//!
//! So a program that takes and frees in turns keeps its pages (they count as wanted), and one that goes idle has given all back
//! in well under a second, but for small parts of huge pages: of those up to a sixteenth of what is in use may stay where it had
//! computed for seconds without a call before, and the thread had ended. No caller waits but there: the work is done by the background thread (`background.rs`), in slices between
//! which others may enter and fork; only where there can be none, a caller does one slice now and then.
//!
//! The idea of releasing by recent demand is from TCMalloc's page heap ("demand-based release"), that of a smooth decay
//! from jemalloc's dirty pages.

use freestone_base::{CLASS_COUNT, ClassId, PAGE_SHIFT, PageCount, class_info};
use freestone_sys::linux;

use crate::cache::region::Region;
use crate::cache::{cpu, thread};
use crate::central::Effort;
use crate::pageheap::{Breaking, FIRST_LOOK, FIRST_LOOK_NS, HugePages};
use crate::slow::{self, CENTRALS, LEVELS};
use crate::start::{self, Mode};
use crate::sync::Lock;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::{gate, harden, limit};

/// Looks for which pages that were in use count as wanted.
const WINDOWS: usize = 2;
/// For how long they do, in milliseconds.
static DECAY_MS: AtomicU64 = AtomicU64::new(200);
/// The least that a look gives back, if there is as much: 64 MiB.
const LEAST: usize = (64 << 20) >> PAGE_SHIFT;
/// What is given back at a time, between two entries at the gate: 8 MiB.
const SLICE: usize = (8 << 20) >> PAGE_SHIFT;

/// The system is short of memory: the next look gives back all that can be.
static PRESSED: AtomicBool = AtomicBool::new(false);

/// The system is short of memory.
pub(crate) fn press() {
    PRESSED.store(true, Ordering::Relaxed);
}

/// Whether the next look should not wait for its time: memory is short, or the page heap's bell rang.
pub(crate) fn is_urgent() -> bool {
    PRESSED.load(Ordering::Relaxed) || LEVELS.pages.watch().has_rung()
}

/// From one look to the next, in nanoseconds.
pub(crate) fn tick_ns() -> u64 {
    const LEAST_MS: u64 = 10;
    (DECAY_MS.load(Ordering::Relaxed) / WINDOWS as u64).max(LEAST_MS) * 1_000_000
}

/// For how long pages that were in use are kept for reuse.
pub(crate) fn decay_ms() -> u64 {
    DECAY_MS.load(Ordering::Relaxed)
}

pub(crate) fn set_decay_ms(decay_ms: usize) {
    DECAY_MS.store(decay_ms as u64, Ordering::Relaxed);
}

/// What earlier looks found.
struct History {
    /// The most pages that were in use during each of the last looks.
    peaks: [usize; WINDOWS],
    next: usize,
    /// When the last look was, and for how long the process had run by then.
    looked_ns: u64,
    ran_ns: u64,
}

impl History {
    /// Whether the program has hardly run since the last look: less than a sixteenth of the time.
    fn rests(&mut self) -> bool {
        let is_first = self.looked_ns == 0;
        let (now, ran) = (linux::monotonic_ns(), linux::process_ns());
        let passed = now.saturating_sub(core::mem::replace(&mut self.looked_ns, now));
        // A child of fork begins anew with what it has run.
        let worked = ran.saturating_sub(core::mem::replace(&mut self.ran_ns, ran));
        !is_first && worked < passed / 16
    }
}

static HISTORY: Lock<History> = Lock::new(History { peaks: [0; WINDOWS], next: 0, looked_ns: 0, ran_ns: 0 });
/// For huge pages that the allocator made, no more of what is in use is kept free than one page in so many.
const SPARED_PART: usize = 16;
/// The kernel makes huge pages of whatever it can.
static HUGE: AtomicBool = AtomicBool::new(false);
/// Looks in a row that left dirty pages because a huge page would have been broken.
static SPARED: AtomicU64 = AtomicU64::new(0);
/// So many of them, and it pays: nobody has wanted the rest for that long.
const MOST_SPARED: u64 = 10;
/// Bytes of free blocks in slabs that were looked after.
static KNOWN_FREE: AtomicUsize = AtomicUsize::new(0);
/// When a caller did a slice last.
static LAST_NS: AtomicU64 = AtomicU64::new(0);

const WORDS: usize = CLASS_COUNT.div_ceil(64);
/// The classes that ever had a slab: the central lists of others are better left untouched.
static SERVED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// A class gets a slab.
#[inline]
pub(crate) fn note_class(class: ClassId) {
    let word = &SERVED[class.index() / 64];
    let bit = 1 << (class.index() % 64);
    if word.load(Ordering::Relaxed) & bit == 0 {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// The classes that ever had a slab.
pub(crate) fn served_classes() -> impl Iterator<Item = ClassId> {
    ClassId::all()
        .filter(|class| SERVED[class.index() / 64].load(Ordering::Relaxed) >> (class.index() % 64) & 1 != 0)
}

/// One look. Whether there was anything to do, so that another should follow soon. The gate must not have been entered.
pub(crate) fn tick() -> bool {
    let Some(Look { moved, excess, waits, breaking }) = look() else { return true };
    let swept = sweep(!moved, breaking);
    let spared = SPARED.load(Ordering::Relaxed);
    let mut left = excess;
    while left > 0 {
        match slice(left, breaking) {
            None => return true,
            // Locked in memory, or parts of huge pages.
            Some(0) => break,
            Some(purged) => left = left.saturating_sub(purged),
        }
    }
    let purged = excess - left.min(excess);
    if left == 0 {
        SPARED.store(0, Ordering::Relaxed);
    }
    // What is wanted now may not be in a while. What the system refuses to take is no reason to stay awake.
    moved || swept || purged > 0 || (waits && excess == 0) || SPARED.load(Ordering::Relaxed) > spared
}

/// What a caller does where there is no background thread: a look if it is time, and one slice.
pub(crate) fn tick_of_caller() {
    let now = linux::monotonic_ns();
    let last = LAST_NS.load(Ordering::Relaxed);
    if now.wrapping_sub(last) >= tick_ns()
        && LAST_NS.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        && let Some(look) = look()
        && look.excess > 0
    {
        slice(look.excess, look.breaking);
    }
}

/// Looks whether long blocks are being filled. When to do so again, in nanoseconds, if at all. By the allocator's own thread, outside the gate.
#[inline]
pub(crate) fn look_at_long() -> Option<u64> {
    if LEVELS.pages.waits_for_looks() { look_at_waiting() } else { None }
}

#[cold]
#[inline(never)]
fn look_at_waiting() -> Option<u64> {
    // Refused for a moment: there is something to look at all the same.
    let Some(inside) = gate::enter() else { return Some(FIRST_LOOK_NS) };
    let next = LEVELS.pages.look_at_long();
    drop(inside);
    next
}

/// What a look found.
struct Look {
    /// Idle caches held something.
    moved: bool,
    /// Pages that are to go back.
    excess: usize,
    /// Dirty pages are kept for now.
    waits: bool,
    /// Which huge pages may be broken.
    breaking: Breaking,
}

/// Empties what is idle, and says what is left to do.
fn look() -> Option<Look> {
    let inside = gate::enter()?;
    limit::rearm();
    let short = limit::is_exceeded() || PRESSED.swap(false, Ordering::Relaxed);
    let emptied = empty_idle_caches(short);
    let mut trimmed = false;
    for class in served_classes() {
        trimmed |= CENTRALS[class.index()].trim(class, &LEVELS.pages, short);
    }
    let demand = LEVELS.pages.demand();
    LEVELS.pages.watch().note_footprint(demand.used + demand.dirty);
    let mut history = HISTORY.lock();
    let next = history.next;
    history.peaks[next] = demand.peak;
    history.next = (next + 1) % WINDOWS;
    let wanted = history.peaks.iter().fold(demand.used, |most, &peak| most.max(peak)) - demand.used;
    let rests = history.rests();
    drop(history);
    if demand.dirty <= FIRST_LOOK {
        LEVELS.pages.trim_metadata();
    }
    let kept = harden::age(short);
    drop(inside);
    let moved = emptied || trimmed || kept;
    if short {
        return Some(Look { moved, excess: demand.dirty, waits: false, breaking: Breaking::Any });
    }
    let beyond = demand.dirty.saturating_sub(wanted);
    let breaking = may_break(rests, beyond, demand.used);
    let excess = beyond.min(LEAST.max(beyond - beyond / 3));
    Some(Look { moved, excess, waits: demand.dirty > FIRST_LOOK, breaking })
}

/// Which huge pages may be broken for `beyond` pages that are to go back, while `used` are in use. A program that hardly runs has no use for
/// whole ones.
fn may_break(rests: bool, beyond: usize, used: usize) -> Breaking {
    if !rests && beyond <= used / SPARED_PART { Breaking::Worthy } else { Breaking::Any }
}

/// Bytes of free blocks in slabs and in transfer that nobody has looked after. Inside the gate.
pub(crate) fn to_sweep() -> usize {
    let free = free_in_lists();
    // What was there when the thread ended had been swept as far as it could be.
    let known = KNOWN_FREE.load(Ordering::Relaxed).min(free);
    KNOWN_FREE.store(known, Ordering::Relaxed);
    free - known
}

/// The thread ends: what is free in slabs now is no reason to start another.
pub(crate) fn note_end() {
    if let Some(inside) = gate::enter() {
        KNOWN_FREE.store(free_in_lists(), Ordering::Relaxed);
        drop(inside);
    }
}

/// Has slabs swept that are at rest. Whether anything went back. While the program is at work, only a few now and then. No huge page is broken
/// where little is free in slabs, unless any may be.
fn sweep(idle: bool, breaking: Breaking) -> bool {
    /// Free bytes in the slabs of a class for which it is worth it.
    const WORTH: usize = 256 << 10;
    /// Between two entries at the gate.
    const SLICE: Effort = Effort { slabs: 256, calls: 512, wanted: false, breaks: false };
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    if huge_pages() {
        return false;
    }
    let scattered = is_scattered();
    let (much, breaks) = (idle || scattered, scattered || breaking == Breaking::Any);
    if !much && !LOOKS.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) {
        return false;
    }
    let mut slices = if much { 16 } else { 1 };
    let mut swept = false;
    for class in served_classes() {
        while slices > 0 {
            let Some(inside) = gate::enter() else { return true };
            let mut effort = Effort { breaks, ..SLICE };
            let purged = if free_in_slabs_of(class) >= WORTH {
                CENTRALS[class.index()].sweep(class, &LEVELS.pages, &mut effort)
            } else {
                0
            };
            drop(inside);
            swept |= purged > 0;
            // Slabs that are not at rest yet are not looked at again.
            if purged == 0 || (effort.slabs > 0 && effort.calls > 0) {
                break;
            }
            slices -= 1;
        }
    }
    swept
}

/// Bytes free in slabs that are little: slabs that became whole would hold no less, most of their pages were never touched.
const FREE_LITTLE: usize = 2 << 20;

/// Whether an eighth of what is in use is free blocks in slabs.
fn is_scattered() -> bool {
    let Some(inside) = gate::enter() else { return false };
    let scattered = much_is_free_in_slabs(0);
    drop(inside);
    scattered
}

/// The same, inside the gate, and whether it is more than `least` bytes.
fn much_is_free_in_slabs(least: usize) -> bool {
    free_in_partial() > least.max((LEVELS.pages.demand_now().used << PAGE_SHIFT) / 8)
}

/// Bytes of all free blocks in slabs of which others are in use. Inside the gate.
fn free_in_partial() -> usize {
    let of_class = |class: ClassId| {
        let (stats, info) = (CENTRALS[class.index()].stats(), class_info(class));
        stats.free_in_slabs.saturating_sub(stats.whole * info.blocks as usize) * info.size as usize
    };
    served_classes().map(of_class).sum()
}

/// Bytes of all free blocks in slabs and in transfer. Inside the gate.
fn free_in_lists() -> usize {
    let blocks = |class: ClassId| {
        let stats = CENTRALS[class.index()].stats();
        stats.free_in_slabs + stats.in_transfer
    };
    served_classes().map(|class| blocks(class) * class_info(class).size as usize).sum()
}

/// Bytes of the free blocks in one class's slabs.
fn free_in_slabs_of(class: ClassId) -> usize {
    CENTRALS[class.index()].stats().free_in_slabs * class_info(class).size as usize
}

/// Looks how the system is set up. To be called by a thread of the program's: it reads a file.
pub(crate) fn look_at_system() {
    HUGE.store(linux::control::huge_pages() == linux::control::HugePages::Always, Ordering::Relaxed);
}

/// Whether pages of ours may be parts of huge pages.
fn huge_pages() -> bool {
    match LEVELS.pages.policy().huge_pages() {
        HugePages::Auto => HUGE.load(Ordering::Relaxed),
        HugePages::On => true,
        HugePages::Off => false,
    }
}

/// Gives back up to a slice; how many pages it was, `None` where the gate is closed.
fn slice(most: usize, breaking: Breaking) -> Option<usize> {
    let inside = gate::enter()?;
    let whole = huge_pages() && SPARED.load(Ordering::Relaxed) < MOST_SPARED;
    let breaking = if whole { Breaking::No } else { breaking };
    let purged = LEVELS.pages.purge_breaking(PageCount(most.min(SLICE)), breaking);
    if whole && purged.0 == 0 {
        SPARED.fetch_add(1, Ordering::Relaxed);
    }
    drop(inside);
    Some(purged.0)
}

/// Empties the caches that missed nothing since the last look and hold what they held, if anything; where memory is short, all. One that missed
/// nothing since it was emptied gives up its bytes to others, as does one that took more than its own where those are wanted
/// back. Of the others, where much is free in slabs, the classes are emptied that hold as many blocks as at the last look: a few
/// cached blocks keep many a slab from becoming whole. Whether there were any.
fn empty_idle_caches(short: bool) -> bool {
    if start::mode() != Mode::Cpu {
        return false;
    }
    let scattered = !short && much_is_free_in_slabs(FREE_LITTLE);
    let has_rest = |region: Region| scattered && served_classes().any(|class| region.is_at_rest(class));
    if !cpu::active_regions()
        .any(|region| short || is_idle(region) || cpu::has_too_much(region) || has_rest(region))
    {
        cpu::active_regions().for_each(see);
        return false;
    }
    if short {
        return empty_all_at_once();
    }
    if !cpu::may_stop() {
        return true;
    }
    let Some(mut haul) = slow::haul() else { return empty_all_at_once() };
    let mut emptied = false;
    cpu::with_stopped(|| {
        for region in cpu::active_regions() {
            let gives_up = gives_up(region);
            if gives_up || is_idle(region) {
                // What finds no room is as idle at the next look.
                let all = haul.take_region(region);
                if all {
                    leave_empty(region, gives_up);
                }
                emptied |= !gives_up || !all;
            } else if scattered {
                for class in served_classes().filter(|&class| region.is_at_rest(class)) {
                    if haul.take(region, class) {
                        region.forget_capacity(class);
                    }
                    emptied = true;
                }
            }
            see(region);
        }
    });
    haul.give_back();
    emptied
}

/// Empties all caches while they are stopped; whether one of them is not given up.
#[cold]
#[inline(never)]
fn empty_all_at_once() -> bool {
    let emptied = cpu::with_stopped(|| cpu::active_regions().filter(|&region| empty_at_once(region)).count());
    emptied.is_some_and(|caches| caches > 0)
}

/// Empties a cache while all are stopped; whether it is not given up.
fn empty_at_once(region: Region) -> bool {
    let gives_up = gives_up(region);
    slow::empty_region(region);
    leave_empty(region, gives_up);
    see(region);
    !gives_up
}

/// Whether a cache is to be given up once it is empty: it was already, though blocks that were freed may have come since, or took more than
/// its own.
fn gives_up(region: Region) -> bool {
    is_emptied(region) || cpu::has_too_much(region)
}

/// Gives up a cache that holds nothing, or has it begin anew. While all are stopped.
fn leave_empty(region: Region, gives_up: bool) {
    if gives_up {
        return cpu::retire(region, LEVELS.pages.system());
    }
    region.forget_capacities();
    region.state().emptied.store(misses(region), Ordering::Relaxed);
}

/// Empties idle caches of threads. Whether any held something. By the allocator's own thread: a caller would have to wait for the
/// kernel. Outside the gate, which is left after every few caches.
pub(crate) fn empty_idle_threads() -> bool {
    start::mode() == Mode::Thread && empty_threads(limit::is_exceeded() || PRESSED.load(Ordering::Relaxed))
}

#[cold]
#[inline(never)]
fn empty_threads(short: bool) -> bool {
    let mut emptied = false;
    let mut empty = |region| {
        slow::empty_region(region);
        if is_emptied(region) {
            return thread::retire(region, LEVELS.pages.system());
        }
        region.forget_capacities();
        region.state().emptied.store(misses(region), Ordering::Relaxed);
        emptied = true;
    };
    if let Some(inside) = gate::enter() {
        thread::find_orphans();
        drop(inside);
    }
    let picks = |region| short || is_idle(region);
    // Asked outside the gate, where nobody has to wait for it.
    if thread::active_regions().any(picks) && thread::may_close() {
        thread::in_batches(picks, |batch| {
            gate::enter().is_some_and(|_inside| thread::with_closed(batch, &mut empty))
        });
    }
    thread::active_regions().for_each(see);
    emptied
}

/// Keeps in mind what a cache holds, and how often it missed.
fn see(region: Region) {
    region.state().seen.store(misses(region), Ordering::Relaxed);
    served_classes().for_each(|class| region.note_header(class));
}

/// What is in use or dirty has grown. Where much is free in slabs, the caches of classes are emptied that alone keep their slabs from becoming
/// whole, so that these serve what grows: a few cached blocks, freed in random order, hold all of them. By the caller, for whom it is
/// cheaper than the page faults: when the thread comes, the memory has been touched. Outside the gate.
#[cold]
#[inline(never)]
pub(crate) fn relieve() {
    // Hardened mode's slabs stay with their class. To stop caches for the first time takes long where there are threads.
    if start::mode() != Mode::Cpu || harden::is_on() || !cpu::stops_at_once() || !cpu::may_stop() {
        return;
    }
    let Some(inside) = gate::enter() else { return };
    if LEVELS.pages.watch().take_growth() && much_is_free_in_slabs(FREE_LITTLE) {
        empty_given_up();
    }
    drop(inside);
}

/// Empties the caches of given-up classes, as far as there is room for their blocks. Inside the gate.
#[cold]
#[inline(never)]
fn empty_given_up() {
    let mut picked = [false; CLASS_COUNT];
    served_classes().filter(|&class| is_given_up(class)).for_each(|class| picked[class.index()] = true);
    // A sandbox may end the program for a call that it does not make itself.
    if !picked.contains(&true) || linux::control::is_newly_filtered() {
        return;
    }
    let picked = || served_classes().filter(|class| picked[class.index()]);
    let mut haul = slow::haul();
    cpu::with_stopped(|| {
        for class in picked() {
            for region in cpu::active_regions() {
                let emptied = match &mut haul {
                    Some(haul) => haul.take(region, class),
                    None => {
                        slow::empty_class(region, class);
                        true
                    }
                };
                if emptied {
                    region.forget_capacity(class);
                }
            }
        }
    });
    if let Some(mut haul) = haul {
        haul.give_back();
    }
    picked().for_each(|class| CENTRALS[class.index()].drain(class, &LEVELS.pages));
}

/// Whether most blocks of a class, and many, lie free in slabs, and slabs would become whole without the caches: fewer of its blocks
/// are in the program's hands than it has slabs. Where the program holds them, its caches are in use, and to empty them brings nothing.
fn is_given_up(class: ClassId) -> bool {
    const FEW: usize = 64 << 10;
    let (stats, info) = (CENTRALS[class.index()].stats(), class_info(class));
    let blocks = (stats.slabs - stats.whole) * info.blocks as usize;
    let free = stats.free_in_slabs.saturating_sub(stats.whole * info.blocks as usize);
    if free * (info.size as usize) < FEW || free < blocks / 2 {
        return false;
    }
    let in_caches: usize = cpu::active_regions().map(|region| region.header(class).len(class)).sum();
    let cached = in_caches + stats.in_transfer;
    cached > 0 && blocks.saturating_sub(free + cached) < stats.slabs - stats.whole
}

fn misses(region: Region) -> usize {
    let state = region.state();
    state.refills.load(Ordering::Relaxed).wrapping_add(state.flushes.load(Ordering::Relaxed))
}

/// Whether nothing was taken or put since the last look, as far as misses and what lies in the cache tell: one in use may miss nothing
/// for as long as the program runs, and to empty it again and again would only spread its blocks over ever more pages.
fn is_idle(region: Region) -> bool {
    region.state().seen.load(Ordering::Relaxed) == misses(region)
        && served_classes().all(|class| region.is_unchanged(class))
}

/// Whether nothing was refilled or flushed since it was emptied.
fn is_emptied(region: Region) -> bool {
    region.state().emptied.load(Ordering::Relaxed) == misses(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_sixteenth_is_kept_for_huge_pages_and_nothing_of_a_program_at_rest() {
        assert_eq!(may_break(false, 100, 1600), Breaking::Worthy);
        assert_eq!(may_break(false, 101, 1600), Breaking::Any);
        assert_eq!(may_break(true, 1, 1600), Breaking::Any);
    }
}
