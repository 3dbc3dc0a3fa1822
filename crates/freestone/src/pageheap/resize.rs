//! Large blocks that grow and shrink: in place, or by moving their pages.
//!
//! # Safety
//!
//! A block's pages are moved on the demand of its owner, who waits for the outcome; the target is a span
//! taken out of the free ones just before. Both are mapped and belong to nobody else (H1).
#![allow(unsafe_code)]

use freestone_base::PAGE_SHIFT;
use freestone_sys::{MoveRefused, Moved, System};

use super::dirty;
use super::span::{SpanRef, SpanState, is_whole_os_pages};
use super::state::Op;

/// Blocks are moved so often, then only very long ones: each move may leave a mapping that merges with no neighbour any
/// more, and a process has 65,530 (`vm.max_map_count`).
const MOST_MOVES: usize = 2_000;
/// Pages from which on a block is always moved (32 MiB): copying would take milliseconds.
const ALWAYS_MOVED: usize = (32 << 20) >> PAGE_SHIFT;

impl<S: System> Op<'_, S> {
    /// Adds the pages that follow a large block to it. `None`, the block unchanged, if they are not free.
    pub(super) fn grow_in_place(&mut self, span: SpanRef, pages: usize) -> Option<()> {
        let old = span.pages().0;
        let more = pages.checked_sub(old)?;
        if more == 0 {
            return Some(());
        }
        let end = self.map.index(span) + old;
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
        let added = self.record(0)?;
        added.set_range(span.first_page() + old, more);
        self.cut(right, added, None);
        span.set_zeroed(span.is_zeroed() && added.dirty_pages() == 0);
        self.state.meta.recycle(added);

        self.map.leave(span);
        span.set_range(span.first_page(), pages);
        self.map.enter(span);
        self.state.counts.add(span.state(), more);
        Some(())
    }

    /// Frees the pages of a large block from the `pages`-th on.
    pub(super) fn shrink(&mut self, span: SpanRef, pages: usize) -> Option<()> {
        let old = span.pages().0;
        let less = old.checked_sub(pages)?;
        if less == 0 {
            return Some(());
        }
        debug_assert!(pages > 0);
        let rest = self.record(0)?;
        rest.set_range(span.first_page() + pages, less);
        rest.set_dirty_pages(less);

        self.map.leave(span);
        span.set_range(span.first_page(), pages);
        self.map.enter(span);
        *self.state.counts.of(span.state()) -= less;
        span.set_requested(span.requested().min(span.usable_bytes()));
        let first = self.map.index(rest);
        dirty::set(self.map, first..first + less);
        self.merge_and_file(rest);
        Some(())
    }

    /// Takes a span of `pages` pages and moves the pages of a large block to its beginning.
    pub(super) fn move_grow(&mut self, span: SpanRef, pages: usize) -> Option<SpanRef> {
        let os_page = self.system.os_page_size();
        if self.state.moves >= MOST_MOVES && pages < ALWAYS_MOVED {
            return None;
        }
        if pages < span.pages().0 || !is_whole_os_pages(span, os_page) {
            return None;
        }
        let align = os_page.div_ceil(freestone_base::PAGE_SIZE);
        let spare = self.record(0)?;
        let Some(target) = self.take(pages, align, 0) else {
            self.state.meta.recycle(spare);
            return None;
        };
        // SAFETY: the owner of the block asks for it, the target was free until just now.
        match unsafe { self.system.move_pages(span.start(), span.bytes(), target.start()) } {
            Ok(moved) => {
                self.state.moves += 1;
                self.state.meta.recycle(spare);
                self.succeed(span, target);
                self.leave_behind(span, moved);
                Some(target)
            }
            Err(refused) => {
                self.take_back(target, span.pages().0, spare, refused);
                None
            }
        }
    }

    /// Makes `target` the large block that `span` was.
    fn succeed(&mut self, span: SpanRef, target: SpanRef) {
        target.forget_use();
        target.set_colour(span.colour());
        target.set_heap(span.heap());
        self.put_to_use(target, span.state());
    }

    /// Files what a move left at the old addresses: clean pages, or a hole.
    fn leave_behind(&mut self, span: SpanRef, moved: Moved) {
        match moved {
            Moved::SourceClean => self.give_back(span, true),
            Moved::SourceGone => {
                self.map.leave(span);
                self.state.counts.leave(span);
                span.forget_use();
                self.put_to_use(span, SpanState::Hole);
            }
        }
    }

    /// Files the target of a move of `moved` pages that was refused; `spare` is a record for what was
    /// not to be overwritten.
    fn take_back(&mut self, target: SpanRef, moved: usize, spare: SpanRef, refused: MoveRefused) {
        match refused {
            // Dirty pages may have become clean; they still count as dirty, which is only careful.
            MoveRefused::Unchanged => {
                self.state.meta.recycle(spare);
                self.merge_and_file(target);
            }
            MoveRefused::TargetGone => {
                let rest = target.pages().0 - moved;
                target.set_range(target.first_page(), moved);
                target.forget_use();
                self.put_to_use(target, SpanState::Hole);
                if rest == 0 {
                    return self.state.meta.recycle(spare);
                }
                let first = self.map.index(target) + moved;
                spare.set_range(target.first_page() + moved, rest);
                spare.set_dirty_pages(dirty::count(self.map, first..first + rest));
                self.merge_and_file(spare);
            }
        }
    }
}
