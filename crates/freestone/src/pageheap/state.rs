//! The page heap's state behind its lock, and how spans enter and leave use.

use freestone_base::PAGE_SIZE;
use freestone_sys::System;

use super::huge::Fillings;
use super::index::{Index, bin_of};
use super::meta::MetaPool;
use super::pagemap::PageMap;
use super::parked::Parking;
use super::policy::Policy;
use super::span::{SpanRef, SpanState};
use super::watch::Watch;
use super::{PageHeapStats, SpanList, dirty};

/// Everything that the lock guards.
pub(super) struct State {
    pub(super) meta: MetaPool,
    /// Free spans with at least one dirty page.
    pub(super) dirty: Index,
    /// Free spans without.
    pub(super) clean: Index,
    /// The span freed last, if nothing has been asked for since: see [`Op::give_back`]. It counts as free.
    pub(super) recent: Option<SpanRef>,
    /// Spans that are [parked](super::parked). They count as free.
    pub(super) parked: Index,
    pub(super) parking: Parking,
    /// The pages of the window that spans tile: from here on, moving down for what shall lie below all else; from here on,
    pub(super) bottom: usize,
    /// where all spans lie but those that were mapped downwards,
    pub(super) floor: usize,
    /// and up to here.
    pub(super) top: usize,
    /// Slabs made so far: the next one's colour.
    pub(super) coloured: usize,
    /// Moves of large blocks so far.
    pub(super) moves: usize,
    /// Spans that are [away](SpanState::Away); they count as free. Not 0 only while somebody holds the sender's lock.
    pub(super) away: usize,
    /// Pages by which a large block that is being moved will be longer.
    pub(super) reserved: usize,
    /// Memory was refused at least once.
    pub(super) tight: bool,
    /// Holes that were ours and may be mapped again.
    pub(super) released: SpanList,
    /// Long blocks that are looked at by and by.
    pub(super) fillings: Fillings,
    pub(super) counts: Counts,
}

/// Pages by what they are. `slabs + large + free_dirty + free_clean = mapped`, `mapped + holes = top - bottom`.
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
    /// The peak since the scavenger looked last.
    pub(super) peak_lately: usize,
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
            SpanState::Slab | SpanState::HeapSlab | SpanState::WatchedSlab => &mut self.slabs,
            SpanState::Large | SpanState::HeapLarge | SpanState::WatchedLarge => &mut self.large,
            SpanState::Hole => &mut self.holes,
            SpanState::Unused | SpanState::Free | SpanState::Away | SpanState::Recent | SpanState::Parked => {
                unreachable!("not a use of a span")
            }
        }
    }

    /// Adds pages to a use, and keeps the peak.
    pub(super) fn add(&mut self, state: SpanState, pages: usize) {
        *self.of(state) += pages;
        let used = self.used();
        if used > self.peak_lately {
            self.peak_lately = used;
            self.peak_used = self.peak_used.max(used);
        }
    }

    /// Counts a span that comes into use.
    pub(super) fn enter(&mut self, span: SpanRef) {
        self.add(span.state(), span.pages().0);
        self.large_blocks += span.state().is_large() as usize;
    }

    /// Counts free pages that come, `dirty` of them dirty.
    pub(super) fn more_free(&mut self, pages: usize, dirty: usize) {
        self.free_dirty += dirty;
        self.free_clean += pages - dirty;
    }

    /// Counts free pages that go.
    pub(super) fn fewer_free(&mut self, pages: usize, dirty: usize) {
        self.free_dirty -= dirty;
        self.free_clean -= pages - dirty;
    }

    /// Counts one large block less.
    #[inline]
    pub(super) fn leave_large(&mut self, pages: usize) {
        self.large -= pages;
        self.large_blocks -= 1;
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
            recent: None,
            parked: Index::new(),
            parking: Parking { pages: 0, dirty: 0, taken: 0 },
            bottom: 0,
            floor: 0,
            top: 0,
            coloured: 0,
            moves: 0,
            away: 0,
            reserved: 0,
            tight: false,
            released: SpanList::new(),
            fillings: Fillings::new(),
            counts: Counts {
                slabs: 0,
                large: 0,
                large_blocks: 0,
                free_dirty: 0,
                free_clean: 0,
                holes: 0,
                peak_mapped: 0,
                peak_used: 0,
                peak_lately: 0,
            },
        }
    }
}

/// One operation under the lock: the state, and what lies beside it.
pub(super) struct Op<'a, S> {
    pub(super) system: &'a S,
    pub(super) map: &'a PageMap,
    pub(super) watch: &'a Watch,
    pub(super) policy: &'a Policy,
    pub(super) state: &'a mut State,
}

impl<S: System> Op<'_, S> {
    /// Whether the limit leaves room for so many pages more, though all of them be clean.
    #[inline]
    pub(super) fn fits(&self, pages: usize) -> bool {
        let counts = &self.state.counts;
        pages.saturating_add(counts.used() + counts.free_dirty + self.state.reserved) <= self.watch.limit()
    }

    /// Enters a span that [`take`](Op::take) gave in its new state.
    pub(super) fn put_to_use(&mut self, span: SpanRef, state: SpanState) {
        span.set_state(state);
        self.map.enter(span);
        self.state.counts.enter(span);
        self.watch.on_call(self.state.counts.used(), self.state.counts.free_dirty);
    }

    /// Makes a span in use free. `purged`: its pages read as zeros and are not resident.
    ///
    /// The span freed last is left as it is until something else happens: a request for just as many pages takes it
    /// back at no cost, and for any other it is filed first, so that nothing is found differently. Returns the
    /// span that covers the pages now.
    pub(super) fn give_back(&mut self, span: SpanRef, purged: bool) -> SpanRef {
        let pages = span.pages().0;
        self.map.leave_inside(span);
        self.state.counts.leave(span);
        span.forget_use();
        let first = self.map.index(span);
        if purged {
            dirty::clear(self.map, first..first + pages);
        } else {
            dirty::set(self.map, first..first + pages);
        }
        let dirty = if purged { 0 } else { pages };
        self.settle();
        if self.state.tight {
            // Whether its addresses can be given up is known when it is merged.
            return self.file_merged(span, dirty);
        }
        span.set_dirty_pages(dirty);
        span.set_state(SpanState::Recent);
        self.state.counts.more_free(pages, dirty);
        self.state.recent = Some(span);
        self.watch.set_recent(pages);
        self.watch.on_call(self.state.counts.used(), self.state.counts.free_dirty);
        span
    }

    /// Files the span freed last.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let Some(span) = self.take_recent() {
            self.file_merged(span, span.dirty_pages());
        }
    }

    /// The span freed last, which counts no more.
    #[inline]
    pub(super) fn take_recent(&mut self) -> Option<SpanRef> {
        let span = self.state.recent.take()?;
        self.watch.set_recent(0);
        self.state.counts.fewer_free(span.pages().0, span.dirty_pages());
        Some(span)
    }

    /// Files a span as free that is in no list, has its range set, and is entered on its first and last page at
    /// most. A free neighbour is extended over it, in place: what changes are the entries where they meet, and its
    /// bin now and then. Returns the span that covers it now.
    pub(super) fn file_merged(&mut self, span: SpanRef, dirty: usize) -> SpanRef {
        let mut first = self.map.index(span);
        let mut end = first + span.pages().0;
        let left = self.free_at(first.wrapping_sub(1));
        let right = self.free_at(end);
        let mut dirty = dirty;
        if let Some(right) = right {
            self.map.clear_ends(end - 1, end);
            end += right.pages().0;
            dirty += right.dirty_pages();
        }
        if let Some(left) = left {
            self.map.clear_ends(first - 1, first);
            first -= left.pages().0;
            dirty += left.dirty_pages();
        }
        let kept = match (left, right) {
            (Some(left), Some(right)) => {
                self.unfile(right);
                self.state.meta.recycle(right);
                left
            }
            (Some(kept), None) | (None, Some(kept)) => kept,
            (None, None) => {
                self.map.enter_ends(span);
                span.set_dirty_pages(dirty);
                span.set_state(SpanState::Free);
                self.file(span);
                return span;
            }
        };
        self.state.meta.recycle(span);
        self.reshape(kept, first, end - first, dirty);
        self.map.enter_ends(kept);
        kept
    }

    /// The free span that is entered for page `index` of the window.
    pub(super) fn free_at(&self, index: usize) -> Option<SpanRef> {
        if index >= self.state.top {
            return None;
        }
        self.map.span_at(index).filter(|span| span.is(SpanState::Free))
    }

    /// Gives a filed span another range, from page `first` of the window on, and other dirty pages. It is listed
    /// anew only where that changes its index or its bin. The page map's entries are the caller's.
    pub(super) fn reshape(&mut self, span: SpanRef, first: usize, pages: usize, dirty: usize) {
        let (old_pages, old_dirty) = (span.pages().0, span.dirty_pages());
        self.state.counts.fewer_free(old_pages, old_dirty);
        self.state.counts.more_free(pages, dirty);
        span.set_range(self.map.base() + first, pages);
        span.set_dirty_pages(dirty);
        let (old_bin, bin) = (bin_of(old_pages), bin_of(pages));
        if old_bin != bin || (old_dirty > 0) != (dirty > 0) {
            self.index_for(old_dirty).remove(old_bin, span);
            self.index_for(dirty).insert(bin, span);
        }
    }

    /// Adds a free span to the index it belongs to, and to the counts.
    pub(super) fn file(&mut self, span: SpanRef) {
        let (pages, dirty) = (span.pages().0, span.dirty_pages());
        self.state.counts.more_free(pages, dirty);
        self.index_for(dirty).insert(bin_of(pages), span);
    }

    /// The opposite of [`file`](Op::file); the span's range and dirty pages are still the same.
    pub(super) fn unfile(&mut self, span: SpanRef) {
        self.state.counts.fewer_free(span.pages().0, span.dirty_pages());
        self.unlist(span);
    }

    /// Takes a free span out of its index; it still counts.
    pub(super) fn unlist(&mut self, span: SpanRef) {
        self.index_for(span.dirty_pages()).remove(bin_of(span.pages().0), span);
    }

    /// The index for free spans with so many dirty pages.
    fn index_for(&mut self, dirty: usize) -> &mut Index {
        if dirty > 0 { &mut self.state.dirty } else { &mut self.state.clean }
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
