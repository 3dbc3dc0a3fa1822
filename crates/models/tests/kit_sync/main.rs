//! The kit's lock and its shared fixed buffer under loom: the kit's own files, on checked atomics, whole and with faults on
//! purpose, each of which the model must find.

#[allow(dead_code, unused_imports, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../kit/src/alloc.rs"]
mod alloc;
#[allow(dead_code, reason = "shared with the other models")]
#[path = "../../src/sync.rs"]
mod checked;
#[allow(dead_code, unused_imports, reason = "the kit's file; the model uses a part of it")]
#[path = "../../../kit/src/fixed/mod.rs"]
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

#[test]
fn the_lock_lets_one_in_at_a_time_and_leaves_nobody_asleep() {
    model::lock(Fault::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn the_lock_needs_its_memory_orders() {
    model::lock(Fault::Relaxed);
}

#[test]
#[should_panic]
fn the_lock_needs_whole_exchanges() {
    model::lock(Fault::TornExchange);
}

#[test]
fn blocks_of_a_shared_buffer_are_apart() {
    model::buffer(Fault::None);
}

#[test]
fn blocks_of_a_shared_buffer_need_no_memory_order() {
    // Whoever hands a block to another thread orders that himself.
    model::buffer(Fault::Relaxed);
}

#[test]
#[should_panic(expected = "two blocks overlap")]
fn blocks_of_a_shared_buffer_need_whole_exchanges() {
    model::buffer(Fault::TornExchange);
}
