//! The slab allocator of Bonwick's papers: caches of constructed objects, magazines for each processor.
//!
//! # What it is
//!
//! A cache serves objects of one layout. It takes *slabs* from its parent, memory for some objects each, aligned to
//! its own length; and because all objects of a slab have one size, there is nothing to search, nothing to merge and
//! nothing lost between them. A slab from which every object has come back is empty, and can be *reaped*.
//!
//! ```text
//! slab of small objects:  | colour | object | object | … | object | spare | record | entries |
//! slab of large objects:  | object | object | object | object |        index: slab → record, entries
//!
//! entry: the next free object, or that the object is out         colour: 0, 64, 128, … from slab to slab
//! ```
//!
//! * *Constructed objects* ([`ObjectCache`]): an object is constructed when its slab comes and destroyed when its
//!   slab goes. In between it stays constructed, also while it is free: nothing of the cache's lies in it, since the
//!   list of free objects is beside the objects.
//! * *Colouring*: the first objects of successive slabs lie at different distances from their starts, so that they do
//!   not all compete for the same lines of the processor's caches.
//! * *Off-slab records*: a record at the end of a slab would cost objects of a kilobyte a whole object. From an
//!   eighth of a page on, records lie elsewhere unless there is room to spare, and a hash table leads from the slab
//!   to its record.
//! * *Reaping* ([`Reap`]): on demand of everything idle, or of what was not needed since the last time (the working
//!   set stays).
//! * *Magazines* ([`Magazines`]): each processor has two arrays of objects, the loaded and the previous one, and
//!   takes and puts there. Empty and full ones are exchanged as wholes in the depot. Where its lock is contended,
//!   magazines grow.
//!
//! ```text
//! processor 0: | loaded | previous |  ◄── full ──┐
//! processor 1: | loaded | previous |  ── empty ─►│ depot | ◄──► slabs ◄──► parent
//! ```
//!
//! [`SlabCache`] is the slab layer alone, for one thread; [`SlabHeap`] has one for each class of sizes and serves any
//! layout.
//!
//! # Where it comes from
//!
//! J. Bonwick, *The Slab Allocator: An Object-Caching Kernel Memory Allocator*, USENIX Summer 1994; J. Bonwick and J.
//! Adams, *Magazines and Vmem: Extending the Slab Allocator to Many CPUs and Arbitrary Resources*, USENIX 2001.
//! Constructors run as in the first of them: once a slab. What is different: slabs are aligned to their own length,
//! so that small objects find theirs by a mask; the list of free objects is an array of numbers beside them, not a
//! linkage in or behind them, which also tells a double free; the depot grows magazines by the share of contended
//! exchanges, not by the clock.
//!
//! # When to use it
//!
//! For many objects of one type, above all where constructing them is expensive. For one thread and no constructor,
//! [`memory_pool`](crate::memory_pool) is smaller. For a few objects not at all: a cache takes a page at least.
//!
//! # Costs
//!
//! | | |
//! |---|---|
//! | take, put | O(1): a few loads and stores, a division (put); off-slab a look-up in the index |
//! | the same through magazines | an uncontended lock and a copy; one in some dozens goes to the depot |
//! | a new slab | the parent's time, and the constructor for each of its objects |
//! | reap | O(slabs given back), and the destructors |
//! | memory | 2 bytes an object, 40 a slab; at most an eighth of a slab is spare |
//!
//! ```
//! use freestone_kit::page::Page;
//! use freestone_kit::slab::{ObjectCache, Reap};
//! use std::cell::Cell;
//!
//! let constructed = Cell::new(0);
//! let cache = ObjectCache::new(Page, || {
//!     constructed.set(constructed.get() + 1);
//!     [0_u64; 8]
//! })?;
//! for _ in 0..1000 {
//!     let mut object = cache.get()?;
//!     object[0] += 1;
//! }
//! // One slab was enough, whose 61 objects were constructed once; and one of them was used all the time.
//! assert_eq!((constructed.get(), cache.get()?[0]), (61, 1000));
//! assert_eq!(cache.reap(Reap::All), 4096);
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```

mod cache;
mod cpu;
mod heap;
mod index;
mod magazine;
mod magazines;
mod object;
mod pieces;
mod record;
mod shape;

pub use cache::{Lifecycle, Raw, Reap, SlabCache};
pub use heap::{MOST_SLAB, SlabHeap};
pub use magazines::{MagazineStats, Magazines};
pub use object::{ObjectCache, Slot, Source, Typed};
pub use shape::{PAGE, Shape};
