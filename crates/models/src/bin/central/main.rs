//! The central list on the page heap under shuttle: the allocator's own files, with locks that the checker knows.
//!
//! Everything in these files is guarded by a lock, so the locks are where interleavings differ; the atomics are
//! the plain ones. With the argument `divided`, two lists serve the one class at once, each with its own lock, which the
//! model must find.
//!
//! Nothing of it is compiled as a unit test: the allocator's files bring tests that are not for these locks.
#![allow(rustdoc::broken_intra_doc_links, reason = "files taken in speak of others that are not")]

#[cfg(not(test))]
#[allow(dead_code, unused_imports, reason = "the allocator's file; the model uses a part of it")]
#[path = "../../../../freestone/src/central/mod.rs"]
mod central;
/// The allocator draws by thread; here the checker draws, so that a schedule can be run again.
#[cfg(not(test))]
mod harden {
    pub(crate) mod random {
        pub(crate) fn next() -> u32 {
            use shuttle::rand::Rng;
            shuttle::rand::thread_rng().r#gen()
        }
    }
}
#[cfg(not(test))]
#[allow(dead_code, reason = "the allocator's file; the model uses a part of it")]
#[path = "../../../../freestone/src/message.rs"]
mod message;
#[cfg(not(test))]
mod model;
#[cfg(not(test))]
#[allow(dead_code, unused_imports, reason = "the allocator's file; the model uses a part of it")]
#[path = "../../../../freestone/src/pageheap/mod.rs"]
mod pageheap;
#[cfg(not(test))]
mod sync;

fn main() {
    #[cfg(not(test))]
    model::run();
}
