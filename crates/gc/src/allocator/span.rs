//! A span: 64 KiB of blocks of one size class, with its record and its bits in front.
//!
//! ```text
//! 0        64                                     first
//! ┌────────┬──────────────────┬──────────────────┬───────┬───────┬───────┬── ─ ─ ┐
//! │ record │ mark bits        │ allocated bits   │ block │ block │ block │       │
//! └────────┴──────────────────┴──────────────────┴───────┴───────┴───────┴── ─ ─ ┘
//! ```
//!
//! Spans are aligned to their length, so that the address of an object leads to the bits. The bits lie aside from the objects: a
//! sweep of a span without destructors touches none of its blocks, and a dead block is never read.
//!
//! # Safety
//!
//! *Span*: a [`Span`] is the address of a live block of [`SPAN`] bytes, aligned to as many, whose record was written by
//! [`Span::format`]; what lies between the record and `first` are two bit maps of `words` words each. Nobody holds a reference into
//! record or maps, and only the thread that has the heap touches them.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use super::class::{CLASS, Class, RECORD, SPAN};
use crate::collector::object::{FILLER, Object, WORD};

/// What a span's record holds.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    class: Class,
    /// The number of the class.
    number: u32,
    /// The number of the collection after which it was swept last.
    epoch: u32,
    /// There may be objects with a destructor.
    drops: bool,
}

const _: () = assert!(size_of::<Record>() <= RECORD);

/// The address of a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Span(NonNull<u8>);

/// Blocks from one to another, without the latter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Span {
    /// Makes a span of a block of memory.
    ///
    /// # Safety
    ///
    /// Span: the block is that long, aligned so, and nobody else's.
    pub(crate) unsafe fn format(block: NonNull<u8>, number: usize, epoch: u32) -> Span {
        let class = CLASS[number];
        let span = Span(block);
        span.write(Record { class, number: number as u32, epoch, drops: false });
        // SAFETY: span: the maps follow the record.
        let maps = unsafe { block.add(RECORD) };
        // SAFETY: span: two maps of so many words.
        unsafe { maps.write_bytes(0, 2 * WORD * class.words as usize) };
        span
    }

    pub(crate) fn block(self) -> NonNull<u8> {
        self.0
    }

    #[inline]
    fn read(self) -> Record {
        // SAFETY: span.
        unsafe { self.0.cast::<Record>().read() }
    }

    #[inline]
    fn write(self, record: Record) {
        // SAFETY: span.
        unsafe { self.0.cast::<Record>().write(record) };
    }

    pub(crate) fn class(self) -> Class {
        self.read().class
    }

    /// Whether it was swept after that collection.
    pub(crate) fn is_swept(self, epoch: u32) -> bool {
        self.read().epoch == epoch
    }

    pub(crate) fn set_drops(self) {
        self.write(Record { drops: true, ..self.read() });
    }

    fn mark_word(self, word: usize) -> *mut u64 {
        self.0.as_ptr().wrapping_add(RECORD + 8 * word).cast()
    }

    fn allocated_word(self, class: Class, word: usize) -> *mut u64 {
        self.mark_word(class.words as usize + word)
    }

    fn allocated(self, class: Class, word: usize) -> u64 {
        // SAFETY: span: `word` is one of the map's.
        unsafe { self.allocated_word(class, word).read() }
    }

    fn set_allocated(self, class: Class, word: usize, bits: u64) {
        // SAFETY: as above.
        unsafe { self.allocated_word(class, word).write(bits) };
    }

    fn marks(self, word: usize) -> u64 {
        // SAFETY: span: `word` is one of the map's.
        unsafe { self.mark_word(word).read() }
    }

    fn set_marks(self, word: usize, bits: u64) {
        // SAFETY: as above.
        unsafe { self.mark_word(word).write(bits) };
    }

    /// The first byte of a block.
    #[inline]
    pub(crate) fn block_at(self, class: Class, block: u32) -> NonNull<u8> {
        // SAFETY: span: a block number, or that behind the last: at most the span's end.
        unsafe { self.0.add((class.first + block * class.size) as usize) }
    }

    /// The number of the block that begins at `at`.
    pub(crate) fn number_at(self, class: Class, at: NonNull<u8>) -> u32 {
        let distance = (at.addr().get() - self.0.addr().get()) as u32 - class.first;
        ((u64::from(distance) * u64::from(class.reciprocal)) >> 32) as u32
    }

    /// The object in a block.
    pub(crate) fn object_in(self, class: Class, block: u32) -> Object {
        let at = self.block_at(class, block);
        // SAFETY: the block is allocated, and its first word was written: a header or a filler.
        let first = unsafe { at.cast::<usize>().read() };
        let head = if first == FILLER { 2 * WORD } else { WORD };
        // SAFETY: the payload lies in the block.
        let payload = unsafe { at.add(head) };
        // SAFETY: live: the header was written.
        unsafe { Object::new(payload) }
    }

    /// The next blocks in a row that are not allocated, at `from` or behind it; they are marked as allocated.
    pub(crate) fn take_run(self, from: u32) -> Option<Run> {
        let class = self.class();
        let first = self.find(class, from, |bits| !bits)?;
        let end = self.find(class, first + 1, |bits| bits).unwrap_or(class.blocks);
        self.change(class, Run { from: first, to: end }, |bits, run| bits | run);
        Some(Run { from: first, to: end })
    }

    /// Marks blocks as free again that were taken and not used.
    pub(crate) fn give_run(self, run: Run) {
        let class = self.class();
        self.change(class, run, |bits, run| bits & !run);
    }

    /// The first block at `from` or behind it whose bit is set in what `which` makes of the map.
    fn find(self, class: Class, from: u32, which: impl Fn(u64) -> u64) -> Option<u32> {
        if from >= class.blocks {
            return None;
        }
        let mut word = (from / 64) as usize;
        let mut bits = which(self.allocated(class, word)) & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            if word == class.words as usize {
                return None;
            }
            bits = which(self.allocated(class, word));
        }
        let found = word as u32 * 64 + bits.trailing_zeros();
        (found < class.blocks).then_some(found)
    }

    fn change(self, class: Class, run: Run, how: impl Fn(u64, u64) -> u64) {
        let mut at = run.from;
        while at < run.to {
            let end = run.to.min((at / 64 + 1) * 64);
            let len = end - at;
            let ones = if len == 64 { u64::MAX } else { ((1 << len) - 1) << (at % 64) };
            let word = (at / 64) as usize;
            self.set_allocated(class, word, how(self.allocated(class, word), ones));
            at = end;
        }
    }

    /// What was allocated and is not marked is freed, after `each` has seen it if there may be destructors; the marks are cleared.
    /// Returns how many blocks are live.
    pub(crate) fn sweep(self, epoch: u32, mut each: impl FnMut(Object)) -> u32 {
        let record = self.read();
        let class = record.class;
        let mut live = 0;
        for word in 0..class.words as usize {
            let marks = self.marks(word);
            if record.drops {
                let mut dead = self.allocated(class, word) & !marks;
                while dead != 0 {
                    each(self.object_in(class, word as u32 * 64 + dead.trailing_zeros()));
                    dead &= dead - 1;
                }
            }
            self.set_allocated(class, word, marks);
            self.set_marks(word, 0);
            live += marks.count_ones();
        }
        self.write(Record { epoch, drops: record.drops && live != 0, ..record });
        live
    }

    /// Forgets all marks.
    pub(crate) fn clear_marks(self) {
        for word in 0..self.class().words as usize {
            self.set_marks(word, 0);
        }
    }
}

/// The span in which an object lies.
#[inline]
pub(crate) fn span_of(object: Object) -> Span {
    let base = object.payload().as_ptr().map_addr(|address| address & !(SPAN - 1));
    // SAFETY: span: an object in a span is never in the first bytes of the address space.
    Span(unsafe { NonNull::new_unchecked(base) })
}

/// Where the mark bit of an object lies: the word, and the bit in it. `class` is a constant as a rule, and all of this folds.
#[inline]
fn mark_of(object: Object, class: Class) -> (*mut u64, u64) {
    let distance = (object.address() & (SPAN - 1)) - WORD - class.first as usize;
    let number = (distance as u64 * u64::from(class.reciprocal)) >> 32;
    let word = span_of(object).mark_word((number / 64) as usize);
    (word, 1 << (number % 64))
}

/// Marks an object; says whether it was not marked yet.
#[inline]
pub(crate) fn mark(object: Object, class: Class) -> bool {
    let (word, bit) = mark_of(object, class);
    // SAFETY: span: a word of the map.
    let bits = unsafe { word.read() };
    // SAFETY: the same.
    unsafe { word.write(bits | bit) };
    bits & bit == 0
}

/// The same for a cell, in which a tiny object lies without a header.
#[inline]
pub(crate) fn mark_cell(object: Object, class: Class) -> bool {
    let (word, bit) = mark_of_cell(object, class);
    // SAFETY: span: a word of the map.
    let bits = unsafe { word.read() };
    // SAFETY: the same.
    unsafe { word.write(bits | bit) };
    bits & bit == 0
}

/// Whether a cell is marked.
pub(crate) fn is_cell_marked(object: Object, class: Class) -> bool {
    let (word, bit) = mark_of_cell(object, class);
    // SAFETY: span: a word of the map.
    (unsafe { word.read() }) & bit != 0
}

/// Where the mark bit of a cell lies.
#[inline]
fn mark_of_cell(object: Object, class: Class) -> (*mut u64, u64) {
    let number = ((object.address() & (SPAN - 1)) - class.first as usize) / class.size as usize;
    (span_of(object).mark_word(number / 64), 1 << (number % 64))
}

/// Whether an object is marked.
#[inline]
pub(crate) fn is_marked(object: Object, class: Class) -> bool {
    let (word, bit) = mark_of(object, class);
    // SAFETY: span: a word of the map.
    (unsafe { word.read() }) & bit != 0
}
