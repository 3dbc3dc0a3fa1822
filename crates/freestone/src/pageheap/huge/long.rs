//! Huge pages for blocks that are too long to be made of them at once.
//!
//! They are not touched for their user: so that what he does not use does not become resident, their pages only ask for huge pages, as
//! long as the block lives, and its faults make them. They ask where blocks of at least half the length were touched all over ([`LongProbe`]);
//! where a block grows that was touched all over; and where somebody is seen filling a block: the allocator's own thread looks at those of which nothing is
//! known ([`Filling`]). Such a block asks for twice as much ahead as was touched already. One piece amid that asks for nothing: once it was touched
//! all over, too, the next part asks.
//! Where nobody knows how long huge pages take now, one piece ahead of who fills the block is made resident, to see that.

use core::ops::Range;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::{Refused, System};

use super::super::policy::HugePages;
use super::super::span::SpanRef;
use super::super::state::Op;
use super::{LONGEST, NOT_OFFERED, PIECE, PageHeap, SLOW_NS};
use crate::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

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
/// Blocks that ask at once. Each may be six mappings more, and a process has 65,530 (`vm.max_map_count`).
pub(in crate::pageheap) const MOST_ASKING: usize = 4_000;
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

/// What becomes of blocks longer than [`LONGEST`]. Threads may disturb each other here as well.
pub(super) struct LongProbe {
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
    pub(super) const fn new() -> LongProbe {
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
pub(in crate::pageheap) struct Fillings {
    places: [Option<Filling>; LOOKED_AT],
    entered: u64,
    /// Blocks in a row that nobody was seen filling, as far as that counts: looks that the next one is spared.
    vain: u32,
}

impl Fillings {
    pub(in crate::pageheap) const fn new() -> Fillings {
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

/// Whether a block of so many pages is too long to be made of huge pages at once.
#[inline]
pub(in crate::pageheap) fn is_long(pages: usize) -> bool {
    pages > LONGEST
}

/// Whether such a block is to ask for huge pages if so many of its pages are clean.
#[inline]
pub(in crate::pageheap) fn is_worth_asking(clean: usize) -> bool {
    clean >= (BEGUN + AHEAD) * PIECE
}

impl<S: System> PageHeap<S> {
    /// Has the pieces of a long span just handed out ask for huge pages, if such blocks were touched all over. Else the allocator's thread is told to
    /// look whether it is being filled.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_long(&self, span: SpanRef) {
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
    pub(in crate::pageheap) fn ask_grown(&self, span: SpanRef, held: usize, had: usize) {
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
    pub(in crate::pageheap) fn end_long(&self, span: SpanRef, freed: bool) {
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
    pub(in crate::pageheap) fn huge_looks_at_once(&self) {
        self.huge.long.next_ns.store(0, Relaxed);
    }

    /// How many blocks ask, and as if so many more did.
    #[cfg(test)]
    pub(in crate::pageheap) fn add_asking(&self, more: usize) -> usize {
        self.huge.long.asking.fetch_add(more, Relaxed)
    }

    /// In a child of fork: nobody looks at the parent's blocks, which are the child's as well.
    pub(crate) fn forget_fillings(&self) {
        // The thread that forked may have been interrupted while it held the lock.
        self.huge.long.are_strange.store(true, Relaxed);
        self.huge.long.next_ns.store(NEVER, Relaxed);
    }
}

impl<S: System> Op<'_, S> {
    /// The span of a block that is looked at. While its entry is there, the block is: whoever frees it takes that out first, under the lock.
    fn looked_at(&mut self, filling: &Filling) -> Option<SpanRef> {
        self.state.fillings.find(filling.serial)?;
        self.map.span_at(filling.first - self.map.base()).filter(|span| span.state().is_large())
    }
}
