//! Every allocator that the literature teaches, as small parts that compose and that ordinary collections can use.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![cfg_attr(feature = "nightly", feature(allocator_api))]

mod alloc;
mod foreign;

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

pub use alloc::{
    Alloc, AllocError, AllocStats, Allocated, Capacity, Owns, Remap, Reset, ResizeInPlace, Stats, UsableSize,
};
