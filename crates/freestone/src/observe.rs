//! The observed mode: every request is counted, a few are drawn by lot, and the blocks of those are watched until they are
//! freed. Nothing of it is in the fast paths.
//!
//! ```text
//! off:   malloc ── gate open ── pop
//! on:    malloc ── gate shut ── slow path: countdown -= size + 1 ─┬─ above zero: pop, as on the fast path
//!                                                                 └─ below: the lot, a block of a watched span
//!        free ──── class of the page ─┬─ a class: push, as ever
//!                                     └─ none, as of all watched blocks: slow path, whoever watches is told
//! ```
//!
//! The lot: samples lie on the line of all bytes requested by a thread, at distances that are exponentially distributed (a
//! Poisson process), so a request of `n` bytes is drawn with the probability `1 - exp(-(n + 1) / mean)` whatever was
//! requested before; the one byte more is for requests of none. Where several observe, each with a mean distance of its
//! own, their points are drawn together and dealt out by lot, which gives each a process of its own. An observer may look at the first
//! bytes of each request only: of points further inside it is not told, and what is left to it is such a process on a shorter line.
//!
//! Who frees by size does not see whether a block is watched. A profile lets it: watched blocks of the classes that are freed so, the
//! *telling* ones, lie below all others (`Hot::floor`). Where one of them is in a cache, it was freed; who would hand it out compares
//! its address instead of asking whether there is a block, and gives it back for good. A cache passes none on to others, and before a
//! figure depends on them, all caches are searched ([`hear_late`]).
//!
//! A guarded block must go at once: while there are any, who frees by size finds the caches shut (`Hot::sized_index`). That it reads
//! this in time follows from causality: the field is written before the first block is guarded, and who frees a block has it from
//! whoever got it.

use freestone_base::size_class::TELLING_MAX;
use freestone_base::{ClassId, MAX_SHARING, MAX_SMALL, class_info};
use freestone_sys::linux;

use crate::cache::cpu;
use crate::chance::{self, Chance, Exponential};
use crate::counters::Call;
use crate::hot::HOT;
use crate::pageheap::SpanRef;
use crate::start::{self, Mode};
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::tls::{self, ThreadState};
use crate::{harden, profile, slow, watched};

/// Who may observe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Observer {
    /// The heap profile.
    Profile = 0,
    /// Guarded blocks.
    Guard = 1,
}

const OBSERVERS: [Observer; 2] = [Observer::Profile, Observer::Guard];

/// Of each request, so many bytes count towards the next guarded block. To guard one costs as much as to serve some thousands, and
/// each of its OS pages a fault; so what is spent on it follows the number of requests, and long blocks do not take it all.
const GUARD_COUNTS: u64 = 1 << 10;

impl Observer {
    /// Of each request, so many bytes count.
    fn counts(self) -> u64 {
        match self {
            Observer::Profile => u64::MAX,
            Observer::Guard => GUARD_COUNTS,
        }
    }
}

/// Those that a request was drawn for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Drawn(u8);

impl Drawn {
    const NOBODY: Drawn = Drawn(0);

    pub(crate) fn is_for(self, observer: Observer) -> bool {
        self.0 >> observer as u8 & 1 != 0
    }

    /// Whether it is for `observer` and nobody else.
    pub(crate) fn is_only_for(self, observer: Observer) -> bool {
        self == Drawn::NOBODY.with(observer)
    }

    fn is_for_nobody(self) -> bool {
        self.0 == 0
    }

    fn with(self, observer: Observer) -> Drawn {
        Drawn(self.0 | 1 << observer as u8)
    }
}

/// A request as it reached the slow path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// `None` for a large block.
    pub(crate) class: Option<ClassId>,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) zeroed: bool,
    pub(crate) call: Call,
}

/// The longest countdown, in bytes; the longest mean distance is a sixteenth of it, so that few draws are cut.
const LONGEST: u64 = i32::MAX as u64;
/// The longest mean distance between two samples, in bytes.
pub(crate) const LONGEST_MEAN: u64 = LONGEST / 16;

/// Mean distances in bytes, by observer; 0: does not observe.
static MEANS: [AtomicU64; OBSERVERS.len()] = [const { AtomicU64::new(0) }; OBSERVERS.len()];
/// Which of a thread's two countdowns is in use. They take turns, so that one drawn by other means is not continued.
static TURN: AtomicUsize = AtomicUsize::new(0);
static SWITCH: Lock<()> = Lock::new(());

/// Whether requests are observed.
#[inline]
pub(crate) fn is_on() -> bool {
    start::observes()
}

/// Whether requests are observed, and those of `size` bytes that are not due are served from the cache.
#[inline]
pub(crate) fn serves_from_cache(size: usize) -> bool {
    size <= MAX_SMALL && counts_for_caches()
}

/// Whether requests are counted down, and those that are not due are served from the CPUs' caches.
#[inline]
fn counts_for_caches() -> bool {
    HOT.counted_end.load(Ordering::Acquire) != 0
}

/// Whether blocks of the class are freed by their size alone: the classes of [`front`](crate::front)'s `tells_class`.
fn is_telling(class: ClassId) -> bool {
    let size = class_info(class).size as usize;
    size > MAX_SHARING && size <= TELLING_MAX
}

/// Whether a watched block of the class must lie below the floor, because it may be freed by its size.
pub(crate) fn must_lie_low(class: ClassId) -> bool {
    uses_caches() && cpu::lets_sized_frees() && is_telling(class)
}

/// Has blocks be freed by their address, as long as any is watched.
pub(crate) fn shut_sized_frees() {
    if uses_caches() {
        cpu::let_sized_frees(false);
    }
}

/// Whether a block that was found in a cache is not to be handed out but to be [released](slow::release_low).
#[inline]
pub(crate) fn is_low(block: usize) -> bool {
    block < HOT.floor.load(Ordering::Relaxed)
}

/// Whether a cache passes these blocks of `class` on to other caches: not if one of them may be watched.
#[inline]
pub(crate) fn may_move(class: ClassId, blocks: &[usize]) -> bool {
    let floor = HOT.floor.load(Ordering::Relaxed);
    floor <= 1 || !is_telling(class) || !blocks.iter().fold(false, |low, &block| low | (block < floor))
}

/// Releases the watched blocks that were freed by their size and lie in caches. The gate has been entered, and no lock is held.
pub(crate) fn hear_late() {
    if !uses_caches() || HOT.floor.load(Ordering::Relaxed) <= 1 {
        return;
    }
    let mut late = [0; 64];
    loop {
        let found = cpu::with_stopped(|| take_low(&mut late)).unwrap_or(0);
        late[..found].iter().for_each(|&block| slow::release_low(block));
        if found < late.len() {
            return;
        }
    }
}

/// Takes low blocks out of the caches, which are stopped; returns how many.
fn take_low(out: &mut [usize]) -> usize {
    let floor = HOT.floor.load(Ordering::Relaxed);
    let mut found = 0;
    for region in cpu::active_regions() {
        for class in ClassId::firsts().filter(|&class| is_telling(class)) {
            found += region.take_below(class, floor, &mut out[found..]);
        }
    }
    found
}

/// Whether a block's class must be looked up though its size is known, because it may be watched.
#[inline]
pub(crate) fn by_address() -> bool {
    start::watches()
}

/// Has `observer` draw requests at a mean distance of so many bytes, at most [`LONGEST_MEAN`], or none with 0. In a process that
/// runs. The gate has been entered, the allocator has started.
pub(crate) fn set(observer: Observer, mean: u64) {
    let switch = SWITCH.lock();
    if observer == Observer::Guard && mean != 0 {
        shut_sized_frees();
    }
    let was = MEANS[observer as usize].swap(mean.min(LONGEST_MEAN), Ordering::Relaxed);
    let wanted = OBSERVERS.iter().any(|&each| mean_of(each) != 0);
    // Not where nobody observes any more: the next one would have this one's turn again, and continue what it left.
    if was != mean && wanted {
        let turn = (TURN.load(Ordering::Relaxed) + 1) % 2;
        TURN.store(turn, Ordering::Relaxed);
        HOT.countdown.store(place_of(turn), Ordering::Release);
    }
    match (is_on(), wanted) {
        (false, true) => begin(),
        (true, false) => end(),
        _ => {}
    }
    drop(switch);
}

pub(crate) fn mean_of(observer: Observer) -> u64 {
    MEANS[observer as usize].load(Ordering::Relaxed)
}

/// Where a countdown lies, from the thread pointer: a distance that static thread-local storage keeps below two gigabytes.
fn place_of(turn: usize) -> i32 {
    tls::offset().wrapping_add(core::mem::offset_of!(ThreadState, countdown) + 4 * turn) as i32
}

/// Whether requests and frees use the CPUs' caches without entering the gate, when nobody observes.
pub(crate) fn uses_caches() -> bool {
    start::mode() == Mode::Cpu && !start::sees_every_call() && !harden::is_on()
}

fn begin() {
    start::set_watches(true);
    let cached = uses_caches();
    if cached {
        HOT.floor.store(slow::LEVELS.pages.floor(), Ordering::Release);
        if mean_of(Observer::Guard) != 0 || !linux::membarrier_register_rseq() {
            cpu::let_sized_frees(false);
        }
        // Release: who counts finds where ([`set`] has told), and the floor.
        HOT.counted_end.store(MAX_SMALL as u16 + 1, Ordering::Release);
        // Before any block is watched: who finds the caches open looks at none that it takes from there.
        cpu::let_requests(false);
    }
    // Release: who is drawn finds the frees by size as they are.
    start::set_observes(true);
}

fn end() {
    start::set_observes(false);
    if uses_caches() {
        // The watched blocks that are left go by their addresses.
        cpu::let_sized_frees(false);
        hear_late();
        cpu::let_requests(true);
    }
    HOT.counted_end.store(0, Ordering::Release);
    watched::settle(open_sized_frees);
}

/// Nobody observes and no block is watched. Under the lock without which none can become so.
pub(crate) fn open_sized_frees() {
    if uses_caches() {
        cpu::let_sized_frees(true);
    }
    start::set_watches(false);
}

/// Counts a request that passed no gate; `Some` when it has been served, by a watched block or out of the cache, from which a
/// shut gate kept it. Otherwise it is to be served as ever.
pub(crate) fn serve(request: &Request) -> Option<*mut u8> {
    let drawn = count(request.size);
    if !drawn.is_for_nobody()
        && let Some(block) = slow::instrumented::allocate_watched(request, drawn)
    {
        return Some(block);
    }
    if counts_for_caches()
        && let Some(class) = request.class
    {
        return slow::instrumented::from_cache(class, request.size, request.align, request.zeroed);
    }
    None
}

/// Counts a request down; true when its turn has come. `size` is that of a small block. O(1).
#[inline(always)]
pub(crate) fn is_due(size: usize) -> bool {
    let thread = tls::current();
    let place = &thread.countdown[TURN.load(Ordering::Relaxed)];
    let left = place.load(Ordering::Relaxed) - 1 - size as i32;
    if left > 0 {
        place.store(left, Ordering::Relaxed);
    }
    left <= 0
}

/// Counts a request of `size` bytes down and says whom it was drawn for. O(1), with a logarithm when it was.
pub(crate) fn count(size: usize) -> Drawn {
    let thread = tls::current();
    let place = &thread.countdown[TURN.load(Ordering::Relaxed)];
    let bytes = (size as u64).saturating_add(1);
    let left = u64::from(place.load(Ordering::Relaxed).max(0) as u32);
    if left > bytes {
        place.store((left - bytes) as i32, Ordering::Relaxed);
        return Drawn::NOBODY;
    }
    draw(thread, left, bytes)
}

/// A countdown has `left` bytes left, which is no more than the request's, or none.
#[cold]
fn draw(thread: &ThreadState, left: u64, bytes: u64) -> Drawn {
    let means = OBSERVERS.map(mean_of);
    if means.iter().all(|&mean| mean == 0) {
        return Drawn::NOBODY;
    }
    let turn = TURN.load(Ordering::Relaxed);
    // To watch a block takes calls, and so may chance.
    if linux::control::is_strict() {
        thread.countdown[turn].store(LONGEST as i32, Ordering::Relaxed);
        return Drawn::NOBODY;
    }
    let mut chance = chance::of_thread(&thread.chance, linux::random_bits);
    let (drawn, left) = deal(left, bytes, means, &mut chance);
    thread.countdown[turn].store(left.min(LONGEST) as i32, Ordering::Relaxed);
    // A countdown that an earlier turn left would be continued in a later one.
    thread.countdown[1 - turn].store(0, Ordering::Relaxed);
    chance.keep(&thread.chance);
    drawn
}

/// Who is dealt a point in a request of `bytes` bytes, and how many are left to the next behind it. The point lies `left` bytes
/// ahead; at 0 none has been drawn yet (or it lies at the very beginning, where another is as good). One of the `means` is not 0.
fn deal(left: u64, bytes: u64, means: [u64; OBSERVERS.len()], chance: &mut Chance) -> (Drawn, u64) {
    let share = |mean: u64| if mean == 0 { 0.0 } else { 1.0 / mean as f64 };
    let together: f64 = means.iter().map(|&mean| share(mean)).sum();
    let any = Exponential(1.0 / together);
    // To guard at a mean distance of one byte means: every request, the smallest too.
    let guard_all = means[Observer::Guard as usize] == 1;
    let at = match left {
        _ if guard_all => 1,
        0 => any.draw(chance),
        left => left,
    };
    if at > bytes {
        return (Drawn::NOBODY, at - bytes);
    }
    // Whose point it is: each has its share of all. The others may have one in the rest.
    let mut lot = chance.unit() * together;
    let mut is_dealt = false;
    let mut drawn = Drawn::NOBODY;
    for (each, mean) in OBSERVERS.into_iter().zip(means) {
        let own = !is_dealt && lot < share(mean);
        is_dealt |= own;
        lot -= share(mean);
        // Beyond what counts there is nothing to be drawn.
        let rest = bytes.min(each.counts()).checked_sub(at).filter(|_| mean > 0);
        let Some(rest) = rest else { continue };
        if own || guard_all && each == Observer::Guard || Exponential(mean as f64).draw(chance) <= rest {
            drawn = drawn.with(each);
        }
    }
    (drawn, if guard_all { 1 } else { any.draw(chance) })
}

/// A watched block was handed out for a request that was drawn: of this class, or a large one. The gate has been entered.
pub(crate) fn on_watched(drawn: Drawn, addr: usize, size: usize, class: Option<ClassId>) {
    if drawn.is_for(Observer::Profile) {
        profile::on_alloc(addr, size, class);
    }
}

/// A block was requested with more room than the program wants, of which whoever observes is not to hear.
pub(crate) fn on_room(addr: usize, wanted: usize) {
    // A watched block has no class.
    if is_on() && addr != 0 && slow::class_at(addr) == ClassId::NONE {
        profile::on_room(addr, wanted);
    }
}

/// A watched block is being freed, or ceases to be watched. Returns a block that stood for it, which is to be given back once no lock is
/// held ([`profile::release_proxy`]), or 0. The gate has been entered.
pub(crate) fn on_release(addr: usize) -> usize {
    profile::on_free(addr)
}

/// A large block was resized, and may have moved: to who observes, a free and a request. The gate has been entered.
pub(crate) fn on_resize(old_addr: usize, was_watched: bool, span: SpanRef, size: usize) {
    if was_watched {
        profile::release_proxy(on_release(old_addr));
    }
    let drawn = if is_on() { count(size) } else { Drawn::NOBODY };
    let is_marked = watched::mark_large(span, was_watched, !drawn.is_for_nobody());
    if is_marked && !drawn.is_for_nobody() {
        on_watched(drawn, span.first_block(), size, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which share of requests of `bytes` bytes each observer draws, of so many.
    fn shares(requests: u32, bytes: u64, means: [u64; OBSERVERS.len()]) -> [f64; OBSERVERS.len()] {
        let mut chance = chance::of_thread(&AtomicU64::new(7), || 0);
        let (mut left, mut drawn) = (0, [0; OBSERVERS.len()]);
        for _ in 0..requests {
            if left > bytes {
                left -= bytes;
                continue;
            }
            let (who, next) = deal(left, bytes, means, &mut chance);
            left = next;
            for each in OBSERVERS {
                drawn[each as usize] += u32::from(who.is_for(each));
            }
        }
        drawn.map(|drawn| f64::from(drawn) / f64::from(requests))
    }

    fn expected(bytes: u64, mean: u64) -> f64 {
        if mean == 0 { 0.0 } else { 1.0 - (-(bytes as f64) / mean as f64).exp() }
    }

    #[test]
    fn each_observer_draws_by_the_bytes_that_count() {
        for bytes in [10, 1_000, GUARD_COUNTS, 3_000, 100_000] {
            for means in [[5_000, 0], [0, 5_000], [4_000, 9_000], [200_000, 3_000]] {
                let shares = shares(60_000, bytes, means);
                for each in OBSERVERS {
                    let (share, mean) = (shares[each as usize], means[each as usize]);
                    let expected = expected(bytes.min(each.counts()), mean);
                    // Five times the deviation that is usual.
                    let slack = 5.0 * (expected * (1.0 - expected) / 60_000.0).sqrt() + 1e-9;
                    assert!(
                        (share - expected).abs() < slack,
                        "{bytes} {means:?} {each:?}: {share} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn at_a_distance_of_one_byte_each_request_is_guarded() {
        for means in [[0, 1], [1_000, 1]] {
            for bytes in [1, 2, 500, 100_000, 1 << 30] {
                assert_eq!(shares(100, bytes, means)[Observer::Guard as usize], 1.0, "{bytes} {means:?}");
            }
        }
    }

    #[test]
    fn no_request_is_guarded_more_often_than_one_of_those_that_count() {
        let shares = shares(1 << 20, 4 << 20, [0, 8 << 20]);
        let most = expected(GUARD_COUNTS, 8 << 20);
        assert!(shares[Observer::Guard as usize] < 1.5 * most, "{shares:?} {most}");
    }
}
