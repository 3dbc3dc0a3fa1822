//! What is known about each guarded block.
//!
//! # Safety
//!
//! B1 of `mod.rs`.
#![allow(unsafe_code)]

use core::ptr::null_mut;

use freestone_sys::{System, linux};

use crate::pageheap::{Span, SpanRef};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// Guarded blocks at most, live and waiting.
pub(super) const SLOTS: usize = 2048;
/// Frames that are kept of a stack.
pub(super) const STACK: usize = 24;

/// The record's block is nobody's.
const NONE: u32 = 0;
/// It is the program's.
pub(super) const LIVE: u32 = 1;
/// It was freed, and waits.
pub(super) const FREED: u32 = 2;

/// Where something happened.
pub(super) struct Moment {
    thread: AtomicU32,
    count: AtomicU32,
    frames: [AtomicUsize; STACK],
}

impl Moment {
    /// Notes the calling thread and its stack.
    pub(super) fn note(&self, frames: &[usize]) {
        self.thread.store(linux::debugging::thread_id() as u32, Ordering::Relaxed);
        for (place, &frame) in self.frames.iter().zip(frames) {
            place.store(frame, Ordering::Relaxed);
        }
        self.count.store(frames.len() as u32, Ordering::Relaxed);
    }

    pub(super) fn thread(&self) -> u32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Copies the frames out; returns how many.
    pub(super) fn frames(&self, out: &mut [usize; STACK]) -> usize {
        for (place, frame) in out.iter_mut().zip(&self.frames) {
            *place = frame.load(Ordering::Relaxed);
        }
        (self.count.load(Ordering::Relaxed) as usize).min(STACK)
    }
}

/// A guarded block.
pub(super) struct Record {
    state: AtomicU32,
    span: AtomicPtr<Span>,
    start: AtomicUsize,
    end: AtomicUsize,
    addr: AtomicUsize,
    size: AtomicUsize,
    /// Where it was allocated.
    pub(super) allocated: Moment,
    /// Where it was freed.
    pub(super) freed: Moment,
}

impl Record {
    /// Describes another block.
    pub(super) fn begin(&self, span: SpanRef, start: usize, end: usize, addr: usize, size: usize) {
        self.span.store(span.as_ptr(), Ordering::Relaxed);
        self.start.store(start, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.addr.store(addr, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.freed.count.store(0, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> u32 {
        // Acquire: who finds it live or freed finds it described.
        self.state.load(Ordering::Acquire)
    }

    pub(super) fn set_state(&self, state: u32) {
        self.state.store(state, Ordering::Release);
    }

    /// Makes a live block a freed one; false when it is that already.
    pub(super) fn try_free(&self) -> bool {
        self.state.compare_exchange(LIVE, FREED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(super) fn end_of_life(&self) {
        self.set_state(NONE);
    }

    pub(super) fn span(&self) -> Option<SpanRef> {
        SpanRef::from_ptr(self.span.load(Ordering::Relaxed))
    }

    /// The first accessible byte.
    pub(super) fn start(&self) -> usize {
        self.start.load(Ordering::Relaxed)
    }

    /// One past the last.
    pub(super) fn end(&self) -> usize {
        self.end.load(Ordering::Relaxed)
    }

    /// The block.
    pub(super) fn addr(&self) -> usize {
        self.addr.load(Ordering::Relaxed)
    }

    /// The bytes that were asked for.
    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Whether `addr` lies in the block's span.
    pub(super) fn covers(&self, addr: usize) -> bool {
        self.state() != NONE && self.span().is_some_and(|span| addr.wrapping_sub(span.start()) < span.bytes())
    }
}

/// The records; null before the first block is guarded.
static RECORDS: AtomicPtr<Record> = AtomicPtr::new(null_mut());

/// Maps the records, if nobody has; false when that was refused. The caller is the only one.
pub(super) fn prepare(system: &impl System) -> bool {
    if !RECORDS.load(Ordering::Acquire).is_null() {
        return true;
    }
    let bytes = (SLOTS * size_of::<Record>()).next_multiple_of(system.os_page_size());
    let Ok(at) = system.map(bytes) else { return false };
    // Release: who finds the records finds them mapped.
    RECORDS.store(core::ptr::with_exposed_provenance_mut(at), Ordering::Release);
    true
}

/// The record of this number, which is below [`SLOTS`]. [`prepare`] was called.
pub(super) fn get(number: u16) -> &'static Record {
    let number = usize::from(number).min(SLOTS - 1);
    let record = RECORDS.load(Ordering::Acquire).wrapping_add(number);
    // SAFETY: B1.
    unsafe { &*record }
}

/// All records that were ever used, from the first on.
pub(super) fn all() -> impl Iterator<Item = &'static Record> {
    let slots = if RECORDS.load(Ordering::Acquire).is_null() { 0 } else { SLOTS };
    (0..slots)
        .map(|number| get(number as u16))
        .take_while(|record| !record.span.load(Ordering::Relaxed).is_null())
}
