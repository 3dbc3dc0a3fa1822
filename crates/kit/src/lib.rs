//! Every allocator that the literature teaches, as small parts that compose and that ordinary collections can use.
//!
//! Each is an [`Alloc`], takes its memory from a parent, which is any other of them, and is an `Allocator` for the collections of
//! the ecosystem (module [`foreign`]); one that is `Sync` can be that of a whole program (module [`global`]). Its module says what
//! it is, where it comes from, when to use it and when not, and what each operation costs.
//!
//! | it is to be … | take |
//! |---|---|
//! | freed all at once | [`bump`] without destructors, [`arena`] for collections that grow and for values with destructors |
//! | within a fixed buffer, or there first | [`fixed`], [`stack_fallback`] |
//! | objects of one type or size that come and go | [`memory_pool`], [`free_list`]; constructed once: [`slab`] |
//! | general, one thread | [`bins`]; bounded time and large alignments: [`buddy`]; to study: [`textbook`] |
//! | general, some threads | `smp`, [`arenas`]; any of these behind a lock: [`locked`] |
//! | small here and large there, here first and then there | [`segregate`], [`fallback`] |
//! | bounded | [`limiting`]; exact, with a handler and defragmentation: [`accounting`]; where callers wait: `bounded_pool` |
//! | buffers and objects for many threads | `netty`, `object_pool` |
//! | watched, or to fail | [`counting`], `logging`, `testing`, [`failing`]; for bugs in memory: `debug` |
//! | the bottom of all | `page`, `c`, `sbrk` |
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(feature = "nightly", feature(allocator_api))]

mod alloc;
#[cfg(feature = "std")]
mod caller;
pub mod foreign;
mod tally;

pub mod accounting;
pub mod arena;
pub mod arenas;
pub mod bins;
#[cfg(feature = "std")]
pub mod bounded_pool;
pub mod buddy;
pub mod bump;
#[cfg(feature = "system")]
pub mod c;
pub mod counting;
#[cfg(feature = "std")]
pub mod debug;
pub mod failing;
pub mod fallback;
pub mod fixed;
pub mod free_list;
pub mod global;
pub mod limiting;
pub mod locked;
#[cfg(feature = "std")]
pub mod logging;
pub mod memory_pool;
#[cfg(feature = "std")]
pub mod netty;
#[cfg(feature = "std")]
pub mod object_pool;
#[cfg(feature = "system")]
pub mod page;
#[cfg(feature = "system")]
pub mod sbrk;
pub mod segregate;
pub mod slab;
#[cfg(feature = "system")]
pub mod smp;
pub mod stack_fallback;
pub mod sync;
#[cfg(feature = "std")]
pub mod testing;
pub mod textbook;
#[cfg(feature = "std")]
pub mod trace;

pub use accounting::Accounting;
pub use alloc::{
    Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Remap, Reset, ResizeInPlace, Stats, UsableSize,
};
pub use arena::{Arena, TypedArena};
pub use arenas::Arenas;
pub use bins::Bins;
#[cfg(feature = "std")]
pub use bounded_pool::BoundedPool;
pub use buddy::Buddy;
pub use bump::Bump;
#[cfg(feature = "system")]
pub use c::{C, RawC};
pub use counting::Counting;
#[cfg(feature = "std")]
pub use debug::Debug;
pub use failing::Failing;
pub use fallback::Fallback;
pub use fixed::{Fixed, Inline, SharedFixed, SharedInline};
pub use free_list::{FreeList, FreeLists};
pub use global::AsGlobal;
pub use limiting::Limiting;
pub use locked::Locked;
#[cfg(feature = "std")]
pub use logging::Logging;
pub use memory_pool::MemoryPool;
#[cfg(feature = "std")]
pub use netty::BufferPool;
#[cfg(feature = "std")]
pub use object_pool::ObjectPool;
#[cfg(feature = "system")]
pub use page::Page;
#[cfg(feature = "system")]
pub use sbrk::Sbrk;
pub use segregate::Segregate;
pub use slab::{Magazines, ObjectCache, SlabCache, SlabHeap};
#[cfg(feature = "system")]
pub use smp::Smp;
pub use stack_fallback::StackFallback;
#[cfg(feature = "std")]
pub use testing::Testing;
pub use textbook::Textbook;
