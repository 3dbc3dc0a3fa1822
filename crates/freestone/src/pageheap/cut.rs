//! Finding a free span and cutting the wanted pages out of it.

use freestone_sys::System;

use super::span::{SpanRef, SpanState};
use super::state::Op;
use super::{SPAN_PAGES_END, dirty};

impl<S: System> Op<'_, S> {
    /// Takes `pages` pages, the first a multiple of `align` (in pages), out of the free spans, or out of a new
    /// extent. The record has room for `words` bitmap words, is not entered, and tells its dirty pages.
    pub(super) fn take(&mut self, pages: usize, align: usize, words: usize) -> Option<SpanRef> {
        if pages.checked_add(align)? >= SPAN_PAGES_END {
            return None;
        }
        // Records first: from the cut on, nothing can be refused.
        let taken = self.record(words)?;
        let spare = if align > 1 {
            let Some(spare) = self.record(0) else {
                self.state.meta.recycle(taken);
                return None;
            };
            Some(spare)
        } else {
            None
        };
        let found = self.find(pages, align).or_else(|| {
            let span = self.extend(pages, align, false)?;
            fit(span, pages, align).map(|offset| (span, offset))
        });
        let Some((from, offset)) = found else {
            self.state.meta.recycle(taken);
            spare.into_iter().for_each(|spare| self.state.meta.recycle(spare));
            return None;
        };
        let first = from.first_page() + offset;
        taken.set_range(first, pages);
        self.cut(from, taken, spare);
        Some(taken)
    }

    pub(super) fn record(&mut self, words: usize) -> Option<SpanRef> {
        self.state.meta.record(self.system, words)
    }

    /// A free span with room for `pages` pages at a multiple of `align`, and where in it. Dirty memory first:
    /// it is resident already.
    fn find(&self, pages: usize, align: usize) -> Option<(SpanRef, usize)> {
        let indexes = [&self.state.dirty, &self.state.clean];
        let fitting = |least: usize| {
            indexes.into_iter().find_map(|index| {
                let span = index.find(least)?;
                fit(span, pages, align).map(|offset| (span, offset))
            })
        };
        // A span just long enough may happen to be aligned; one with room to spare always can be.
        fitting(pages).or_else(|| if align > 1 { fitting(pages + align - 1) } else { None })
    }

    /// Cuts the range of `taken` out of the free span `from`. What is left of `from` in front and behind
    /// stays free; `spare` is the record for the second rest, and must be there if there can be two.
    pub(super) fn cut(&mut self, from: SpanRef, taken: SpanRef, spare: Option<SpanRef>) {
        self.unfile(from);
        self.map.leave(from);
        let (first, end) = (from.first_page(), from.first_page() + from.pages().0);
        let (cut_first, cut_end) = (taken.first_page(), taken.first_page() + taken.pages().0);
        debug_assert!(first <= cut_first && cut_end <= end);
        let dirty = from.dirty_pages();
        let mut left_dirty = dirty;
        let dirty_taken = self.dirty_in(from, dirty, cut_first, cut_end);
        taken.set_dirty_pages(dirty_taken);
        left_dirty -= dirty_taken;

        let mut records = [Some(from), spare].into_iter().flatten();
        if first < cut_first {
            let rest = records.next().expect("a record for the front");
            let in_front =
                if cut_end == end { left_dirty } else { self.dirty_in(from, dirty, first, cut_first) };
            left_dirty -= in_front;
            self.refile(rest, first, cut_first - first, in_front);
        }
        if cut_end < end {
            let rest = records.next().expect("a record for the rest");
            self.refile(rest, cut_end, end - cut_end, left_dirty);
        }
        records.for_each(|unneeded| self.state.meta.recycle(unneeded));
    }

    /// How many of the pages `[first, end)` of a free span with `dirty` dirty pages are dirty.
    fn dirty_in(&self, span: SpanRef, dirty: usize, first: usize, end: usize) -> usize {
        if dirty == 0 {
            0
        } else if dirty == span.pages().0 {
            end - first
        } else {
            dirty::count(self.map, first - self.map.base()..end - self.map.base())
        }
    }

    fn refile(&mut self, span: SpanRef, first: usize, pages: usize, dirty: usize) {
        span.set_range(first, pages);
        span.set_dirty_pages(dirty);
        span.set_state(SpanState::Free);
        self.map.enter(span);
        self.file(span);
    }
}

/// Where in `span` so many pages lie at a multiple of `align` pages: the offset, if they do.
pub(super) fn fit(span: SpanRef, pages: usize, align: usize) -> Option<usize> {
    let first = span.first_page();
    let offset = first.checked_next_multiple_of(align)? - first;
    (offset.checked_add(pages)? <= span.pages().0).then_some(offset)
}
