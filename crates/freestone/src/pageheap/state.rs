//! The page heap's state behind its lock, and how spans enter and leave use.

use freestone_base::PAGE_SIZE;
use freestone_sys::System;

use super::index::Index;
use super::meta::MetaPool;
use super::pagemap::PageMap;
use super::span::{SpanRef, SpanState};
use super::{PageHeapStats, SpanList, dirty};

/// Everything that the lock guards.
pub(super) struct State {
    pub(super) meta: MetaPool,
    /// Free spans with at least one dirty page.
    pub(super) dirty: Index,
    /// Free spans without.
    pub(super) clean: Index,
    /// Pages of the window that are tiled by spans.
    pub(super) top: usize,
    /// Slabs made so far: the next one's colour.
    pub(super) coloured: usize,
    /// Moves of large blocks so far.
    pub(super) moves: usize,
    /// Memory was refused at least once.
    pub(super) tight: bool,
    /// Holes that were ours and may be mapped again.
    pub(super) released: SpanList,
    pub(super) counts: Counts,
}

/// Pages by what they are. `slabs + large + free_dirty + free_clean = mapped`, `mapped + holes = top`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) slabs: usize,
    pub(super) large: usize,
    /// Large blocks: how many.
    pub(super) large_blocks: usize,
    pub(super) free_dirty: usize,
    pub(super) free_clean: usize,
    pub(super) holes: usize,
    pub(super) peak_mapped: usize,
    pub(super) peak_used: usize,
}

impl Counts {
    pub(super) fn used(&self) -> usize {
        self.slabs + self.large
    }

    pub(super) fn mapped(&self) -> usize {
        self.used() + self.free_dirty + self.free_clean
    }

    /// The count for spans in use of this state.
    pub(super) fn of(&mut self, state: SpanState) -> &mut usize {
        match state {
            SpanState::Slab | SpanState::HeapSlab => &mut self.slabs,
            SpanState::Large | SpanState::HeapLarge => &mut self.large,
            SpanState::Hole => &mut self.holes,
            SpanState::Unused | SpanState::Free => unreachable!("not a use of a span"),
        }
    }

    /// Adds pages to a use, and keeps the peak.
    pub(super) fn add(&mut self, state: SpanState, pages: usize) {
        *self.of(state) += pages;
        self.peak_used = self.peak_used.max(self.used());
    }

    /// Counts a span that comes into use.
    pub(super) fn enter(&mut self, span: SpanRef) {
        self.add(span.state(), span.pages().0);
        self.large_blocks += span.state().is_large() as usize;
    }

    /// Counts a span that leaves its use, in which it still is.
    pub(super) fn leave(&mut self, span: SpanRef) {
        *self.of(span.state()) -= span.pages().0;
        self.large_blocks -= span.state().is_large() as usize;
    }
}

impl State {
    pub(super) const fn new() -> State {
        State {
            meta: MetaPool::new(),
            dirty: Index::new(),
            clean: Index::new(),
            top: 0,
            coloured: 0,
            moves: 0,
            tight: false,
            released: SpanList::new(),
            counts: Counts {
                slabs: 0,
                large: 0,
                large_blocks: 0,
                free_dirty: 0,
                free_clean: 0,
                holes: 0,
                peak_mapped: 0,
                peak_used: 0,
            },
        }
    }
}

/// One operation under the lock: the state, and what lies beside it.
pub(super) struct Op<'a, S> {
    pub(super) system: &'a S,
    pub(super) map: &'a PageMap,
    pub(super) state: &'a mut State,
}

impl<S: System> Op<'_, S> {
    /// Enters a span that [`take`](Op::take) gave in its new state.
    pub(super) fn put_to_use(&mut self, span: SpanRef, state: SpanState) {
        span.set_state(state);
        self.map.enter(span);
        self.state.counts.enter(span);
    }

    /// Makes a span in use free. `purged`: its pages read as zeros and are not resident.
    pub(super) fn give_back(&mut self, span: SpanRef, purged: bool) {
        let pages = span.pages().0;
        self.map.leave(span);
        self.state.counts.leave(span);
        span.forget_use();
        let first = self.map.index(span);
        if purged {
            dirty::clear(self.map, first..first + pages);
        } else {
            dirty::set(self.map, first..first + pages);
        }
        span.set_dirty_pages(if purged { 0 } else { pages });
        let merged = self.merge_and_file(span);
        self.release_addresses(merged);
    }

    /// Files a span that is in no list and not entered, with its range and dirty pages set, as free: merged
    /// with its free neighbours. Returns the span that covers it now.
    pub(super) fn merge_and_file(&mut self, span: SpanRef) -> SpanRef {
        let mut merged = span;
        let first = self.map.index(span);
        let end = first + span.pages().0;
        if let Some(left) = first.checked_sub(1).and_then(|page| self.free_at(page)) {
            merged = self.absorb(left, merged);
        }
        if let Some(right) = self.free_at(end) {
            merged = self.absorb(merged, right);
        }
        merged.set_state(SpanState::Free);
        self.map.enter(merged);
        self.file(merged);
        merged
    }

    /// The free span that is entered for page `index` of the window.
    pub(super) fn free_at(&self, index: usize) -> Option<SpanRef> {
        if index >= self.state.top {
            return None;
        }
        self.map.span_at(index).filter(|span| span.state() == SpanState::Free)
    }

    /// Joins two spans side by side, of which those that are free are filed. The shorter record stays.
    fn absorb(&mut self, left: SpanRef, right: SpanRef) -> SpanRef {
        for span in [left, right] {
            if span.state() == SpanState::Free {
                self.unfile(span);
                self.map.leave(span);
                // Marks it as taken out, should it be joined once more.
                span.set_state(SpanState::Unused);
            }
        }
        let first = left.first_page();
        let pages = left.pages().0 + right.pages().0;
        let dirty = left.dirty_pages() + right.dirty_pages();
        let (kept, gone) = if left.lines() <= right.lines() { (left, right) } else { (right, left) };
        self.state.meta.recycle(gone);
        kept.set_range(first, pages);
        kept.set_dirty_pages(dirty);
        kept
    }

    /// Adds a free span to the index it belongs to, and to the counts.
    pub(super) fn file(&mut self, span: SpanRef) {
        let dirty = span.dirty_pages();
        self.state.counts.free_dirty += dirty;
        self.state.counts.free_clean += span.pages().0 - dirty;
        if dirty > 0 { self.state.dirty.insert(span) } else { self.state.clean.insert(span) }
    }

    /// The opposite of [`file`](Op::file); the span's range and dirty pages are still the same.
    pub(super) fn unfile(&mut self, span: SpanRef) {
        let dirty = span.dirty_pages();
        self.state.counts.free_dirty -= dirty;
        self.state.counts.free_clean -= span.pages().0 - dirty;
        if dirty > 0 { self.state.dirty.remove(span) } else { self.state.clean.remove(span) }
    }

    pub(super) fn stats(&self) -> PageHeapStats {
        let counts = &self.state.counts;
        PageHeapStats {
            mapped: counts.mapped() * PAGE_SIZE,
            mapped_peak: counts.peak_mapped * PAGE_SIZE,
            slabs: counts.slabs * PAGE_SIZE,
            large: counts.large * PAGE_SIZE,
            large_blocks: counts.large_blocks,
            used_peak: counts.peak_used * PAGE_SIZE,
            free_dirty: counts.free_dirty * PAGE_SIZE,
            free_clean: counts.free_clean * PAGE_SIZE,
            holes: counts.holes * PAGE_SIZE,
            metadata: self.state.meta.used(),
            metadata_mapped: self.state.meta.mapped(),
            page_map: self.map.committed_bytes(),
        }
    }
}
