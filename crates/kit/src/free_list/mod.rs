//! Fixed-size blocks by an open and a closed list, and the pool of such lists with a cookie before every block.
//!
//! # What it is
//!
//! A [`FreeList`] serves blocks of one layout. Its *open* list holds the free blocks, its *closed* list those that are out. To
//! allocate is to move a block from the open list to the closed one, to free is to move it back; when the open list is
//! empty it grows by a segment of 64 blocks, and all segments go back to the parent together when the list goes. Since
//! the closed list names every block that is out, a list can say which they are, free them all at once, and know a
//! block that is freed twice.
//!
//! A [`FreeLists`] is a pool of fourteen such lists, of 8, 16, 32 bytes and so on to 64 KiB. The word before a block, its *cookie*, says from
//! which list the block is, so that it can be freed by its address alone; larger blocks come from another allocator, by
//! default the same parent, best C's, and have a cookie, too.
//!
//! ```text
//!  list: open ─► ┌──────┬──────┬────────┬───────────────┐
//!                │ next │ prev │ cookie │ block …       │ ─► next free block ─► …
//!                └──────┴──────┴────────┴───────────────┘
//!        closed ─► the same, linked both ways, so that any block can leave it
//!        segments ─► ┌ next ┬ 64 × (head, block) ┐ ─► …
//! ```
//!
//! # Where it comes from
//!
//! Two steps of a widely read Chinese exercise in writing one's own memory manager: the fixed-size allocator, then the
//! pool of free lists, which is what memcached calls its slab allocator, with its weakness: memory that one size took
//! never serves another. Powers of two and free lists by size go back to Chris Kingsley's 4.2BSD
//! `malloc` (1982), the cookie as well.
//!
//! # When to use it
//!
//! A [`FreeList`] where live blocks must be told or freed together: sessions, requests. A [`FreeLists`] for speed in
//! constant time where the mix of sizes stays the same. Not where it changes for good
//! ([`bins`](crate::bins), [`slab`](crate::slab)), and not for tiny blocks in great numbers: a block costs 24 or 32 bytes more,
//! and up to half of it is rounding. For one type and no list of what is out, [`memory_pool`](crate::memory_pool) is leaner.
//!
//! # Cost
//!
//! | operation | time |
//! |---|---|
//! | allocate, free | constant; one request to the parent for 64 blocks |
//! | the blocks that are out | one step each |
//! | dropping the list | one step a segment |
//!
//! # Example
//!
//! ```
//! use freestone_kit::c::C;
//! use freestone_kit::free_list::{FreeList, FreeLists};
//! use core::alloc::Layout;
//!
//! let list = FreeList::new(Layout::new::<[u64; 4]>(), C);
//! let (one, two) = (list.take()?, list.take()?);
//! assert_eq!(list.out().count(), 2);
//! // SAFETY: both are out.
//! unsafe { list.give(one) };
//! assert_eq!(list.out().next(), Some(two));
//!
//! let lists = FreeLists::new(C);
//! let block = lists.malloc(1000)?;
//! // SAFETY: a live block; the cookie says that it has 1,024 bytes.
//! assert_eq!(unsafe { lists.size(block) }, 1024);
//! unsafe { lists.free(block) };
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```
//!
//! # Safety
//!
//! 1. *Segments*: each is a live block of the parent, cut into blocks with a head before each; they stay until the list goes or
//!    is cleared.
//! 2. *Two lists*: every block that was cut is on the open list or on the closed one, as its cookie says, and the heads
//!    of either link those blocks only.
//! 3. *One thread*: a list is not `Sync`, so nothing changes between two steps of a method.
#![allow(unsafe_code)]

mod cookie;
mod list;
mod pool;
mod traits;

pub use list::{FreeList, Out};
pub use pool::FreeLists;
