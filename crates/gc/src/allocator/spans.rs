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
        let mut full = 0;
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
            if full < PATIENCE
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
            let span = self.fresh(class)?;
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
        for list in &mut self.lists {
            list.next = 0;
            self.unswept += list.spans.len();
        }
    }

    /// Sweeps what is unswept, at most `limit` spans; spans without live objects go back. Returns whether all is swept.
    pub(crate) fn sweep(&mut self, mut limit: usize, mut drop: impl FnMut(Object)) -> bool {
        for class in 0..=CLASSES {
            if self.unswept == 0 {
                break;
            }
            let mut at = self.lists[class].next;
            while at < self.lists[class].spans.len() {
                let span = self.lists[class].spans[at];
                if span.is_swept(self.epoch) {
                    at += 1;
                    continue;
                }
                if limit == 0 {
                    return false;
                }
                limit -= 1;
                self.unswept -= 1;
                if span.sweep(self.epoch, &mut drop) == 0 {
                    // Those before `next` are swept, so it is not one of them.
                    self.lists[class].spans.swap_remove(at);
                    self.spans -= 1;
                    self.put_away(span);
                } else {
                    at += 1;
                }
            }
        }
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
