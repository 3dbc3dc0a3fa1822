//! Large blocks that grow and shrink: in place, or by moving their pages.
//!
//! # Safety
//!
//! A block's pages are moved on the demand of its owner, who waits for the outcome; the target is a span that the
//! same thread sent away for it. Both are mapped and belong to nobody else (H1).
#![allow(unsafe_code)]

use freestone_base::{PAGE_SHIFT, PAGE_SIZE};
use freestone_sys::{MoveRefused, Moved, System};

use super::span::{SpanRef, SpanState, is_whole_os_pages};
use super::state::Op;
use super::{PageHeap, dirty, pages_for};

/// Blocks are moved so often, then only very long ones: each move may leave a mapping that merges with no neighbour any
/// more, and a process has 65,530 (`vm.max_map_count`).
const MOST_MOVES: usize = 2_000;
/// Pages from which on a block is always moved (32 MiB): copying would take milliseconds.
const ALWAYS_MOVED: usize = (32 << 20) >> PAGE_SHIFT;

impl<S: System> PageHeap<S> {
    /// Moves a large block to a longer span that holds `bytes` behind its colour, and has `room` pages more, without copying: the kernel
    /// moves its pages, without the page heap's lock. The old span is gone. `None`, with nothing changed, where that
    /// cannot be done; copying may still be possible.
    pub(crate) fn move_grow(&self, span: SpanRef, bytes: usize, room: usize) -> Option<SpanRef> {
        let pages = pages_for(bytes.checked_add(span.colour())?)?.checked_add(room)?;
        // What asks for nothing else is one mapping.
        self.end_long(span, false);
        let sender = self.sender.lock();
        let (target, spare) = self.settled(|op| op.begin_move(span, pages))?;
        // SAFETY: the owner of the block asks for it, the target was sent away for it.
        match unsafe { self.system.move_pages(span.start(), span.bytes(), target.start()) } {
            Ok(moved) => {
                self.huge.note_broken(span.page_range());
                let untidy = self.settled(|op| {
                    op.state.meta.recycle(spare);
                    let freed = op.end_move(span, target, moved);
                    freed.and_then(|freed| op.untidy(freed))
                });
                drop(sender);
                target.set_requested(bytes);
                if let Some(page) = untidy {
                    self.tidy(page);
                }
                Some(target)
            }
            Err(refused) => {
                let moved = span.pages().0;
                self.settled(|op| op.take_back(target, moved, spare, refused));
                None
            }
        }
    }
}

impl<S: System> Op<'_, S> {
    /// Adds the pages that follow a large block to it. `None`, the block unchanged, if they are not free.
    pub(super) fn grow_in_place(&mut self, span: SpanRef, pages: usize) -> Option<()> {
        let old = span.pages().0;
        let more = pages.checked_sub(old)?;
        if more == 0 {
            return Some(());
        }
        if !self.fits(more) {
            return None;
        }
        let end = self.map.index(span) + old;
        // Behind the top there may be no entries.
        if end < self.state.top
            && let Some(right) = self.map.span_at(end).filter(|right| right.is(SpanState::Parked))
        {
            self.unpark(right);
            self.file_merged(right, right.pages().0);
        }
        let short = |right: &SpanRef| right.pages().0 < more;
        let mut right = self.free_at(end);
        let at_top = right.map_or(end, |right| end + right.pages().0) == self.state.top;
        if right.as_ref().is_none_or(short) {
            if !at_top {
                return None;
            }
            self.extend(more, 1, true)?;
            right = self.free_at(end);
        }
        let right = right.filter(|right| !short(right))?;
        let dirty = if right.pages().0 > more {
            self.cut_front(right, more)
        } else {
            self.unfile(right);
            let dirty = right.dirty_pages();
            self.state.meta.recycle(right);
            dirty
        };
        span.set_zeroed(span.is_zeroed() && dirty == 0);
        if !span.is_asking() {
            span.begin_look(span.is_telling() && dirty == 0);
        }
        self.map.clear_ends(end - 1, end);
        span.set_range(span.first_page(), pages);
        self.map.enter(span);
        self.state.counts.add(span.state(), more);
        self.watch.on_call(self.state.counts.used(), self.state.counts.free_dirty);
        Some(())
    }

    /// Frees the pages of a large block from the `pages`-th on.
    /// Returns the free span that they are now a part of.
    pub(super) fn shrink(&mut self, span: SpanRef, pages: usize) -> Option<SpanRef> {
        debug_assert!(pages > 0 && pages < span.pages().0);
        let less = span.pages().0 - pages;
        let rest = self.record(0)?;
        rest.set_range(span.first_page() + pages, less);
        span.set_range(span.first_page(), pages);
        // What was noted is another length's.
        span.begin_look(span.is_telling());
        self.map.enter(span);
        *self.state.counts.of(span.state()) -= less;
        span.set_requested(span.requested().min(span.usable_bytes()));
        let first = self.map.index(rest);
        dirty::set(self.map, first..first + less);
        Some(self.file_merged(rest, less))
    }

    /// Takes a span of `pages` pages, away, to which the pages of a large block can be moved; and a record for what
    /// is left of it if the move loses its beginning.
    fn begin_move(&mut self, span: SpanRef, pages: usize) -> Option<(SpanRef, SpanRef)> {
        let os_page = self.system.os_page_size();
        if self.state.moves >= MOST_MOVES && pages < ALWAYS_MOVED {
            return None;
        }
        if pages < span.pages().0 || !self.fits(pages - span.pages().0) || !is_whole_os_pages(span, os_page) {
            return None;
        }
        let spare = self.record(0)?;
        let Some(target) = self.take(pages, os_page.div_ceil(PAGE_SIZE), 0) else {
            self.state.meta.recycle(spare);
            return None;
        };
        let dirty = target.dirty_pages();
        // A move drops what is resident in the target, and leaves nothing resident behind: each page of both would be a fault at its next
        // use, which costs more than to copy it.
        if dirty > pages / 2 && pages < ALWAYS_MOVED && self.fits(pages) {
            self.state.meta.recycle(spare);
            self.file_merged(target, dirty);
            return None;
        }
        self.state.counts.more_free(pages, dirty);
        self.map.enter_ends(target);
        self.mark_away(target);
        // One thread moves at a time.
        self.state.reserved = pages - span.pages().0;
        Some((target, spare))
    }

    /// The pages have moved. Returns the free span that is now at the old place, if one is.
    fn end_move(&mut self, span: SpanRef, target: SpanRef, moved: Moved) -> Option<SpanRef> {
        self.state.moves += 1;
        self.state.reserved = 0;
        self.arrive(target);
        self.succeed(span, target);
        self.leave_behind(span, moved)
    }

    /// Makes `target` the large block that `span` was.
    fn succeed(&mut self, span: SpanRef, target: SpanRef) {
        target.forget_use();
        target.set_zeroed(false);
        target.begin_look(false);
        target.set_colour(span.colour());
        target.set_heap(span.heap());
        self.put_to_use(target, span.state());
    }

    /// Files what a move left at the old addresses: clean pages, or a hole.
    fn leave_behind(&mut self, span: SpanRef, moved: Moved) -> Option<SpanRef> {
        match moved {
            Moved::SourceClean => Some(self.give_back(span, true)),
            Moved::SourceGone => {
                self.state.counts.leave(span);
                span.forget_use();
                self.put_to_use(span, SpanState::Hole);
                None
            }
        }
    }

    /// Files the target of a move of `moved` pages that was refused; `spare` is a record for what was
    /// not to be overwritten.
    fn take_back(&mut self, target: SpanRef, moved: usize, spare: SpanRef, refused: MoveRefused) {
        self.state.reserved = 0;
        match refused {
            // Dirty pages may have become clean; they still count as dirty, which is only careful.
            MoveRefused::Unchanged => {
                self.state.meta.recycle(spare);
                self.bring_back(target, None);
            }
            MoveRefused::TargetGone => {
                self.arrive(target);
                let rest = target.pages().0 - moved;
                target.set_range(target.first_page(), moved);
                target.forget_use();
                self.put_to_use(target, SpanState::Hole);
                if rest == 0 {
                    return self.state.meta.recycle(spare);
                }
                let first = self.map.index(target) + moved;
                spare.set_range(target.first_page() + moved, rest);
                self.file_merged(spare, dirty::count(self.map, first..first + rest));
            }
        }
    }
}
