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
//! Longer blocks are not touched for their user: so that what he does not use does not become resident, their pages only ask for huge pages, as
//! long as the block lives, and its faults make them. They ask where blocks of at least half the length were touched all over ([`LongProbe`]);
//! where a block grows that was touched all over; and where somebody is seen filling a block: the allocator's own thread looks at those of which nothing is
//! known ([`Filling`]). Such a block asks for twice as much ahead as was touched already. One piece amid that asks for nothing: once it was touched
//! all over, too, the next part asks.
//! Where nobody knows how long huge pages take now, one piece ahead of who fills the block is made resident, to see that.
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

use core::ops::Range;
use core::ptr::with_exposed_provenance_mut;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::{Refused, System};

use super::policy::HugePages;
use super::span::SpanRef;
use super::state::Op;
use super::{PageHeap, dirty};
use crate::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

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
/// Longer ones ask for them, up to so many times the length of one that was touched all over.
const LONGER: usize = 2;
/// So many of them at most ask after one that tells how they are used, until it has told. After as many again it is forgotten.
const MOST_TRUST: u32 = 8;
/// So many clean pieces at a long block's beginning that are touched all over tell that it is being filled,
const BEGUN: usize = 2;
/// and so many more make it worth looking.
const AHEAD: usize = 2;
/// At least so many are asked for ahead of who fills a block, where it has more; else twice as many as were touched.
const LEAST_AHEAD: usize = 4;
/// Most pieces of a block that are looked at at once.
const PIECES_LOOKED_AT: usize = 64;
/// So many times huge pages are asked for after one that came fast, until it is seen again how long they take.
const FAST: u32 = 16;
/// Blocks that ask at once. Each may be six mappings more, and a process has 65,530 (`vm.max_map_count`).
pub(super) const MOST_ASKING: usize = 4_000;
/// How often one is looked at: at once, after a millisecond, then after twice as long each time.
const LOOKS: u32 = 9;
pub(crate) const FIRST_LOOK_NS: u64 = 1_000_000;
/// Most looks that are left out, the first ones: then the next is 16 ms later.
const MOST_VAIN: u32 = 5;
/// Long blocks that are looked at in this way at once, those handed out last.
const LOOKED_AT: usize = 4;
/// From one ring for such a look to the next.
const RUNG_NS: u64 = 10_000_000;
/// When nobody looks.
const NEVER: u64 = u64::MAX;
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

/// What becomes of blocks longer than [`LONGEST`]. Threads may disturb each other here as well.
struct LongProbe {
    /// A clean piece of a block that asks for no huge page: it tells whether the block was touched all over. 0 for none.
    piece: AtomicUsize,
    /// The pages of that block.
    pages: AtomicUsize,
    /// Long blocks that came since.
    since: AtomicU32,
    /// How many of them may ask: none at first, and ever more each time that one was touched all over.
    trust: AtomicU32,
    /// The pages of the longest block that was touched all over; `usize::MAX` if nothing is known yet.
    touched: AtomicUsize,
    /// Whether there are entries of blocks to look at. Written under the lock: whoever owns such a block and reads that there are none knows that nobody has it ask any more.
    entries: AtomicBool,
    /// Whether they are those of the process that forked.
    are_strange: AtomicBool,
    /// When the allocator's thread is to look next, [`NEVER`] if there is nothing to look at. Written under the lock.
    next_ns: AtomicU64,
    /// When it was told last; at first long ago.
    rung_ns: AtomicU64,
    /// Blocks that ask.
    asking: AtomicUsize,
    /// Whether the system was found not to make pages resident ahead (before Linux 5.14).
    is_blind: AtomicBool,
}

impl LongProbe {
    const fn new() -> LongProbe {
        LongProbe {
            piece: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            since: AtomicU32::new(0),
            trust: AtomicU32::new(0),
            touched: AtomicUsize::new(usize::MAX),
            entries: AtomicBool::new(false),
            are_strange: AtomicBool::new(false),
            next_ns: AtomicU64::new(NEVER),
            rung_ns: AtomicU64::new(0),
            asking: AtomicUsize::new(0),
            is_blind: AtomicBool::new(false),
        }
    }

    /// Of a block of `pages` pages: whether it is to ask for huge pages, and whether its piece at `piece` is to tell how it is used.
    /// Until anything is known shorter blocks tell.
    fn ask(&self, pages: usize, piece: usize, shorter_are_touched: bool) -> (bool, bool) {
        let touched = match self.touched.load(Relaxed) {
            usize::MAX if shorter_are_touched => LONGEST,
            usize::MAX => 0,
            touched => touched,
        };
        let (trust, since) = (self.trust.load(Relaxed), self.since.load(Relaxed).saturating_add(1));
        let is_like = pages <= LONGER * touched;
        let pending = self.piece.load(Relaxed);
        let tells = match pending {
            0 => since > trust || !is_like || pages > touched,
            _ => since > 2 * MOST_TRUST,
        };
        self.since.store(if tells { 0 } else { since }, Relaxed);
        if tells {
            self.piece.store(piece, Relaxed);
            self.pages.store(pages, Relaxed);
        }
        // The one that was to tell still lives, and is not touched all over.
        let is_unknown = tells && pending != 0;
        if is_unknown {
            self.trust.store(0, Relaxed);
        }
        // Where all are trusted, one that tells begins as if nothing were known, so that the time it takes is seen again.
        let is_timed = tells && trust == MOST_TRUST && pages <= touched;
        (is_like && !is_timed && !is_unknown && (tells || since <= trust), tells)
    }

    /// The block whose piece tells was touched all over, or was not.
    fn learn(&self, is_touched: bool) {
        let (pages, trust) = (self.pages.load(Relaxed), self.trust.load(Relaxed));
        let (touched, trust) = match (self.touched.load(Relaxed), is_touched) {
            (usize::MAX, true) => (pages, 0),
            (usize::MAX, false) => (0, 0),
            (known, true) => (known.max(pages), (2 * trust).clamp(1, MOST_TRUST)),
            (known, false) => (known.min(pages / LONGER / 4), 0),
        };
        self.touched.store(touched, Relaxed);
        self.trust.store(trust, Relaxed);
        self.piece.store(0, Relaxed);
    }
}

/// A long block of which nobody knows how it will be used. Nothing here refers to the span's record, which may serve another block by the time
/// the entry is looked at.
#[derive(Clone, Copy)]
struct Filling {
    /// Tells the entry from all others.
    serial: u64,
    /// The block's pages, of the address space.
    first: usize,
    pages: usize,
    /// How often it was looked at.
    looks: u32,
    /// When to look at it again.
    due_ns: u64,
    /// The piece that is to ask for nothing; 0 for none.
    but: usize,
    /// The page up to which it asks since it is being filled; 0 if nothing does.
    reach: usize,
    /// The piece before that which asks for nothing until it was touched all over.
    probe: usize,
    /// The block asks, as others did that were touched all over, and is looked at once, late, whether it was right to.
    asks: bool,
}

impl Filling {
    /// The first page of the first piece that lies in the block as a whole, and the page behind the last.
    fn pieces(&self) -> (usize, usize) {
        (self.first.next_multiple_of(PIECE), (self.first + self.pages) / PIECE * PIECE)
    }

    /// How long after a look the next is due.
    fn delay_ns(&self) -> u64 {
        if self.looks == 0 { 0 } else { FIRST_LOOK_NS << (self.looks - 1) }
    }
}

/// What a look at such a block has found.
#[derive(Clone, Copy)]
enum Found {
    /// Nobody fills it, as far as one sees.
    Nothing,
    /// It is being filled, and asks up to the page `reach`, but for the piece at `probe`.
    Asks { reach: usize, probe: usize },
    /// It is being filled, and all of it asks that can, or nothing is to.
    Done,
}

/// Those handed out last. Guarded by the page heap's lock: an entry goes before its block does.
pub(super) struct Fillings {
    places: [Option<Filling>; LOOKED_AT],
    entered: u64,
    /// Blocks in a row that nobody was seen filling, as far as that counts: looks that the next one is spared.
    vain: u32,
}

impl Fillings {
    pub(super) const fn new() -> Fillings {
        Fillings { places: [None; LOOKED_AT], entered: 0, vain: 0 }
    }

    /// Enters one, in the place of the one that was looked at most often where there is no other. When it is to be looked at.
    fn enter(&mut self, filling: Filling, now_ns: u64) -> u64 {
        self.entered += 1;
        let looks = filling.looks.max(self.vain);
        let entry = Filling { serial: self.entered, looks, ..filling };
        let entry = Filling { due_ns: now_ns.saturating_add(entry.delay_ns()), ..entry };
        let place = self.places.iter_mut().max_by_key(|place| place.map_or(u32::MAX, |known| known.looks));
        place.into_iter().for_each(|place| *place = Some(entry));
        entry.due_ns
    }

    /// The place of an entry, if it is still there.
    fn find(&mut self, serial: u64) -> Option<&mut Option<Filling>> {
        self.places.iter_mut().find(|place| place.is_some_and(|known| known.serial == serial))
    }

    /// An entry's block was looked at. If it is being filled, so may the others be soon.
    fn note_look(&mut self, serial: u64, found: Found, now_ns: u64) {
        let Some(Some(known)) = self.find(serial) else { return };
        known.looks += 1;
        if let Found::Asks { reach, probe } = found {
            (known.reach, known.probe, known.looks) = (reach, probe, 1);
        }
        known.due_ns = now_ns.saturating_add(known.delay_ns());
        let (first, is_last) = (known.first, known.looks >= LOOKS);
        if is_last || matches!(found, Found::Done) {
            self.forget(first);
        }
        if !matches!(found, Found::Nothing) {
            self.vain = 0;
            let due_ns = now_ns.saturating_add(FIRST_LOOK_NS);
            let others = self.places.iter_mut().flatten().filter(|known| !known.asks && known.reach == 0);
            others.for_each(|known| (known.looks, known.due_ns) = (1, known.due_ns.min(due_ns)));
        }
    }

    /// Nobody looks any more at the block that begins at this page.
    fn forget(&mut self, first: usize) {
        for place in &mut self.places {
            if let Some(known) = place.filter(|known| known.first == first) {
                self.vain = (self.vain + u32::from(!known.asks && known.reach == 0)).min(MOST_VAIN);
                *place = None;
            }
        }
    }

    /// When the next look is due, [`NEVER`] if there is nothing to look at.
    fn next_ns(&self) -> u64 {
        self.places.iter().flatten().map(|known| known.due_ns).min().unwrap_or(NEVER)
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

/// Whether a block of so many pages is too long to be made of huge pages at once.
#[inline]
pub(super) fn is_long(pages: usize) -> bool {
    pages > LONGEST
}

/// Whether such a block is to ask for huge pages if so many of its pages are clean.
#[inline]
pub(super) fn is_worth_asking(clean: usize) -> bool {
    clean >= (BEGUN + AHEAD) * PIECE
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

    /// Has the pieces of a long span just handed out ask for huge pages, if such blocks were touched all over. Else the allocator's thread is told to
    /// look whether it is being filled.
    #[cold]
    #[inline(never)]
    fn ask_long(&self, span: SpanRef) {
        if self.huge.offer.load(Relaxed) == NOT_OFFERED
            || !self.is_used_enough()
            || !self.system.tells_what_is_resident()
            || !self.huge.is_offered(&self.system)
        {
            return;
        }
        let (first, behind) = self.pieces_of(span, span.bytes());
        let clean = || (first..behind).step_by(PIECE).filter(|&piece| self.is_clean(piece..piece + PIECE));
        let count = clean().count();
        if !is_worth_asking(count * PIECE) {
            return;
        }
        let Some(middle) = clean().nth(count / 2) else { return };
        let long = &self.huge.long;
        self.note_asked();
        let pending = long.piece.load(Relaxed);
        if pending != 0 && self.is_touched(pending) {
            long.learn(true);
        }
        let pages = span.pages().0;
        let (wanted, tells) = long.ask(pages, middle, self.huge.probe.touched.load(Relaxed));
        let but = if tells { middle } else { 0 };
        if wanted && !self.huge.is_due(|| self.system.process_ns()) {
            return;
        }
        let asks = wanted && self.ask_but(span, first..behind, [but, 0]);
        if asks {
            self.huge.are_fast();
        }
        let (looks, first) = (if asks { LOOKS - 1 } else { 0 }, span.first_page());
        let filling = Filling { serial: 0, first, pages, looks, due_ns: 0, but, reach: 0, probe: 0, asks };
        let now_ns = self.system.monotonic_ns();
        self.with_fillings(|fillings| {
            let due_ns = fillings.enter(filling, now_ns);
            let is_soon = now_ns.saturating_sub(long.rung_ns.load(Relaxed)) < RUNG_NS;
            // The thread wakes earlier, or is not to be woken again. One that asks is late, and so rings seldom enough.
            if due_ns >= long.next_ns.load(Relaxed) || (is_soon && !asks) {
                return;
            }
            if !asks {
                long.rung_ns.store(now_ns, Relaxed);
            }
            long.next_ns.store(due_ns, Relaxed);
            self.watch.ring();
        });
    }

    /// Runs `act` with the blocks that are looked at, under the lock.
    fn with_fillings<R>(&self, act: impl FnOnce(&mut Fillings) -> R) -> R {
        self.locked(|op| {
            let fillings = &mut op.state.fillings;
            if self.huge.long.are_strange.swap(false, Relaxed) {
                fillings.places = [None; LOOKED_AT];
            }
            let outcome = act(fillings);
            self.huge.long.entries.store(fillings.places.iter().any(Option::is_some), Release);
            outcome
        })
    }

    /// Has these pages, of the address space, of a long span ask for huge pages, but for the pieces at pages `but`; false, with nothing changed, where
    /// enough blocks ask.
    fn ask_but(&self, span: SpanRef, pages: Range<usize>, but: [usize; 2]) -> bool {
        let asking = &self.huge.long.asking;
        if !span.is_asking() {
            if asking.fetch_add(1, Relaxed) >= MOST_ASKING {
                asking.fetch_sub(1, Relaxed);
                return false;
            }
            // Noted first: whoever frees the block withdraws what was noted.
            span.begin_request();
        }
        let [one, other] = but;
        let mut from = pages.start;
        for piece in [one.min(other), one.max(other), pages.end] {
            if (from..=pages.end).contains(&piece) {
                if from < piece {
                    let (start, len) = (from * PAGE_SIZE, (piece - from) * PAGE_SIZE);
                    self.system.ask_for_huge_pages(start, len, true);
                }
                from = piece + PIECE;
            }
        }
        true
    }

    /// Notes that a span asks for nothing any more; whether it did. Of two who do so at once one is told.
    fn note_request_ended(&self, span: SpanRef) -> bool {
        let ended = span.end_request();
        if ended {
            self.huge.long.asking.fetch_sub(1, Relaxed);
        }
        ended
    }

    /// Whether the allocator's thread was told to [look](PageHeap::look_at_long).
    pub(crate) fn waits_for_looks(&self) -> bool {
        self.huge.long.next_ns.load(Relaxed) != NEVER
    }

    /// Looks, where that is due, whether those who were handed long blocks lately fill them from the beginning on; such a block asks for huge pages ahead
    /// of them. By the allocator's thread. When to look again, in nanoseconds from now.
    pub(crate) fn look_at_long(&self) -> Option<u64> {
        if !self.waits_for_looks() {
            return None;
        }
        let now_ns = self.system.monotonic_ns();
        let places = self.with_fillings(|fillings| fillings.places);
        for filling in places.into_iter().flatten().filter(|filling| filling.due_ns <= now_ns) {
            // The block may be freed at any time, and its addresses serve another: what is seen then is of no use, and found out later.
            let found = if filling.asks {
                self.look_at_asking(filling);
                Found::Done
            } else {
                self.look_at_filling(filling)
            };
            self.with_fillings(|fillings| match found {
                // It tells nothing of the others.
                Found::Done if filling.asks => {
                    if fillings.find(filling.serial).is_some() {
                        fillings.forget(filling.first);
                    }
                }
                found => fillings.note_look(filling.serial, found, now_ns),
            });
        }
        let next_ns = self.with_fillings(|fillings| {
            let next_ns = fillings.next_ns();
            // Under the lock: whoever enters one later finds this.
            self.huge.long.next_ns.store(next_ns, Relaxed);
            next_ns
        });
        (next_ns != NEVER).then(|| next_ns.saturating_sub(now_ns).max(FIRST_LOOK_NS / 2))
    }

    /// A block of which nothing is known, or which asks ahead of who fills it: has the next part ask if it is being filled.
    fn look_at_filling(&self, filling: Filling) -> Found {
        let (first, behind) = filling.pieces();
        let is_candidate = |&piece: &usize| piece != filling.but && self.is_clean(piece..piece + PIECE);
        // The page behind what is known to be touched.
        let (known, from) = if filling.reach > 0 {
            if !self.is_touched(filling.probe) {
                return Found::Nothing;
            }
            (filling.probe + PIECE, filling.reach)
        } else {
            let mut begun =
                (first..behind).step_by(PIECE).filter(|&piece| self.is_clean(piece..piece + PIECE));
            if begun.by_ref().take(BEGUN).filter(|&piece| self.is_touched(piece)).count() < BEGUN {
                return Found::Nothing;
            }
            let next = begun.next().unwrap_or(behind);
            (next, next)
        };
        if !self.may_ask_for_long() {
            return Found::Nothing;
        }
        // Whoever fills it may be further than what asks.
        let untouched = |piece: &usize| is_candidate(piece) && !self.is_touched(*piece);
        let seen = behind.min(from + PIECES_LOOKED_AT * PIECE);
        let front = (from..seen).step_by(PIECE).find(untouched).unwrap_or(seen);
        let known = if front > from { front } else { known };
        // What was dirty tells nothing.
        let mut begin = first;
        while begin < known && !is_candidate(&begin) {
            begin += PIECE;
        }
        let reach = behind.min(known + (2 * (known - begin)).max(LEAST_AHEAD * PIECE));
        if reach < front + AHEAD * PIECE {
            return Found::Done;
        }
        let half = front + (reach - front) / PIECE / 2 * PIECE;
        let probe = match (half..reach).step_by(PIECE).find(is_candidate) {
            _ if reach == behind => 0,
            Some(probe) => probe,
            None => return Found::Done,
        };
        // What told before may ask now, so that what asks is one mapping.
        let start = if filling.reach > 0 { filling.probe } else { front };
        let mut ahead = (front + PIECE..reach).step_by(PIECE).filter(is_candidate);
        let Some(ahead) = ahead.find(|&piece| piece != probe && !self.is_touched(piece)) else {
            return Found::Done;
        };
        let asks = self.ask_ahead(filling, start..reach, ahead, probe);
        if asks && probe != 0 { Found::Asks { reach, probe } } else { Found::Done }
    }

    /// Has these pages, of the address space, of a block that is being filled ask for huge pages, but for the piece at `probe`, unless they are slow to
    /// come. The piece at `ahead` tells that, where it is not known.
    fn ask_ahead(&self, filling: Filling, pages: Range<usize>, ahead: usize, probe: usize) -> bool {
        if !self.huge.is_due(|| self.system.process_ns()) {
            return false;
        }
        let is_timed = !self.huge.are_fast();
        let long = &self.huge.long;
        if is_timed && long.is_blind.load(Relaxed) {
            return false;
        }
        // Nothing is moved, given up or given back meanwhile: should the block be freed, its pages are still there, and are not clean.
        let _sender = is_timed.then(|| self.sender.lock());
        let is_asking = self.locked(|op| {
            let span = op.looked_at(&filling)?;
            Some(self.ask_but(span, pages, [filling.but, probe]))
        });
        if !is_timed || is_asking != Some(true) {
            return is_asking == Some(true);
        }
        let began = self.system.thread_ns();
        let populated = self.system.populate(ahead * PAGE_SIZE, PIECE * PAGE_SIZE);
        let took_ns = self.system.thread_ns().saturating_sub(began);
        if populated == Err(Refused::Unsupported) {
            long.is_blind.store(true, Relaxed);
        }
        // Where nobody can tell what it takes, it is as if it took long.
        let is_fast = populated.is_ok() && took_ns < SLOW_NS;
        if populated.is_ok() {
            self.huge.learn(took_ns, || self.system.process_ns());
        }
        if !is_fast {
            self.withdraw(filling);
        }
        is_fast
    }

    /// A block that asks as others did: asks no more if it was touched here and there, when there was time to fill it.
    fn look_at_asking(&self, filling: Filling) {
        let (first, behind) = filling.pieces();
        let step = ((behind - first) / PIECE).div_ceil(PIECES_LOOKED_AT).max(1) * PIECE;
        let clean = (first..behind).step_by(step).filter(|&piece| self.is_clean(piece..piece + PIECE));
        let mut touched = clean.filter(|&piece| piece != filling.but).map(|piece| self.is_touched(piece));
        // Touched, and further behind where it was not. Who fills it slowly is to go on.
        if touched.by_ref().any(|touched| !touched) && touched.any(|touched| touched) {
            self.withdraw(filling);
        }
    }

    /// Has a block that is looked at ask for nothing, if it is still there.
    fn withdraw(&self, filling: Filling) {
        self.locked(|op| {
            let Some(span) = op.looked_at(&filling) else { return };
            if self.note_request_ended(span) {
                self.system.ask_for_huge_pages(span.start(), span.bytes(), false);
            }
        });
    }

    /// Whether long blocks may ask for huge pages now.
    fn may_ask_for_long(&self) -> bool {
        self.policy.huge_pages() == HugePages::Auto
            && !self.policy.guards()
            && self.watch.limit() == usize::MAX
            && self.system.tells_what_is_resident()
    }

    /// A long block that had `had` pages, `held` bytes of them its user's, has grown: has what is new ask for huge pages, if what it held was touched
    /// all over.
    #[inline]
    pub(super) fn ask_grown(&self, span: SpanRef, held: usize, had: usize) {
        if is_long(span.pages().0) && span.pages().0 - had >= PIECE {
            self.ask_for_growth(span, held, had);
        }
    }

    #[cold]
    #[inline(never)]
    fn ask_for_growth(&self, span: SpanRef, held: usize, had: usize) {
        let (whole, behind) = self.pieces_of(span, span.bytes());
        // The piece in which it ended asks as well: else each step left one that does not.
        let first = ((span.first_page() + had) / PIECE * PIECE).max(whole);
        let behind = behind.min(first + (LONGER * (held >> PAGE_SHIFT)).next_multiple_of(PIECE));
        let (start, held) = (span.start(), held / PAGE_SIZE * PAGE_SIZE);
        if first < behind
            && held >= PIECE * PAGE_SIZE
            && self.may_ask_for_long()
            && self.huge.is_offered(&self.system)
            && self.system.seems_touched(start, held)
            && self.is_touched_from(start + held - PIECE * PAGE_SIZE)
            && self.is_used_enough()
            && self.huge.is_due(|| self.system.process_ns())
        {
            self.note_asked();
            // It is its owner's to ask, from now on.
            self.with_fillings(|fillings| fillings.forget(span.first_page()));
            self.ask_but(span, first..behind, [0, 0]);
        }
    }

    /// A block is freed, moved or cut: if it is a long one its pages ask for nothing from now on. What they are made of stays as it is, and is
    /// noted if it is `freed`. Before anything in it is dropped, and before anybody else can have its pages.
    #[inline]
    pub(super) fn end_long(&self, span: SpanRef, freed: bool) {
        if is_long(span.pages().0) && self.any_asked() {
            self.end_asking(span, freed);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_asking(&self, span: SpanRef, freed: bool) {
        let piece = self.huge.long.piece.load(Relaxed);
        if piece != 0 && span.page_range().contains(&piece) {
            self.huge.long.learn(self.is_touched(piece));
        }
        // Afterwards nobody else has it ask.
        if self.huge.long.entries.load(Acquire) {
            self.with_fillings(|fillings| fillings.forget(span.first_page()));
        }
        // A filter that came later might kill for it.
        if !self.note_request_ended(span) || !self.system.may_be_asked() {
            return;
        }
        self.system.ask_for_huge_pages(span.start(), span.bytes(), false);
        if !freed {
            return;
        }
        let (first, behind) = self.pieces_of(span, span.bytes());
        let clean = (first..behind).step_by(PIECE).filter(|&piece| self.is_clean(piece..piece + PIECE));
        let made = clean.take(PIECES_LOOKED_AT).filter(|&piece| self.is_touched(piece));
        made.for_each(|piece| self.huge.note_made(piece));
    }

    /// The next look is due, whatever the clock says.
    #[cfg(test)]
    pub(super) fn huge_looks_at_once(&self) {
        self.huge.long.next_ns.store(0, Relaxed);
    }

    /// How many blocks ask, and as if so many more did.
    #[cfg(test)]
    pub(super) fn add_asking(&self, more: usize) -> usize {
        self.huge.long.asking.fetch_add(more, Relaxed)
    }

    /// In a child of fork: nobody looks at the parent's blocks, which are the child's as well.
    pub(crate) fn forget_fillings(&self) {
        // The thread that forked may have been interrupted while it held the lock.
        self.huge.long.are_strange.store(true, Relaxed);
        self.huge.long.next_ns.store(NEVER, Relaxed);
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
    /// The span of a block that is looked at. While its entry is there, the block is: whoever frees it takes that out first, under the lock.
    fn looked_at(&mut self, filling: &Filling) -> Option<SpanRef> {
        self.state.fillings.find(filling.serial)?;
        self.map.span_at(filling.first - self.map.base()).filter(|span| span.state().is_large())
    }

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
}
