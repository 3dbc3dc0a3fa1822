//! What does not compile, and why: the misuse that the types exclude.
//!
//! All of it is about this, which does compile:
//!
//! ```
//! use freestone_gc::{Gc, GcCell, Heap, MarkSweep, Trace};
//!
//! #[derive(Trace)]
//! struct Node<'gc> {
//!     next: GcCell<Option<Gc<'gc, Node<'gc>>>>,
//! }
//!
//! let mut heap = Heap::<Option<Gc<'static, Node<'static>>>, MarkSweep>::new(|_| None);
//! heap.mutate(|mc, root| {
//!     let node = mc.alloc(Node { next: GcCell::new(*root) });
//!     node.set(mc, |node| &node.next, Some(node));
//!     *root = Some(node);
//! });
//! heap.collect();
//! ```
//!
//! **A handle does not leave its `mutate`**, neither as a result nor by a variable outside: its brand is over.
//!
//! ```compile_fail
//! # use freestone_gc::{Gc, Heap, MarkSweep};
//! let mut heap = Heap::<Option<Gc<'static, u32>>, MarkSweep>::new(|_| None);
//! let kept = heap.mutate(|mc, _| mc.alloc(1));
//! ```
//!
//! **Nothing is collected while handles are there**: the heap is borrowed.
//!
//! ```compile_fail,E0499
//! # use freestone_gc::{Gc, Heap, MarkSweep};
//! let mut heap = Heap::<Option<Gc<'static, u32>>, MarkSweep>::new(|_| None);
//! heap.mutate(|mc, root| {
//!     let object = mc.alloc(1);
//!     heap.collect();
//!     assert_eq!(*object, 1);
//! });
//! ```
//!
//! **A handle of one heap is not put into another**: the brands differ.
//!
//! ```compile_fail
//! # use freestone_gc::{Gc, Heap, MarkSweep};
//! # type Root = Option<Gc<'static, u32>>;
//! let mut one = Heap::<Root, MarkSweep>::new(|_| None);
//! let mut other = Heap::<Root, MarkSweep>::new(|_| None);
//! one.mutate(|mc, _| {
//!     let object = mc.alloc(1);
//!     other.mutate(|_, root| *root = Some(object));
//! });
//! ```
//!
//! **An object is not changed without the barrier**: what is shared is read only, and a cell is opened through its object.
//!
//! ```compile_fail,E0599
//! # use freestone_gc::{Gc, GcCell, Heap, MarkSweep};
//! let mut heap = Heap::<Option<Gc<'static, u32>>, MarkSweep>::new(|_| None);
//! heap.mutate(|mc, _| {
//!     let cell = mc.alloc(GcCell::new(1));
//!     cell.set(2);
//!     cell.get_ref().set(2);
//! });
//! ```
//!
//! **The standard library's cells hold no handles**: they have no barrier.
//!
//! ```compile_fail
//! # use freestone_gc::{Gc, Heap, MarkSweep, Trace};
//! #[derive(Trace)]
//! struct Node<'gc> {
//!     next: std::cell::Cell<Option<Gc<'gc, Node<'gc>>>>,
//! }
//! ```
//!
//! **What holds handles has no destructor of its own**: what it points to may be gone.
//!
//! ```compile_fail,E0119
//! # use freestone_gc::{Gc, Trace};
//! #[derive(Trace)]
//! struct Node<'gc> {
//!     next: Gc<'gc, u32>,
//! }
//!
//! impl Drop for Node<'_> {
//!     fn drop(&mut self) {
//!         println!("{}", self.next);
//!     }
//! }
//! ```
//!
//! **A field that is not traced holds no handles**: a leaf is `'static`.
//!
//! ```compile_fail
//! # use freestone_gc::{Gc, Trace};
//! #[derive(Trace)]
//! struct Node<'gc> {
//!     #[gc(leaf)]
//!     next: Gc<'gc, u32>,
//! }
//! ```
//!
//! **What lives in a heap borrows from nowhere else.**
//!
//! ```compile_fail
//! # use freestone_gc::{Gc, Trace};
//! #[derive(Trace)]
//! struct Name<'gc, 'text> {
//!     text: &'text str,
//!     next: Gc<'gc, u32>,
//! }
//! ```
//!
//! **A type that does not say what it holds is not put into a heap.**
//!
//! ```compile_fail,E0277
//! # use freestone_gc::{Gc, Heap, MarkSweep};
//! struct Unknown;
//! Heap::<(), MarkSweep>::new(|_| ()).mutate(|mc, _| drop(mc.alloc(Unknown)));
//! ```
//!
//! **Keys of maps are no handles**: objects move, and their places in the map would be wrong.
//!
//! ```compile_fail
//! # use freestone_gc::{Gc, Trace};
//! #[derive(Trace)]
//! struct Index<'gc> {
//!     by_object: std::collections::BTreeMap<Gc<'gc, u32>, u32>,
//! }
//! ```
//!
//! **A heap, a handle, a root does not change its thread**; a heap that does is a [`Travelling`](crate::Travelling) one.
//!
//! ```compile_fail,E0277
//! # use freestone_gc::{Heap, MarkSweep};
//! let mut heap = Heap::<(), MarkSweep>::new(|_| ());
//! std::thread::spawn(move || heap.collect());
//! ```
//!
//! **The right to allocate does not outlive its `mutate`**, so a destructor never has it.
//!
//! ```compile_fail
//! # use freestone_gc::{Heap, MarkSweep, Mutation};
//! let mut kept: Option<&Mutation<'_, MarkSweep>> = None;
//! Heap::<(), MarkSweep>::new(|_| ()).mutate(|mc, _| kept = Some(mc));
//! ```
//!
//! What types cannot exclude ends with a message: a root of another heap ([`Mutation::get`](crate::Mutation::get)), a cell that does
//! not lie in the object it is opened through ([`Gc::write`](crate::Gc::write)), a borrow of a cell that is borrowed, something
//! confined to a thread in a heap that travels, the use of a heap that broke.
