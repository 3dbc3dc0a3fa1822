//! Hardened mode's large blocks: guarded behind, out of reach while they wait and while they are free.
//!
//! # Safety
//!
//! As `mod.rs`. L1: a large block's span is its owner's until [`SpanRef`]'s mark of waiting is set, then whoever set it is
//! the owner until the page heap has it back.
#![allow(unsafe_code)]

use core::ptr::{null_mut, with_exposed_provenance_mut};

use freestone_base::size_class::MALLOC_ALIGN;
use freestone_base::{ClassId, PAGE_SIZE};
use freestone_sys::{System, linux};

use super::marks::{self, Key};
use super::settings::SETTINGS;
use super::{move_to, random, room_for, warm};
use crate::counters::{self, Call};
use crate::message::Fault;
use crate::pageheap::{NEVER, Span, SpanRef, SpanState};
use crate::slow::{self, LEVELS};
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::{emergency, front, gate, start};

/// Large blocks that wait.
pub(super) const WAITING: usize = 64;
/// Longer ones, in bytes, do not: their addresses would be missed. Free, they are guarded all the same.
const MOST: usize = 32 << 20;

static YARD: [warm::Place; WAITING] = [const { AtomicPtr::new(null_mut()) }; WAITING];

/// Whether guard pages fit between spans, which begin and end anywhere where OS pages are longer than pages.
pub(crate) fn guards_fit(os_page: usize) -> bool {
    os_page <= PAGE_SIZE
}

/// Whether the kernel makes guard pages without mappings of their own.
pub(crate) fn can_guard(system: &impl System) -> bool {
    let os_page = system.os_page_size();
    let Ok(at) = system.map(os_page) else { return false };
    // SAFETY: mapped just now, for this.
    let can = unsafe { system.guard(at, os_page) }.is_ok();
    // SAFETY: as above, and not used any more.
    let _ = unsafe { system.release(at, os_page) };
    can
}

/// The bytes of a large block up to its guard pages, or as many as a canary may be looked for in.
fn capacity(span: SpanRef, requested: usize) -> usize {
    room_for(requested).next_multiple_of(LEVELS.pages.os_page_size()).min(span.bytes())
}

fn key(span: SpanRef) -> Key {
    Key::new(SETTINGS.secret(), span.start())
}

fn set_canary(span: SpanRef) {
    if SETTINGS.canary() {
        marks::set(span.start(), span.requested(), capacity(span, span.requested()), key(span), true);
    }
}

fn take(size: usize, align: usize, zeroed: bool, spare: usize) -> Option<SpanRef> {
    if let Some(span) = warm::take(size, align, zeroed, spare) {
        set_canary(span);
        return Some(span);
    }
    let bytes = room_for(size).checked_add(spare)?;
    let piece = LEVELS.pages.piece_alignment(bytes);
    let whole = if piece > align { LEVELS.pages.alloc_large(bytes, piece, zeroed) } else { None };
    let span = whole.or_else(|| LEVELS.pages.alloc_large(bytes, align, zeroed))?;
    if spare > 0 && SETTINGS.guards() {
        LEVELS.pages.resize(span, room_for(size), false);
    }
    span.set_requested(size);
    set_canary(span);
    Some(span)
}

/// A large block; null when memory is refused.
#[cold]
pub(super) fn allocate(size: usize, align: usize, zeroed: bool, call: Call) -> *mut u8 {
    allocate_with(size, align, zeroed, 0, call)
}

fn allocate_with(size: usize, align: usize, zeroed: bool, spare: usize, call: Call) -> *mut u8 {
    let Some(inside) = gate::enter_patiently() else {
        return slow::allocate_elsewhere(None, size, align, zeroed);
    };
    slow::free_deferred();
    let span = take(size, align, zeroed, spare).or_else(|| {
        if size >= NEVER {
            return None;
        }
        slow::reclaim();
        take(size, align, zeroed, 0)
    });
    if let Some(span) = span
        && start::counting()
    {
        counters::on_alloc(call, ClassId::NONE, size, span.bytes());
    }
    drop(inside);
    slow::look_after();
    match span {
        Some(span) => with_exposed_provenance_mut(span.start()),
        None => slow::refused(size),
    }
}

/// Ends the process unless `span` is that of a live large block of the global allocator at `addr`, whole as it should be.
fn inspect(addr: usize, span: SpanRef, freed: Fault) {
    if span.first_block() != addr {
        Fault::InvalidFree.abort(addr, ClassId::NONE);
    }
    if span.is_waiting() {
        freed.abort(addr, ClassId::NONE);
    }
    let requested = span.requested();
    if SETTINGS.canary() && !marks::is_whole(addr, requested, capacity(span, requested), key(span)) {
        Fault::Overrun.abort(addr, ClassId::NONE);
    }
}

/// Gives back what is in no slab.
#[cold]
pub(super) fn release(addr: usize, span: Option<SpanRef>, size: Option<usize>, call: Call) {
    if let Some(span) = span.filter(|span| span.state() == SpanState::Large) {
        inspect(addr, span, Fault::DoubleFree);
        if let Some(size) = size
            && size != span.requested()
            && SETTINGS.sized()
        {
            Fault::WrongSize.abort_sized(addr, span.requested(), size);
        }
    }
    let block: *mut u8 = with_exposed_provenance_mut(addr);
    let Some(inside) = gate::enter() else {
        let of_heap = span.is_some_and(|span| span.heap() != 0);
        if !of_heap && !emergency::free(block) {
            // SAFETY: F2; every block holds 8 bytes, aligned to 8.
            unsafe { LEVELS.deferred.push(block) };
        }
        return;
    };
    slow::free_deferred();
    release_inside(addr, span, call);
    drop(inside);
    slow::look_after();
}

/// The same, once the gate has been entered.
pub(super) fn release_inside(addr: usize, span: Option<SpanRef>, call: Call) {
    match span {
        Some(span) if span.state() == SpanState::Large => {
            inspect(addr, span, Fault::DoubleFree);
            // One of two threads that free it at once is the first.
            if span.begin_waiting() {
                Fault::DoubleFree.abort(addr, ClassId::NONE);
            }
            if start::counting() {
                counters::on_free(call, ClassId::NONE, span.bytes());
            }
            wait(span);
        }
        _ => slow::release_unclassed(addr, span, call),
    }
}

/// Has a freed large block wait, forbidden or without memory.
fn wait(span: SpanRef) {
    let kept = warm::keep(span);
    if !kept && LEVELS.pages.close(span) {
        span.note_closed();
    }
    if SETTINGS.wait() == 0 || span.bytes() > MOST {
        return leave(span.as_ptr());
    }
    let places = if kept { warm::places(span, WAITING) } else { WAITING };
    // AcqRel: what was done to the span before it came here is done before anybody else gets it.
    leave(YARD[random::below(places)].swap(span.as_ptr(), Ordering::AcqRel));
}

/// The large block of this record, if it is one, waits no more.
pub(super) fn leave(span: *mut Span) {
    match SpanRef::from_ptr(span) {
        Some(span) if span.is_kept() => warm::shelve(span),
        Some(span) => LEVELS.pages.free(span),
        None => {}
    }
}

/// Large blocks in such places, and the bytes of their spans.
pub(super) fn count(places: &[warm::Place]) -> (usize, usize) {
    // Acquire: their records are complete. One that leaves meanwhile is counted as it is by then.
    let spans = places.iter().filter_map(|place| SpanRef::from_ptr(place.load(Ordering::Acquire)));
    spans.fold((0, 0), |(blocks, bytes), span| (blocks + 1, bytes + span.bytes()))
}

/// Large blocks that wait or are kept, and the bytes of their spans. O(1).
pub(super) fn waiting() -> (usize, usize) {
    let (waiting, standing) = (count(&YARD), warm::standing());
    (waiting.0 + standing.0, waiting.1 + standing.1)
}

/// Returns all large blocks that wait or are kept. The gate has been entered.
pub(super) fn empty_yard() {
    YARD.iter().for_each(|place| leave(place.swap(null_mut(), Ordering::AcqRel)));
    warm::empty();
}

/// What the scavenger does at each look: see [`warm::age`].
pub(super) fn age(all: bool) -> bool {
    warm::age(&YARD, all)
}

/// realloc of what is in no slab.
#[cold]
pub(super) fn realloc(addr: usize, span: Option<SpanRef>, size: usize, align: usize) -> *mut u8 {
    let block: *mut u8 = with_exposed_provenance_mut(addr);
    let Some(span) = span.filter(|span| span.state() == SpanState::Large) else {
        return realloc_foreign(block, span, size, align);
    };
    inspect(addr, span, Fault::UseAfterFree);
    let had = span.requested();
    if resize(span, had, size) {
        if start::counting() {
            counters::on_realloc(true);
        }
        return block;
    }
    if size <= had || super::class_for(room_for(size), align).is_some() {
        return move_to(block, had, size, align);
    }
    // Who grows goes on: with addresses to spare, the next steps move nothing.
    if start::counting() {
        counters::on_realloc(false);
    }
    let to = allocate_with(size, align, false, size / 4, Call::Inner);
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both blocks are live, so apart, and hold that many bytes.
    unsafe { to.copy_from_nonoverlapping(block, had) };
    super::release(addr, None, Call::Inner);
    to
}

/// Resizes a large block in place, if that can be.
fn resize(span: SpanRef, had: usize, size: usize) -> bool {
    if super::class_for(room_for(size), 1).is_some() {
        return false;
    }
    let Some(inside) = gate::enter() else { return false };
    // The canary would be the program's, were the block longer.
    let capacity = capacity(span, had);
    marks::clear(span.start(), had.min(size), had.min(capacity), capacity);
    let resized = LEVELS.pages.resize(span, room_for(size), false).is_some();
    span.set_requested(if resized { size } else { had });
    set_canary(span);
    drop(inside);
    resized
}

/// A watched block, or one of a first-class heap, of the emergency allocator, or of libc's own.
fn realloc_foreign(block: *mut u8, span: Option<SpanRef>, size: usize, align: usize) -> *mut u8 {
    let addr = block.expose_provenance();
    let had = match slow::usable_size_of(addr) {
        // It may have been asked for with no bytes.
        0 if span.is_some_and(|span| span.state().is_watched()) => 0,
        0 => match slow::libc_block_bytes(addr) {
            Some(most) => most,
            None => Fault::InvalidFree.abort(addr, ClassId::NONE),
        },
        had => had,
    };
    let to = if align > MALLOC_ALIGN { front::aligned(size, align) } else { front::malloc(size) };
    if to.is_null() {
        return null_mut();
    }
    // SAFETY: both hold that many bytes and are apart.
    unsafe { to.copy_from_nonoverlapping(block, had.min(size)) };
    if !linux::control::is_brk_heap(addr) {
        super::release(addr, None, Call::Inner);
    }
    to
}

/// The bytes that were asked for of a large block; `None` for what is none.
pub(super) fn usable_size(addr: usize, span: Option<SpanRef>) -> Option<usize> {
    let span = span.filter(|span| span.state() == SpanState::Large)?;
    inspect(addr, span, Fault::UseAfterFree);
    Some(span.requested())
}

/// Has a block that is too long to be cleared, and was just freed, read as zeros: purged where whole OS pages can be.
#[cold]
pub(super) fn drop_contents(addr: usize, requested: usize, capacity: usize) {
    let os_page = LEVELS.pages.os_page_size();
    let start = addr.next_multiple_of(os_page);
    let end = (addr + capacity) / os_page * os_page;
    let span = LEVELS.pages.page_map().span_of(addr);
    if start < end && span.is_some_and(|span| LEVELS.pages.purge_unused(span, start, end - start)) {
        let ends = [(addr, start), (end, addr + capacity)];
        for (from, to) in ends {
            // SAFETY: G2 of `mod.rs`.
            unsafe { with_exposed_provenance_mut::<u8>(from).write_bytes(0, to - from) };
        }
    } else {
        marks::clear(addr, 0, requested, capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_pages_fit_where_spans_end_with_whole_ones() {
        assert_eq!([4, 8, 16, 64].map(|kib| guards_fit(kib << 10)), [true, true, false, false]);
    }
}
