//! The spans of a heap, by size class: free blocks in runs, which a pointer fills; sweeping as allocation comes by.
//!
//! # Safety
//!
//! *Spans*: the lists hold live spans of the parent, each once; a cursor lies in the current span of its class, and the blocks
//! from it to its limit are marked as allocated and are nobody's.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use freestone_kit::Alloc;

use super::class::{CLASS, CLASSES, SPAN};
use super::span::{Run, Span};
use crate::collector::object::Object;

/// Spans that are kept empty rather than given back, beside one in eight of those in use.
const KEPT: usize = 4;
/// Full spans that are swept in a row before a fresh one is taken: so that no allocation takes long.
const PATIENCE: usize = 16;

/// From where blocks of one class are taken.
#[derive(Clone, Copy)]
struct Cursor {
    at: *mut u8,
    limit: *mut u8,
}

impl Cursor {
    const NONE: Cursor = Cursor { at: null_mut(), limit: null_mut() };
}

/// The spans of one class.
struct List {
    spans: Vec<Span>,
    /// The spans before that have been allocated from since the last collection.
    next: usize,
    /// The span of the cursor.
    current: Option<Span>,
}

/// The spans of a heap.
pub(crate) struct Spans<A: Alloc> {
    cursors: [Cursor; CLASSES + 1],
    lists: [List; CLASSES + 1],
    empty: Vec<Span>,
    parent: A,
    /// Bytes taken by cursors since the heap began.
    taken: u64,
    spans: usize,
    /// The number of the last collection.
    epoch: u32,
    /// Spans that were not swept after it yet.
    unswept: usize,
    /// How far [`sweep`](Spans::sweep) has come: the class, and the place in its list. What is before it is swept.
    swept_to: (usize, usize),
}

const LAYOUT: Layout = match Layout::from_size_align(SPAN, SPAN) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

impl<A: Alloc> Spans<A> {
    pub(crate) fn new(parent: A) -> Self {
        Spans {
            cursors: [Cursor::NONE; CLASSES + 1],
            lists: core::array::from_fn(|_| List { spans: Vec::new(), next: 0, current: None }),
            empty: Vec::new(),
            parent,
            taken: 0,
            spans: 0,
            epoch: 0,
            unswept: 0,
            swept_to: (0, 0),
        }
    }

    pub(crate) fn parent(&self) -> &A {
        &self.parent
    }

    /// Bytes handed out since the heap began, as far as runs were taken.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken
    }

    /// A block of a class.
    #[inline]
    pub(crate) fn allocate(&mut self, class: usize, drop: impl FnMut(Object)) -> Option<NonNull<u8>> {
        let cursor = &mut self.cursors[class];
        let block = cursor.at;
        if block == cursor.limit {
            return self.allocate_slow(class, drop);
        }
        cursor.at = block.wrapping_add(CLASS[class].size as usize);
        NonNull::new(block)
    }

    #[cold]
    #[inline(never)]
    fn allocate_slow(&mut self, class: usize, mut drop: impl FnMut(Object)) -> Option<NonNull<u8>> {
        let (mut full, mut patience) = (0, PATIENCE);
        loop {
            let list = &mut self.lists[class];
            if let Some(span) = list.current {
                let record = span.class();
                let limit = self.cursors[class].limit;
                let from = NonNull::new(limit).map_or(0, |limit| span.number_at(record, limit));
                if let Some(run) = span.take_run(from) {
                    self.begin(class, span, run);
                    return self.allocate(class, drop);
                }
                list.current = None;
                self.cursors[class] = Cursor::NONE;
            }
            let list = &mut self.lists[class];
            if full < patience
                && let Some(&span) = list.spans.get(list.next)
            {
                full += 1;
                list.next += 1;
                list.current = Some(span);
                if !span.is_swept(self.epoch) {
                    span.sweep(self.epoch, &mut drop);
                    self.unswept -= 1;
                }
                continue;
            }
            let Some(span) = self.fresh(class) else {
                // The parent has nothing: now every span of the class is looked at, and then those of all others swept.
                if self.lists[class].next < self.lists[class].spans.len() {
                    patience = usize::MAX;
                    continue;
                }
                if self.unswept == 0 {
                    return None;
                }
                self.sweep(usize::MAX, &mut drop);
                continue;
            };
            // Before those that have not been looked at.
            let list = &mut self.lists[class];
            list.spans.push(span);
            let last = list.spans.len() - 1;
            list.spans.swap(list.next, last);
            list.next += 1;
            list.current = Some(span);
        }
    }

    fn begin(&mut self, class: usize, span: Span, run: Run) {
        let record = span.class();
        self.taken += u64::from((run.to - run.from) * record.size);
        self.cursors[class] = Cursor {
            at: span.block_at(record, run.from).as_ptr(),
            limit: span.block_at(record, run.to).as_ptr(),
        };
    }

    fn fresh(&mut self, class: usize) -> Option<Span> {
        let block = match self.empty.pop() {
            Some(span) => span.block(),
            None => self.parent.allocate(LAYOUT).ok()?.cast(),
        };
        self.spans += 1;
        // SAFETY: span: a live block of that layout, which nobody uses.
        Some(unsafe { Span::format(block, class, self.epoch) })
    }

    /// Gives back what the cursors have taken and not used: before a collection.
    pub(crate) fn retire(&mut self) {
        for class in 0..=CLASSES {
            let cursor = core::mem::replace(&mut self.cursors[class], Cursor::NONE);
            let Some(span) = self.lists[class].current.take() else { continue };
            let record = span.class();
            if let (Some(at), Some(limit)) = (NonNull::new(cursor.at), NonNull::new(cursor.limit)) {
                let run = Run { from: span.number_at(record, at), to: span.number_at(record, limit) };
                self.taken -= u64::from((run.to - run.from) * record.size);
                span.give_run(run);
            }
            // What is left of the span is for the next who asks.
            self.lists[class].next -= 1;
        }
    }

    /// After marking: every span is to be swept before it is allocated from.
    pub(crate) fn begin_sweep(&mut self) {
        self.retire();
        self.epoch = self.epoch.wrapping_add(1);
        self.unswept = 0;
        self.swept_to = (0, 0);
        for list in &mut self.lists {
            list.next = 0;
            self.unswept += list.spans.len();
        }
    }

    /// Goes on sweeping what is unswept, and looks at `limit` spans at most; spans without live objects go back. Returns whether
    /// all is swept. All calls after a collection together look at each span once.
    pub(crate) fn sweep(&mut self, mut limit: usize, mut drop: impl FnMut(Object)) -> bool {
        let (mut class, mut at) = self.swept_to;
        while self.unswept != 0 && class <= CLASSES {
            // Those before `next` are swept; what allocation puts at the end, when it makes room there for a fresh one, is seen again.
            at = at.max(self.lists[class].next);
            while let Some(&span) = self.lists[class].spans.get(at) {
                if limit == 0 {
                    self.swept_to = (class, at);
                    return false;
                }
                limit -= 1;
                if span.is_swept(self.epoch) {
                    at += 1;
                    continue;
                }
                self.unswept -= 1;
                if span.sweep(self.epoch, &mut drop) == 0 {
                    self.lists[class].spans.swap_remove(at);
                    self.spans -= 1;
                    self.put_away(span);
                } else {
                    at += 1;
                }
            }
            (class, at) = (class + 1, 0);
        }
        self.swept_to = (class, at);
        self.unswept == 0
    }

    fn put_away(&mut self, span: Span) {
        if self.empty.len() < KEPT + self.spans / 8 {
            self.empty.push(span);
        } else {
            // SAFETY: spans: a block of the parent, without live objects, on no list any more.
            unsafe { self.parent.deallocate(span.block(), LAYOUT) };
        }
    }

    /// Forgets all marks: a collection was given up.
    pub(crate) fn clear_marks(&mut self) {
        for span in self.lists.iter().flat_map(|list| &list.spans) {
            span.clear_marks();
        }
    }
}

impl<A: Alloc> Drop for Spans<A> {
    fn drop(&mut self) {
        let lists = self.lists.iter().flat_map(|list| &list.spans);
        for span in lists.chain(&self.empty) {
            // SAFETY: spans: a block of the parent; the objects have been dropped.
            unsafe { self.parent.deallocate(span.block(), LAYOUT) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::span;
    use super::*;
    use crate::Global;
    use crate::collector::object::WORD;

    #[test]
    fn sweeping_in_steps_looks_at_each_span_once_and_misses_none() {
        let mut spans = Spans::new(Global);
        let mark = |spans: &mut Spans<Global>, class: usize, every: usize, count: usize| {
            for number in 0..count {
                let block = spans.allocate(class, |_| ()).expect("memory");
                if number % every == 0 {
                    // SAFETY: the payload lies in the block.
                    let payload = unsafe { block.add(WORD) };
                    // SAFETY: nobody looks into it: its address leads to the mark bit.
                    span::mark(unsafe { Object::new(payload) }, CLASS[class]);
                }
            }
        };
        // 60 spans with something live each, and 40 of which some have nothing.
        mark(&mut spans, 0, 1000, 240_000);
        mark(&mut spans, 20, 1500, 14_000);
        let total = spans.spans;
        assert!(total > 90, "{total}");
        spans.begin_sweep();
        let (mut steps, epoch) = (0, spans.epoch);
        while !spans.sweep(1, |_| ()) {
            steps += 1;
            // Allocation sweeps as well, and takes fresh ones, which go between those that are swept and those that are not.
            if steps % 8 == 0 {
                (0..6000).for_each(|_| assert!(spans.allocate(0, |_| ()).is_some()));
            }
            if steps == 30 {
                let fresh: Vec<_> = (0..4).map(|_| spans.fresh(20).expect("memory")).collect();
                spans.lists[20].spans.extend(fresh);
            }
        }
        assert!(steps <= total + 8, "{steps} looks at {total} spans");
        assert!(spans.lists.iter().flat_map(|list| &list.spans).all(|span| span.is_swept(epoch)));
        assert!(spans.spans < total, "some went back");
    }
}
