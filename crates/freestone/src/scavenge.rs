//! When free memory goes back to the system: by demand and time, smoothly.
//!
//! Ten times a second, while anything happens, [`tick`] looks
//!
//! 1. at the caches: one that neither refilled nor flushed since the last look is idle and is emptied, so that its slabs
//!    can become whole; its next miss fills it anew;
//! 2. at the transfer caches: the blocks that nobody asked for since the last look go back to their slabs;
//! 3. at the page heap: pages that were in use within the last two looks are taken to be wanted again. Of what is dirty beyond that,
//!    half goes back, but no less than [`LEAST`].
//!
//! Beyond the soft limit (`limit.rs`) all caches are emptied and all dirty pages go back.
//!
//! So a program that takes and frees in turns keeps its pages (they count as wanted), and one that goes idle has given all back
//! in well under a second. No caller waits: the work is done by the background thread (`background.rs`), in slices between
//! which others may enter and fork; only where there can be none, a caller does one slice now and then.
//!
//! The idea of releasing by recent demand is from TCMalloc's page heap ("demand-based release"), that of a smooth decay
//! from jemalloc's dirty pages.

use freestone_base::{CLASS_COUNT, ClassId, PAGE_SHIFT, PageCount};
use freestone_sys::linux;

use crate::cache::cpu;
use crate::cache::region::Region;
use crate::pageheap::FIRST_LOOK;
use crate::slow::{self, CENTRALS, LEVELS};
use crate::start::{self, Mode};
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{gate, limit};

/// From one look to the next.
pub(crate) const TICK_NS: u64 = 100_000_000;
/// Looks for which pages that were in use count as wanted.
const WINDOWS: usize = 2;
/// The least that a look gives back, if there is as much: 64 MiB.
const LEAST: usize = (64 << 20) >> PAGE_SHIFT;
/// What is given back at a time, between two entries at the gate: 8 MiB.
const SLICE: usize = (8 << 20) >> PAGE_SHIFT;

/// What earlier looks found.
struct History {
    /// The most pages that were in use during each of the last looks.
    peaks: [usize; WINDOWS],
    next: usize,
}

static HISTORY: Lock<History> = Lock::new(History { peaks: [0; WINDOWS], next: 0 });
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
    let Some((moved, mut excess, waits)) = look() else { return true };
    while excess > 0 {
        let Some(purged) = slice(excess) else { return true };
        if purged == 0 {
            break;
        }
        excess = excess.saturating_sub(purged);
    }
    moved || waits
}

/// What a caller does where there is no background thread: a look if it is time, and one slice.
pub(crate) fn tick_of_caller() {
    let now = linux::monotonic_ns();
    let last = LAST_NS.load(Ordering::Relaxed);
    if now.wrapping_sub(last) >= TICK_NS
        && LAST_NS.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        && let Some((_, excess, _)) = look()
        && excess > 0
    {
        slice(excess);
    }
}

/// Empties what is idle. Returns whether that was anything, how many pages are to go back, and whether more of them wait.
fn look() -> Option<(bool, usize, bool)> {
    let inside = gate::enter()?;
    limit::rearm();
    let short = limit::is_exceeded();
    let emptied = empty_idle_caches(short);
    let mut trimmed = false;
    for class in served_classes() {
        trimmed |= CENTRALS[class.index()].trim(class, &LEVELS.pages);
    }
    let demand = LEVELS.pages.demand();
    let mut history = HISTORY.lock();
    let next = history.next;
    history.peaks[next] = demand.peak;
    history.next = (next + 1) % WINDOWS;
    let wanted = history.peaks.iter().fold(demand.used, |most, &peak| most.max(peak)) - demand.used;
    drop(history);
    drop(inside);
    if short {
        return Some((true, demand.dirty, false));
    }
    let beyond = demand.dirty.saturating_sub(wanted);
    Some((emptied || trimmed, beyond.min(LEAST.max(beyond / 2)), demand.dirty > FIRST_LOOK))
}

/// Gives back up to a slice; how many pages it was, `None` where the gate is closed.
fn slice(most: usize) -> Option<usize> {
    let inside = gate::enter()?;
    let purged = LEVELS.pages.purge(PageCount(most.min(SLICE)));
    drop(inside);
    Some(purged.0)
}

/// Empties the caches that missed nothing since the last look but hold something; where memory is short, all. Whether there
/// were any.
fn empty_idle_caches(short: bool) -> bool {
    if start::mode() != Mode::Cpu {
        return false;
    }
    let mut any = false;
    for region in cpu::regions().filter(|region| region.state().active.load(Ordering::Relaxed) != 0) {
        any |= !is_idle(region) || !is_emptied(region);
    }
    if !any {
        return false;
    }
    let emptied = cpu::with_stopped(|| {
        let mut emptied = false;
        for region in cpu::regions().filter(|region| region.state().active.load(Ordering::Relaxed) != 0) {
            let state = region.state();
            if (short || is_idle(region)) && !is_emptied(region) {
                slow::empty_region(region);
                state.emptied.store(misses(region), Ordering::Relaxed);
                emptied = true;
            }
            state.seen.store(misses(region), Ordering::Relaxed);
        }
        emptied
    });
    emptied == Some(true)
}

fn misses(region: Region) -> usize {
    let state = region.state();
    state.refills.load(Ordering::Relaxed).wrapping_add(state.flushes.load(Ordering::Relaxed))
}

/// Whether nothing was refilled or flushed since the last look.
fn is_idle(region: Region) -> bool {
    region.state().seen.load(Ordering::Relaxed) == misses(region)
}

/// Whether nothing was refilled or flushed since it was emptied.
fn is_emptied(region: Region) -> bool {
    region.state().emptied.load(Ordering::Relaxed) == misses(region)
}
