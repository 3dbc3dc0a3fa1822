//! The kit's magazines over slabs, and its arenas, under shuttle: their own files, with locks that the checker knows.
//!
//! With the argument `torn` taking a lock is a look and then a store, so that two threads can have one processor's
//! magazines, which the model must find.
//!
//! Nothing of it is compiled as a unit test: the kit's files bring tests that are not for these locks.
#![allow(rustdoc::broken_intra_doc_links, reason = "files taken in speak of others that are not")]

#[cfg(not(test))]
#[allow(dead_code, unreachable_pub, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/alloc.rs"]
mod alloc;
#[cfg(not(test))]
#[allow(dead_code, unexpected_cfgs, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/arenas.rs"]
mod arenas;
#[cfg(not(test))]
mod model;
#[cfg(not(test))]
#[allow(dead_code, unused_imports, unexpected_cfgs, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/slab/mod.rs"]
mod slab;
#[cfg(not(test))]
mod sync;
#[cfg(not(test))]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/tally.rs"]
mod tally;

#[cfg(not(test))]
use alloc::{Alloc, AllocError, AllocStats, Allocated, Owns, Reset, ResizeInPlace, Stats, UsableSize};

/// The traits of others are no part of the model.
#[cfg(not(test))]
mod foreign {
    macro_rules! implement_allocator {
        ($($anything:tt)*) => {};
    }
    pub(crate) use implement_allocator;
}

fn main() {
    #[cfg(not(test))]
    model::run();
}
