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
//! Of longer blocks nothing but one piece is touched: their clean pieces ask for huge pages as long as the block lives, so that only what the
//! program uses becomes resident ([`LongProbe`]). So does what a block gets when it grows, if what it had was touched all over. And where
//! nothing is known yet, the allocator's own thread looks at a long block, after a millisecond and again, ever more rarely: if its beginning was
//! touched all over by then, somebody fills it, and it asks for the rest.
//!
//! In hardened mode no slab consists of huge pages, for its guard page breaks them. Long blocks do, by the same probe, where they cover
//! whole pieces; so that they cover more, they begin with one.
//!
//! A system whose memory is in small pieces has to collect a huge page first, which takes longer than it saves. So each touch is
//! timed, and slow ones are followed by ever more pieces without, until the thread has worked for long: what is touched again and again is
//! found sooner in huge pages, so they pay in the end. (mimalloc 2.3 and later ask for huge pages for all of
//! their memory; TCMalloc's huge-page-aware page heap packs them: Hunter et al., OSDI 2021.)
//!
//! # Safety
//!
//! What is touched is a clean page of a span that this thread was just handed: it reads as zero, and zero is written.
#![allow(unsafe_code)]

use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::System;

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
/// But none any more once the thread has worked so many times as long as the touch took.
const WORTH: u64 = 16;

/// The longest blocks that are made of huge pages at once: 8 MiB, which takes half a millisecond.
pub(super) const LONGEST: usize = (8 << 20) >> PAGE_SHIFT;
/// Longer ones ask for them, if blocks of half the length were touched all over.
const LONGER: usize = 2;
/// Long blocks from one of which a piece is left as it is to the next. After as many again the first is forgotten.
const LONG_TURNS: u32 = 8;
/// So many pieces at a long block's beginning that are touched all over tell that it is being filled.
const BEGUN: usize = 2;
/// How often it is looked at: after a millisecond, then after twice as long each time.
const LOOKS: u32 = 8;
const FIRST_LOOK_NS: u64 = 1_000_000;
/// Long blocks that are looked at in this way at once, those handed out last.
const LOOKED_AT: usize = 4;
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
    /// When the last slow touch has paid: a time of the thread's own clock.
    paid: AtomicU64,
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

/// The same for blocks longer than [`LONGEST`]: one of them at a time has a piece that is left as it is. Whether it was touched all over
/// tells of blocks up to [`LONGER`] times as long.
struct LongProbe {
    /// That piece; 0 for none.
    piece: AtomicUsize,
    /// The pages of the block.
    pages: AtomicUsize,
    /// Long blocks that came since.
    since: AtomicU32,
    /// The pages of the longest block that was touched all over.
    touched: AtomicUsize,
    /// Whether anything is known yet. Until then shorter blocks tell.
    is_known: AtomicBool,
}

impl LongProbe {
    const fn new() -> LongProbe {
        LongProbe {
            piece: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            since: AtomicU32::new(0),
            touched: AtomicUsize::new(0),
            is_known: AtomicBool::new(false),
        }
    }

    /// Whether a block of `pages` pages is to ask for huge pages, and whether its piece at `piece` is left as it is.
    fn ask(
        &self,
        system: &impl System,
        pages: usize,
        piece: usize,
        shorter_are_touched: bool,
    ) -> (bool, bool) {
        let pending = self.piece.load(Relaxed);
        if pending != 0 && system.seems_touched(pending, PIECE * PAGE_SIZE) {
            self.learn(true);
        }
        let since = self.since.load(Relaxed) + 1;
        self.since.store(since, Relaxed);
        let is_new = !self.is_known.load(Relaxed) || pages > self.touched.load(Relaxed);
        let is_due = is_new || since >= LONG_TURNS;
        let is_probe = is_due && (self.piece.load(Relaxed) == 0 || since >= 2 * LONG_TURNS);
        if is_probe {
            self.piece.store(piece, Relaxed);
            self.pages.store(pages, Relaxed);
            self.since.store(0, Relaxed);
        }
        let touched = match self.is_known.load(Relaxed) {
            true => self.touched.load(Relaxed),
            false => {
                if shorter_are_touched {
                    LONGEST
                } else {
                    0
                }
            }
        };
        (pages <= LONGER * touched, is_probe)
    }

    /// The block with the piece was touched all over, or was not.
    fn learn(&self, is_touched: bool) {
        let (pages, known) = (self.pages.load(Relaxed), self.touched.load(Relaxed));
        let touched = if is_touched { known.max(pages) } else { known.min(pages / LONGER / 2) };
        self.touched.store(touched, Relaxed);
        self.is_known.store(true, Relaxed);
        self.piece.store(0, Relaxed);
    }

    /// A block on these pages, of the address space, is no more, or not what it was.
    fn end(&self, system: &impl System, pages: Range<usize>) {
        let piece = self.piece.load(Relaxed);
        if pages.contains(&(piece / PAGE_SIZE)) {
            self.learn(system.seems_touched(piece, PIECE * PAGE_SIZE));
        }
    }
}

/// A long block of which nobody knows how it will be used.
#[derive(Clone, Copy)]
pub(super) struct Filling {
    span: SpanRef,
    pages: usize,
    /// How often it was looked at.
    looks: u32,
    /// A piece that is to be left as it is.
    but: Option<usize>,
}

/// Those handed out last. Guarded by the page heap's lock.
pub(super) struct Fillings([Option<Filling>; LOOKED_AT]);

impl Fillings {
    pub(super) const fn new() -> Fillings {
        Fillings([None; LOOKED_AT])
    }

    /// Enters one, in the place of the one that was looked at most often where there is no other.
    fn enter(&mut self, filling: Filling) {
        let looks = |place: &Option<Filling>| place.map_or(u32::MAX, |known| known.looks);
        let place = self.0.iter_mut().max_by_key(|place| looks(place));
        place.into_iter().for_each(|place| *place = Some(filling));
    }

    fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// From one look to the next, `None` if there is nothing to look at.
    fn next(&self) -> Option<u64> {
        self.0.iter().flatten().map(|filling| FIRST_LOOK_NS << filling.looks).min()
    }

    fn forget(&mut self, span: SpanRef) {
        for place in &mut self.0 {
            if place.is_some_and(|filling| filling.span == span) {
                *place = None;
            }
        }
    }
}

impl Huge {
    pub(super) const fn new() -> Huge {
        Huge {
            offer: AtomicU8::new(UNKNOWN),
            left_out: AtomicU32::new(0),
            lately: AtomicU32::new(0),
            paid: AtomicU64::new(0),
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
    fn is_due(&self, thread_ns: u64) -> bool {
        let left_out = self.left_out.load(Relaxed);
        // Two threads may count one piece, and each has a clock of its own: a guess is wrong for a few pieces then.
        self.left_out.store(left_out.saturating_sub(1), Relaxed);
        left_out == 0 || thread_ns >= self.paid.load(Relaxed)
    }

    /// A touch took `took_ns`, until `thread_ns`.
    fn learn(&self, took_ns: u64, thread_ns: u64) {
        let lately =
            if took_ns < SLOW_NS { 0 } else { (self.lately.load(Relaxed) * 4).clamp(4, MOST_LEFT_OUT) };
        self.lately.store(lately, Relaxed);
        self.left_out.store(lately, Relaxed);
        self.paid.store(thread_ns.saturating_add(took_ns.saturating_mul(WORTH)), Relaxed);
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
        if span.pages().0 > LONGEST {
            return self.ask_long(span);
        }
        let (base, end) = (self.map.base(), end_of(span));
        // The bits of a span in use stay what they were when it was handed out.
        let is_clean =
            |piece: usize| dirty::count(&self.map, piece - base..(piece + PIECE).min(end) - base) == 0;
        let first = span.first_page().next_multiple_of(PIECE);
        let clean = (first..=last_piece(span)).step_by(PIECE).filter(|&piece| is_clean(piece));
        if clean.clone().next().is_none()
            || !self.locked(|op| op.state.counts.used() >= LEAST)
            || !self.huge.is_offered(&self.system)
        {
            return;
        }
        if span.pages().0 > PIECE / 2 {
            let probe = &self.huge.probe;
            let is_wanted = match clean.clone().find(|piece| piece + PIECE <= end) {
                Some(whole) => probe.ask(&self.system, whole * PAGE_SIZE),
                None => probe.touched.load(Relaxed) || self.is_dense_below(first),
            };
            if !is_wanted {
                return;
            }
        } else if !self.is_dense_below(first) {
            return;
        }
        for piece in clean {
            if self.huge.is_due(self.system.thread_ns())
                && (piece + PIECE <= end || self.locked(|op| op.take_piece(span)))
            {
                self.make_huge(piece * PAGE_SIZE);
                span.begin_look(false);
            }
        }
    }

    /// Has the clean pieces of a long span just handed out ask for huge pages, if such blocks were touched all over.
    #[cold]
    #[inline(never)]
    fn ask_long(&self, span: SpanRef) {
        let (first, behind) = self.pieces_of(span, span.bytes());
        let clean = || (first..behind).step_by(PIECE).filter(|&piece| self.is_clean(piece));
        let Some(middle) = clean().nth(clean().count() / 2) else { return };
        if !self.huge.is_offered(&self.system) || !self.locked(|op| op.state.counts.used() >= LEAST) {
            return;
        }
        self.note_long_blocks();
        let (shorter, pages) = (self.huge.probe.touched.load(Relaxed), span.pages().0);
        let (wanted, is_probe) = self.huge.long.ask(&self.system, pages, middle * PAGE_SIZE, shorter);
        let but = is_probe.then_some(middle);
        if wanted {
            // What is free of the piece in which it ends becomes resident with it, if it is touched.
            let (last, end) = (last_piece(span), end_of(span));
            let takes_last = last == behind && end > last && self.is_clean_until(last, end);
            let takes_last = takes_last && self.locked(|op| op.take_piece(span));
            let behind = if takes_last { behind + PIECE } else { behind };
            self.ask_for_pieces(span, first..behind, but, true);
        } else {
            self.locked(|op| op.state.filling.enter(Filling { span, pages, looks: 0, but }));
            self.watch.ring();
        }
    }

    /// Whether long blocks are waiting to be [looked at](PageHeap::look_at_long).
    pub(crate) fn waits_for_looks(&self) -> bool {
        self.locked(|op| op.state.filling.any())
    }

    /// Looks whether those who were handed long blocks lately fill them from the beginning on; such a block asks for huge pages from then on.
    /// When to look again, in nanoseconds from now.
    pub(crate) fn look_at_long(&self) -> Option<u64> {
        let next = self.locked(|op| op.state.filling.next())?;
        for (place, filling) in self.locked(|op| op.state.filling.0).into_iter().enumerate() {
            let Some(filling) = filling else { continue };
            // It may be freed at any time: what is seen then is of no use, and found out below.
            let (first, behind) = self.pieces_of(filling.span, filling.pages * PAGE_SIZE);
            let mut begun = (first..behind).step_by(PIECE).filter(|&piece| self.is_clean(piece)).take(BEGUN);
            let is_filled = first + BEGUN * PIECE <= behind
                && begun.all(|piece| self.system.seems_touched(piece * PAGE_SIZE, PIECE * PAGE_SIZE));
            self.locked(|op| {
                let Some(known) = &mut op.state.filling.0[place] else { return };
                // Another block may have got the record.
                let pieces = self.pieces_of(known.span, known.pages * PAGE_SIZE);
                if known.span != filling.span || pieces != (first, behind) {
                    return;
                }
                known.looks += 1;
                if is_filled || known.looks == LOOKS {
                    op.state.filling.0[place] = None;
                }
                // Nobody frees it before the lock is left. Where huge pages are slow, none.
                if is_filled && self.huge.left_out.load(Relaxed) == 0 {
                    self.ask_for_pieces(filling.span, first..behind, filling.but, false);
                }
            });
        }
        Some(next)
    }

    /// A long block has grown by all that is behind its first `had` pages: has that ask for huge pages, if what it had was touched all
    /// over. The other pieces ask for none.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_grown(&self, span: SpanRef, had: usize) {
        let auto = self.policy.huge_pages() == HugePages::Auto && self.watch.limit() == usize::MAX;
        let (_, behind) = self.pieces_of(span, span.bytes());
        let first = (span.first_page() + had).next_multiple_of(PIECE);
        if auto
            && span.pages().0 > LONGEST
            && first < behind
            && self.huge.is_offered(&self.system)
            && self.system.seems_touched(span.start(), had * PAGE_SIZE)
        {
            self.note_long_blocks();
            self.ask_for_pieces(span, first..behind, None, true);
        }
    }

    /// Has the clean pieces of these pages of a long span ask for huge pages, but for one. With `touch`, the first is touched, to see what it
    /// takes, and nobody has touched any.
    fn ask_for_pieces(&self, span: SpanRef, pages: Range<usize>, but: Option<usize>, touch: bool) {
        let end = end_of(span);
        let is_clean = |piece: usize| self.is_clean_until(piece, end.min(piece + PIECE));
        let pieces = pages.step_by(PIECE).filter(|&piece| Some(piece) != but && is_clean(piece));
        let mut asking: Option<Range<usize>> = None;
        for piece in pieces {
            if touch && !self.huge.is_due(self.system.thread_ns()) {
                continue;
            }
            match &mut asking {
                None if touch => {
                    if self.make_huge(piece * PAGE_SIZE) {
                        asking = Some(piece + PIECE..piece + PIECE);
                    }
                }
                None => asking = Some(piece..piece + PIECE),
                Some(range) if range.end == piece => range.end += PIECE,
                Some(range) => {
                    self.ask(range);
                    *range = piece..piece + PIECE;
                }
            }
        }
        if let Some(range) = asking {
            span.note_asking();
            self.ask(&range);
        }
    }

    /// Has these pages, of the address space, ask for huge pages.
    fn ask(&self, pages: &Range<usize>) {
        if !pages.is_empty() {
            self.system.ask_for_huge_pages(pages.start * PAGE_SIZE, pages.len() * PAGE_SIZE, true);
        }
    }

    /// A long block is freed, or changes its size: from now on its pages ask for nothing. What they are made of stays as it is.
    #[cold]
    #[inline(never)]
    pub(super) fn end_long(&self, span: SpanRef) {
        self.huge.long.end(&self.system, span.page_range());
        self.locked(|op| op.state.filling.forget(span));
        if span.is_asking() {
            span.begin_look(false);
            let (first, behind) = self.pieces_of(span, span.bytes());
            // Where it asked for all of the piece in which it ends, the rest of that does so still; but a huge page takes a whole one.
            self.system.ask_for_huge_pages(span.start(), span.bytes(), false);
            (first..behind).step_by(PIECE).for_each(|piece| self.huge.note_made(piece));
        }
    }

    /// Whether the piece at this page, of the address space, in a span that is in use, was clean when that was handed out.
    fn is_clean(&self, piece: usize) -> bool {
        self.is_clean_until(piece, piece + PIECE)
    }

    /// The same of its pages before `end`.
    fn is_clean_until(&self, piece: usize, end: usize) -> bool {
        let base = self.map.base();
        dirty::count(&self.map, piece - base..end - base) == 0
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
            || !self.locked(|op| op.state.counts.used() >= LEAST)
            || !self.huge.is_offered(&self.system)
            || !self.huge.probe.ask(&self.system, first * PAGE_SIZE)
        {
            return;
        }
        for start in (first..behind).step_by(PIECE).map(|piece| piece * PAGE_SIZE) {
            let due = self.huge.is_due(self.system.thread_ns());
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

    /// The first page of the first piece in the first `bytes` bytes of a span, and the page behind the last.
    fn pieces_of(&self, span: SpanRef, bytes: usize) -> (usize, usize) {
        let end = span.first_page() + (bytes >> PAGE_SHIFT);
        (span.first_page().next_multiple_of(PIECE), end / PIECE * PIECE)
    }

    /// Makes the clean piece at `start`, whose first page is the caller's, a huge page; whether it came quickly.
    fn make_huge(&self, start: usize) -> bool {
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
        self.huge.learn(ended.saturating_sub(began), ended);
        ended.saturating_sub(began) < SLOW_NS
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
        assert!(huge.is_due(0));
        huge.learn(SLOW_NS, 1_000_000);
        let paid = 1_000_000 + SLOW_NS * WORTH;
        assert!(!huge.is_due(paid - 1) && huge.is_due(paid));
        huge.learn(SLOW_NS / 2, paid);
        assert!(huge.is_due(paid));
    }
}
