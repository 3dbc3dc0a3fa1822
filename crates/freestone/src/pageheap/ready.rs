//! Large blocks of lengths that come again: straight through, in a fraction of the steps.
//!
//! Where a span lies ready that is just as long as is wanted, a [parked](super::parked) one or the one freed last, nothing is searched, cut,
//! merged or entered in the page map: a lock, a list, the counts. The same way back. Whatever is unusual is left to
//! [`alloc_large`](PageHeap::alloc_large) and [`free`](PageHeap::free), with nothing changed, and what is done here is what they would do.
//!
//! What counts is stores. A program writes to a block that it was given where the processor's caches have nothing, and no later
//! store takes effect before that one has: with some 64 of them waiting, the processor waits too.

use freestone_sys::System;

use super::index::bin_of;
use super::meta::lines_for;
use super::parked::LONGEST;
use super::span::{SpanRef, SpanState};
use super::{PageHeap, dirty, pages_for};

impl<S: System> PageHeap<S> {
    /// [`alloc_large`](PageHeap::alloc_large) of `bytes` at no particular alignment, not cleared, where a span lies ready. O(1). The block
    /// begins where `colour` tells, at `most_colour` at most.
    #[inline(always)]
    pub(crate) fn take_ready(
        &self,
        bytes: usize,
        most_colour: usize,
        colour: impl FnOnce() -> usize,
    ) -> Option<SpanRef> {
        let pages = pages_for(bytes.checked_add(most_colour)?)?;
        if !self.may_park() {
            return None;
        }
        let sparse = self.habits.length_if_sparse(pages);
        if sparse.is_none() && self.watch.recent() != pages {
            return None;
        }
        let mut state = self.state.lock();
        let state = &mut *state;
        let span = match sparse {
            Some(pages) => {
                let span = state.parked.bin(bin_of(pages)).first()?;
                state.unpark(span);
                state.parking.taken += span.pages().0;
                span
            }
            None => {
                let span = state.recent?;
                if span.pages().0 != pages || span.dirty_pages() != pages || span.lines() != lines_for(0) {
                    return None;
                }
                state.recent = None;
                self.watch.set_recent(0);
                state.counts.fewer_free(pages, pages);
                span.begin_look(false);
                span
            }
        };
        span.set_large_again(bytes, colour());
        state.counts.add(SpanState::Large, span.pages().0);
        state.counts.large_blocks += 1;
        self.watch.on_call(state.counts.used(), state.counts.free_dirty);
        Some(span)
    }

    /// [`free`](PageHeap::free) of the large block at `addr`, where its span is to lie ready; else false. O(1), but for a bit a page.
    #[inline(always)]
    pub(crate) fn lay_ready(&self, addr: usize) -> bool {
        let Some(span) = self.map.span_of(addr) else { return false };
        let pages = span.pages().0;
        if !span.is(SpanState::Large) || pages > LONGEST || !self.may_park() {
            return false;
        }
        let Ok(known) = self.known_of(span) else { return false };
        if known.resident.is_none() && self.watch.recent() != 0 {
            return false;
        }
        let mut state = self.state.lock();
        let state = &mut *state;
        // Of two threads that free one block at once the other finds no block.
        let is_live = span.is(SpanState::Large) && span.first_block() == addr && !span.is_waiting();
        if !is_live || span.pages().0 != pages || state.tight {
            return false;
        }
        match known.resident {
            Some(resident) if state.has_room_for(pages) && span.noted_look() == Some(resident) => {
                state.counts.leave_large(pages);
                state.park(&self.map, span, resident);
            }
            None if state.recent.is_none() => {
                let first = self.map.index(span);
                state.counts.leave_large(pages);
                dirty::set(&self.map, first..first + pages);
                span.set_dirty_pages(pages);
                span.set_state(SpanState::Recent);
                state.counts.more_free(pages, pages);
                state.recent = Some(span);
                self.watch.set_recent(pages);
            }
            _ => return false,
        }
        known.count_down();
        self.watch.on_call(state.counts.used(), state.counts.free_dirty);
        true
    }
}
