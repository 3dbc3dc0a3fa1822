//! Returning dirty pages to the system, and a simple rule for when.
//!
//! # Safety
//!
//! Pages are purged only while they are free (the page heap owns them, H1) or by the owner of the span
//! who is giving it back and relies on nothing in it.
#![allow(unsafe_code)]

use core::ops::Range;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::System;

use super::dirty;
use super::index::BINS;
use super::span::{SpanRef, SpanState, is_whole_os_pages};
use super::state::Op;
use crate::sync::atomic::Ordering::Relaxed;

/// Spans of at least this many pages (32 MiB) are purged when they are freed.
const AT_ONCE: usize = (32 << 20) >> PAGE_SHIFT;
/// Fewer dirty pages than this (32 MiB) are always kept for reuse.
const ALWAYS_KEPT: usize = (32 << 20) >> PAGE_SHIFT;

/// Once memory was refused, the addresses of free spans of at least so many pages (4 MiB) go back.
const RELEASED: usize = (4 << 20) >> PAGE_SHIFT;

/// How many dirty pages are kept while `used` pages are in use.
pub(super) fn dirty_limit(used: usize) -> usize {
    ALWAYS_KEPT.max(used / 2)
}

/// Purges a span that is about to be freed if it is very long; whether it was.
pub(super) fn at_once(system: &impl System, span: SpanRef) -> bool {
    let os_page = system.os_page_size();
    if span.pages().0 < AT_ONCE || !is_whole_os_pages(span, os_page) {
        return false;
    }
    // SAFETY: the span's owner gives it back; it is mapped (H1).
    unsafe { system.purge(span.start(), span.bytes()) }.is_ok()
}

impl<S: System> Op<'_, S> {
    /// The rule, until something runs in the background: where dirty pages exceed half of those in use,
    /// they go back down to three quarters of that, so that not every free that follows makes a system call.
    pub(super) fn limit_dirty(&mut self) {
        let limit = dirty_limit(self.state.counts.used());
        if self.state.counts.free_dirty > limit {
            self.purge(self.state.counts.free_dirty - limit / 4 * 3);
        }
    }

    /// Gives the addresses of a long free span back to the system, if memory was refused before: then addresses or
    /// mappings are limited, and whoever limits them (`RLIMIT_AS`, `RLIMIT_DATA`) lets thread stacks and files
    /// have only what we leave. The hole is mapped anew when there is need.
    pub(super) fn release_addresses(&mut self, span: SpanRef) {
        if !self.state.tight
            || span.pages().0 < RELEASED
            || !is_whole_os_pages(span, self.system.os_page_size())
            // SAFETY: pages of a free span, which are mapped and ours (H1).
            || unsafe { self.system.release(span.start(), span.bytes()) }.is_err()
        {
            return;
        }
        let first = self.map.index(span);
        self.unfile(span);
        self.map.leave(span);
        dirty::clear(self.map, first..first + span.pages().0);
        span.set_dirty_pages(0);
        self.put_to_use(span, SpanState::Hole);
        self.state.released.push(span);
    }

    /// Purges up to `most` dirty pages, from the longest spans first; how many it was. Spans that the system
    /// refuses to purge (locked in memory, for instance) are passed over.
    pub(super) fn purge(&mut self, most: usize) -> usize {
        let mut purged = 0;
        let mut end = BINS;
        while let Some(bin) = self.state.dirty.bin_before(end) {
            let mut next = self.state.dirty.bin(bin).first();
            while let Some(span) = next {
                if purged >= most {
                    return purged;
                }
                next = SpanRef::from_ptr(span.next().load(Relaxed));
                purged += self.purge_span(span, most - purged);
            }
            end = bin;
        }
        purged
    }

    /// Purges a free span with dirty pages as far as needed to be rid of `most` of them, in one call.
    fn purge_span(&mut self, span: SpanRef, most: usize) -> usize {
        let base = self.map.base();
        let first = self.map.index(span);
        let Some(range) = self.dirty_range(first..first + span.pages().0, most) else { return 0 };
        let (addr, len) = ((base + range.start) * PAGE_SIZE, range.len() * PAGE_SIZE);
        // SAFETY: pages of a free span, which are mapped and ours (H1).
        if unsafe { self.system.purge(addr, len) }.is_err() {
            return 0;
        }
        let cleaned = dirty::count(self.map, range.clone());
        self.unfile(span);
        dirty::clear(self.map, range);
        span.set_dirty_pages(span.dirty_pages() - cleaned);
        self.file(span);
        cleaned
    }

    /// From the first dirty page to where `most` dirty pages are counted, or to the last; whole OS pages.
    fn dirty_range(&self, pages: Range<usize>, most: usize) -> Option<Range<usize>> {
        let mut run = dirty::next_run(self.map, pages.clone())?;
        let start = run.start;
        let mut left = most;
        let mut end = start;
        loop {
            let taken = run.len().min(left);
            end = end.max(run.start + taken);
            left -= taken;
            if left == 0 {
                break;
            }
            match dirty::next_run(self.map, run.end..pages.end) {
                Some(next) => run = next,
                None => break,
            }
        }
        // Where OS pages are longer than pages, only those that lie wholly in the span can be purged.
        let granule = (self.system.os_page_size() / PAGE_SIZE).max(1);
        let base = self.map.base();
        let from = ((base + start) / granule * granule).max((base + pages.start).next_multiple_of(granule));
        let to = (base + end).next_multiple_of(granule).min((base + pages.end) / granule * granule);
        (from < to).then(|| from - base..to - base)
    }
}
