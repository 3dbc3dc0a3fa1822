//! Freed large blocks of which little was touched: their spans are *parked*, whole as they are, for the next block of that length.
//!
//! A program that asks for more than it uses touches the first pages of a block and some at its end. Were the span merged with others and
//! cut anew, each block would begin and end elsewhere, and ever more pages would become resident. A parked span begins where it began, and
//! its lengths are few: 16 to a doubling, as the bins of an index. So the same pages serve again, they are near in the processor's caches,
//! and nothing is cut or merged.
//!
//! How much of a block was touched, the system tells. It is asked when a span is freed the first time, which nobody had touched before;
//! then at one free in 32, later in 96, of a doubling of lengths, where blocks are sparse, or one in 64 where they are not, and only in a heap of 12 MiB
//! or more, and once the allocator has a thread of its own: it is what gives back what is parked, and where it may not be, the
//! system may not be asked either. Requests of lengths that were not found sparse go the usual way, and blocks that are touched all over are not parked.
//!
//! Parked spans count as free. What was resident when the system was asked last counts as dirty, the rest as clean; all dirty bits are set,
//! since nobody knows where those pages are. A request that finds none of its length gets pages that were never touched; where much is
//! parked already, a longer one. Parked spans are merged, as dirty all over, when memory is refused, when a large block grows into
//! them, and when a block like them turns out to be touched all over. They go back like other dirty memory, once that is gone; the scavenger takes
//! them to be wanted if as much was taken since its last look as is parked.

use freestone_base::PAGE_SIZE;
use freestone_sys::System;

use super::huge::LEAST;
use super::index::{BINS, bin_of};
use super::pagemap::PageMap;
use super::span::{SpanRef, SpanState};
use super::state::{Op, State};
use super::{PageHeap, dirty};
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// Pages of the shortest large block, and of the longest that is parked (8 MiB).
const SHORTEST: usize = 33;
pub(super) const LONGEST: usize = 1024;
const DOUBLINGS: usize = 5;

/// A block is sparse if no more than this part of it is resident.
const SPARSE_PART: usize = 8;
/// Frees from one look to the next, of blocks that were sparse, of those that were so again, and of others.
const SPARSE_TURNS: u8 = 32;
const SPARSE_AGAIN: u8 = 96;
const DENSE_TURNS: u8 = 64;
/// OS pages looked at in the middle of a block that was sparse before.
const LOOKED_AT: usize = 32;
/// In terms of what is in use: so many parked pages are enough, and longer spans serve than are wanted;
const ENOUGH: usize = 4;
/// and no more are parked.
const MOST: usize = 8;

/// The pages that a block of `pages` gets where blocks of its length are sparse: up to a sixteenth more.
fn length_for(pages: usize) -> usize {
    let step = if pages <= 64 { 1 } else { 1 << (pages.ilog2() - 4) };
    pages.next_multiple_of(step)
}

/// So many spans in a row that are resident when they are to be cleared tell that the next ones are.
const DENSE: u8 = 8;
/// So many are cleared then without a look.
const LEFT_OUT: u8 = 15;

/// The system may be asked how much of a block was touched.
const ALLOWED: u8 = 1;
/// Some long block may ask for huge pages (`huge.rs`).
const ASKED: u8 = 2;

/// A bit of what is known.
const SPARSE: u8 = 0x80;

/// Whether a span has one of the lengths that are parked.
#[inline]
fn has_length(span: SpanRef) -> bool {
    let pages = span.pages().0;
    length_for(pages) == pages
}

/// What is known of a span that is being freed, without a look.
pub(super) struct Known<'a> {
    /// It is to be parked, so many of its pages being resident.
    pub(super) resident: Option<usize>,
    habit: Option<&'a AtomicU8>,
}

impl Known<'_> {
    /// Notes that one more was freed without a look.
    #[inline]
    pub(super) fn count_down(&self) {
        // As it is now: who waited for a lock may have learned long ago what he knows.
        if let Some(habit) = self.habit
            && let known = habit.load(Relaxed)
            && known & !SPARSE > 0
        {
            habit.store(known - 1, Relaxed);
        }
    }
}

/// What is known about blocks, for each doubling of lengths: whether they were found [`SPARSE`], and how many frees are left out until
/// one is looked at. Threads may disturb each other here: a guess is wrong for a few blocks then.
pub(super) struct Habits {
    doublings: [AtomicU8; DOUBLINGS],
    /// What to do when a block is freed: [`ALLOWED`], [`ASKED`].
    looks: AtomicU8,
    /// Whether any were ever found sparse.
    any: AtomicBool,
    /// Whether the system may be asked before large blocks are cleared.
    clearing_asks: AtomicBool,
    /// Spans in a row that were mostly resident when they were to be cleared, up to [`DENSE`]; beyond, spans to be cleared without a look.
    dense_clearings: AtomicU8,
}

impl Habits {
    pub(super) const fn new() -> Habits {
        let doublings = [const { AtomicU8::new(0) }; DOUBLINGS];
        Habits {
            doublings,
            looks: AtomicU8::new(0),
            any: AtomicBool::new(false),
            clearing_asks: AtomicBool::new(true),
            dense_clearings: AtomicU8::new(0),
        }
    }

    /// Whether to ask the system what is resident of `pages` pages that have to be cleared.
    pub(super) fn looks_before_clearing(&self, pages: usize) -> bool {
        /// Fewer are cleared as fast as looked at.
        const LEAST: usize = (256 << 10) / PAGE_SIZE;
        if pages < LEAST || !self.clearing_asks.load(Relaxed) {
            return false;
        }
        let dense = self.dense_clearings.load(Relaxed);
        if dense > DENSE {
            self.dense_clearings.store(dense - 1, Relaxed);
        }
        dense <= DENSE
    }

    /// Notes that of `len` bytes that had to be cleared `resident` were. After enough in a row that were mostly resident, most looks are left
    /// out.
    pub(super) fn note_clearing(&self, resident: usize, len: usize) {
        let dense = self.dense_clearings.load(Relaxed);
        let known = match resident > len / 4 * 3 {
            true if dense >= DENSE => DENSE + LEFT_OUT,
            true => dense + 1,
            false => 0,
        };
        self.dense_clearings.store(known, Relaxed);
    }

    #[inline]
    fn of(&self, pages: usize) -> Option<&AtomicU8> {
        if !(SHORTEST..=LONGEST).contains(&pages) {
            return None;
        }
        self.doublings.get(((pages - 1).ilog2() - (SHORTEST - 1).ilog2()) as usize)
    }

    /// The pages that a large block shall get to be parked one day, if blocks like it are sparse.
    #[inline]
    pub(super) fn length_if_sparse(&self, pages: usize) -> Option<usize> {
        if !self.any.load(Relaxed) {
            return None;
        }
        (self.of(pages)?.load(Relaxed) & SPARSE != 0).then(|| length_for(pages))
    }
}

/// What is parked. In pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parking {
    pub(super) pages: usize,
    /// What counts as dirty of them.
    pub(super) dirty: usize,
    /// Taken since the scavenger looked last.
    pub(super) taken: usize,
}

impl Parking {
    /// Dirty pages that are wanted, to be asked at each look: all, if as much was taken since the last one as is parked.
    pub(super) fn wanted(&mut self) -> usize {
        let taken = core::mem::replace(&mut self.taken, 0);
        if taken >= self.pages { self.dirty } else { 0 }
    }
}

impl<S: System> PageHeap<S> {
    /// From now on looks how much of large blocks is touched; not where addresses are scarce, since parking takes some.
    pub(crate) fn look_at_blocks(&self) {
        match self.system.address_space_limit() {
            None => self.habits.looks.fetch_or(ALLOWED, Relaxed),
            Some(_) => self.habits.looks.fetch_and(!ALLOWED, Relaxed),
        };
    }

    /// From now on long blocks are noticed when they are freed.
    pub(super) fn note_asked(&self) {
        self.habits.looks.fetch_or(ASKED, Relaxed);
    }

    /// Whether any may ask for huge pages.
    #[inline]
    pub(super) fn any_asked(&self) -> bool {
        self.habits.looks.load(Relaxed) & ASKED != 0
    }

    /// Whether the system may be asked what is resident of a large block that has to be cleared. It may at first.
    pub(crate) fn ask_before_clearing(&self, ask: bool) {
        self.habits.clearing_asks.store(ask, Relaxed);
    }

    /// Whether spans are parked at all: where every page counts, they are not.
    #[inline]
    pub(super) fn may_park(&self) -> bool {
        !self.policy.guards() && !self.policy.marks() && self.watch.limit() == usize::MAX
    }

    /// Whether a span that is being freed, which asks for no huge pages from now on, is to be parked: its resident pages then.
    #[inline]
    pub(super) fn parks(&self, span: SpanRef) -> Option<usize> {
        let looks = self.habits.looks.load(Relaxed);
        if looks == 0 {
            return None;
        }
        self.end_long(span, true);
        let known = match self.known_of(span) {
            Ok(known) => known,
            Err((habit, known)) => return self.look(span, habit, known).filter(|_| has_length(span)),
        };
        known.count_down();
        known.resident
    }

    /// What is known of a span that is being freed; else what has to be told by a [look](PageHeap::look).
    #[inline(always)]
    pub(super) fn known_of(&self, span: SpanRef) -> Result<Known<'_>, (&AtomicU8, u8)> {
        let nothing = Known { resident: None, habit: None };
        // In a small heap it is not worth asking the system.
        if self.habits.looks.load(Relaxed) & ALLOWED == 0 || self.watch.growth_mark() < LEAST {
            return Ok(nothing);
        }
        let Some(habit) = self.habits.of(span.pages().0) else { return Ok(nothing) };
        if !span.is(SpanState::Large) || !span.is_telling() || !self.may_park() {
            return Ok(nothing);
        }
        let known = habit.load(Relaxed);
        let is_left_out = known & !SPARSE > 0;
        let resident = match span.noted_look() {
            _ if known & SPARSE == 0 && is_left_out => None,
            Some(resident) if is_left_out => has_length(span).then_some(resident),
            _ => return Err((habit, known)),
        };
        Ok(Known { resident, habit: Some(habit) })
    }

    /// Looks how much of a block is resident that is being freed: how many pages, if it is sparse.
    #[cold]
    fn look(&self, span: SpanRef, habit: &AtomicU8, known: u8) -> Option<usize> {
        let (start, len, os_page) = (span.start(), span.bytes(), self.system.os_page_size());
        let looked_at = LOOKED_AT * os_page;
        if let Some(resident) = span.noted_look()
            && looked_at * SPARSE_PART <= len
            && self.system.resident_bytes((start + len / 2) / os_page * os_page, looked_at)
                <= looked_at / SPARSE_PART
        {
            habit.store(SPARSE | SPARSE_AGAIN, Relaxed);
            return Some(resident);
        }
        let (from, end) = (start.next_multiple_of(os_page), (start + len) / os_page * os_page);
        let resident = if from < end { self.system.resident_bytes(from, end - from) } else { len };
        if resident > len / SPARSE_PART {
            habit.store(DENSE_TURNS, Relaxed);
            if known & SPARSE != 0 {
                // Nobody knows any more what the others hold.
                self.locked(|op| op.unpark_all());
            }
            return None;
        }
        let turns = if known & !SPARSE > 0 { known - 1 } else { SPARSE_TURNS };
        habit.store(SPARSE | turns, Relaxed);
        self.habits.any.store(true, Relaxed);
        let resident = resident.div_ceil(PAGE_SIZE);
        span.note_look(resident);
        Some(resident)
    }
}

impl State {
    /// Whether so many pages more may be parked.
    #[inline(always)]
    pub(super) fn has_room_for(&self, pages: usize) -> bool {
        self.parking.pages + pages <= MOST * self.counts.used()
    }

    /// Parks a span of a known length that is in use no more.
    #[inline(always)]
    pub(super) fn park(&mut self, map: &PageMap, span: SpanRef, resident: usize) {
        let pages = span.pages().0;
        let first = map.index(span);
        dirty::set(map, first..first + pages);
        span.set_dirty_pages(resident);
        span.set_state(SpanState::Parked);
        self.counts.more_free(pages, resident);
        self.parked.insert(bin_of(pages), span);
        self.parking.pages += pages;
        self.parking.dirty += resident;
    }

    /// Takes a span out of the parked ones; how many of its pages were thought to be resident. It counts no more.
    #[inline(always)]
    pub(super) fn unpark(&mut self, span: SpanRef) -> usize {
        let (pages, resident) = (span.pages().0, span.dirty_pages());
        self.parked.remove(bin_of(pages), span);
        self.parking.pages -= pages;
        self.parking.dirty -= resident;
        self.counts.fewer_free(pages, resident);
        resident
    }
}

impl<S: System> Op<'_, S> {
    /// Parks a large block's span that is being freed; false, with nothing changed, if it shall be merged instead.
    pub(super) fn park(&mut self, span: SpanRef, resident: usize) -> bool {
        if self.state.tight || !span.is(SpanState::Large) || !self.state.has_room_for(span.pages().0) {
            return false;
        }
        self.state.counts.leave(span);
        span.forget_use();
        self.state.park(self.map, span, resident);
        self.watch.on_call(self.state.counts.used(), self.state.counts.free_dirty);
        true
    }

    /// A span of at least `pages` pages for a block that is probably sparse: a parked one, else one that was never touched, else any.
    pub(super) fn take_for_sparse(&mut self, pages: usize) -> Option<SpanRef> {
        let state = &*self.state;
        let exact = state.parked.bin(bin_of(pages)).first();
        let parked = exact.or_else(|| {
            // Untouched pages cost no memory, but addresses.
            let many = state.parking.pages > ENOUGH * state.counts.used();
            let longer = if many { state.parked.find(pages) } else { None };
            longer.filter(|span| span.pages().0 <= 2 * pages)
        });
        if let Some(span) = parked {
            self.unpark(span);
            self.state.parking.taken += span.pages().0;
            return Some(span);
        }
        let (clean, tight) = (state.clean.find(pages), state.tight);
        let untouched = clean.or_else(|| self.extend(pages, 1, false));
        if untouched.is_none() {
            // No refusal yet: dirty memory may serve.
            self.state.tight = tight;
        }
        let span = match untouched {
            Some(from) => self.cut(from, 0, pages, 0),
            None => self.take(pages, 1, 0),
        }?;
        span.begin_look(span.dirty_pages() == 0);
        Some(span)
    }

    /// Takes a span out of the parked ones. It counts no more, and is dirty all over for all that is known.
    pub(super) fn unpark(&mut self, span: SpanRef) {
        self.state.unpark(span);
        span.set_dirty_pages(span.pages().0);
    }

    /// The longest parked span, the one freed last among those.
    pub(super) fn longest_parked(&self) -> Option<SpanRef> {
        let bin = self.state.parked.bin_before(BINS)?;
        self.state.parked.bin(bin).first()
    }

    /// Merges all parked spans with what is free beside them; whether there were any.
    #[cold]
    pub(super) fn unpark_all(&mut self) -> bool {
        let any = self.state.parking.pages > 0;
        while let Some(span) = self.longest_parked() {
            self.unpark(span);
            self.file_merged(span, span.pages().0);
        }
        any
    }
}
