//! A chunk and its two words of bookkeeping, and the segment in which chunks lie.
//!
//! # Safety
//!
//! *Tiled*: a [`Chunk`] designates a chunk inside a live segment of one heap. Chunks tile the segment up to its end
//! mark; a chunk's head says how long it is. The head is the heap's alone. So are all the other bytes of a free chunk
//! and the first word of the chunk behind it; of a live chunk both are the caller's, but for the chunk's own first
//! word.
#![allow(unsafe_code)]

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
    /// Only in chunks that are in a tree, as are the following.
    Low,
    High,
    Parent,
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

    #[inline]
    pub fn is_live(self) -> bool {
        self.head() & LIVE != 0
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

    /// Makes it a free chunk of `size` bytes, with a live chunk before it; tells the chunk behind.
    #[inline]
    pub fn set_free(self, size: usize) {
        self.set_head(size | PREVIOUS_LIVE);
        let next = self.next();
        // SAFETY: tiled: that word is ours while we are free.
        unsafe { next.word(PREVIOUS_SIZE).write(size) };
        next.set_head(next.head() & !PREVIOUS_LIVE);
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

    /// A link of a free chunk that is in a bin.
    #[inline]
    pub fn link(self, link: Link) -> Option<Chunk> {
        // SAFETY: tiled: a free chunk's bytes are ours, and links are written when it enters its bin.
        unsafe { self.place(link).read() }
    }

    #[inline]
    pub fn set_link(self, link: Link, to: Option<Chunk>) {
        // SAFETY: tiled: a free chunk's bytes are ours; those in trees are long enough for all links.
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
