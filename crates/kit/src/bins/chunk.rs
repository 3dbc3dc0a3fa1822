//! A chunk and its two words of bookkeeping, and the segment in which chunks lie.
//!
//! # Safety
//!
//! *Tiled*: a [`Chunk`] designates a chunk inside a live segment of one heap. Chunks tile the segment up to its end
//! mark; a chunk's head says how long it is. The head is the heap's alone. So are all the other bytes of a free chunk,
//! or of one that waits in a quick list, and the first word of the chunk behind it; of a live chunk both are the caller's, but for
//! the chunk's own first word.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::NonNull;

/// Chunks begin at multiples of this, and so do payloads.
pub const UNIT: usize = 16;
/// Bytes of a live chunk that the caller does not get.
pub const OVERHEAD: usize = 8;
/// The shortest chunk: a free one holds its head, two links, and (in the chunk behind) its length.
pub const LEAST: usize = 32;

/// The chunk before this one is live.
const PREVIOUS_LIVE: usize = 1;
/// This chunk is live.
const LIVE: usize = 2;
/// It is, for its neighbours, but waits in a quick list.
const WAITING: usize = 4;
const FLAGS: usize = UNIT - 1;

/// Words of a chunk.
const PREVIOUS_SIZE: usize = 0;
const HEAD: usize = 1;
const LINKS: usize = 2;
/// Bytes before the payload.
const PAYLOAD: usize = LINKS * 8;

/// A link of a free chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    Next,
    Previous,
}

/// A chunk, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Chunk(NonNull<u8>);

impl Chunk {
    /// The chunk with this payload.
    ///
    /// # Safety
    ///
    /// `payload` was given out by the heap.
    #[inline]
    pub unsafe fn with_payload(payload: NonNull<u8>) -> Chunk {
        // SAFETY: the caller's promise.
        Chunk(unsafe { payload.sub(PAYLOAD) })
    }

    #[inline]
    pub fn payload(self) -> NonNull<u8> {
        // SAFETY: tiled: a chunk is longer than that.
        unsafe { self.0.add(PAYLOAD) }
    }

    #[inline]
    fn word(self, index: usize) -> NonNull<usize> {
        // SAFETY: tiled: even the end mark has these words.
        unsafe { self.0.cast::<usize>().add(index) }
    }

    #[inline]
    fn head(self) -> usize {
        // SAFETY: tiled.
        unsafe { self.word(HEAD).read() }
    }

    #[inline]
    fn set_head(self, head: usize) {
        // SAFETY: tiled: the head is the heap's.
        unsafe { self.word(HEAD).write(head) };
    }

    /// Bytes of the chunk; zero for the end mark.
    #[inline]
    pub fn size(self) -> usize {
        self.head() & !FLAGS
    }

    /// Whether it may not be merged: somebody has it, or it waits.
    #[inline]
    pub fn is_live(self) -> bool {
        self.head() & LIVE != 0
    }

    /// Whether somebody has it.
    #[inline]
    pub fn is_taken(self) -> bool {
        self.head() & (LIVE | WAITING) == LIVE
    }

    #[inline]
    pub fn is_previous_live(self) -> bool {
        self.head() & PREVIOUS_LIVE != 0
    }

    #[inline]
    pub fn is_end(self) -> bool {
        self.size() == 0
    }

    /// The place so many bytes up as a chunk.
    ///
    /// # Safety
    ///
    /// It is in the same segment, at a multiple of [`UNIT`], and a head is there or about to be written.
    #[inline]
    pub unsafe fn offset(self, bytes: usize) -> Chunk {
        // SAFETY: the caller's promise.
        Chunk(unsafe { self.0.add(bytes) })
    }

    /// The chunk behind this one, which is not the end mark.
    #[inline]
    pub fn next(self) -> Chunk {
        // SAFETY: tiled.
        unsafe { self.offset(self.size()) }
    }

    /// The chunk before this one, which is free.
    #[inline]
    pub fn previous(self) -> Chunk {
        // SAFETY: tiled: the length of a free chunk stands behind it, in our first word.
        let size = unsafe { self.word(PREVIOUS_SIZE).read() };
        // SAFETY: tiled.
        Chunk(unsafe { self.0.sub(size) })
    }

    /// Makes it a live chunk of `size` bytes; tells the chunk behind.
    #[inline]
    pub fn set_live(self, size: usize) {
        self.set_head(size | LIVE | self.head() & PREVIOUS_LIVE);
        let next = self.next();
        next.set_head(next.head() | PREVIOUS_LIVE);
    }

    /// Makes it a live chunk behind another live one.
    #[inline]
    pub fn set_live_behind_live(self, size: usize) {
        self.set_head(PREVIOUS_LIVE);
        self.set_live(size);
    }

    /// Cuts a free chunk into a live one of `size` bytes and a free one of `rest` bytes behind it, which is returned.
    #[inline]
    pub fn split(self, size: usize, rest: usize) -> Chunk {
        self.set_head(size | LIVE | PREVIOUS_LIVE);
        let behind = self.next();
        behind.set_head(rest | PREVIOUS_LIVE);
        // SAFETY: tiled: that word is the heap's while the chunk before it is free, as it was and is.
        unsafe { behind.next().word(PREVIOUS_SIZE).write(rest) };
        behind
    }

    /// A live chunk waits from now on.
    ///
    /// This and [`set_taken`](Chunk::set_taken) add, where setting and clearing a bit would say the same: a compiler makes a store of
    /// one byte of the latter, and the processor cannot hand a part of a word on to the next read of the whole.
    #[inline]
    pub fn set_waiting(self) {
        self.set_head(self.head() + WAITING);
    }

    /// A chunk that waited is somebody's.
    #[inline]
    pub fn set_taken(self) {
        self.set_head(self.head() - WAITING);
    }

    /// Lets the head of a chunk that was merged with the one before it say free, so that a second free is known even then.
    #[inline]
    pub fn set_merged(self) {
        self.set_head(self.head() & !LIVE);
    }

    /// Makes it a free chunk of `size` bytes, with a live chunk before it; tells the chunk behind. Whether that is the end
    /// mark, which is known without another read.
    #[inline]
    pub fn set_free(self, size: usize) -> bool {
        self.set_head(size | PREVIOUS_LIVE);
        let next = self.next();
        // SAFETY: tiled: that word is ours while we are free.
        unsafe { next.word(PREVIOUS_SIZE).write(size) };
        let head = next.head();
        next.set_head(head & !PREVIOUS_LIVE);
        head & !FLAGS == 0
    }

    /// What stands behind a free chunk about its length.
    #[inline]
    pub fn size_behind(self) -> usize {
        // SAFETY: tiled: written by `set_free`.
        unsafe { self.next().word(PREVIOUS_SIZE).read() }
    }

    #[inline]
    fn place(self, link: Link) -> NonNull<Option<Chunk>> {
        self.word(LINKS + link as usize).cast()
    }

    /// A link of a chunk that is in a bin or waits.
    #[inline]
    pub fn link(self, link: Link) -> Option<Chunk> {
        // SAFETY: tiled: a free chunk's bytes are ours, as are those of one that waits; links are written when it enters its list.
        unsafe { self.place(link).read() }
    }

    /// The same as a cell, for as long as the list is borrowed that it is in.
    #[inline]
    pub fn link_cell(self, link: Link, _list: &Cell<Option<Chunk>>) -> &Cell<Option<Chunk>> {
        let cell = self.place(link).cast::<Cell<Option<Chunk>>>();
        // SAFETY: tiled: a free chunk's bytes are ours; who takes it out of the list holds no such reference.
        unsafe { cell.as_ref() }
    }

    #[inline]
    pub fn set_link(self, link: Link, to: Option<Chunk>) {
        // SAFETY: tiled: a free chunk's bytes are ours, and so are those of one that waits.
        unsafe { self.place(link).write(to) };
    }
}

/// A range of memory from the parent, tiled by chunks.
///
/// ```text
/// | next, bytes | chunk | chunk | … | end mark: its head, the segment |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment(NonNull<u8>);

#[derive(Clone, Copy)]
struct SegmentHead {
    next: Option<Segment>,
    bytes: usize,
}

const SEGMENT_HEAD: usize = size_of::<SegmentHead>();
const END_MARK: usize = 32;
/// Bytes of a segment that no chunk gets.
pub const SEGMENT_OVERHEAD: usize = SEGMENT_HEAD + END_MARK;

const _: () = assert!(SEGMENT_OVERHEAD.is_multiple_of(UNIT) && SEGMENT_HEAD.is_multiple_of(UNIT));

impl Segment {
    /// Lays out a segment of one free chunk, which is in no bin.
    ///
    /// # Safety
    ///
    /// The heap owns `bytes` bytes at `start`, both multiples of [`UNIT`], and they are enough for a chunk.
    #[inline]
    pub unsafe fn lay_out(start: NonNull<u8>, bytes: usize, next: Option<Segment>) -> Segment {
        let segment = Segment(start);
        segment.set_head(SegmentHead { next, bytes });
        segment.write_end();
        segment.first().set_free(bytes - SEGMENT_OVERHEAD);
        segment
    }

    #[inline]
    fn head(self) -> SegmentHead {
        // SAFETY: a segment begins with its head.
        unsafe { self.0.cast().read() }
    }

    #[inline]
    fn set_head(self, head: SegmentHead) {
        // SAFETY: a segment begins with its head, which the heap alone writes.
        unsafe { self.0.cast().write(head) };
    }

    #[inline]
    fn end(self) -> Chunk {
        // SAFETY: tiled: the end mark is the last that a segment has.
        Chunk(unsafe { self.0.add(self.bytes() - END_MARK) })
    }

    #[inline]
    fn write_end(self) {
        let end = self.end();
        end.set_head(LIVE);
        // SAFETY: tiled: the third word of the end mark.
        unsafe { end.word(LINKS).cast().write(self) };
    }

    /// The segment that `end` ends.
    #[inline]
    pub fn ended_by(end: Chunk) -> Segment {
        debug_assert!(end.is_end());
        // SAFETY: tiled: written when the segment was laid out.
        unsafe { end.word(LINKS).cast().read() }
    }

    #[inline]
    pub fn start(self) -> NonNull<u8> {
        self.0
    }

    #[inline]
    pub fn next(self) -> Option<Segment> {
        self.head().next
    }

    #[inline]
    pub fn set_next(self, next: Option<Segment>) {
        self.set_head(SegmentHead { next, ..self.head() });
    }

    #[inline]
    pub fn bytes(self) -> usize {
        self.head().bytes
    }

    /// Ends the segment earlier. What lies behind is in no chunk; the last chunk was made shorter before.
    #[inline]
    pub fn cut(self, bytes: usize) {
        self.set_head(SegmentHead { bytes, ..self.head() });
        self.write_end();
    }

    #[inline]
    pub fn first(self) -> Chunk {
        // SAFETY: tiled: behind the head.
        Chunk(unsafe { self.0.add(SEGMENT_HEAD) })
    }

    /// Whether a single free chunk is all there is.
    #[inline]
    pub fn is_idle(self) -> bool {
        let first = self.first();
        !first.is_live() && first.next().is_end()
    }

    #[inline]
    pub fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.0.addr().get()) < self.bytes()
    }
}
