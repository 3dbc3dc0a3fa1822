//! Guard pages, in hardened mode: each span in use ends with them, a free one consists of them.
//!
//! Guarding drops what the pages held, so a span comes back clean, and whoever touches it faults. Nothing of the
//! page heap's touches free pages; purging, releasing and merging them are indifferent to guards.
//!
//! What the kernel refuses to guard, locked memory for instance, stays as accessible as without this mode.
//!
//! # Safety
//!
//! Only pages of spans in use are guarded or opened, by demand of their owner (H1).
#![allow(unsafe_code)]

use core::ptr::with_exposed_provenance_mut;

use freestone_sys::System;

use super::{PageHeap, SpanRef};

impl<S: System> PageHeap<S> {
    /// Makes the first `bytes` bytes of a span just handed out accessible, and guards all behind. Bytes: whole OS pages,
    /// and less than the span has.
    pub(super) fn open_guarded(&self, span: SpanRef, bytes: usize) {
        // A span from an extent that is new was never guarded; asking costs less than knowing.
        // SAFETY: pages of a span in use, which nobody uses yet (H1).
        let _ = unsafe { self.system.unguard(span.start(), bytes) };
        self.guard_behind(span, bytes);
    }

    /// Guards what a span in use has behind its first `bytes` bytes; whether it can be.
    pub(crate) fn guard_behind(&self, span: SpanRef, bytes: usize) -> bool {
        // SAFETY: pages of a span in use that belong to no block (H1).
        unsafe { self.system.guard(span.start() + bytes, span.bytes() - bytes) }.is_ok()
    }

    /// Makes what guards stand from byte `from` of a span in use to byte `to` accessible.
    pub(crate) fn unguard(&self, span: SpanRef, from: usize, to: usize) {
        // SAFETY: pages of the owner's span (H1).
        let _ = unsafe { self.system.unguard(span.start() + from, to - from) };
    }

    /// Drops what a span in use held, and guards it whole where there are guards; whether it reads as zeros when it is opened
    /// again. Its owner gives it up.
    pub(crate) fn close(&self, span: SpanRef) -> bool {
        self.end_long(span, false);
        self.huge.note_broken(span.page_range());
        // SAFETY: pages of a span in use, given up by its owner (H1).
        let guarded =
            self.policy.guards() && unsafe { self.system.guard(span.start(), span.bytes()) }.is_ok();
        guarded || self.empty(span)
    }

    /// Drops what a span in use held; whether it reads as zeros.
    fn empty(&self, span: SpanRef) -> bool {
        let os_page = self.os_page_size();
        let (start, end) = (span.start(), span.start() + span.bytes());
        // The system takes whole OS pages, of which neighbours may have a part.
        let (from, to) = (start.next_multiple_of(os_page), end / os_page * os_page);
        let clear = |from: usize, to: usize| {
            // SAFETY: pages of a span in use, given up by its owner (H1).
            unsafe { with_exposed_provenance_mut::<u8>(from).write_bytes(0, to - from) }
        };
        if from >= to {
            clear(start, end);
            return true;
        }
        // SAFETY: as above.
        if unsafe { self.system.purge(from, to - from) }.is_err() {
            return false;
        }
        clear(start, from);
        clear(to, end);
        true
    }

    /// Makes a guarded large block hold `bytes` in place, where its span is long enough for that and a guard page.
    pub(super) fn resize_guarded(&self, span: SpanRef, bytes: usize) -> Option<SpanRef> {
        let os_page = self.os_page_size();
        let old = span.requested().checked_add(span.colour())?.next_multiple_of(os_page);
        let new = bytes.checked_add(span.colour())?.checked_next_multiple_of(os_page)?;
        // A block that shrinks to a fraction moves: addresses are counted as if they were memory.
        if new >= span.bytes() || new < span.bytes() / 2 {
            return None;
        }
        if new > old {
            // SAFETY: pages of the owner's span that were guarded (H1).
            unsafe { self.system.unguard(span.start() + old, new - old) }.ok()?;
        } else if new < old {
            self.guard_behind(span, new);
        }
        span.set_requested(bytes);
        Some(span)
    }
}
