//! The invariant checker: walks the window from its bottom to the top, span by span.

use freestone_base::{PAGE_SHIFT, class_info};
use freestone_sys::System;

use super::dirty;
use super::index::{BINS, Index, bin_of};
use super::pagemap::PageMap;
use super::span::{SpanRef, SpanState};
use super::state::{Counts, Op};
use crate::sync::atomic::Ordering::Relaxed;

/// How many pages from either end of a long span are checked to have no entries of their own.
const INNER_PAGES_CHECKED: usize = 4096;

impl<S: System> Op<'_, S> {
    /// Checks all invariants; the first one found broken is named.
    pub(super) fn verify(&self) -> Result<(), &'static str> {
        let mut counts = Counts { peak_mapped: self.state.counts.peak_mapped, ..Counts::default() };
        counts.peak_used = self.state.counts.peak_used;
        counts.peak_lately = self.state.counts.peak_lately;
        let (mut free_spans, mut away, mut recent, mut parked) = (0, 0, None, (0, 0));
        let (mut index, mut previous) = (self.state.bottom, SpanState::Unused);
        while index < self.state.top {
            let span = self.map.span_at(index).ok_or("a page belongs to no span")?;
            if self.map.index(span) != index || span.pages().0 == 0 || index + span.pages().0 > self.state.top
            {
                return Err("a span's range is not where the page map has it");
            }
            let state = span.state();
            match state {
                SpanState::Unused => return Err("the page map has an unused record"),
                SpanState::Free if previous == SpanState::Free => {
                    return Err("two free spans lie side by side");
                }
                SpanState::Free | SpanState::Away | SpanState::Recent => {
                    let dirty = dirty::count(self.map, index..index + span.pages().0);
                    if dirty != span.dirty_pages() {
                        return Err("a free span's count of dirty pages differs from its bits");
                    }
                    free_spans += (state == SpanState::Free) as usize;
                    away += (state == SpanState::Away) as usize;
                    if state == SpanState::Recent && recent.replace(span).is_some() {
                        return Err("there are two spans that were freed last");
                    }
                    counts.free_dirty += dirty;
                    counts.free_clean += span.pages().0 - dirty;
                }
                SpanState::Parked => {
                    let pages = span.pages().0;
                    if span.dirty_pages() > pages || dirty::count(self.map, index..index + pages) != pages {
                        return Err("a parked span is not dirty all over");
                    }
                    parked = (parked.0 + pages, parked.1 + span.dirty_pages());
                    counts.more_free(pages, span.dirty_pages());
                }
                _ => {
                    *counts.of(state) += span.pages().0;
                    counts.large_blocks += state.is_large() as usize;
                }
            }
            self.verify_entries(span, index)?;
            verify_record(span, self.policy.guard_pages())?;
            previous = state;
            index += span.pages().0;
        }
        if (away, recent) != (self.state.away, self.state.recent) {
            return Err("the spans that are away, or the one freed last, are not those that are noted");
        }
        if self.watch.recent() != recent.map_or(0, |span: SpanRef| span.pages().0) {
            return Err("the length of the span freed last is not what is noted");
        }
        let noted = (self.state.parking.pages, self.state.parking.dirty);
        if parked != noted || verify_parked(&self.state.parked)? != parked.0 {
            return Err("the spans that are parked are not those that are noted");
        }
        if counts != self.state.counts {
            return Err("the counts of pages differ from the spans");
        }
        if counts.peak_mapped < counts.mapped() || counts.peak_used < counts.used() {
            return Err("a peak is lower than what it is the peak of");
        }
        let filed = verify_index(&self.state.dirty, true)? + verify_index(&self.state.clean, false)?;
        if filed == free_spans { Ok(()) } else { Err("the indexes do not hold exactly the free spans") }
    }

    /// The page map's entries for every page of a span.
    fn verify_entries(&self, span: SpanRef, first: usize) -> Result<(), &'static str> {
        let pages = span.pages().0;
        let whole = PageMap::enters_whole(span);
        let class =
            if span.state() == SpanState::Slab && self.map.enters_classes() { span.class().0 } else { 0 };
        let near = INNER_PAGES_CHECKED.min(pages);
        for page in (0..near).chain(near.max(pages - near)..pages) {
            let entered = whole || page == 0 || page == pages - 1;
            if self.map.span_at(first + page) != entered.then_some(span) {
                return Err("the page map has a wrong span for a page");
            }
            let addr = (self.map.base() + first + page) << PAGE_SHIFT;
            let classed = if whole || page == 0 { class } else { 0 };
            if self.map.class_of(addr).0 != classed {
                return Err("the page map has a wrong class for a page");
            }
        }
        Ok(())
    }
}

/// What a record says of its own use.
fn verify_record(span: SpanRef, guard_pages: usize) -> Result<(), &'static str> {
    if span.state().is_slab() {
        let info = class_info(span.class());
        if span.blocks() != info.blocks as usize || span.pages().0 != info.slab_pages as usize + guard_pages {
            return Err("a slab has not the shape of its class");
        }
        if span.bitmap().len() != span.blocks().div_ceil(64) {
            return Err("a slab's bitmap has the wrong length");
        }
        return Ok(());
    }
    if span.state().is_large() && span.requested() > span.bytes() {
        return Err("a large block holds less than was asked for");
    }
    if !span.bitmap().is_empty() || span.class().0 != 0 || span.blocks() != 0 {
        return Err("a span that is no slab has a bitmap, a class or blocks");
    }
    Ok(())
}

/// Counts the pages of the parked spans, which must be in their bins.
fn verify_parked(index: &Index) -> Result<usize, &'static str> {
    if !index.is_consistent() {
        return Err("the bits of parked spans differ from their lists");
    }
    let mut pages = 0;
    for bin in 0..BINS {
        for span in index.bin(bin).iter() {
            if !span.is(SpanState::Parked) || bin_of(span.pages().0) != bin {
                return Err("a span is parked that should not be, or in the wrong bin");
            }
            pages += span.pages().0;
        }
    }
    Ok(pages)
}

/// Counts the spans of an index, all of which must be free, dirty or not, and in their bins.
fn verify_index(index: &Index, dirty: bool) -> Result<usize, &'static str> {
    if !index.is_consistent() {
        return Err("an index's bits differ from its lists");
    }
    let mut spans = 0;
    for bin in 0..BINS {
        let mut previous = None;
        for span in index.bin(bin).iter() {
            if span.state() != SpanState::Free || bin_of(span.pages().0) != bin {
                return Err("an index holds a span that is not free or in the wrong bin");
            }
            if (span.dirty_pages() > 0) != dirty {
                return Err("a span is in the wrong index");
            }
            if SpanRef::from_ptr(span.prev().load(Relaxed)) != previous {
                return Err("a list of free spans is broken");
            }
            previous = Some(span);
            spans += 1;
        }
    }
    Ok(spans)
}
