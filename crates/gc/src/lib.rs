//! Implicit allocation: collectors that find out by themselves what is not used any more.
//!
//! Three parts, a folder each. The **allocator** ([`allocator`]) hands out memory for objects: spans of one size class, chunks filled
//! by a bump pointer, large objects apart; its pages come from any allocator of the kit, or from the program's own. The
//! **collector** ([`collector`]) decides what is dead. The **mutator** ([`mutator`]) is the program, and what it may touch: handles,
//! cells, roots. All collectors stand behind one trait, [`Collector`], and a program that is generic over it runs on each.
//!
//! | it is to be … | take |
//! |---|---|
//! | the fastest as a rule: most objects die young | [`Generational`] |
//! | without long pauses | [`Incremental`] |
//! | lean, objects stay where they are | [`MarkSweep`] |
//! | simple and compact, little is live | [`SemiSpace`] |
//! | compact, and there is no room for a second space | [`MarkCompact`] |
//! | freed at once, by counting; cycles now and then | [`counted`], [`counted::cycles`] |
//!
//! # Example
//!
//! ```
//! use freestone_gc::{Gc, GcCell, Generational, Heap, Trace};
//!
//! #[derive(Trace)]
//! struct Node<'gc> {
//!     value: u32,
//!     next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
//! }
//!
//! // The root is an `Option<Gc<Node>>`; `'static` stands for "of whatever heap it is in".
//! let mut heap = Heap::<Option<Gc<'static, Node<'static>>>, Generational>::new(|_| None);
//! heap.mutate(|mc, root| {
//!     let last = mc.alloc(Node { value: 2, next: GcCell::new(None) });
//!     let first = mc.alloc(Node { value: 1, next: GcCell::new(None) });
//!     first.set(mc, |node| &node.next, Some(last));
//!     *root = Some(first);
//! });
//! heap.collect();
//! heap.mutate(|_, root| {
//!     let first = root.expect("it is reachable");
//!     assert_eq!(first.value + first.next.get().expect("and so is this").value, 3);
//! });
//! ```
//!
//! # Why a use after a collection does not compile
//!
//! Every handle is branded with the lifetime `'gc` of one call of [`Heap::mutate`], which stands for one heap and one stretch
//! between two collections; the heap is borrowed for that call, so that nothing can be collected in it, and no handle leaves it.
//! That is the idea of the crate gc-arena (Catherine West, 2018), after the branded lifetimes of Launchbury and Peyton Jones's state
//! threads (1994) and Beingessner's generativity (2015). It makes moving collectors safe, too: when they move, no handle exists.
//!
//! ```compile_fail,E0521
//! use freestone_gc::{Gc, Heap, MarkSweep};
//! let mut heap = Heap::<(), MarkSweep>::new(|_| ());
//! let mut kept: Option<Gc<'_, u32>> = None;
//! heap.mutate(|mc, _| kept = Some(mc.alloc(1)));
//! heap.collect();
//! ```

extern crate self as freestone_gc;

pub mod allocator;
pub mod collector;
pub mod counted;
pub mod excluded;
pub mod mutator;

#[doc(hidden)]
pub mod derived;

#[cfg(test)]
mod tests;

pub use allocator::Global;
pub use collector::{
    Collector, GcConfig, GcStats, Generational, Incremental, KindTotal, MarkCompact, MarkSweep, Pauses,
    SemiSpace, Survey, Surveyed,
};
pub use freestone_gc_derive::Trace;
pub use mutator::{
    Branded, Confined, Ephemeron, Gc, GcArray, GcCell, GcRefCell, GcWeak, Guardian, Heap, Mutation, ObjectId,
    OutOfMemory, Rooted, Trace, Travelling, Write,
};
