//! The kit's `Smp` under shuttle: its own files, with flags of slots that the checker knows.
//!
//! With the argument `torn` taking a slot is a look and then a store, so that two threads can have one, which the
//! model must find.
//!
//! Nothing of it is compiled as a unit test: the kit's files bring tests that are not for these locks.
#![allow(rustdoc::broken_intra_doc_links, reason = "files taken in speak of others that are not")]

#[cfg(not(test))]
#[allow(dead_code, unreachable_pub, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/alloc.rs"]
mod alloc;
#[cfg(not(test))]
mod home;
#[cfg(not(test))]
mod model;
#[cfg(not(test))]
mod page;
#[cfg(not(test))]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/smp/mod.rs"]
mod smp;
#[cfg(not(test))]
mod sync;

#[cfg(not(test))]
use alloc::{Alloc, AllocError, Allocated, Remap, ResizeInPlace, UsableSize};

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
