//! A fault at a guard page of hardened mode: what was reached, in words, before the signal takes its course.
//!
//! What is read of the page heap is read without its lock, inside a signal handler: it may be out of date, and then the words
//! are wrong, nothing else.

use freestone_sys::linux::fault::{self, Access};

use super::marks::{self, Key};
use super::settings::SETTINGS;
use crate::guard::report::{self, Kind};
use crate::pageheap::{SpanRef, SpanState, shadow};
use crate::slow::LEVELS;
use crate::sync::atomic::Ordering;
use freestone_base::class_info;

/// Has faults reported, where the program has no handler of its own by now.
pub(super) fn listen() {
    fault::look_at_faults(on_access, false);
}

/// Reports an access that the processor refused, if it was to a guarded block, or in hardened mode to memory of ours.
pub(crate) fn on_access(access: &Access) {
    if report::on_access(access) || !super::is_on() {
        return;
    }
    let map = LEVELS.pages.page_map();
    let Some(span) = map.span_around(access.addr) else { return };
    let next = map.span_of(span.start() + span.bytes());
    let told = before(next, span, access.addr).or_else(|| around(span, access.addr));
    if let Some((kind, block)) = told
        && report::is_first()
    {
        report::tell_access(kind, access, block);
    }
}

type Told = (Kind, Result<(usize, usize), &'static str>);

/// The block that begins behind the guard pages, if the access is nearer to it than to what lies before them.
fn before(next: Option<SpanRef>, span: SpanRef, at: usize) -> Option<Told> {
    let next = next.filter(|next| next.start() == span.start() + span.bytes())?;
    let block = block_at(next, 0)?;
    let end = last_block(span).map_or(span.start(), |(addr, size)| addr + size);
    (block.0 - at <= at.saturating_sub(end)).then_some((Kind::Underrun, Ok(block)))
}

fn around(span: SpanRef, at: usize) -> Option<Told> {
    match span.state() {
        SpanState::Large if span.is_waiting() => {
            Some((Kind::UseAfterFree, Ok((span.first_block(), span.requested()))))
        }
        // An access to a block may fail because the program wants it to.
        SpanState::Large | SpanState::Slab if at < end_of_blocks(span) => None,
        SpanState::Large | SpanState::Slab => {
            Some((Kind::Overrun, last_block(span).ok_or("behind the last block of a slab, which is free")))
        }
        SpanState::Free | SpanState::Recent | SpanState::Away | SpanState::Parked => {
            Some((Kind::UseAfterFree, Err("in memory that belongs to no block")))
        }
        _ => None,
    }
}

/// Where the guard pages of a span in use can begin at the earliest.
fn end_of_blocks(span: SpanRef) -> usize {
    match span.state() {
        SpanState::Slab => span.first_block() + span.blocks() * class_info(span.class()).size as usize,
        _ => span.first_block() + span.requested(),
    }
}

fn last_block(span: SpanRef) -> Option<(usize, usize)> {
    let last = if span.is(SpanState::Slab) { span.blocks().checked_sub(1)? } else { 0 };
    block_at(span, last)
}

/// Where the block of this number lies in a span, and the bytes that were asked for; `None` where it is not live.
fn block_at(span: SpanRef, number: usize) -> Option<(usize, usize)> {
    if span.is(SpanState::Large) {
        return (!span.is_waiting()).then(|| (span.first_block(), span.requested()));
    }
    if !span.is(SpanState::Slab) {
        return None;
    }
    let capacity = class_info(span.class()).size as usize;
    let addr = span.first_block() + number * capacity;
    let mark = shadow::find(LEVELS.pages.page_map(), addr)?.0.load(Ordering::Relaxed);
    let key = Key::new(SETTINGS.secret(), addr);
    let size = marks::is_live(mark).then(|| marks::requested(addr, mark, capacity, key))?;
    Some((addr, size?))
}
