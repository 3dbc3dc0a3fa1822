//! Freed large blocks that keep their memory: forbidden until they serve again, and cleared then.
//!
//! To guard a block whole costs its memory, and every page of it a fault when it is used next. To forbid all access to it
//! costs a mapping, and keeps the memory; so a freed block is forbidden as long as what is kept stays within bounds. It
//! waits among the others (`large.rs`), then stands on the *shelf*, from where a request takes the one that fits best.
//! What nobody takes is guarded and goes to the page heap: by the scavenger after two of its looks, at once where memory is short.
//!
//! # Safety
//!
//! L1 of `large.rs`. W1: a span in a place of the shelf, or kept in one of the yard, is forbidden whole, and belongs to whoever takes
//! it out by exchange; so its record is that of a large block until then.
#![allow(unsafe_code)]

use core::ptr::null_mut;

use freestone_base::PAGE_SIZE;
use freestone_sys::{System, linux};

use super::random;
use super::settings::SETTINGS;
use super::{large, large::WAITING, marks, room_for};
use crate::pageheap::{Span, SpanRef, is_whole_os_pages};
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Blocks that wait no more and may serve again.
const PLACES: usize = 32;

/// A place for a span: of the shelf, or of the yard.
pub(super) type Place = AtomicPtr<Span>;

static SHELF: [Place; PLACES] = [const { AtomicPtr::new(null_mut()) }; PLACES];
/// Bytes that are kept. Relaxed: a bound that may be missed by a block or two.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// What may be kept beside the heap's part.
const LITTLE: usize = 2 << 20;

/// Bytes that are kept at most: a quarter of the heap and a little, and no more than may be dirty in the page heap, which in
/// this mode gets none of large blocks.
fn most() -> usize {
    let of_heap = LEVELS.pages.watch().growth_mark() * PAGE_SIZE / 4;
    LEVELS.pages.policy().dirty_limit_bytes().min(LITTLE + of_heap)
}

/// The bytes of a freed block that may be resident; the same from when it is freed to when it serves again.
fn weight(span: SpanRef) -> usize {
    room_for(span.requested()).next_multiple_of(LEVELS.pages.os_page_size()).min(span.bytes())
}

/// Of how many places one is chosen at random, of `all`, for a block that is kept: a quarter of what may be kept can wait.
pub(super) fn places(span: SpanRef, all: usize) -> usize {
    (most() / 4 / weight(span)).clamp(1, all)
}

/// Forbids a freed block, whose memory is kept; false, with nothing changed, where it cannot or should not be. O(pages).
pub(super) fn keep(span: SpanRef) -> bool {
    let (weight, most) = (weight(span), most());
    if !SETTINGS.guards() || weight > most / 2 || !is_whole_os_pages(span, LEVELS.pages.os_page_size()) {
        return false;
    }
    while HELD.load(Ordering::Relaxed) + weight > most {
        if !drop_one() {
            return false;
        }
    }
    // SAFETY: L1: the owner has given it up.
    if unsafe { linux::forbid(span.start(), span.bytes(), true) }.is_err() {
        return false;
    }
    HELD.fetch_add(weight, Ordering::Relaxed);
    span.note_kept();
    true
}

/// A kept block has waited: it may serve again. Where the shelf is full, another has to go. W1: it was taken out of its place.
pub(super) fn shelve(span: SpanRef) {
    // AcqRel, as wherever a place is exchanged: what was done to a span is done before somebody else has it.
    let put = |place: &Place| {
        place.compare_exchange(null_mut(), span.as_ptr(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    if SHELF.iter().any(put) {
        return;
    }
    let out = SHELF[random::below(PLACES)].swap(span.as_ptr(), Ordering::AcqRel);
    if let Some(out) = SpanRef::from_ptr(out) {
        drop_kept(out);
    }
}

/// Guards a kept block instead, which drops its memory; false where it is lost. W1: it was taken out of its place.
fn cool(span: SpanRef) -> bool {
    HELD.fetch_sub(weight(span), Ordering::Relaxed);
    // It waits still, and what the system refuses to take is not clean.
    span.begin_waiting();
    if LEVELS.pages.close(span) {
        span.note_closed();
    }
    // SAFETY: W1. Where there is no mapping to be had for it, only its addresses are lost.
    unsafe { linux::forbid(span.start(), span.bytes(), false) }.is_ok()
}

/// Gives a kept block to the page heap. W1: it was taken out of its place.
pub(super) fn drop_kept(span: SpanRef) {
    if cool(span) {
        LEVELS.pages.free(span);
    }
}

/// Drops a block from the shelf; whether there was one.
fn drop_one() -> bool {
    let first = random::below(PLACES);
    let mut places = (0..PLACES).map(|number| &SHELF[(first + number) % PLACES]);
    let out = places.find_map(|place| {
        let taken = !place.load(Ordering::Relaxed).is_null();
        taken.then(|| SpanRef::from_ptr(place.swap(null_mut(), Ordering::AcqRel))).flatten()
    });
    out.map(drop_kept).is_some()
}

/// Whether a span can hold so many bytes and a guard page, and is not much too long.
fn fits(span: SpanRef, least: usize, align: usize) -> bool {
    span.bytes() > least && span.bytes() / 2 <= least && span.start().is_multiple_of(align)
}

/// A block for `size` bytes at `align` from the shelf, with addresses for `spare` more, guarded behind, its request noted; it
/// reads as zeros if it should. O(shelf + size).
pub(super) fn take(size: usize, align: usize, zeroed: bool, spare: usize) -> Option<SpanRef> {
    if HELD.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let bytes = room_for(size).checked_next_multiple_of(LEVELS.pages.os_page_size())?;
    let least = bytes.checked_add(spare)?;
    let known = SHELF.iter().filter_map(|place| {
        // Acquire: the record is complete. Should the span leave meanwhile, its record stays one, and the exchange fails.
        let span = SpanRef::from_ptr(place.load(Ordering::Acquire))?;
        fits(span, least, align).then(|| (span.bytes(), place, span))
    });
    let (_, place, span) = known.min_by_key(|known| known.0)?;
    place.compare_exchange(span.as_ptr(), null_mut(), Ordering::AcqRel, Ordering::Relaxed).ok()?;
    if !fits(span, least, align) {
        // It left and came back as another.
        shelve(span);
        return None;
    }
    let weight = weight(span);
    let guarded = LEVELS.pages.guard_behind(span, bytes);
    // SAFETY: W1.
    if unsafe { linux::forbid(span.start(), span.bytes(), false) }.is_err() {
        shelve(span);
        return None;
    }
    HELD.fetch_sub(weight, Ordering::Relaxed);
    if bytes > weight {
        // Guards stood behind what was asked for the last time.
        LEVELS.pages.unguard(span, weight, bytes);
    }
    if zeroed || SETTINGS.zero() > 0 {
        clear(span, if guarded { bytes } else { span.bytes() });
    }
    span.set_requested(size);
    span.end_waiting();
    Some(span)
}

/// Has the first `bytes` bytes of a span read as zeros, without making pages resident that are not.
fn clear(span: SpanRef, bytes: usize) {
    let pages = &LEVELS.pages;
    linux::each_run(span.start(), span.start() + bytes, pages.os_page_size(), |from, to, resident| {
        // What is not resident may lie in swap space.
        // SAFETY: W1.
        if resident || unsafe { pages.system().purge(from, to - from) }.is_err() {
            marks::scrub(from, to - from, bytes);
        }
    });
}

/// What stands on the shelf: blocks, and bytes of their spans. O(1).
pub(super) fn standing() -> (usize, usize) {
    large::count(&SHELF)
}

/// Bytes that are kept.
pub(super) fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Gives all that stands on the shelf to the page heap.
pub(super) fn empty() {
    while drop_one() {}
}

/// Takes out of each of the places what has been there since the last call, or all of it; `seen` is what it remembers that by.
fn each_old(places: &[Place], seen: &[Place], all: bool, mut old: impl FnMut(&Place, SpanRef)) {
    for (place, seen) in places.iter().zip(seen) {
        let now = place.load(Ordering::Acquire);
        let is_old = seen.swap(now, Ordering::Relaxed) == now || all;
        // Should another have come meanwhile, that one goes.
        if let Some(span) = SpanRef::from_ptr(now)
            && is_old
            && span.is_kept()
            && let Some(span) = SpanRef::from_ptr(place.swap(null_mut(), Ordering::AcqRel))
        {
            old(place, span);
        }
    }
}

/// The scavenger looks: what is kept and was there when it looked last, or all of it, loses its memory. Whether any is left. The
/// gate has been entered.
pub(super) fn age(yard: &[Place; WAITING], all: bool) -> bool {
    static SEEN_SHELF: [Place; PLACES] = [const { AtomicPtr::new(null_mut()) }; PLACES];
    static SEEN_YARD: [Place; WAITING] = [const { AtomicPtr::new(null_mut()) }; WAITING];
    if held() == 0 {
        return false;
    }
    each_old(&SHELF, &SEEN_SHELF, all, |_, span| drop_kept(span));
    each_old(yard, &SEEN_YARD, all, |place, span| {
        if !span.is_kept() || cool(span) {
            // It waits on, as those do that were never kept.
            large::leave(place.swap(span.as_ptr(), Ordering::AcqRel));
        }
    });
    held() > 0
}
