//! Returning dirty pages and addresses to the system.
//!
//! When: the scavenger (`scavenge.rs`) decides by time and demand. Besides, whoever takes clean pages while many are dirty
//! returns as many or more, so that what is resident does not outgrow a limit in less time than the scavenger takes.
//!
//! The kernel may take milliseconds, so it is asked without the page heap's lock, but for advice that touches no page (`huge.rs`). Spans are sent *away* for that:
//! taken out of their index and marked, so that nobody cuts or merges them, and filed again afterwards. One thread
//! at a time has spans away, to purge them, to give up their addresses, or to move pages there (`resize.rs`); it
//! holds the sender's lock, which is taken before the page heap's. So whoever finds no memory while spans are
//! away can wait for them (`take_at_last`).
//!
//! # Safety
//!
//! Pages are purged or released only while the span is away, sent by the thread that purges (H1), or by demand of their owner.
#![allow(unsafe_code)]

use core::ops::Range;

use freestone_base::{PAGE_SHIFT, PAGE_SIZE, PageCount};
use freestone_sys::System;

use super::huge::PIECE;
use super::index::BINS;
use super::span::{SpanRef, SpanState, is_whole_os_pages};
use super::state::Op;
use super::{PageHeap, SpanList, dirty};

/// At most so many (16 MiB) are purged by a caller at a time, or twice as many as it takes.
const SLICE: usize = (16 << 20) >> PAGE_SHIFT;

/// Once memory was refused, the addresses of free spans of at least so many pages (4 MiB) go back.
const RELEASED: usize = (4 << 20) >> PAGE_SHIFT;

/// Which huge pages may be broken, that a part of them goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Breaking {
    /// Any.
    Any,
    /// Of those that are known none of which a free span covers less than a quarter.
    Worthy,
    /// None, be they known or not.
    No,
}

/// Spans in a row whose pages stay for a huge page's sake, after which others, which are no longer, are not looked at: whoever asks for this
/// bounds what may stay in all.
pub(super) const MOST_SPARED: usize = 64;

impl<S: System> PageHeap<S> {
    /// Gives up the addresses of the free span at page `freed` of the window, where [`Op::untidy`] wants that.
    #[cold]
    pub(super) fn tidy(&self, freed: usize) {
        let _sender = self.sender.lock();
        if let Some(span) = self.settled(|op| op.send_for_release(freed)) {
            self.huge.note_broken(span.page_range());
            // SAFETY: pages of a span that this thread sent away, which are mapped and ours (H1).
            let released = unsafe { self.system.release(span.start(), span.bytes()) }.is_ok();
            self.settled(|op| if released { op.end_as_hole(span) } else { op.bring_back(span, None) });
        }
    }

    /// Returns up to `most` dirty pages to the system, from the longest spans first; how many it was, a few more where the last
    /// lay in a longer OS page. Spans that the
    /// system refuses to purge (locked in memory, for instance) are passed over.
    pub(crate) fn purge(&self, most: PageCount) -> PageCount {
        self.purge_breaking(most, Breaking::Any)
    }

    /// The same, but not at the price of every huge page.
    pub(crate) fn purge_breaking(&self, most: PageCount, breaking: Breaking) -> PageCount {
        let _sender = self.sender.lock();
        PageCount(self.purge_held(most.0, breaking))
    }

    /// Gives the memory of OS pages back that lie in a slab, on the demand of its owner, who relies on nothing in them; whether it went.
    pub(crate) fn purge_unused(&self, span: SpanRef, addr: usize, len: usize) -> bool {
        debug_assert!(addr >= span.start() && addr + len <= span.start() + span.bytes());
        self.huge.note_broken(addr >> PAGE_SHIFT..(addr + len).div_ceil(PAGE_SIZE));
        // SAFETY: pages of a span in use, by its owner's demand (H1).
        unsafe { self.system.purge(addr, len) }.is_ok()
    }

    /// Whether any of the span's pages lie in a huge page that was made.
    pub(crate) fn is_in_huge_page(&self, span: SpanRef) -> bool {
        let first = span.first_page();
        self.huge.has(first) || self.huge.has(first + span.pages().0 - 1)
    }

    /// Purges, a bin of the index at a time. The caller holds the sender's lock.
    fn purge_held(&self, most: usize, breaking: Breaking) -> usize {
        let (mut purged, mut end, mut spared) = (0, BINS, 0);
        let mut refused = SpanList::new();
        while purged < most
            && spared < MOST_SPARED
            && let Some((bin, mut away)) = self.settled(|op| op.send_away(end, most - purged))
        {
            // What was refused stays away until the end, so that others of its bin have their turn.
            end = bin;
            while let Some(span) = away.pop() {
                let Some(clean) = self.purge_span(span, most.saturating_sub(purged), breaking) else {
                    refused.push(span);
                    spared += usize::from(breaking == Breaking::Worthy && self.is_in_huge_page(span));
                    end = bin + 1;
                    continue;
                };
                spared = 0;
                purged += dirty::count(&self.map, clean.clone());
                self.settled(|op| op.bring_back(span, Some(clean)));
            }
        }
        // What is parked is hardly resident: last.
        while purged < most
            && breaking != Breaking::No
            && let Some((span, resident)) = self.settled(|op| op.send_parked())
        {
            let Some(clean) = self.purge_span(span, usize::MAX, Breaking::Any) else {
                refused.push(span);
                continue;
            };
            purged += resident.clamp(1, most - purged);
            self.settled(|op| op.bring_back(span, Some(clean)));
        }
        while let Some(span) = refused.pop() {
            self.settled(|op| op.bring_back(span, None));
        }
        purged
    }

    /// Purges a span that is away as far as needed to be rid of `most` dirty pages, in one call. Returns the pages of
    /// the window that are clean now.
    fn purge_span(&self, span: SpanRef, most: usize, breaking: Breaking) -> Option<Range<usize>> {
        let (first, base) = (self.map.index(span), self.map.base());
        let os_page = (self.system.os_page_size() / PAGE_SIZE).max(1);
        let grain = if breaking == Breaking::No { PIECE.max(os_page) } else { os_page };
        let mut range = self.dirty_range(first..first + span.pages().0, most, grain)?;
        if breaking == Breaking::Worthy {
            let spared = self.huge.spare(base + range.start..base + range.end);
            range = spared.start - base..spared.end - base;
        }
        if range.is_empty() {
            return None;
        }
        self.huge.note_broken(base + range.start..base + range.end);
        let (addr, len) = ((base + range.start) * PAGE_SIZE, range.len() * PAGE_SIZE);
        // SAFETY: pages of a span that this thread sent away, which are mapped and ours (H1).
        unsafe { self.system.purge(addr, len) }.ok()?;
        Some(range)
    }

    /// From the first dirty page to where `most` dirty pages are counted, or to the last; whole multiples of `grain` pages.
    fn dirty_range(&self, pages: Range<usize>, most: usize, grain: usize) -> Option<Range<usize>> {
        if most == 0 {
            return None;
        }
        let mut run = dirty::next_run(&self.map, pages.clone())?;
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
            match dirty::next_run(&self.map, run.end..pages.end) {
                Some(next) => run = next,
                None => break,
            }
        }
        // Where OS pages are longer than pages, only those that lie wholly in the span can be purged; likewise huge pages.
        let base = self.map.base();
        let from = ((base + start) / grain * grain).max((base + pages.start).next_multiple_of(grain));
        let to = (base + end).next_multiple_of(grain).min((base + pages.end) / grain * grain);
        (from < to).then(|| from - base..to - base)
    }
}

impl<S: System> Op<'_, S> {
    /// Whether the addresses of the span just freed are wanted: then [`PageHeap::tidy`] needs its page.
    pub(super) fn untidy(&self, freed: SpanRef) -> Option<usize> {
        let wanted = self.state.tight && freed.pages().0 >= RELEASED;
        wanted.then(|| self.map.index(freed))
    }

    /// How many dirty pages are to go because `taken` clean ones were taken. While nobody takes clean pages, what is resident does
    /// not grow, and dirty pages wait for the scavenger; else they go back down to three quarters of the limit, so that
    /// not every call that follows asks the system. While somebody purges, nobody else begins to.
    pub(super) fn excess(&self, taken: usize) -> usize {
        let counts = &self.state.counts;
        let limit = self.policy.dirty_limit(counts.used());
        if counts.free_dirty <= limit || self.state.away > 0 {
            return 0;
        }
        (counts.free_dirty - limit / 4 * 3).min(SLICE.max(2 * taken))
    }

    /// Sends away the spans of the last bin before `end` that has any with dirty pages; no more than are needed for
    /// `most` dirty pages.
    fn send_away(&mut self, end: usize, most: usize) -> Option<(usize, SpanList)> {
        let bin = self.state.dirty.bin_before(end)?;
        let mut sent = SpanList::new();
        let mut dirty = 0;
        while dirty < most
            && let Some(span) = self.state.dirty.bin(bin).first()
        {
            dirty += span.dirty_pages();
            self.send(span);
            sent.push(span);
        }
        Some((bin, sent))
    }

    fn send(&mut self, span: SpanRef) {
        self.unlist(span);
        self.mark_away(span);
    }

    /// Sends the longest parked span away, dirty all over; and how many pages of it were thought to be resident.
    fn send_parked(&mut self) -> Option<(SpanRef, usize)> {
        let span = self.longest_parked()?;
        let resident = span.dirty_pages();
        self.unpark(span);
        self.state.counts.more_free(span.pages().0, span.pages().0);
        self.mark_away(span);
        Some((span, resident))
    }

    /// Marks a span that is in no index and counts as free.
    pub(super) fn mark_away(&mut self, span: SpanRef) {
        span.set_state(SpanState::Away);
        self.state.away += 1;
    }

    /// Files a span that was sent away, of whose pages `clean` were purged meanwhile.
    pub(super) fn bring_back(&mut self, span: SpanRef, clean: Option<Range<usize>>) {
        let mut dirty = self.arrive(span);
        if let Some(range) = clean {
            dirty -= dirty::count(self.map, range.clone());
            dirty::clear(self.map, range);
        }
        self.file_merged(span, dirty);
    }

    /// A span that was sent away counts for nothing from now on; returns its dirty pages.
    pub(super) fn arrive(&mut self, span: SpanRef) -> usize {
        let dirty = span.dirty_pages();
        self.state.away -= 1;
        self.state.counts.fewer_free(span.pages().0, dirty);
        dirty
    }

    /// Sends the free span at `page` of the window away to give up its addresses, if it is long and memory was refused
    /// before: then addresses or mappings are limited, and whoever limits them (`RLIMIT_AS`, `RLIMIT_DATA`) lets thread
    /// stacks and files have only what we leave. The hole is mapped anew when there is need.
    fn send_for_release(&mut self, page: usize) -> Option<SpanRef> {
        let span = self.free_at(page).filter(|span| {
            self.state.tight
                && span.pages().0 >= RELEASED
                && is_whole_os_pages(*span, self.system.os_page_size())
        })?;
        self.send(span);
        Some(span)
    }

    /// Makes a hole of a span that was sent away and whose addresses were given up.
    fn end_as_hole(&mut self, span: SpanRef) {
        self.arrive(span);
        let first = self.map.index(span);
        dirty::clear(self.map, first..first + span.pages().0);
        self.put_to_use(span, SpanState::Hole);
        self.state.released.push(span);
    }
}
