//! Chunks that a pointer fills: allocation is an addition and a comparison.
//!
//! ```text
//! ┌────────┬────────┬────────┬──────────┬ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
//! │ record │ object │ object │ object   │                     │
//! └────────┴────────┴────────┴──────────┴ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//! 0        64                           cursor                limit
//! ```
//!
//! # Safety
//!
//! *Chunk*: a [`Chunk`] is the address of a live block of [`CHUNK`] bytes, aligned to as many, of the parent; from [`RECORD`] to its
//! `end` (of the chunk in use: to the cursor) it consists of objects and fillers, without a gap.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use freestone_kit::Alloc;

use crate::collector::object::{FILLER, Object, WORD};

/// Bytes of a chunk, and its alignment.
pub(crate) const CHUNK: usize = 256 << 10;
/// Bytes of a chunk's record.
pub(crate) const RECORD: usize = 64;
/// From the record to the first header, if the first payload is to be aligned to 16.
pub(crate) const LEAD: usize = WORD;

const LAYOUT: Layout = match Layout::from_size_align(CHUNK, CHUNK) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// A chunk: where it is, and where its last object ends.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) block: NonNull<u8>,
    pub(crate) end: *mut u8,
}

impl Chunk {
    /// The first byte behind the record.
    pub(crate) fn start(self) -> *mut u8 {
        self.block.as_ptr().wrapping_add(RECORD)
    }

    /// The number of the chunk in which an object lies, as [`Chunks::number`] wrote it.
    #[inline]
    pub(crate) fn number_of(object: Object) -> usize {
        let block = object.payload().as_ptr().map_addr(|address| address & !(CHUNK - 1));
        // SAFETY: chunk: the record begins with the number.
        unsafe { block.cast::<usize>().read() }
    }

    /// The first byte behind the chunk.
    pub(crate) fn limit(self) -> *mut u8 {
        self.block.as_ptr().wrapping_add(CHUNK)
    }
}

/// Chunks in the order in which they were filled.
pub(crate) struct Chunks {
    cursor: *mut u8,
    limit: *mut u8,
    /// The last is that of the cursor; its `end` is out of date.
    chunks: Vec<Chunk>,
    /// Empty ones.
    spare: Vec<NonNull<u8>>,
    /// Bytes that stay free at the beginning of each.
    lead: usize,
}

impl Chunks {
    pub(crate) const fn new() -> Self {
        Chunks { cursor: null_mut(), limit: null_mut(), chunks: Vec::new(), spare: Vec::new(), lead: 0 }
    }

    /// The same, where the first payload of each chunk is aligned to 16: and all are, if all sizes are multiples of that.
    pub(crate) const fn with_lead() -> Self {
        let mut chunks = Chunks::new();
        chunks.lead = LEAD;
        chunks
    }

    /// Bytes of objects, and what was lost at the ends of chunks.
    pub(crate) fn used_bytes(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * (CHUNK - RECORD);
        full + self.chunks.last().map_or(0, |last| self.cursor.addr() - last.start().addr())
    }

    /// An object of `size` bytes, header included, at most [`LARGE`](super::LARGE); the header is the caller's to write.
    #[inline]
    pub(crate) fn allocate(&mut self, parent: &impl Alloc, size: usize, aligned: bool) -> Option<Object> {
        if let Some(object) = self.bump(size, aligned) {
            Some(object)
        } else {
            self.allocate_slow(parent, size, aligned)
        }
    }

    #[inline]
    fn bump(&mut self, size: usize, aligned: bool) -> Option<Object> {
        let mut at = self.cursor;
        let filler = if aligned { at.addr().wrapping_add(WORD) % 16 } else { 0 };
        if self.limit.addr() - at.addr() < size + filler {
            return None;
        }
        if aligned && filler != 0 {
            // SAFETY: chunk: the word lies in it.
            unsafe { at.cast::<usize>().write(FILLER) };
            at = at.wrapping_add(filler);
        }
        self.cursor = at.wrapping_add(size);
        // SAFETY: `at` lies in a chunk, so it is not null.
        let payload = unsafe { NonNull::new_unchecked(at.wrapping_add(WORD)) };
        // SAFETY: live as soon as the caller has written the header.
        Some(unsafe { Object::new(payload) })
    }

    #[cold]
    #[inline(never)]
    fn allocate_slow(&mut self, parent: &impl Alloc, size: usize, aligned: bool) -> Option<Object> {
        if self.spare.is_empty() && !self.reserve(parent, 1) {
            return None;
        }
        let block = self.spare.pop()?;
        self.close();
        let chunk = Chunk { block, end: null_mut() };
        self.cursor = chunk.start().wrapping_add(self.lead);
        self.limit = chunk.limit();
        self.chunks.push(chunk);
        self.bump(size, aligned)
    }

    /// Notes where the last chunk's objects end.
    pub(crate) fn close(&mut self) {
        if let Some(last) = self.chunks.last_mut() {
            last.end = self.cursor;
        }
    }

    /// Makes sure that so many chunks are spare; says whether it could be done.
    pub(crate) fn reserve(&mut self, parent: &impl Alloc, count: usize) -> bool {
        while self.spare.len() < count {
            let Ok(block) = parent.allocate(LAYOUT) else { return false };
            self.spare.push(block.cast());
        }
        true
    }

    /// Keeps at most so many chunks spare.
    pub(crate) fn trim(&mut self, parent: &impl Alloc, count: usize) {
        while self.spare.len() > count {
            let Some(block) = self.spare.pop() else { return };
            // SAFETY: chunk: a block of that layout that nobody uses.
            unsafe { parent.deallocate(block, LAYOUT) };
        }
    }

    /// Writes into each chunk's record which it is.
    pub(crate) fn number(&self) {
        for (number, chunk) in self.chunks.iter().enumerate() {
            // SAFETY: chunk: the record is ours.
            unsafe { chunk.block.cast::<usize>().write(number) };
        }
    }

    /// Takes the chunks that have objects in them; what is spare stays.
    pub(crate) fn take(&mut self) -> Vec<Chunk> {
        self.close();
        self.cursor = null_mut();
        self.limit = null_mut();
        core::mem::take(&mut self.chunks)
    }

    /// Takes back chunks whose objects are gone.
    pub(crate) fn recycle(&mut self, chunks: Vec<Chunk>) {
        self.spare.extend(chunks.into_iter().map(|chunk| chunk.block));
    }

    /// Sets the chunks, each filled to its `end`; allocation goes on in the last.
    pub(crate) fn restore(&mut self, chunks: Vec<Chunk>) {
        self.chunks = chunks;
        if let Some(last) = self.chunks.last() {
            self.cursor = last.end;
            self.limit = last.limit();
        }
    }

    /// How many chunks have objects in them.
    pub(crate) fn count(&self) -> usize {
        self.chunks.len()
    }

    /// The objects of one chunk from `at` on: the next, and none at the end (of what is there by now).
    #[inline]
    pub(crate) fn object_at(&self, number: usize, at: *mut u8) -> Option<Object> {
        let chunk = self.chunks[number];
        let end = if number + 1 == self.chunks.len() { self.cursor } else { chunk.end };
        object_at(at, end)
    }

    /// Where the objects of a chunk begin.
    pub(crate) fn start(&self, number: usize) -> *mut u8 {
        self.chunks[number].start()
    }

    /// Gives all chunks back.
    pub(crate) fn free(&mut self, parent: &impl Alloc) {
        let chunks = self.take();
        self.recycle(chunks);
        self.trim(parent, 0);
    }
}

/// The object at an address in a chunk, fillers skipped, if there is one before `end`.
#[inline]
pub(crate) fn object_at(at: *mut u8, end: *mut u8) -> Option<Object> {
    let mut at = at;
    if at.addr() >= end.addr() {
        return None;
    }
    // SAFETY: chunk: there is a header or a filler.
    if unsafe { at.cast::<usize>().read() } == FILLER {
        at = at.wrapping_add(WORD);
    }
    // SAFETY: behind a filler is an object.
    let payload = unsafe { NonNull::new_unchecked(at.wrapping_add(WORD)) };
    // SAFETY: chunk.
    Some(unsafe { Object::new(payload) })
}
