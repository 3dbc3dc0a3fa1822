//! Huge pages for a heap that grows, where the system gives them to those who ask (`madvise`).
//!
//! Clean memory is handed out from low addresses to high ones. When a span comes to lie on the first page of a piece of 2 MiB
//! whose rest is free and clean, the whole piece is made one huge page by its first touch: one page fault instead of
//! 512, and one entry of the processor's address translation. Only that piece asks for it, and only until it was touched:
//! afterwards it asks for none, so that the kernel does not fill up again what later goes back.
//!
//! The rest of the piece is resident from then on, hence dirty: so it is handed out next, and goes back like all that
//! is dirty. That is the price: less than 2 MiB, once, in heaps of at least [`LEAST`] bytes.
//!
//! Slabs and small large blocks are meant to be used all over; but a program may ask for buffers that it hardly fills. So the first huge pages
//! are made where the heap just below was touched. Of a block that covers whole pieces nobody knows: some programs fill
//! what they ask for, others ask for more than they use. So that is found out ([`Probe`]): now and then one such block is left as it is,
//! and if its memory was soon touched all over, those that come next are made of huge pages, too, up to [`LONGEST`] bytes.
//!
//! For longer blocks see `huge/long.rs`.
//!
//! In hardened mode no slab consists of huge pages, for its guard page breaks them. Long blocks do, by the same probe, where they cover
//! whole pieces; so that they cover more, they begin with one.
//!
//! A system whose memory is in small pieces has to collect a huge page first, which takes longer than it saves. So each touch is
//! timed, and slow ones are followed by ever more pieces without, until the process has worked for long: what is touched again and again is
//! found sooner in huge pages, so they pay in the end. (mimalloc 2.3 and later ask for huge pages for all of
//! their memory; TCMalloc's huge-page-aware page heap packs them: Hunter et al., OSDI 2021.)
//!
//! # Safety
//!
//! What is touched is a clean page of a span that this thread was just handed: it reads as zero, and zero is written.
#![allow(unsafe_code)]

pub(super) mod long;

use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::System;

pub(crate) use self::long::FIRST_LOOK_NS;
use self::long::LongProbe;
pub(super) use self::long::{Fillings, is_long, is_worth_asking};
use super::policy::HugePages;
use super::span::SpanRef;
use super::state::Op;
use super::{PageHeap, dirty};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Pages of a huge page.
pub(super) const PIECE: usize = (2 << 20) >> PAGE_SHIFT;
/// So many pages of a huge page, free in one span, are worth breaking it: a quarter.
const WORTH_BREAKING: usize = PIECE / 4;
/// Pages in use below which a heap is too small for it: 12 MiB.
pub(super) const LEAST: usize = (12 << 20) >> PAGE_SHIFT;
/// A touch that takes longer does not pay: about what 512 page faults take.
const SLOW_NS: u64 = 700_000;
/// Most pieces that are left out after a slow touch.
const MOST_LEFT_OUT: u32 = 256;
/// But none any more once the process has worked so many times as long as the touch took.
const WORTH: u64 = 16;

/// The longest blocks that are made of huge pages at once: 8 MiB, which takes half a millisecond.
const LONGEST: usize = (8 << 20) >> PAGE_SHIFT;
/// Where a heap takes longer to grow by a piece, in nanoseconds, the page faults that a huge page saves are less than a fiftieth of the time.
const FILLED_NS: u64 = 20_000_000;
/// That decides while a piece is more than one part in so many of what is in use: below 32 MiB.
const LITTLE_PART: usize = 16;
/// So many times huge pages are asked for after one that came fast, until it is seen again how long they take.
const FAST: u32 = 16;
/// Long blocks from one that is left as it is to the next, while they are touched all over.
const TOUCHED_TURNS: u32 = 8;
/// The same while they are not, when looking costs more than it brings.
const UNTOUCHED_TURNS: u32 = 64;
/// So many blocks after the probe, it is looked at already.
const EARLY_LOOKS: u32 = 3;

/// Huge pages that are remembered, by their address: those of 8 GiB, beyond that the ones made last.
const REMEMBERED: usize = 4096;

const UNKNOWN: u8 = 0;
const OFFERED: u8 = 1;
const NOT_OFFERED: u8 = 2;

/// What is known about huge pages here.
pub(super) struct Huge {
    offer: AtomicU8,
    /// Pieces that are still to be left out.
    left_out: AtomicU32,
    /// How many were left out the last time.
    lately: AtomicU32,
    /// When the last slow touch has paid: by the process's time.
    paid: AtomicU64,
    /// For so many requests more they are known to come fast.
    known_fast: AtomicU32,
    /// When the heap grew by a piece last: by the process's time.
    grown: AtomicU64,
    probe: Probe,
    long: LongProbe,
    /// The huge pages that were made and not broken since: each one's first page, as a multiple of [`PIECE`].
    made: [AtomicU32; REMEMBERED],
}

/// What becomes of long blocks. Threads may disturb each other here: a guess is wrong for a few blocks then.
struct Probe {
    /// A clean piece of the block that was left as it is; 0 for none.
    piece: AtomicUsize,
    /// Blocks that came since.
    since: AtomicU32,
    /// Whether it was touched all over when looked at last.
    touched: AtomicBool,
}

impl Probe {
    const fn new() -> Probe {
        Probe { piece: AtomicUsize::new(0), since: AtomicU32::new(0), touched: AtomicBool::new(false) }
    }

    /// Whether a long block with the clean piece at `piece` is to be made of huge pages.
    fn ask(&self, system: &impl System, piece: usize) -> bool {
        let (probe, touched) = (self.piece.load(Relaxed), self.touched.load(Relaxed));
        let since = self.since.load(Relaxed) + 1;
        let ends = probe == 0 || since >= if touched { TOUCHED_TURNS } else { UNTOUCHED_TURNS };
        let looks = ends || (!touched && since <= EARLY_LOOKS);
        let touched =
            if looks { probe != 0 && system.seems_touched(probe, PIECE * PAGE_SIZE) } else { touched };
        self.touched.store(touched, Relaxed);
        self.since.store(if ends { 0 } else { since }, Relaxed);
        if ends {
            self.piece.store(piece, Relaxed);
        }
        touched && !ends
    }
}

impl Huge {
    pub(super) const fn new() -> Huge {
        Huge {
            offer: AtomicU8::new(UNKNOWN),
            left_out: AtomicU32::new(0),
            lately: AtomicU32::new(0),
            paid: AtomicU64::new(0),
            known_fast: AtomicU32::new(0),
            grown: AtomicU64::new(0),
            probe: Probe::new(),
            long: LongProbe::new(),
            made: [const { AtomicU32::new(0) }; REMEMBERED],
        }
    }

    /// Whether the page, of the address space, lies in a huge page.
    #[inline]
    pub(super) fn has(&self, page: usize) -> bool {
        let piece = page / PIECE;
        self.made[piece % REMEMBERED].load(Relaxed) as usize == piece
    }

    /// The piece at this page, of the address space, is a huge page.
    fn note_made(&self, page: usize) {
        let piece = page / PIECE;
        self.made[piece % REMEMBERED].store(piece as u32, Relaxed);
    }

    /// These pages, of the address space, at least one, go back: what they lie in is no huge page any more.
    pub(super) fn note_broken(&self, pages: Range<usize>) {
        for piece in pages.start / PIECE..=(pages.end - 1) / PIECE {
            if self.has(piece * PIECE) {
                self.made[piece % REMEMBERED].store(0, Relaxed);
            }
        }
    }

    /// Leaves out of `pages`, of the address space, what would break a huge page of which they cover less than a quarter.
    pub(super) fn spare(&self, pages: Range<usize>) -> Range<usize> {
        let Range { mut start, mut end } = pages;
        let piece_end = (start + 1).next_multiple_of(PIECE);
        if self.has(start) && end.min(piece_end) - start < WORTH_BREAKING {
            start = end.min(piece_end);
        }
        let piece = end.saturating_sub(1) / PIECE * PIECE;
        if start < end && self.has(end - 1) && end - start.max(piece) < WORTH_BREAKING {
            end = start.max(piece);
        }
        start..end
    }

    /// Whether the system gives huge pages to those who ask.
    fn is_offered(&self, system: &impl System) -> bool {
        if self.offer.load(Relaxed) == UNKNOWN {
            self.offer.store(if system.offers_huge_pages() { OFFERED } else { NOT_OFFERED }, Relaxed);
        }
        self.offer.load(Relaxed) == OFFERED
    }

    /// Whether the next piece is to be one: not soon after slow touches.
    fn is_due(&self, process_ns: impl FnOnce() -> u64) -> bool {
        let left_out = self.left_out.load(Relaxed);
        if left_out == 0 {
            return true;
        }
        // Two threads may count one piece: a guess is wrong for a few pieces then.
        self.left_out.store(left_out - 1, Relaxed);
        process_ns() >= self.paid.load(Relaxed)
    }

    /// Whether the heap, which grows by so many pieces, does so fast enough that page faults are a matter to the program.
    fn grows_fast(&self, pieces: usize, now: u64) -> bool {
        let last = self.grown.swap(now, Relaxed);
        now.saturating_sub(last) < FILLED_NS * pieces as u64
    }

    /// A touch took `took_ns`, until now.
    fn learn(&self, took_ns: u64, process_ns: impl FnOnce() -> u64) {
        let is_slow = took_ns >= SLOW_NS;
        let lately = if is_slow { (self.lately.load(Relaxed) * 4).clamp(4, MOST_LEFT_OUT) } else { 0 };
        self.lately.store(lately, Relaxed);
        self.left_out.store(lately, Relaxed);
        self.known_fast.store(if is_slow { 0 } else { FAST }, Relaxed);
        if is_slow {
            self.paid.store(process_ns().saturating_add(took_ns.saturating_mul(WORTH)), Relaxed);
        }
    }

    /// Whether huge pages are known to come fast, and one request less will be.
    fn are_fast(&self) -> bool {
        let known = self.known_fast.load(Relaxed);
        self.known_fast.store(known.saturating_sub(1), Relaxed);
        known > 0
    }
}

/// Whether the first page of a piece lies in a span.
#[inline]
pub(super) fn begins_piece(span: SpanRef) -> bool {
    last_piece(span) >= span.first_page()
}

/// The first page of the piece in which the span ends.
#[inline]
fn last_piece(span: SpanRef) -> usize {
    end_of(span).wrapping_sub(1) / PIECE * PIECE
}

/// The page behind the span.
#[inline]
fn end_of(span: SpanRef) -> usize {
    span.first_page() + span.pages().0
}

impl<S: System> PageHeap<S> {
    /// Makes the clean pieces that begin in a span just handed out huge pages, if those can be had and pay.
    #[cold]
    pub(super) fn warm(&self, span: SpanRef) {
        // Guards stand on what has just been handed out: see `warm_opened`.
        let auto = self.policy.huge_pages() == HugePages::Auto && !self.policy.guards();
        if !auto || self.watch.limit() != usize::MAX {
            return;
        }
        if is_long(span.pages().0) {
            return if span.may_ask() {
                self.ask_long(span)
            };
        }
        let end = end_of(span);
        let is_clean = |piece: usize| self.is_clean(piece..(piece + PIECE).min(end));
        let first = span.first_page().next_multiple_of(PIECE);
        let clean = (first..=last_piece(span)).step_by(PIECE).filter(|&piece| is_clean(piece));
        if clean.clone().next().is_none() || !self.is_used_enough() || !self.huge.is_offered(&self.system) {
            return;
        }
        if !self.is_worth(clean.clone().count()) {
            return;
        }
        if span.pages().0 > PIECE / 2 {
            let probe = &self.huge.probe;
            let is_wanted = match clean.clone().find(|piece| piece + PIECE <= end) {
                Some(whole) => probe.ask(&self.system, whole * PAGE_SIZE),
                None => probe.touched.load(Relaxed),
            };
            if !is_wanted {
                return;
            }
        } else if !self.is_dense_below(first) {
            return;
        }
        for piece in clean {
            if self.huge.is_due(|| self.system.process_ns())
                && (piece + PIECE <= end || self.locked(|op| op.take_piece(span)))
            {
                self.make_huge(piece * PAGE_SIZE);
                span.begin_look(false);
            }
        }
    }

    /// Whether these pages, of the address space, in a span that is in use, were clean when that was handed out: its bits stay what they were.
    fn is_clean(&self, pages: Range<usize>) -> bool {
        let base = self.map.base();
        dirty::count(&self.map, pages.start - base..pages.end - base) == 0
    }

    /// Whether the piece at this page, of the address space, was touched all over.
    fn is_touched(&self, piece: usize) -> bool {
        self.is_touched_from(piece * PAGE_SIZE)
    }

    /// The same of as many bytes from `start` on.
    fn is_touched_from(&self, start: usize) -> bool {
        let len = PIECE * PAGE_SIZE;
        self.system.seems_touched(start, len) && self.system.resident_bytes(start, len) >= len / 8 * 7
    }

    /// Whether the heap is used all over just below a piece: of the last piece but one, whose blocks have been in use for a while, half
    /// is resident. Where it is huge already it is, so this tells until the first are made. Where nobody may be asked, no.
    fn is_dense_below(&self, piece: usize) -> bool {
        let bytes = PIECE * PAGE_SIZE;
        self.system.tells_what_is_resident()
            && self.system.resident_bytes((piece - 2 * PIECE) * PAGE_SIZE, bytes) >= bytes / 2
    }

    /// The same of a large block with guards behind its first `bytes` bytes: the pieces that lie in those as a whole. What guarded them
    /// before left a table of small pages each, which a purge takes away (Linux 6.14; before, they stay small).
    #[cold]
    pub(super) fn warm_opened(&self, span: SpanRef, bytes: usize) {
        let (first, behind) = self.pieces_of(span, bytes);
        if first >= behind
            || !span.is_zeroed()
            || self.policy.huge_pages() != HugePages::Auto
            || self.watch.limit() != usize::MAX
            || span.pages().0 > LONGEST
            || !self.is_used_enough()
            || !self.huge.is_offered(&self.system)
            || !self.huge.probe.ask(&self.system, first * PAGE_SIZE)
        {
            return;
        }
        for start in (first..behind).step_by(PIECE).map(|piece| piece * PAGE_SIZE) {
            let due = self.huge.is_due(|| self.system.process_ns());
            // SAFETY: clean pages of a span that was just handed out.
            if due && unsafe { self.system.purge(start, PIECE * PAGE_SIZE) }.is_ok() {
                self.make_huge(start);
            }
        }
    }

    /// At a multiple of how many bytes a large block of `bytes` bytes is to begin that ends with guards, so that it covers as many pieces as
    /// it can.
    pub(crate) fn piece_alignment(&self, bytes: usize) -> usize {
        let wanted = self.policy.guards()
            && (PIECE..LONGEST).contains(&(bytes >> PAGE_SHIFT))
            && self.watch.limit() == usize::MAX
            && self.huge.probe.touched.load(Relaxed);
        if wanted { PIECE * PAGE_SIZE } else { 1 }
    }

    /// Whether the heap may grow by so many huge pages: it is large beside what may stay unused of the last, or grows fast.
    fn is_worth(&self, pieces: usize) -> bool {
        // The process's clock takes its time where there are many threads, and is not read where nobody may ask.
        self.locked(|op| op.state.counts.used()) >= LITTLE_PART * PIECE
            || !self.system.tells_what_is_resident()
            || self.huge.grows_fast(pieces, self.system.process_ns())
    }

    /// Whether so much is in use that huge pages are worth it.
    #[cold]
    #[inline(never)]
    fn is_used_enough(&self) -> bool {
        self.locked(|op| op.state.counts.used() >= LEAST)
    }

    /// The first page of the first piece in the first `bytes` bytes of a span, and the page behind the last.
    fn pieces_of(&self, span: SpanRef, bytes: usize) -> (usize, usize) {
        let end = span.first_page() + (bytes >> PAGE_SHIFT);
        (span.first_page().next_multiple_of(PIECE), end / PIECE * PIECE)
    }

    /// Makes the clean piece at `start`, whose first page is the caller's, a huge page.
    fn make_huge(&self, start: usize) {
        let began = self.system.thread_ns();
        self.system.ask_for_huge_pages(start, PIECE * PAGE_SIZE, true);
        let page: *const AtomicUsize = with_exposed_provenance_mut(start);
        // SAFETY: a page of the span, aligned, mapped, and this thread's alone.
        unsafe { &*page }.store(0, Relaxed);
        self.system.ask_for_huge_pages(start, PIECE * PAGE_SIZE, false);
        let ended = self.system.thread_ns();
        if self.system.seems_touched(start, PIECE * PAGE_SIZE) {
            self.huge.note_made(start >> PAGE_SHIFT);
        }
        self.huge.learn(ended.saturating_sub(began), || self.system.process_ns());
    }
}

impl<S: System> Op<'_, S> {
    /// Whether the rest of the piece that begins in `span` is free and clean; marks it dirty then.
    fn take_piece(&mut self, span: SpanRef) -> bool {
        let end = self.map.index(span) + span.pages().0;
        let piece_end = (self.map.base() + end).next_multiple_of(PIECE) - self.map.base();
        if end == piece_end {
            return true;
        }
        let Some(next) = self.free_at(end) else { return false };
        if next.dirty_pages() > 0 || end + next.pages().0 < piece_end {
            return false;
        }
        dirty::set(self.map, end..piece_end);
        self.reshape(next, end, next.pages().0, piece_end - end);
        true
    }

    /// Pages to add to an extent of `pages` pages from page `index` of the window on, so that it ends with a piece.
    pub(super) fn to_end_of_piece(&self, index: usize, pages: usize) -> usize {
        if self.state.counts.mapped() < LEAST {
            return 0;
        }
        let end = self.map.base() + index + pages;
        end.next_multiple_of(PIECE) - end
    }
}

#[cfg(test)]
mod tests {
    use freestone_base::PageCount;
    use freestone_sys::sim::Simulated;

    use super::super::purge::{Breaking, MOST_SPARED};
    use super::*;

    #[test]
    fn a_known_huge_page_is_spared_where_less_than_a_quarter_of_it_would_go() {
        let huge = Huge::new();
        let (known, after) = (5 * PIECE, 6 * PIECE);
        huge.made[5].store(5, Relaxed);
        // Within it, a little and a quarter.
        assert!(huge.spare(known + 9..known + 9 + WORTH_BREAKING - 1).is_empty());
        assert_eq!(huge.spare(known..known + WORTH_BREAKING), known..known + WORTH_BREAKING);
        // From it into the next, from the one before, and all of it.
        assert_eq!(huge.spare(after - 8..after + 8), after..after + 8);
        assert_eq!(huge.spare(known - 8..known + 8), known - 8..known);
        assert_eq!(huge.spare(known - 8..after + 8), known - 8..after + 8);
        // Another that shares its place in the table is not known, and leaves it alone.
        let other = known + REMEMBERED * PIECE;
        assert_eq!(huge.spare(other..other + 1), other..other + 1);
        huge.note_broken(other..other + 1);
        assert!(huge.has(known));
        huge.note_broken(known - 8..known + 1);
        assert_eq!(huge.spare(known + 9..known + 10), known + 9..known + 10);
    }

    #[test]
    fn spans_in_huge_pages_stay_and_do_not_keep_others() {
        let system = Simulated::new();
        let heap = PageHeap::new(&system);
        let take = |pages: usize| heap.alloc_large(pages * PAGE_SIZE, 1, false).unwrap();
        let spans: Vec<_> = (0..3 * MOST_SPARED).map(|_| [take(3), take(1)]).collect();
        // The longest, which are looked at first, lie in no huge page.
        let ordinary: Vec<_> = (0..2 * MOST_SPARED).map(|_| [take(4), take(1)]).collect();
        let long = [take(WORTH_BREAKING), take(1)];
        for piece in spans.iter().map(|pair| pair[0].first_page() / PIECE) {
            heap.huge.made[piece % REMEMBERED].store(piece as u32, Relaxed);
        }
        let in_huge = |span: SpanRef| heap.huge.has(span.first_page());
        let kept = spans.iter().chain(&ordinary).filter(|pair| in_huge(pair[0]));
        let kept: usize = kept.map(|pair| pair[0].pages().0).sum();
        spans.iter().chain(&ordinary).chain([&long]).for_each(|pair| heap.free(pair[0]));
        let dirty = || heap.stats().free_dirty / PAGE_SIZE;
        let purged = heap.purge_breaking(PageCount(usize::MAX), Breaking::Worthy).0;
        assert!(
            dirty() == kept && purged > 0 && kept > 3 * MOST_SPARED,
            "{purged} went, {} of {kept} stay",
            dirty()
        );
        assert_eq!(heap.purge_breaking(PageCount(usize::MAX), Breaking::Any).0, kept);
        assert_eq!((dirty(), heap.verify()), (0, Ok(())));
        assert!(!spans.iter().any(|pair| in_huge(pair[0])));
    }

    #[test]
    fn a_slow_touch_is_made_up_for_by_work() {
        let huge = Huge::new();
        assert!(huge.is_due(|| 0));
        huge.learn(SLOW_NS, || 1_000_000);
        let paid = 1_000_000 + SLOW_NS * WORTH;
        assert!(!huge.is_due(|| paid - 1) && huge.is_due(|| paid) && !huge.are_fast());
        huge.learn(SLOW_NS / 2, || paid);
        assert!(huge.is_due(|| 0));
        assert_eq!((0..2 * FAST).filter(|_| huge.are_fast()).count(), FAST as usize);
    }

    #[test]
    fn a_heap_grows_fast_where_it_takes_little_of_the_time_to_fill_a_piece() {
        let huge = Huge::new();
        assert!(huge.grows_fast(1, FILLED_NS - 1));
        assert!(!huge.grows_fast(1, 2 * FILLED_NS));
        assert!(!huge.grows_fast(2, 4 * FILLED_NS) && huge.grows_fast(2, 6 * FILLED_NS - 1));
        // In a child of fork, whose clock begins anew.
        assert!(huge.grows_fast(1, 5));
    }
}
