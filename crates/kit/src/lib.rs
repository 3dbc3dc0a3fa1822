//! Every allocator that the literature teaches, as small parts that compose and that ordinary collections can use.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(feature = "nightly", feature(allocator_api))]

mod alloc;
mod foreign;

pub mod global;
pub mod sync;
#[cfg(feature = "system")]
pub mod page;
#[cfg(feature = "system")]
pub mod c;
#[cfg(feature = "system")]
pub mod sbrk;
pub mod bump;
pub mod arena;
pub mod fixed;
pub mod stack_fallback;
pub mod locked;
pub mod failing;
#[cfg(feature = "std")]
pub mod logging;
pub mod counting;
pub mod limiting;
#[cfg(feature = "std")]
pub mod testing;
pub mod memory_pool;
#[cfg(feature = "system")]
pub mod smp;
pub mod segregate;
pub mod fallback;
#[cfg(feature = "std")]
pub mod debug;
pub mod free_list;
pub mod textbook;
pub mod buddy;
pub mod slab;
pub mod bins;
pub mod arenas;
#[cfg(feature = "std")]
pub mod netty;
#[cfg(feature = "std")]
pub mod bounded_pool;
#[cfg(feature = "std")]
pub mod object_pool;
pub mod accounting;

pub use alloc::{
    Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Remap, Reset, ResizeInPlace, Stats, UsableSize,
};
