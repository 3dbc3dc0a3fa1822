//! Heaps that move between threads, whole.
//!
//! # Safety
//!
//! *Sendable*: nothing in the heap is confined to a thread, which each allocation says by the type's `SENDABLE`; no root outside
//! exists, and none can be made; the parent is `Send`. So whoever has the heap has all that can reach it.
#![allow(unsafe_code)]

use core::fmt;

use super::{Branded, Heap, Mutation, Trace};
use crate::collector::{Collector, GcStats};

/// A heap that can be sent to another thread, with all that is in it.
///
/// Behind a `Mutex` it serves several threads, one at a time. A heap in which several threads work at once is not offered.
///
/// ```
/// use freestone_gc::{Gc, Generational, Heap};
///
/// let heap = Heap::<Vec<Gc<'static, u64>>, Generational>::new(|mc| (0..10).map(|n| mc.alloc(n)).collect());
/// let mut heap = heap.into_travelling().expect("numbers are sendable");
/// let sum = std::thread::spawn(move || heap.mutate(|_, root| root.iter().map(|n| **n).sum::<u64>()));
/// assert_eq!(sum.join().unwrap(), 45);
/// ```
pub struct Travelling<R: Branded, C: Collector> {
    heap: Heap<R, C>,
}

// SAFETY: sendable.
unsafe impl<R: Branded, C: Collector<Parent: Send>> Send for Travelling<R, C> {}

/// Why a heap cannot travel; the heap comes back.
pub struct Confined<R: Branded, C: Collector> {
    /// The heap, as it was.
    pub heap: Heap<R, C>,
    /// The type of the first object that is confined to its thread; none if it is a root outside that is in the way.
    pub kind: Option<&'static str>,
}

impl<R: Branded, C: Collector> fmt::Debug for Confined<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<R: Branded, C: Collector> fmt::Display for Confined<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(
                f,
                "the heap cannot leave its thread: it holds, or held, a {kind}, which cannot be sent"
            ),
            None => f.write_str("the heap cannot leave its thread: there are `Rooted` handles of it"),
        }
    }
}

impl<R: Branded, C: Collector> core::error::Error for Confined<R, C> {}

impl<R: Branded, C: Collector<Parent: Send>> Heap<R, C> {
    /// A heap that can be sent to another thread.
    ///
    /// # Errors
    ///
    /// [`Confined`] when something confined to this thread was ever allocated in it (a `#[gc(leaf)]` field that is not `Send`, an
    /// `Rc`, a field that is `#[gc(recursive)]`), or if there are [`Rooted`](crate::Rooted) handles of it.
    pub fn into_travelling(mut self) -> Result<Travelling<R, C>, Confined<R, C>> {
        let root = (!<R::Of<'static> as Trace<'static>>::SENDABLE).then(core::any::type_name::<R>);
        let kind = root.or(self.confined_kind());
        if kind.is_some() || self.count_roots() > 0 {
            return Err(Confined { heap: self, kind });
        }
        self.set_travels(true);
        Ok(Travelling { heap: self })
    }
}

impl<R: Branded, C: Collector> Travelling<R, C> {
    /// As [`Heap::mutate`].
    ///
    /// # Panics
    ///
    /// As that; and when something confined to this thread is allocated, or a root outside made.
    pub fn mutate<T>(&mut self, f: impl for<'gc> FnOnce(&Mutation<'gc, C>, &mut R::Of<'gc>) -> T) -> T {
        self.heap.mutate(f)
    }

    /// As [`Heap::collect`].
    pub fn collect(&mut self) {
        self.heap.collect();
    }

    /// The figures.
    pub fn stats(&self) -> GcStats {
        self.heap.stats()
    }

    /// The heap, to stay in this thread.
    pub fn into_heap(self) -> Heap<R, C> {
        self.heap.set_travels(false);
        self.heap
    }
}
