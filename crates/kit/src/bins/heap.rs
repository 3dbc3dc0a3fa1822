//! The heap proper: from a size to a chunk and back.
//!
//! # Safety
//!
//! As in the [module above](super).
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;

use super::chunk::{Chunk, LEAST, OVERHEAD, SEGMENT_OVERHEAD, Segment, UNIT};
use super::direct::Directs;
use super::large::LargeBins;
use super::quick::QuickLists;
use super::small::{SMALL, SmallBins};
use crate::tally::Tally;
use crate::{Alloc, AllocError, ResizeInPlace};

/// The borders of a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BinsConfig {
    /// Segments are multiples of so many bytes. 64 KiB.
    pub granularity: usize,
    /// Requests of so many bytes and more go to the parent. 128 KiB.
    pub mmap_threshold: usize,
    /// So many bytes may lie in segments without a live block; or a sixteenth of the heap, if that is more. 2 MiB.
    pub trim_threshold: usize,
}

impl BinsConfig {
    /// The usual borders.
    pub const DEFAULT: BinsConfig =
        BinsConfig { granularity: 64 << 10, mmap_threshold: 128 << 10, trim_threshold: 2 << 20 };

    /// The same with segments in multiples of so many bytes, rounded up to a multiple of 16.
    pub const fn granularity(self, bytes: usize) -> BinsConfig {
        let (least, most) = (SEGMENT_OVERHEAD + LEAST, isize::MAX as usize - UNIT);
        let bytes = if bytes < least { least } else { bytes };
        BinsConfig { granularity: if bytes > most { most } else { bytes }.next_multiple_of(UNIT), ..self }
    }

    /// The same with another mmap border, of at least 512 bytes.
    pub const fn mmap_threshold(self, bytes: usize) -> BinsConfig {
        BinsConfig { mmap_threshold: if bytes < SMALL { SMALL } else { bytes }, ..self }
    }

    /// The same with another number of bytes that may lie idle.
    pub const fn trim_threshold(self, bytes: usize) -> BinsConfig {
        BinsConfig { trim_threshold: bytes, ..self }
    }
}

impl Default for BinsConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// After so many merges all chunks that wait are freed in earnest, lest a few of them keep whole segments.
const MERGES: u32 = 4096;

/// A segment is at least this part of the heap, and as much may lie idle.
const SHARE: usize = 16;

/// Doug Lea's heap over a parent. See the [module](super).
pub struct Bins<A: Alloc> {
    pub(super) parent: A,
    pub(super) config: BinsConfig,
    quick: QuickLists,
    small: SmallBins,
    large: LargeBins,
    /// The designated victim: free, in no bin.
    victim: Cell<Option<Chunk>>,
    /// The last chunk of the newest segment while it is free: in no bin.
    top: Cell<Option<Chunk>>,
    segments: Cell<Option<Segment>>,
    pub(super) directs: Directs,
    /// Bytes of all segments.
    pub(super) held: Cell<usize>,
    /// Bytes of live chunks, without those that wait.
    taken: Cell<usize>,
    /// Merges until those that wait are freed in earnest.
    merges_left: Cell<u32>,
    pub(super) tally: Tally,
}

// SAFETY: ours: nobody else refers to segments and direct blocks, so they may move to another thread with the heap.
unsafe impl<A: Alloc + Send> Send for Bins<A> {}

/// Where a free chunk was kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Bin,
    Victim,
    Top,
}

/// The bytes of the chunk that serves so many bytes.
#[inline]
fn chunk_size(bytes: usize) -> Result<usize, AllocError> {
    let size =
        bytes.checked_add(OVERHEAD).and_then(|size| size.checked_next_multiple_of(UNIT)).ok_or(AllocError)?;
    Ok(size.max(LEAST))
}

fn segment_layout(bytes: usize) -> Result<Layout, AllocError> {
    Layout::from_size_align(bytes, UNIT).map_err(|_| AllocError)
}

impl<A: Alloc> Bins<A> {
    /// An empty heap with the usual borders. Takes nothing from the parent yet.
    pub const fn new(parent: A) -> Self {
        Self::with_config(parent, BinsConfig::DEFAULT)
    }

    /// An empty heap. Borders that were set in the fields of the configuration are rounded as its methods do.
    pub const fn with_config(parent: A, config: BinsConfig) -> Self {
        let config = config.granularity(config.granularity).mmap_threshold(config.mmap_threshold);
        Bins {
            parent,
            config,
            quick: QuickLists::new(),
            small: SmallBins::new(),
            large: LargeBins::new(),
            victim: Cell::new(None),
            top: Cell::new(None),
            segments: Cell::new(None),
            directs: Directs::new(),
            held: Cell::new(0),
            taken: Cell::new(0),
            merges_left: Cell::new(MERGES),
            tally: Tally::new(),
        }
    }

    /// The parent.
    pub fn parent(&self) -> &A {
        &self.parent
    }

    /// Bytes in live blocks now, heads, rounding and padding included.
    pub fn taken_bytes(&self) -> usize {
        self.taken.get() + self.directs.bytes()
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = Segment> {
        core::iter::successors(self.segments.get(), |segment| segment.next())
    }

    #[inline]
    fn insert(&self, chunk: Chunk, size: usize) {
        if size < SMALL { self.small.insert(chunk, size) } else { self.large.insert(chunk, size) }
    }

    /// Takes a free chunk of `size` bytes out of where it is kept.
    #[inline]
    fn detach(&self, chunk: Chunk, size: usize) -> Place {
        if self.top.get() == Some(chunk) {
            self.top.set(None);
            Place::Top
        } else if self.victim.get() == Some(chunk) {
            self.victim.set(None);
            Place::Victim
        } else if size < SMALL {
            self.small.remove(chunk, size);
            Place::Bin
        } else {
            self.large.remove(chunk, size);
            Place::Bin
        }
    }

    #[inline]
    fn attach(&self, chunk: Chunk, size: usize, place: Place) {
        match place {
            Place::Top => self.top.set(Some(chunk)),
            Place::Victim => self.set_victim(chunk),
            Place::Bin => self.insert(chunk, size),
        }
    }

    #[inline]
    fn set_victim(&self, chunk: Chunk) {
        if let Some(old) = self.victim.replace(Some(chunk)) {
            self.insert(old, old.size());
        }
    }

    /// Makes the first `size` bytes of a detached free chunk live; what is left is kept in `place`.
    #[inline]
    fn split(&self, chunk: Chunk, size: usize, place: Place) {
        let total = chunk.size();
        let rest = total - size;
        if rest < LEAST {
            chunk.set_live_behind_live(total);
        } else {
            self.attach(chunk.split(size, rest), rest, place);
        }
    }

    /// Takes the victim or the top, if that is long enough.
    #[inline]
    fn pop_kept(cell: &Cell<Option<Chunk>>, size: usize) -> Option<Chunk> {
        let kept = cell.get().filter(|chunk| chunk.size() >= size)?;
        cell.set(None);
        Some(kept)
    }

    #[inline]
    fn find_small(&self, size: usize) -> Option<(Chunk, Place)> {
        if let Some(exact) = self.small.pop_exact(size) {
            return Some((exact, Place::Bin));
        }
        // What is left of it is the victim again, so that the next small request is served beside this one.
        let found = Self::pop_kept(&self.victim, size).or_else(|| self.small.pop_above(size));
        found.or_else(|| self.large.pop_first()).map(|chunk| (chunk, Place::Victim))
    }

    #[inline]
    fn find_large(&self, size: usize) -> Option<(Chunk, Place)> {
        let found = self.large.pop_at_least(size).map(|chunk| (chunk, Place::Bin));
        // The victim, which serves small requests, only where there is nothing else.
        found.or_else(|| Self::pop_kept(&self.victim, size).map(|victim| (victim, Place::Victim)))
    }

    /// A live chunk of `size` bytes, or of one unit more.
    #[inline]
    fn take(&self, size: usize) -> Result<Chunk, AllocError> {
        let quick = if size < SMALL { self.quick.pop(size) } else { None };
        let chunk = quick.map_or_else(|| self.find(size), Ok)?;
        self.taken.set(self.taken.get() + chunk.size());
        Ok(chunk)
    }

    /// A chunk cut from a free one.
    fn find(&self, size: usize) -> Result<Chunk, AllocError> {
        let found = if size < SMALL { self.find_small(size) } else { self.find_large(size) };
        let found = found.or_else(|| Self::pop_kept(&self.top, size).map(|top| (top, Place::Top)));
        let Some((chunk, place)) = found else { return self.find_more(size) };
        self.split(chunk, size, place);
        Ok(chunk)
    }

    /// When nothing that is free is long enough.
    #[cold]
    fn find_more(&self, size: usize) -> Result<Chunk, AllocError> {
        if !self.quick.is_empty() {
            self.settle();
            return self.find(size);
        }
        let top = self.add_segment(size)?;
        self.top.set(None);
        self.split(top, size, Place::Top);
        Ok(top)
    }

    /// Takes a segment that holds a chunk of `size` bytes; its chunk is the new top.
    fn add_segment(&self, size: usize) -> Result<Chunk, AllocError> {
        let least = size.checked_add(SEGMENT_OVERHEAD).ok_or(AllocError)?;
        let round = |bytes: usize| bytes.checked_next_multiple_of(self.config.granularity).ok_or(AllocError);
        let wanted = round(least.max(self.held.get() / SHARE))?;
        let taken = self.parent.allocate(segment_layout(wanted)?).map(|start| (start, wanted));
        // A parent that is nearly used up may still have what is needed now.
        let (start, bytes) =
            taken.or_else(|_| self.parent.allocate(segment_layout(least)?).map(|start| (start, least)))?;
        // SAFETY: ours, just allocated, with that size and alignment.
        let segment = unsafe { Segment::lay_out(start.cast(), bytes, self.segments.get()) };
        self.segments.set(Some(segment));
        self.held.set(self.held.get() + bytes);
        if let Some(old) = self.top.replace(Some(segment.first())) {
            self.insert(old, old.size());
        }
        Ok(segment.first())
    }

    /// A live chunk for a layout that is not direct and not of no bytes.
    #[inline]
    pub(super) fn allocate_chunk(&self, layout: Layout) -> Result<Chunk, AllocError> {
        let size = chunk_size(layout.size())?;
        if layout.align() <= UNIT { self.take(size) } else { self.take_aligned(size, layout.align()) }
    }

    #[cold]
    fn take_aligned(&self, size: usize, align: usize) -> Result<Chunk, AllocError> {
        // So much that an aligned payload can be found with either nothing or a whole chunk before it.
        let chunk = self.take(size + align + UNIT)?;
        let payload = chunk.payload().addr().get();
        let mut skip = payload.next_multiple_of(align) - payload;
        if skip > 0 && skip < LEAST {
            skip += align;
        }
        let aligned = self.cut_front(chunk, skip);
        self.cut_tail(aligned, size);
        Ok(aligned)
    }

    /// Frees the first `bytes` bytes of a live chunk, which are none or a whole chunk.
    fn cut_front(&self, chunk: Chunk, bytes: usize) -> Chunk {
        if bytes == 0 {
            return chunk;
        }
        let rest = chunk.size() - bytes;
        // SAFETY: tiled: inside the chunk.
        let behind = unsafe { chunk.offset(bytes) };
        behind.set_live_behind_live(rest);
        chunk.set_live(bytes);
        self.free_now(chunk);
        behind
    }

    /// Frees what a live chunk has beyond `size`, if that makes a chunk.
    fn cut_tail(&self, chunk: Chunk, size: usize) {
        let rest = chunk.size() - size;
        if rest < LEAST {
            return;
        }
        // SAFETY: tiled: inside the chunk.
        let behind = unsafe { chunk.offset(size) };
        behind.set_live_behind_live(rest);
        chunk.set_live(size);
        self.free_now(behind);
    }

    /// Gives a live chunk the size for `layout` where it lies.
    pub(super) fn resize_chunk(&self, chunk: Chunk, layout: Layout) -> Result<(), AllocError> {
        let size = chunk_size(layout.size())?;
        if size <= chunk.size() {
            self.cut_tail(chunk, size);
            return Ok(());
        }
        let next = chunk.next();
        let total = chunk.size() + next.size();
        if next.is_live() || total < size {
            return Err(AllocError);
        }
        let place = self.detach(next, next.size());
        self.taken.set(self.taken.get() - chunk.size());
        chunk.set_live(total);
        let rest = total - size;
        if rest >= LEAST {
            chunk.set_live(size);
            let behind = chunk.next();
            behind.set_free(rest);
            self.attach(behind, rest, place);
        }
        self.taken.set(self.taken.get() + chunk.size());
        Ok(())
    }

    /// Frees a live chunk, which waits if it is small.
    #[inline]
    pub(super) fn release(&self, chunk: Chunk) {
        let size = chunk.size();
        let taken = self.taken.get() - size;
        self.taken.set(taken);
        if size >= SMALL || !self.quick.push(chunk, size) {
            self.merge(chunk);
        }
        // What waits would keep its segments.
        if taken == 0 && self.held.get() > self.config.trim_threshold {
            self.settle();
        }
    }

    /// Frees a live chunk, which does not wait.
    fn free_now(&self, chunk: Chunk) {
        self.taken.set(self.taken.get() - chunk.size());
        self.merge(chunk);
    }

    /// Frees in earnest what waits.
    #[cold]
    fn settle(&self) {
        self.merges_left.set(MERGES);
        while let Some(chunk) = self.quick.pop_any() {
            self.merge(chunk);
        }
    }

    /// Merges a chunk that was live with its free neighbours, and keeps what comes of it.
    fn merge(&self, chunk: Chunk) {
        let mut place = Place::Bin;
        let (mut start, mut size) = (chunk, chunk.size());
        let next = chunk.next();
        if !chunk.is_previous_live() {
            start = chunk.previous();
            let before = start.size();
            place = self.detach(start, before);
            size += before;
            chunk.set_merged();
        }
        if !next.is_live() {
            let behind = next.size();
            place = place.max(self.detach(next, behind));
            size += behind;
        }
        let is_last = start.set_free(size);
        self.attach(start, size, place);
        if is_last {
            let segment = Segment::ended_by(start.next());
            if segment.first() == start {
                self.segment_became_idle(segment);
            }
        }
        match self.merges_left.get() {
            0 => self.settle(),
            left => self.merges_left.set(left - 1),
        }
    }

    /// Gives an idle segment back when there are idle bytes enough without it.
    #[cold]
    fn segment_became_idle(&self, segment: Segment) {
        let idle: usize = self.segments().filter(|other| other.is_idle()).map(Segment::bytes).sum();
        if idle > self.config.trim_threshold.max(self.held.get() / SHARE) {
            self.remove_segment(segment);
        }
    }

    fn remove_segment(&self, segment: Segment) {
        self.detach(segment.first(), segment.first().size());
        match self.segments().find(|other| other.next() == Some(segment)) {
            Some(before) => before.set_next(segment.next()),
            None => self.segments.set(segment.next()),
        }
        self.held.set(self.held.get() - segment.bytes());
        self.return_segment(segment);
    }

    fn return_segment(&self, segment: Segment) {
        // The layout was valid when the segment was allocated.
        if let Ok(layout) = segment_layout(segment.bytes()) {
            // SAFETY: ours, nothing in it is live, and none of its chunks is kept anywhere.
            unsafe { self.parent.deallocate(segment.start(), layout) };
        }
    }

    /// Gives every segment in which nothing is live back to the parent; returns their bytes. O(segments²).
    pub fn trim(&self) -> usize {
        let before = self.held.get();
        self.settle();
        while let Some(segment) = self.segments().find(|segment| segment.is_idle()) {
            self.remove_segment(segment);
        }
        before - self.held.get()
    }

    /// Gives all back, whatever is live.
    pub(super) fn release_all(&mut self) {
        let mut next = self.segments.take();
        while let Some(segment) = next {
            next = segment.next();
            self.return_segment(segment);
        }
        self.directs.release_all(&self.parent);
        self.quick = QuickLists::new();
        self.small = SmallBins::new();
        self.large = LargeBins::new();
        self.victim.set(None);
        self.top.set(None);
        self.held.set(0);
        self.taken.set(0);
    }

    /// Checks that chunks tile every segment, that no two free ones are neighbours, that each is kept where it
    /// belongs, and the figures. O(chunks).
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn verify(&self) -> Result<(), &'static str> {
        let (mut free, mut waiting, mut taken, mut held) = (0_usize, 0, 0, 0);
        for segment in self.segments() {
            held += segment.bytes();
            let mut chunk = segment.first();
            let mut previous_live = true;
            while !chunk.is_end() {
                if chunk.is_previous_live() != previous_live {
                    return Err("a head is wrong about the chunk before it");
                }
                if !chunk.is_live() {
                    if !previous_live {
                        return Err("two free neighbours were not merged");
                    }
                    if chunk.size_behind() != chunk.size() {
                        return Err("the length behind a free chunk is wrong");
                    }
                    free += 1;
                } else if chunk.is_taken() {
                    taken += chunk.size();
                } else {
                    waiting += 1;
                }
                previous_live = chunk.is_live();
                chunk = chunk.next();
            }
            if Segment::ended_by(chunk) != segment {
                return Err("the chunks do not end where the segment does");
            }
        }
        let mut kept = self.victim.get().iter().chain(&self.top.get()).count();
        let mut right = true;
        let mut look = |chunk: Chunk, in_place| {
            kept += usize::from(!chunk.is_live());
            right &= in_place;
        };
        self.small.for_each(&mut look);
        self.large.for_each(&mut look);
        match () {
            () if !right => Err("a chunk is in the wrong bin"),
            () if waiting != self.quick.len() => Err("others wait than are in the quick lists"),
            () if kept != free => Err("not all free chunks are kept, or others are"),
            () if (taken, held) != (self.taken.get(), self.held.get()) => Err("the figures are wrong"),
            () => Ok(()),
        }
    }
}

impl<A: Alloc + ResizeInPlace> Bins<A> {
    /// Gives back what the top has beyond `keep` bytes, too, where the parent can shorten its segment in place; after
    /// [`trim`](Bins::trim). Returns the bytes given back.
    pub fn trim_top(&self, keep: usize) -> usize {
        let trimmed = self.trim();
        let Some(top) = self.top.get() else { return trimmed };
        let segment = Segment::ended_by(top.next());
        let Some(keep) = keep.max(LEAST).checked_next_multiple_of(UNIT) else { return trimmed };
        let Some(spare) = top.size().checked_sub(keep).filter(|&spare| spare > 0) else { return trimmed };
        let bytes = segment.bytes();
        let (Ok(old), Ok(new)) = (segment_layout(bytes), segment_layout(bytes - spare)) else {
            return trimmed;
        };
        // Written before, since the parent may take the memory behind at once.
        segment.cut(bytes - spare);
        top.set_free(keep);
        // SAFETY: ours, with that layout; what is cut off belongs to no chunk.
        if unsafe { self.parent.resize_in_place(segment.start(), old, new) }.is_err() {
            segment.cut(bytes);
            top.set_free(keep + spare);
            return trimmed;
        }
        self.held.set(self.held.get() - spare);
        trimmed + spare
    }
}

impl<A: Alloc> Drop for Bins<A> {
    fn drop(&mut self) {
        self.release_all();
    }
}
