//! The kit's lock and its shared fixed buffer under loom: the kit's own files, on checked atomics.
//!
//! The first argument is the model (`lock`, `buffer`), the second a fault on purpose (`relaxed`: no memory order holds;
//! `torn`: a compare-and-exchange is a load and a store), which the model must find.

#[allow(dead_code, unused_imports, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/alloc.rs"]
mod alloc;
#[allow(dead_code, reason = "shared with the other models")]
#[path = "../../sync.rs"]
mod checked;
#[allow(dead_code, unused_imports, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../../kit/src/fixed/mod.rs"]
mod fixed;
mod model;
mod sync;

pub use alloc::{Alloc, AllocError, Allocated, Capacity, Owns, Reset, ResizeInPlace};
use checked::Fault;

/// The traits of others are left out here.
mod foreign {
    macro_rules! implement_allocator {
        ($($anything:tt)*) => {};
    }
    pub(crate) use implement_allocator;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let fault = match arguments.get(1).map(String::as_str) {
        Some("relaxed") => Fault::Relaxed,
        Some("torn") => Fault::TornExchange,
        _ => Fault::None,
    };
    match arguments.first().map(String::as_str) {
        Some("lock") => model::lock(fault),
        Some("buffer") => model::buffer(fault),
        other => panic!("no model is called {other:?}"),
    }
}
