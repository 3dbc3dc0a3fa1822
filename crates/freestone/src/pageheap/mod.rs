//! The page heap: spans of pages, cut from extents of the window and merged again.
//!
//! The window, from its `bottom` up to its `top`, is tiled by spans without gaps: free ones, slabs, large blocks,
//! and holes where addresses were not to be had. Free spans lie in one of two indexes, by whether all
//! their pages are clean. Everything is guarded by one lock; only the page map is read without it.
//!
//! Where the kernel has to be asked to take memory back or to move it, that is done without the lock, on spans that
//! are *away* meanwhile (`purge.rs`).
//!
//! Any refusal by the system leaves everything as it was, at most with more free memory than before.
//!
//! # Safety
//!
//! Invariant H1: the pages of a span in use belong to whoever was handed the span; those of a free span to the
//! page heap, those of a span that is away to the thread that sent it; all are mapped. So the pages of a span may be purged by its owner, or moved by the page
//! heap on its owner's demand, and cleared before they are handed out.
#![allow(unsafe_code)]

mod census;
mod cut;
mod dirty;
mod extent;
mod guard;
mod huge;
mod index;
mod list;
mod meta;
mod pagemap;
mod parked;
mod policy;
mod purge;
mod ready;
mod resize;
pub(crate) mod shadow;
mod span;
mod state;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

use core::ptr::with_exposed_provenance_mut;

use freestone_base::{Bytes, ClassId, PAGE_SIZE, PageCount, class_info};
use freestone_sys::System;

pub(crate) use census::Seen;
pub(crate) use huge::FIRST_LOOK_NS;
pub(crate) use list::SpanList;
pub(crate) use pagemap::PageMap;
pub(crate) use policy::{HugePages, Policy};
pub(crate) use purge::Breaking;
pub(crate) use span::{Span, SpanRef, SpanState, is_whole_os_pages};
pub(crate) use watch::{FIRST_CALLS, FIRST_LOOK};

use crate::message::Fault;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicU32, Ordering};
use state::{Op, State};
use watch::Watch;

/// No span has this many pages or more: 16 TiB.
const SPAN_PAGES_END: usize = 1 << 31;
/// A large block that shrinks by no more than this part, and no more than [`KEPT_MOST`] bytes, keeps its pages.
const KEPT: usize = 4;
const KEPT_MOST: usize = 1 << 20;
/// One that holds no more bytes keeps them down to half, if that is all that is known: see [`stays_large`](crate::slow::stays_large).
pub(crate) const KEPT_TO_HALF: usize = 256 << 10;
/// One that grows by no more than this part, and has to move, gets such a part more for the next steps.
pub(crate) const ROOM: usize = 8;
/// Requests of so many bytes are never served.
pub(crate) const NEVER: usize = SPAN_PAGES_END * PAGE_SIZE;

/// Where all spans come from.
pub(crate) struct PageHeap<S: System> {
    system: S,
    pub(crate) map: PageMap,
    state: Lock<State>,
    /// Held by the one thread that may send spans away. Taken before `state`, never while that is held.
    sender: Lock<()>,
    watch: Watch,
    policy: Policy,
    huge: huge::Huge,
    habits: parked::Habits,
    /// Those who read records without the lock.
    readers: AtomicU32,
}

/// What the page heap holds. Bytes unless said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageHeapStats {
    /// Mapped from the system for user memory: slabs, large blocks and what is free.
    pub mapped: usize,
    /// The most that was ever mapped.
    pub mapped_peak: usize,
    /// In slabs.
    pub slabs: usize,
    /// In spans of large blocks.
    pub large: usize,
    /// Large blocks: how many.
    pub large_blocks: usize,
    /// The most that was ever in slabs and large blocks together.
    pub used_peak: usize,
    /// Free and dirty.
    pub free_dirty: usize,
    /// Free and clean.
    pub free_clean: usize,
    /// Addresses in the window that are not ours.
    pub holes: usize,
    /// Metadata in use: the records of spans.
    pub metadata: usize,
    /// Metadata mapped from the system.
    pub metadata_mapped: usize,
    /// Page map committed; most of it is never touched.
    pub page_map: usize,
}

/// What is in use, what was, and what waits. In pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    pub(crate) used: usize,
    /// The most that was in use since this was last asked.
    pub(crate) peak: usize,
    /// Free and dirty, and not parked for those who take what is parked.
    pub(crate) dirty: usize,
}

impl<S: System> PageHeap<S> {
    /// An empty page heap; it asks nothing of the system before its first use.
    pub(crate) const fn new(system: S) -> Self {
        PageHeap {
            system,
            map: PageMap::new(),
            state: Lock::new(State::new()),
            sender: Lock::new(()),
            watch: Watch::new(),
            policy: Policy::new(),
            huge: huge::Huge::new(),
            habits: parked::Habits::new(),
            readers: AtomicU32::new(0),
        }
    }

    /// The page map, for look-ups without the lock.
    #[inline]
    pub(crate) fn page_map(&self) -> &PageMap {
        &self.map
    }

    /// The system underneath.
    pub(crate) fn system(&self) -> &S {
        &self.system
    }

    /// Bytes in an OS page.
    pub(crate) fn os_page_size(&self) -> usize {
        self.system.os_page_size()
    }

    /// Runs `act` under the lock, all free spans filed.
    fn settled<R>(&self, act: impl FnOnce(&mut Op<'_, S>) -> R) -> R {
        self.locked(|op| {
            op.settle();
            act(op)
        })
    }

    /// Runs `act` under the lock. The span freed last may not be filed yet.
    fn locked<R>(&self, act: impl FnOnce(&mut Op<'_, S>) -> R) -> R {
        let mut state = self.state.lock();
        let (system, map, watch, policy) = (&self.system, &self.map, &self.watch, &self.policy);
        act(&mut Op { system, map, watch, policy, state: &mut state })
    }

    /// Takes `pages` pages by running `take` under the lock. Where memory is refused while spans are away, once more when they are back.
    #[inline]
    fn take(&self, pages: usize, take: impl Fn(&mut Op<'_, S>) -> Option<SpanRef>) -> Option<SpanRef> {
        let taken = self.take_cold(pages, take);
        if let Some(span) = taken
            && huge::begins_piece(span)
        {
            self.warm(span);
        }
        taken
    }

    /// The same for what will hardly be touched: no huge pages are made of it.
    #[inline]
    fn take_cold(&self, pages: usize, take: impl Fn(&mut Op<'_, S>) -> Option<SpanRef>) -> Option<SpanRef> {
        let (taken, away, excess) = loop {
            let outcome = self.locked(|op| {
                if !op.fits(pages) {
                    return None;
                }
                let taken = take(op);
                let excess = match taken {
                    Some(span) if span.is_zeroed() => op.excess(span.pages().0),
                    _ => 0,
                };
                Some((taken, op.state.away, excess))
            });
            match outcome {
                Some(outcome) => break outcome,
                None if self.make_room(pages) => {}
                None => return None,
            }
        };
        if excess > 0 {
            self.purge(PageCount(excess));
        }
        if taken.is_some() || away == 0 { taken } else { self.take_at_last(take) }
    }

    /// Whether the limit leaves room for so many pages more, dirty ones having gone back where that is needed.
    #[cold]
    fn make_room(&self, pages: usize) -> bool {
        let mut least = usize::MAX;
        loop {
            let limit = self.watch.limit();
            let (used, dirty) =
                self.locked(|op| (op.state.counts.used() + op.state.reserved, op.state.counts.free_dirty));
            let wanted = used.saturating_add(pages);
            if wanted.saturating_add(dirty) <= limit {
                return true;
            }
            // Others purge as well: what counts is not what this thread purged, but that there is less each time.
            if wanted > limit || dirty >= least {
                return false;
            }
            least = dirty;
            // With some to spare, or the next call would have to do the same.
            let excess = wanted.saturating_add(dirty) - limit;
            self.purge(PageCount(excess.saturating_add(watch::FIRST_LOOK)));
        }
    }

    /// Waits until no span is away, keeps it so, and tries again.
    #[cold]
    fn take_at_last(&self, take: impl Fn(&mut Op<'_, S>) -> Option<SpanRef>) -> Option<SpanRef> {
        let _sender = self.sender.lock();
        self.locked(take)
    }

    /// A slab of `class`, all blocks free; `None` when memory is refused.
    pub(crate) fn alloc_slab(&self, class: ClassId) -> Option<SpanRef> {
        self.slab(class, SpanState::Slab, 0)
    }

    /// A slab of `class` for a first-class heap, which the page map's classes do not show.
    pub(crate) fn alloc_heap_slab(&self, class: ClassId, heap: usize) -> Option<SpanRef> {
        self.slab(class, SpanState::HeapSlab, heap)
    }

    /// A slab of `class` for blocks that are watched, which the page map's classes do not show.
    pub(crate) fn alloc_watched_slab(&self, class: ClassId) -> Option<SpanRef> {
        self.slab(class, SpanState::WatchedSlab, 0)
    }

    /// The same below all other spans, at addresses lower than [`floor`](PageHeap::floor); `None` where there is no room. It shall
    /// never be freed.
    pub(crate) fn alloc_low_watched_slab(&self, class: ClassId) -> Option<SpanRef> {
        let info = class_info(class);
        let (pages, blocks) = (info.slab_pages as usize, info.blocks as usize);
        self.locked(|op| {
            if op.policy.guards() || !op.fits(pages) {
                return None;
            }
            let span = op.extend_down(pages, blocks.div_ceil(64))?;
            span.set_zeroed(true);
            span.set_slab(class, info.blocks);
            // The record may have been another slab's.
            span.set_colour(0);
            span.fill_bitmap(blocks);
            op.put_to_use(span, SpanState::WatchedSlab);
            let counts = &mut op.state.counts;
            counts.peak_mapped = counts.peak_mapped.max(counts.mapped());
            Some(span)
        })
    }

    /// Of all spans only [low](PageHeap::alloc_low_watched_slab) slabs lie below this address. Never 0; the same for ever, unless it is
    /// 1 because memory was refused.
    pub(crate) fn floor(&self) -> usize {
        self.locked(|op| {
            if op.state.top == 0 && op.extend(1, 1, false).is_none() {
                return 1;
            }
            (op.map.base() + op.state.floor) * PAGE_SIZE
        })
    }

    /// Marks a large block as watched, or not any more. Only for the block's owner.
    pub(crate) fn mark_watched(&self, span: SpanRef, watched: bool) {
        debug_assert!(matches!(span.state(), SpanState::Large | SpanState::WatchedLarge));
        self.locked(|_| span.set_state(if watched { SpanState::WatchedLarge } else { SpanState::Large }));
    }

    fn slab(&self, class: ClassId, state: SpanState, heap: usize) -> Option<SpanRef> {
        let info = class_info(class);
        let blocks = info.blocks as usize;
        let pages = info.slab_pages as usize + self.policy.guard_pages();
        let marked = state == SpanState::Slab && self.policy.marks();
        let span = self.take(pages, |op| {
            let span = op.take(pages, 1, blocks.div_ceil(64))?;
            span.set_zeroed(span.dirty_pages() == 0);
            span.set_slab(class, info.blocks);
            span.set_heap(heap);
            op.state.coloured += usize::from(op.policy.colours());
            span.set_colour(info.colour(op.state.coloured));
            span.fill_bitmap(blocks);
            op.put_to_use(span, state);
            Some(span)
        })?;
        if self.policy.guards() {
            self.open_guarded(span, info.slab_pages as usize * PAGE_SIZE);
        }
        if marked && !shadow::enter(&self.map, &self.system, span, class) {
            self.free(span);
            return None;
        }
        if marked && !span.is_zeroed() {
            self.clear_dirty(span, info.slab_pages as usize * PAGE_SIZE);
        }
        Some(span)
    }

    /// A large block of `bytes` at a multiple of `align`, a power of two; `None` when memory is refused or
    /// there cannot be so much. With `zeroed`, it reads as zeros: only pages that may not are cleared.
    pub(crate) fn alloc_large(&self, bytes: usize, align: usize, zeroed: bool) -> Option<SpanRef> {
        self.large(bytes, align, zeroed, SpanState::Large, 0)
    }

    /// A large block of a first-class heap.
    pub(crate) fn alloc_heap_large(
        &self,
        bytes: usize,
        align: usize,
        zeroed: bool,
        heap: usize,
    ) -> Option<SpanRef> {
        self.large(bytes, align, zeroed, SpanState::HeapLarge, heap)
    }

    fn large(
        &self,
        bytes: usize,
        align: usize,
        zeroed: bool,
        state: SpanState,
        heap: usize,
    ) -> Option<SpanRef> {
        debug_assert!(align.is_power_of_two());
        let pages = pages_for(bytes)? + self.policy.guard_pages();
        let put_to_use = |op: &mut Op<'_, S>, span: SpanRef| {
            span.set_zeroed(span.dirty_pages() == 0);
            span.set_large(bytes);
            span.set_heap(heap);
            op.put_to_use(span, state);
            Some(span)
        };
        // What has to be cleared is served from dirty pages, too.
        if let Some(pages) = self.habits.length_if_sparse(pages)
            && state == SpanState::Large
            && !zeroed
            && align <= PAGE_SIZE
            && self.may_park()
        {
            return self.take_cold(pages, |op| {
                let span = op.take_for_sparse(pages)?;
                put_to_use(op, span)
            });
        }
        let span = self.take(pages, |op| {
            let span = op.take(pages, align.div_ceil(PAGE_SIZE), 0)?;
            if huge::is_long(pages) {
                span.begin_asking(huge::is_worth_asking(pages - span.dirty_pages()));
            } else {
                span.begin_look(span.dirty_pages() == 0 && !zeroed && align <= PAGE_SIZE);
            }
            put_to_use(op, span)
        })?;
        if self.policy.guards() {
            let bytes = bytes.next_multiple_of(self.os_page_size());
            self.open_guarded(span, bytes);
            self.warm_opened(span, bytes);
        }
        if zeroed && !span.is_zeroed() {
            // Guards begin behind the block's last OS page.
            let len = if self.policy.guards() {
                bytes.next_multiple_of(self.os_page_size())
            } else {
                pages * PAGE_SIZE
            };
            self.clear_dirty(span, len);
        }
        Some(span)
    }

    /// Makes the first `len` bytes of a span that was just handed out, whole OS pages, read as zeros, without the lock: nobody else uses
    /// it or changes its dirty bits. What is not resident of a long block of which little is resident does not become so by being cleared.
    fn clear_dirty(&self, span: SpanRef, len: usize) {
        let base = self.map.base();
        let first = self.map.index(span);
        let pages = len.div_ceil(PAGE_SIZE);
        let (end, end_of_last) = (first + pages, (base + first) * PAGE_SIZE + len);
        let looks = self.habits.looks_before_clearing(pages);
        let (mut from, mut cleared, mut resident) = (first, 0, 0);
        while let Some(run) = dirty::next_run(&self.map, from..end) {
            let start = (base + run.start) * PAGE_SIZE;
            let len = ((base + run.end) * PAGE_SIZE).min(end_of_last) - start;
            if looks {
                // SAFETY: H1: pages of a span that was handed to this thread and has no other user yet.
                resident += unsafe { self.system.clear(start, len) };
            } else {
                // SAFETY: as above.
                unsafe { with_exposed_provenance_mut::<u8>(start).write_bytes(0, len) };
            }
            cleared += len;
            from = run.end;
        }
        if looks {
            self.habits.note_clearing(resident, cleared);
        }
        span.set_zeroed(true);
    }

    /// Takes a span back that is in use by nobody. What it held is lost.
    pub(crate) fn free(&self, span: SpanRef) {
        // Two threads that free one block at once both come to the look under the lock.
        let dropped = span.is_closed() || self.policy.guards() && self.close(span);
        let parks = if dropped { None } else { self.parks(span) };
        let untidy = self.locked(|op| {
            // Two threads that free the same block at once have both found it live.
            if !span.state().is_slab() && !span.state().is_large() {
                Fault::DoubleFree.abort(span.first_block(), ClassId::NONE);
            }
            if let Some(resident) = parks
                && op.park(span, resident)
            {
                return None;
            }
            let freed = op.give_back(span, dropped);
            op.untidy(freed)
        });
        if let Some(page) = untidy {
            self.tidy(page);
        }
    }

    /// How many of its bytes a large block of so many gives up without giving any back, since who takes them off may put them on again. Under a
    /// limit every page counts.
    #[inline]
    pub(crate) fn kept(&self, bytes: usize) -> usize {
        if self.watch.limit() == usize::MAX { (bytes / KEPT).min(KEPT_MOST) } else { 0 }
    }

    /// Makes a large block hold `bytes` without copying: in place, or, with `may_move`, by moving its pages.
    /// Returns its span then. `None`, with nothing changed, where copying is the only way.
    pub(crate) fn resize(&self, span: SpanRef, bytes: usize, may_move: bool) -> Option<SpanRef> {
        let wanted = pages_for(bytes.checked_add(span.colour())?)?;
        let (had, held) = (span.pages().0, span.requested());
        if self.policy.guards() {
            return self.resize_guarded(span, bytes);
        }
        if wanted > had && self.watch.limit() != usize::MAX {
            self.make_room(wanted - had);
        }
        if wanted > had && !self.grow_in_place(span, PageCount(wanted)) {
            if !may_move {
                return None;
            }
            // Who grows in small steps goes on, and pages that nobody touches cost nothing where neither they nor addresses are limited.
            let is_step = wanted - had <= had / ROOM
                && self.watch.limit() == usize::MAX
                && self.system.address_space_limit().is_none();
            let roomy = if is_step { self.move_grow(span, bytes, wanted / ROOM) } else { None };
            let span = roomy.or_else(|| self.move_grow(span, bytes, 0))?;
            self.ask_grown(span, held, had);
            span.set_requested(bytes);
            return Some(span);
        }
        if wanted > had {
            self.ask_grown(span, held, had);
        }
        if wanted < had
            && (had - wanted) * PAGE_SIZE > self.kept(had * PAGE_SIZE)
            && self.habits.length_if_sparse(wanted) != Some(had)
        {
            // Without a record for the rest, the block just stays longer than it must.
            self.shrink(span, PageCount(wanted));
        }
        span.set_requested(bytes);
        Some(span)
    }

    /// Makes a large block `pages` long without moving it, if what follows it is free or can be had.
    /// The block's requested size is the caller's to set.
    pub(crate) fn grow_in_place(&self, span: SpanRef, pages: PageCount) -> bool {
        pages.0 < SPAN_PAGES_END && self.settled(|op| op.grow_in_place(span, pages.0)).is_some()
    }

    /// Cuts a large block down to its first `pages` pages; false, with nothing changed, when no record for
    /// the rest could be had.
    pub(crate) fn shrink(&self, span: SpanRef, pages: PageCount) -> bool {
        if pages >= span.pages() {
            return pages == span.pages();
        }
        self.end_long(span, false);
        let shrunk = self.settled(|op| op.shrink(span, pages.0).map(|freed| op.untidy(freed)));
        if let Some(Some(page)) = shrunk {
            self.tidy(page);
        }
        shrunk.is_some()
    }

    /// What can be chosen.
    #[inline]
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the scavenger is told by.
    #[inline]
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Pages in use, or free and dirty: what limits go by.
    pub(crate) fn footprint(&self) -> PageCount {
        self.locked(|op| PageCount(op.state.counts.used() + op.state.counts.free_dirty))
    }

    /// What the scavenger decides by; the peak begins anew.
    pub(crate) fn demand(&self) -> Demand {
        self.locked(|op| {
            let counts = &mut op.state.counts;
            let used = counts.used();
            let peak = core::mem::replace(&mut counts.peak_lately, used);
            let dirty = counts.free_dirty - op.state.parking.wanted();
            Demand { used, peak, dirty }
        })
    }

    /// The same figures, left as they are.
    pub(crate) fn demand_now(&self) -> Demand {
        self.locked(|op| {
            let counts = &op.state.counts;
            Demand { used: counts.used(), peak: counts.peak_lately, dirty: counts.free_dirty }
        })
    }

    /// Returns all dirty pages to the system.
    pub(crate) fn purge_all(&self) -> PageCount {
        self.purge(PageCount(usize::MAX))
    }

    /// Gives the memory of records that are no longer in use back, if that is worth a look; bytes that went.
    pub(crate) fn trim_metadata(&self) -> usize {
        const WORTH: usize = 256 << 10;
        self.settled(|op| {
            if self.readers.load(Ordering::SeqCst) != 0 {
                return 0;
            }
            let meta = &mut op.state.meta;
            // What did not go last time will not go now.
            if meta.idle() < meta.idle_lately + WORTH {
                return 0;
            }
            let trimmed = meta.trim(op.system);
            meta.idle_lately = meta.idle();
            trimmed
        })
    }

    /// Keeps all records what they are until [`release_records`](PageHeap::release_records), for whoever reads them without the lock.
    pub(crate) fn keep_records(&self) {
        self.readers.fetch_add(1, Ordering::SeqCst);
    }

    /// Ends what [`keep_records`](PageHeap::keep_records) began.
    pub(crate) fn release_records(&self) {
        self.readers.fetch_sub(1, Ordering::SeqCst);
    }

    /// In a child of fork: whoever read them is the parent's.
    pub(crate) fn forget_readers(&self) {
        self.readers.store(0, Ordering::SeqCst);
    }

    /// What the page heap holds now.
    pub(crate) fn stats(&self) -> PageHeapStats {
        self.locked(|op| op.stats())
    }

    /// Checks every span, both indexes, the page map and the counts against each other.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        self.locked(|op| op.verify())
    }
}

/// The pages of a large block, if there can be so many.
fn pages_for(bytes: usize) -> Option<usize> {
    let pages = Bytes(bytes.max(1)).pages()?.0;
    (pages < SPAN_PAGES_END).then_some(pages)
}
