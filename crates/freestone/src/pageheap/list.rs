//! A doubly linked list of spans, threaded through their records.
//!
//! The owner of the list guards it (every method that changes it takes `&mut`). A span is in one list at most.

use core::ptr::null_mut;

use super::span::{Span, SpanRef};
use crate::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The head of a list of spans. Pushing, popping and removing are O(1).
pub(crate) struct SpanList {
    head: AtomicPtr<Span>,
}

impl SpanList {
    /// An empty list.
    pub(crate) const fn new() -> SpanList {
        SpanList { head: AtomicPtr::new(null_mut()) }
    }

    /// The span pushed last.
    pub(crate) fn first(&self) -> Option<SpanRef> {
        SpanRef::from_ptr(self.head.load(Relaxed))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Puts `span`, which is in no list, at the front.
    pub(crate) fn push(&mut self, span: SpanRef) {
        debug_assert!(span.next().load(Relaxed).is_null() && span.prev().load(Relaxed).is_null());
        span.next().store(self.head.load(Relaxed), Relaxed);
        if let Some(first) = self.first() {
            first.prev().store(span.as_ptr(), Relaxed);
        }
        self.head.store(span.as_ptr(), Relaxed);
    }

    /// Takes `span`, which is in this list, out of it.
    pub(crate) fn remove(&mut self, span: SpanRef) {
        // Loads and stores: the list's owner is alone, and an atomic exchange would cost a locked instruction.
        let prev = span.prev().load(Relaxed);
        let next = span.next().load(Relaxed);
        span.prev().store(null_mut(), Relaxed);
        span.next().store(null_mut(), Relaxed);
        match SpanRef::from_ptr(prev) {
            Some(prev) => prev.next().store(next, Relaxed),
            None => {
                debug_assert!(self.head.load(Relaxed) == span.as_ptr());
                self.head.store(next, Relaxed);
            }
        }
        if let Some(next) = SpanRef::from_ptr(next) {
            next.prev().store(prev, Relaxed);
        }
    }

    /// Takes the span pushed last.
    pub(crate) fn pop(&mut self) -> Option<SpanRef> {
        let first = self.first()?;
        let next = first.next().load(Relaxed);
        first.next().store(null_mut(), Relaxed);
        if let Some(next) = SpanRef::from_ptr(next) {
            next.prev().store(null_mut(), Relaxed);
        }
        self.head.store(next, Relaxed);
        Some(first)
    }

    /// All spans, the one pushed last first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = SpanRef> + use<'_> {
        core::iter::successors(self.first(), |span| SpanRef::from_ptr(span.next().load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::meta::MetaPool;
    use super::*;
    use freestone_sys::sim::Simulated;

    #[test]
    fn the_list_keeps_its_order_through_removals_at_every_place() {
        let system = Simulated::new();
        let mut pool = MetaPool::new();
        let spans: Vec<_> = (0..5).map(|_| pool.record(&system, 0).unwrap()).collect();
        for removed in 0..5 {
            let mut list = SpanList::new();
            spans.iter().for_each(|&span| list.push(span));
            list.remove(spans[removed]);
            let expected: Vec<_> = (0..5).rev().filter(|&n| n != removed).map(|n| spans[n]).collect();
            assert_eq!(list.iter().collect::<Vec<_>>(), expected);
            let mut popped = Vec::new();
            while let Some(span) = list.pop() {
                popped.push(span);
            }
            assert_eq!(popped, expected);
            assert!(list.is_empty());
        }
    }
}
