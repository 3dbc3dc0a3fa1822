//! Finding a free span and cutting the wanted pages out of it.

use freestone_sys::System;

use super::meta::lines_for;
use super::span::{SpanRef, SpanState};
use super::state::{Op, State};
use super::{SPAN_PAGES_END, dirty};

impl<S: System> Op<'_, S> {
    /// Takes `pages` pages, the first a multiple of `align` (in pages), out of the free spans, or out of a new
    /// extent. The record has room for `words` bitmap words and tells its dirty pages; it must be entered before the
    /// lock is left.
    pub(super) fn take(&mut self, pages: usize, align: usize, words: usize) -> Option<SpanRef> {
        if let Some(recent) = self.take_recent() {
            if recent.pages().0 == pages && align <= 1 && recent.lines() == lines_for(words) {
                return Some(recent);
            }
            self.file_merged(recent, recent.dirty_pages());
        }
        if pages.checked_add(align)? >= SPAN_PAGES_END {
            return None;
        }
        let (from, offset) = match self.find(pages, align) {
            Some(found) => found,
            None => match self.find_new(pages, align) {
                Some(found) => found,
                None if self.unpark_all() => self.find(pages, align)?,
                None => return None,
            },
        };
        self.cut(from, offset, pages, words)
    }

    #[cold]
    fn find_new(&mut self, pages: usize, align: usize) -> Option<(SpanRef, usize)> {
        let span = self.extend(pages, align, false)?;
        fit(span, pages, align).map(|offset| (span, offset))
    }

    pub(super) fn record(&mut self, words: usize) -> Option<SpanRef> {
        self.state.meta.record(self.system, words)
    }

    /// A free span with room for `pages` pages at a multiple of `align`, and where in it. Dirty memory first:
    /// it is resident already.
    fn find(&self, pages: usize, align: usize) -> Option<(SpanRef, usize)> {
        let State { dirty, clean, .. } = &*self.state;
        if align <= 1 {
            return dirty.find(pages).or_else(|| clean.find(pages)).map(|span| (span, 0));
        }
        let fitting = |least: usize| {
            [dirty, clean].into_iter().find_map(|index| {
                let span = index.find(least)?;
                fit(span, pages, align).map(|offset| (span, offset))
            })
        };
        // A span just long enough may happen to be aligned; one with room to spare always can be.
        fitting(pages).or_else(|| fitting(pages + align - 1))
    }

    /// Cuts `pages` pages out of a free span, beginning `offset` pages into it. What is left of it stays free:
    /// in front under its record, behind as well if there is nothing in front. `None`, with nothing changed, when a
    /// record that is needed cannot be had.
    pub(super) fn cut(
        &mut self,
        from: SpanRef,
        offset: usize,
        pages: usize,
        words: usize,
    ) -> Option<SpanRef> {
        let behind = from.pages().0 - offset - pages;
        let whole = offset + behind == 0;
        if whole && from.lines() == lines_for(words) {
            self.unfile(from);
            return Some(from);
        }
        // Records first: from then on nothing can be refused.
        let taken = self.record(words)?;
        taken.set_range(from.first_page() + offset, pages);
        if whole {
            taken.set_dirty_pages(from.dirty_pages());
            self.unfile(from);
            self.state.meta.recycle(from);
        } else if offset == 0 {
            taken.set_dirty_pages(self.cut_front(from, pages));
        } else {
            let rest = match behind {
                0 => None,
                _ => match self.record(0) {
                    Some(rest) => Some(rest),
                    None => {
                        self.state.meta.recycle(taken);
                        return None;
                    }
                },
            };
            self.cut_inside(from, offset, taken, rest);
        }
        Some(taken)
    }

    /// Takes the first pages off a free span that has more; returns how many of them are dirty. The entry of the old
    /// first page stays, for the caller to replace.
    pub(super) fn cut_front(&mut self, from: SpanRef, pages: usize) -> usize {
        let (first, has, dirty) = (self.map.index(from), from.pages().0, from.dirty_pages());
        let taken = self.dirty_in(dirty, has, first, pages);
        self.reshape(from, first + pages, has - pages, dirty - taken);
        self.map.enter_at(first + pages, from);
        taken
    }

    /// Takes the range of `taken` out of the middle or the end of a free span; `rest` is the record for what is
    /// behind, if there is anything.
    fn cut_inside(&mut self, from: SpanRef, offset: usize, taken: SpanRef, rest: Option<SpanRef>) {
        let (first, has, dirty) = (self.map.index(from), from.pages().0, from.dirty_pages());
        let pages = taken.pages().0;
        taken.set_dirty_pages(self.dirty_in(dirty, has, first + offset, pages));
        let mut left = dirty - taken.dirty_pages();
        if let Some(rest) = rest {
            let (begin, len) = (first + offset + pages, has - offset - pages);
            let dirty_behind = self.dirty_in(dirty, has, begin, len);
            left -= dirty_behind;
            rest.set_range(self.map.base() + begin, len);
            rest.set_dirty_pages(dirty_behind);
            rest.set_state(SpanState::Free);
            self.map.enter_ends(rest);
            self.file(rest);
        }
        self.reshape(from, first, offset, left);
        self.map.enter_at(first + offset - 1, from);
    }

    /// How many of `pages` pages from `first` on are dirty, in a free span with `dirty` dirty pages of `has`.
    fn dirty_in(&self, dirty: usize, has: usize, first: usize, pages: usize) -> usize {
        if dirty == 0 {
            0
        } else if dirty == has {
            pages
        } else {
            dirty::count(self.map, first..first + pages)
        }
    }
}

/// Where in `span` so many pages lie at a multiple of `align` pages: the offset, if they do.
pub(super) fn fit(span: SpanRef, pages: usize, align: usize) -> Option<usize> {
    let first = span.first_page();
    let offset = first.checked_next_multiple_of(align)? - first;
    (offset.checked_add(pages)? <= span.pages().0).then_some(offset)
}
