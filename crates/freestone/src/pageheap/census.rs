//! Walking all spans for the ledger, a few at a time under the lock.
//!
//! Between two steps spans come and go. What was seen may be gone when it is looked at: a record then tells of another
//! span, which at worst puts some bytes into a wrong line.

use core::ops::Range;

use freestone_base::PAGE_SIZE;
use freestone_sys::System;

use super::state::Op;
use super::{PageHeap, SpanRef, SpanState, dirty};

/// Pages looked at in one step at most, so that the lock is held for microseconds only.
const PAGES_A_STEP: usize = 4096;

/// A span as it was when the walk passed.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) span: SpanRef,
    pub(crate) state: SpanState,
    /// The first address, or where the walk met it, if that was inside.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl<S: System> PageHeap<S> {
    /// Notes the spans from page `from` of the window on, as many as there is room for. Returns how many, and from
    /// where to go on; `None` at the end.
    pub(crate) fn census(&self, from: usize, seen: &mut [Option<Seen>]) -> (usize, Option<usize>) {
        self.locked(|op| op.census(from, seen))
    }

    /// The addresses of the window that spans tile, from a start to an end.
    pub(crate) fn window(&self) -> (usize, usize) {
        self.locked(|op| {
            let at = |index: usize| (op.map.base() + index) * PAGE_SIZE;
            if op.state.top == 0 { (0, 0) } else { (at(op.state.bottom), at(op.state.top)) }
        })
    }

    /// The ranges of the page map, from a start to an end each.
    pub(crate) fn map_ranges(&self) -> [(usize, usize); 3] {
        self.map.ranges(self.system.os_page_size())
    }

    /// Notes the ranges of the records, from a start to an end each; returns how many.
    pub(crate) fn record_ranges(&self, ranges: &mut [(usize, usize)]) -> usize {
        self.locked(|op| {
            let all = op.state.meta.ranges();
            let count = all.len().min(ranges.len());
            ranges[..count].copy_from_slice(&all[..count]);
            count
        })
    }

    /// Calls `visit` for each run of dirty pages in a free span, by addresses.
    pub(crate) fn each_dirty(&self, seen: &Seen, mut visit: impl FnMut(usize, usize)) {
        let base = self.map.base();
        let mut rest: Range<usize> = seen.start / PAGE_SIZE - base..seen.end / PAGE_SIZE - base;
        while let Some(run) = dirty::next_run(&self.map, rest.clone()) {
            visit((base + run.start) * PAGE_SIZE, (base + run.end) * PAGE_SIZE);
            rest.start = run.end;
            if rest.is_empty() {
                break;
            }
        }
    }
}

impl<S: System> Op<'_, S> {
    fn census(&self, from: usize, seen: &mut [Option<Seen>]) -> (usize, Option<usize>) {
        let from = from.max(self.state.bottom);
        let (mut count, mut index, mut resume) = (0, from, from);
        let stop = self.state.top.min(from.saturating_add(PAGES_A_STEP));
        while count < seen.len() && index < stop {
            // Only the first and last page of some spans are entered; where the walk resumes inside, it finds the last.
            let Some(span) = self.map.span_at(index) else {
                index += 1;
                continue;
            };
            let first = self.map.index(span);
            let end = first + span.pages().0;
            let start = first.max(resume);
            let base = self.map.base();
            seen[count] = Some(Seen {
                span,
                state: span.state(),
                start: (base + start) * PAGE_SIZE,
                end: (base + end) * PAGE_SIZE,
            });
            count += 1;
            (index, resume) = (end.max(index + 1), end.max(index + 1));
        }
        (count, (index < self.state.top).then_some(index))
    }
}
