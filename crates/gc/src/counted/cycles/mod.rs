//! Counting that finds cycles: trial deletion, all at once or in slices.
//!
//! Objects of one [`Cycles`] are counted ([`Cc`]) and go with their last handle. Those that keep each other alive in a circle
//! are found by [`Cycles::collect`], or a slice at a time by [`Cycles::collect_slice`], while the program goes on in between.
//!
//! ```
//! use freestone_gc::counted::cycles::{Cc, Cycles, Slot};
//!
//! struct Node { name: &'static str, next: Slot<Option<Cc<Node>>> }
//! freestone_gc::links!(Node { next });
//!
//! let cycles = Cycles::new();
//! let one = cycles.alloc(Node { name: "one", next: Slot::default() });
//! let two = cycles.alloc(Node { name: "two", next: Slot::new(Some(one.clone())) });
//! one.next.set(Some(two));
//! assert_eq!(one.next.borrow().as_ref().unwrap().name, "two");
//! drop(one);
//! assert_eq!(cycles.stats().objects, 2);
//! cycles.collect();
//! assert_eq!(cycles.stats().objects, 0);
//! ```
//!
//! # How it works
//!
//! A circle that nothing holds any more was let go by somebody at some time: the last handle from outside was dropped, and the count did not
//! come to zero. So every object whose count went down, but not to zero, is a *candidate*. A collection goes out from the
//! candidates through all objects that can be reached and counts, beside the true counts, how many handles it came along (the trial: what would
//! be left if these objects were deleted?). An object with more handles than that is held from outside, and so is all that it
//! reaches. The others are garbage.
//!
//! Garbage is not dropped but *unlinked*: the collector empties the [`Slot`]s of its objects. As every circle was closed through
//! a slot (what else could point back at an older object?), counting does the rest: each object is dropped with its last handle, as ever,
//! and whatever it still holds is whole when its destructor looks at it.
//!
//! For the same reason no implementation of [`Links`] can break memory safety, and it is a safe trait: one that reports too little keeps
//! garbage; one that reports handles that are not the object's can have slots emptied that are still in use.
//!
//! # In slices
//!
//! In between the program changes the graph. What is known stays true all the same, thanks to one rule: *who gets hold of an object that the
//! collection has seen, or lets go of it, makes it live for the rest of the collection* (a deletion barrier, as in Yuasa's snapshot at the beginning). Cloning and
//! dropping handles comes past the count anyway; a handle that moves without being counted must come out of a slot, whose methods that change it
//! mark what it held, while a collection is under way; or out of an object that was taken apart
//! ([`Cc::try_unwrap`], [`Cc::get_mut`]), which do the same. So when the count of handles along which the
//! collection came is that of all there are, they are all still where they were found: in objects of the collection. If none of those is live,
//! nobody outside has a way in, and garbage stays garbage however long the unlinking takes.
//!
//! A slice does so much work and no more: an object or an edge is one unit. What goes in one piece is an object with all its edges, a slot
//! that is changed, and a destructor.
//!
//! # When to use it, and when not
//!
//! Where objects are to go at once and cycles are few. Where everything is a cycle (a mutable graph, an interpreter's heap), a collector that
//! traces does less work. Objects belong to one thread.
//!
//! # Costs
//!
//! 24 bytes an object. Cloning and dropping as [`Rc`](super::Rc), and a look whether the object is in the collector's table; the first drop
//! that leaves an object alive enters it there (28 bytes or so, until the next collection). A collection takes time in proportion to what the candidates reach, live or
//! not. Long chains are dropped without recursion.
//!
//! # Source
//!
//! Bacon, Rajan, *Concurrent Cycle Collection in Reference Counted Systems*, 2001: candidates, trial deletion in linear time, counts of the
//! trial beside the true ones. Slices by a barrier in place of their epochs and tests are ours. Emptying instead of
//! deleting is CPython's `tp_clear`.

mod collect;
mod core;
mod handle;
mod heap;
mod links;
mod object;
mod slot;
mod table;
mod weak;

pub use self::core::CycleStats;
pub use handle::Cc;
pub use heap::{Config, Cycles};
pub use links::{Links, Visit};
pub use slot::{Slot, SlotMut, SlotRef};
pub use weak::WeakCc;
