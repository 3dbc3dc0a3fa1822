//! The record of a span, and the copyable reference to it.
//!
//! # Safety
//!
//! Invariant P1: every non-null `*mut Span` in this crate is the address of a record that the metadata pool
//! made. Records are zeroed when first made, are never unmapped, and their memory never becomes anything but records, so
//! a reference to one is valid for ever; all fields are atomics, so reading a record that
//! has meanwhile become another span's is a wrong answer at worst, which the reader detects under the lock
//! that guards what it is about to do.
//!
//! Invariant P2: `lines` is set before a record is first handed out and never again, and `words` never exceeds
//! the words that lie in those lines behind the header.
//!
//! Accesses are relaxed: the lock of the page heap or of the span's class orders them.
#![allow(unsafe_code)]

use core::ops::{Deref, Range};
use core::ptr::{NonNull, with_exposed_provenance_mut};

use freestone_base::{ClassId, PAGE_SHIFT, PAGE_SIZE, PageCount};

use crate::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed,
};

/// Bytes in a metadata line: the header of a record, or eight words of its bitmap.
pub(crate) const LINE: usize = 64;
/// Bitmap words in one line.
pub(crate) const LINE_WORDS: usize = LINE / 8;
/// Most bitmap words of a record: 4096 blocks.
pub(crate) const MAX_WORDS: usize = 64;

/// In the place of what else is noted of a large block: its pages ask for huge pages;
const ASKING: u16 = u16::MAX;
/// they might.
const MAY_ASK: u16 = u16::MAX - 1;

/// What a span is at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum SpanState {
    /// The record describes no span.
    Unused = 0,
    /// In the page heap's index.
    Free = 1,
    /// Serves one size class of the global allocator.
    Slab = 2,
    /// One large block of the global allocator.
    Large = 3,
    /// Serves one size class of a first-class heap.
    HeapSlab = 4,
    /// One large block of a first-class heap.
    HeapLarge = 5,
    /// Addresses in the window that are not ours: skipped, or lost.
    Hole = 6,
    /// Free, but in no index: without the page heap's lock, a thread purges it, gives up its addresses, or moves
    /// pages there.
    Away = 7,
    /// Free, but in no index and not merged yet: the span freed last.
    Recent = 8,
    /// Serves one size class with blocks that are watched.
    WatchedSlab = 9,
    /// One large block that is watched.
    WatchedLarge = 10,
    /// Free, whole as it was when it was freed: waits for a block of its length (`parked.rs`).
    Parked = 11,
}

impl SpanState {
    const ALL: [SpanState; 12] = [
        SpanState::Unused,
        SpanState::Free,
        SpanState::Slab,
        SpanState::Large,
        SpanState::HeapSlab,
        SpanState::HeapLarge,
        SpanState::Hole,
        SpanState::Away,
        SpanState::Recent,
        SpanState::WatchedSlab,
        SpanState::WatchedLarge,
        SpanState::Parked,
    ];

    /// Whether blocks of a size class lie in the span.
    pub(crate) fn is_slab(self) -> bool {
        matches!(self, SpanState::Slab | SpanState::HeapSlab | SpanState::WatchedSlab)
    }

    /// Whether the span is one large block.
    pub(crate) fn is_large(self) -> bool {
        matches!(self, SpanState::Large | SpanState::HeapLarge | SpanState::WatchedLarge)
    }

    /// Whether blocks that are watched lie in the span.
    pub(crate) fn is_watched(self) -> bool {
        matches!(self, SpanState::WatchedSlab | SpanState::WatchedLarge)
    }
}

/// The record of a span. A slab's bitmap of free blocks follows it in memory.
#[repr(C, align(64))]
pub(crate) struct Span {
    start: AtomicUsize,
    /// Requested bytes of a large block; dirty pages of a free span.
    amount: AtomicUsize,
    heap: AtomicUsize,
    prev: AtomicPtr<Span>,
    next: AtomicPtr<Span>,
    pages: AtomicU32,
    colour: AtomicU32,
    blocks: AtomicU16,
    free_blocks: AtomicU16,
    hint: AtomicU16,
    /// A [`SpanState`] in the low byte, a class in the high one: of a slab both are asked for at once.
    kind: AtomicU16,
    filling: AtomicU8,
    zeroed: AtomicU8,
    words: AtomicU8,
    lines: AtomicU8,
    swept: AtomicU8,
    rest: AtomicU8,
    ripe: AtomicU16,
}

const _: () = assert!(size_of::<Span>() == LINE);

/// What [`Span::kind`] holds.
#[inline]
fn kind(state: SpanState, class: ClassId) -> u16 {
    state as u16 | u16::from(class.0) << 8
}

/// Whether a span begins and ends between OS pages: only then can the system handle all of it alone.
pub(crate) fn is_whole_os_pages(span: SpanRef, os_page: usize) -> bool {
    span.start().is_multiple_of(os_page) && span.bytes().is_multiple_of(os_page)
}

impl Span {
    /// The address of the first byte.
    pub(crate) fn start(&self) -> usize {
        self.start.load(Relaxed)
    }

    /// The pages in the span.
    pub(crate) fn pages(&self) -> PageCount {
        PageCount(self.pages.load(Relaxed) as usize)
    }

    /// The bytes in the span.
    pub(crate) fn bytes(&self) -> usize {
        self.pages().bytes()
    }

    /// The number of the first page.
    pub(super) fn first_page(&self) -> usize {
        self.start() >> PAGE_SHIFT
    }

    /// The numbers of its pages, of the address space.
    pub(super) fn page_range(&self) -> Range<usize> {
        let first = self.first_page();
        first..first + self.pages().0
    }

    /// Describes another range from now on.
    pub(super) fn set_range(&self, first_page: usize, pages: usize) {
        debug_assert!(pages > 0 && pages <= u32::MAX as usize);
        self.start.store(first_page * PAGE_SIZE, Relaxed);
        self.pages.store(pages as u32, Relaxed);
    }

    /// What the span is.
    pub(crate) fn state(&self) -> SpanState {
        // Only values of the enum are ever stored; but whoever frees what is not his may see another record's bits here.
        SpanState::ALL.get((self.kind.load(Relaxed) & 0xff) as usize).copied().unwrap_or(SpanState::Unused)
    }

    /// Whether the span is in `state`.
    #[inline]
    pub(crate) fn is(&self, state: SpanState) -> bool {
        self.kind.load(Relaxed) as u8 == state as u8
    }

    pub(super) fn set_state(&self, state: SpanState) {
        self.kind.store(self.kind.load(Relaxed) & 0xff00 | state as u16, Relaxed);
    }

    /// The class a slab serves, else [`ClassId::NONE`].
    pub(crate) fn class(&self) -> ClassId {
        ClassId((self.kind.load(Relaxed) >> 8) as u8)
    }

    fn set_class(&self, class: ClassId) {
        self.kind.store(self.kind.load(Relaxed) & 0xff | u16::from(class.0) << 8, Relaxed);
    }

    /// Blocks in a slab.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.load(Relaxed) as usize
    }

    /// Makes the record a slab's: the class, and how many blocks it has, all free. Colour, heap and bitmap are
    /// still to be set.
    pub(super) fn set_slab(&self, class: ClassId, blocks: u16) {
        self.set_class(class);
        self.blocks.store(blocks, Relaxed);
        self.free_blocks.store(blocks, Relaxed);
        self.set_hint(0);
        self.end_filling();
        self.set_swept(false);
        self.rest.store(0, Relaxed);
        self.ripe.store(0, Relaxed);
    }

    /// Makes the record a large block's that lies at the beginning of its span.
    pub(super) fn set_large(&self, requested: usize) {
        self.set_requested(requested);
        self.set_colour(0);
        self.filling.store(0, Relaxed);
    }

    /// Makes the record, which was a large block's before, one's that begins `colour` bytes into its span and is not known to read as zeros.
    #[inline]
    pub(super) fn set_large_again(&self, requested: usize, colour: usize) {
        debug_assert!(self.heap() == 0 && self.blocks() == 0);
        self.set_requested(requested);
        self.set_colour(colour);
        // Mostly so already, and a store costs more than a look.
        if self.zeroed.load(Relaxed) != 0 {
            self.set_zeroed(false);
        }
        if self.filling.load(Relaxed) != 0 {
            self.filling.store(0, Relaxed);
        }
        self.kind.store(kind(SpanState::Large, ClassId::NONE), Relaxed);
    }

    /// Blocks of a slab whose free bits are set.
    pub(crate) fn free_blocks(&self) -> usize {
        self.free_blocks.load(Relaxed) as usize
    }

    /// Notes how many free bits are set.
    pub(crate) fn set_free_blocks(&self, count: usize) {
        self.free_blocks.store(count as u16, Relaxed);
    }

    /// No bitmap word below this one has a free bit.
    pub(crate) fn hint(&self) -> usize {
        self.hint.load(Relaxed) as usize
    }

    /// Notes where to look for free bits first.
    pub(crate) fn set_hint(&self, word: usize) {
        self.hint.store(word as u16, Relaxed);
    }

    /// A free bit was set in this word.
    #[inline]
    pub(crate) fn lower_hint(&self, word: usize) {
        // Compared as they are stored.
        if (word as u16) < self.hint.load(Relaxed) {
            self.set_hint(word);
        }
    }

    /// Whether a cache is being filled from the slab.
    pub(crate) fn is_filling(&self) -> bool {
        self.filling.load(Relaxed) != 0
    }

    /// Notes that a cache is being filled from the slab: it need not be filed, however many of its blocks are free.
    pub(crate) fn begin_filling(&self) {
        self.filling.store(1, Relaxed);
        self.set_border(usize::MAX);
    }

    /// Notes that no cache is being filled from the slab any more: it is filed when the next block comes back, if not before.
    pub(crate) fn end_filling(&self) {
        self.filling.store(0, Relaxed);
        self.set_border(self.free_blocks() + 1);
    }

    /// So many free blocks change a slab's place among those of its class.
    #[inline]
    pub(crate) fn border(&self) -> usize {
        self.amount.load(Relaxed)
    }

    /// Notes how many do.
    pub(crate) fn set_border(&self, free_blocks: usize) {
        self.amount.store(free_blocks, Relaxed);
    }

    /// Whether this is a slab of that class of the global allocator.
    #[inline]
    pub(crate) fn is_slab_of(&self, class: ClassId) -> bool {
        self.kind.load(Relaxed) == kind(SpanState::Slab, class)
    }

    /// Marks a large block as waiting, freed, to be given back; whether it was marked already.
    pub(crate) fn begin_waiting(&self) -> bool {
        self.filling.swap(1, Relaxed) != 0
    }

    /// Notes that a large block that waits holds nothing any more, and reads as zeros once it is opened.
    pub(crate) fn note_closed(&self) {
        self.filling.store(2, Relaxed);
    }

    /// Notes that a large block that waits keeps what it holds, and cannot be reached.
    pub(crate) fn note_kept(&self) {
        self.filling.store(4, Relaxed);
    }

    /// Whether that was noted.
    pub(crate) fn is_kept(&self) -> bool {
        self.filling.load(Relaxed) == 4 && self.state().is_large()
    }

    /// A large block that waited serves again, not known to read as zeros.
    pub(crate) fn end_waiting(&self) {
        self.set_zeroed(false);
        self.filling.store(0, Relaxed);
    }

    /// Notes that a watched large block stands between guard pages, under this number; `None`: no more.
    pub(crate) fn set_guarded(&self, number: Option<u16>) {
        self.hint.store(number.unwrap_or(0), Relaxed);
        self.filling.store(if number.is_some() { 3 } else { 0 }, Relaxed);
    }

    /// The number of a guarded block.
    pub(crate) fn guarded(&self) -> Option<u16> {
        (self.filling.load(Relaxed) == 3 && self.state().is_large()).then(|| self.hint.load(Relaxed))
    }

    /// Whether that was noted.
    pub(super) fn is_closed(&self) -> bool {
        self.filling.load(Relaxed) == 2 && self.state().is_large()
    }

    /// Whether the large block was freed and waits to be given back.
    pub(crate) fn is_waiting(&self) -> bool {
        self.filling.load(Relaxed) != 0
    }

    /// Whether the pages of a slab without live blocks went back, and no block has come back to it since.
    pub(crate) fn is_swept(&self) -> bool {
        self.swept.load(Relaxed) != 0
    }

    /// Notes whether such pages went back.
    pub(crate) fn set_swept(&self, swept: bool) {
        self.swept.store(swept as u8, Relaxed);
    }

    /// Whether a slab is ripe for a sweep: as many blocks are free as when this was asked last; or, where it is `sparse`, an
    /// eighth of them more than when it was ripe last.
    pub(crate) fn is_ripe(&self, sparse: bool) -> bool {
        let free = self.free_blocks.load(Relaxed);
        let more = free.saturating_sub(self.ripe.load(Relaxed)) > self.blocks.load(Relaxed) / 8;
        // The low bits tell well enough whether anything happened.
        let at_rest = self.rest.load(Relaxed) == free as u8;
        self.rest.store(free as u8, Relaxed);
        let ripe = at_rest || sparse && more;
        if ripe {
            self.ripe.store(free, Relaxed);
        }
        ripe
    }

    /// Notes whether what is resident of a large block will be what its user touched: whether nothing was before.
    #[inline]
    pub(super) fn begin_look(&self, telling: bool) {
        self.ripe.store(u16::from(telling), Relaxed);
    }

    /// Whether that was noted.
    #[inline]
    pub(super) fn is_telling(&self) -> bool {
        !matches!(self.ripe.load(Relaxed), 0 | MAY_ASK | ASKING)
    }

    /// Notes that so many pages of a large block were resident.
    pub(super) fn note_look(&self, resident: usize) {
        self.ripe.store(resident as u16 + 2, Relaxed);
    }

    /// How many were, if that was noted.
    #[inline]
    pub(super) fn noted_look(&self) -> Option<usize> {
        self.ripe.load(Relaxed).checked_sub(2).map(usize::from)
    }

    /// Notes that pages of a large block [ask](super::huge) for huge pages. Of so long a block nothing else is noted here.
    pub(super) fn begin_request(&self) {
        self.ripe.store(ASKING, Relaxed);
    }

    /// Notes that none do; whether some did. Of two who note it at once one is told.
    pub(super) fn end_request(&self) -> bool {
        self.ripe.compare_exchange(ASKING, 0, Relaxed, Relaxed).is_ok()
    }

    /// Notes whether so much of so long a block was clean when it was handed out that it might.
    #[inline]
    pub(super) fn begin_asking(&self, may: bool) {
        self.ripe.store(if may { MAY_ASK } else { 0 }, Relaxed);
    }

    /// Whether that was noted.
    #[inline]
    pub(super) fn may_ask(&self) -> bool {
        self.ripe.load(Relaxed) == MAY_ASK
    }

    /// Whether its pages were noted to ask.
    #[inline]
    pub(super) fn is_asking(&self) -> bool {
        self.ripe.load(Relaxed) == ASKING
    }

    /// Whether the span read as zeros when it was handed out.
    pub(crate) fn is_zeroed(&self) -> bool {
        self.zeroed.load(Relaxed) != 0
    }

    pub(super) fn set_zeroed(&self, zeroed: bool) {
        self.zeroed.store(zeroed as u8, Relaxed);
    }

    /// Bytes from the start of the span to its first block.
    pub(crate) fn colour(&self) -> usize {
        self.colour.load(Relaxed) as usize
    }

    /// Moves the first block up; before any block is handed out.
    pub(crate) fn set_colour(&self, colour: usize) {
        self.colour.store(colour as u32, Relaxed);
    }

    /// The bytes that were asked for, of a large block.
    pub(crate) fn requested(&self) -> usize {
        self.amount.load(Relaxed)
    }

    /// Notes the bytes that were asked for.
    pub(crate) fn set_requested(&self, bytes: usize) {
        self.amount.store(bytes, Relaxed);
    }

    /// The dirty pages of a free span.
    pub(super) fn dirty_pages(&self) -> usize {
        self.amount.load(Relaxed)
    }

    pub(super) fn set_dirty_pages(&self, pages: usize) {
        self.amount.store(pages, Relaxed);
    }

    /// The first-class heap that the span belongs to, or 0.
    pub(crate) fn heap(&self) -> usize {
        self.heap.load(Relaxed)
    }

    pub(super) fn set_heap(&self, heap: usize) {
        self.heap.store(heap, Relaxed);
    }

    /// Lines of the record, header included.
    pub(super) fn lines(&self) -> usize {
        self.lines.load(Relaxed) as usize
    }

    pub(super) fn prev(&self) -> &AtomicPtr<Span> {
        &self.prev
    }

    pub(super) fn next(&self) -> &AtomicPtr<Span> {
        &self.next
    }

    /// Forgets the span that the record described.
    pub(super) fn reset(&self) {
        self.set_state(SpanState::Unused);
        self.start.store(0, Relaxed);
        self.pages.store(0, Relaxed);
        self.forget_use();
    }

    /// Forgets what a slab or a large block had noted about itself as far as anybody would look at it in a span
    /// that is neither; whoever makes it one again sets the rest anew.
    pub(super) fn forget_use(&self) {
        self.set_class(ClassId::NONE);
        self.blocks.store(0, Relaxed);
        self.words.store(0, Relaxed);
        self.set_heap(0);
    }
}

/// A reference to a record: one word, copyable, valid for ever (P1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct SpanRef(NonNull<Span>);

// SAFETY: P1: records live for ever and all their fields are atomics.
unsafe impl Send for SpanRef {}
// SAFETY: as above.
unsafe impl Sync for SpanRef {}

impl Deref for SpanRef {
    type Target = Span;

    #[inline]
    fn deref(&self) -> &Span {
        // SAFETY: P1.
        unsafe { self.0.as_ref() }
    }
}

impl SpanRef {
    /// The reference for a pointer that is null or came from [`as_ptr`](SpanRef::as_ptr) (P1).
    #[inline]
    pub(crate) fn from_ptr(span: *mut Span) -> Option<SpanRef> {
        NonNull::new(span).map(SpanRef)
    }

    /// The record at `addr`: exactly `lines` zeroed lines that the metadata pool gives to it for ever.
    pub(super) fn make(addr: usize, lines: usize) -> Option<SpanRef> {
        let span = SpanRef::from_ptr(with_exposed_provenance_mut(addr))?;
        span.lines.store(lines as u8, Relaxed);
        Some(span)
    }

    /// The address of the record.
    #[inline]
    pub(crate) fn as_ptr(self) -> *mut Span {
        self.0.as_ptr()
    }

    /// The address of the first block of a slab, or of a large block.
    #[inline]
    pub(crate) fn first_block(self) -> usize {
        self.start() + self.colour()
    }

    /// Bytes that a large block holds.
    pub(crate) fn usable_bytes(self) -> usize {
        self.bytes() - self.colour()
    }

    /// The bitmap of free blocks: 1 means free.
    #[inline]
    pub(crate) fn bitmap(&self) -> &[AtomicU64] {
        let words = self.words.load(Relaxed) as usize;
        // SAFETY: one past the header stays within or at the end of the record's lines (P2).
        let first = unsafe { self.0.as_ptr().add(1) }.cast::<AtomicU64>();
        // SAFETY: P2: so many words lie behind the header, for ever, and they are atomics.
        unsafe { core::slice::from_raw_parts(first, words) }
    }

    /// Sets the first `blocks` bits of a bitmap just long enough for them.
    pub(super) fn fill_bitmap(self, blocks: usize) {
        let words = blocks.div_ceil(64);
        assert!(words <= (self.lines() - 1) * LINE_WORDS);
        self.words.store(words as u8, Relaxed);
        for (index, word) in self.bitmap().iter().enumerate() {
            let rest = blocks - index * 64;
            word.store(if rest >= 64 { u64::MAX } else { (1 << rest) - 1 }, Relaxed);
        }
    }
}
