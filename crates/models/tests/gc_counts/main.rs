//! The collectors' atomic counts under loom: the crate's own file, on checked atomics, whole and with faults on purpose, each
//! of which the model must find.

#[allow(dead_code, reason = "the crate's file; the model uses a part of it")]
#[path = "../../../gc/src/counted/atomic.rs"]
mod atomic;
#[allow(dead_code, reason = "shared with the other models")]
#[path = "../../src/sync.rs"]
mod checked;
#[allow(dead_code, reason = "the crate's file; the model uses a part of it")]
#[path = "../../../gc/src/counted/counts.rs"]
mod counts;
mod model;
mod sync;

use checked::Fault;

#[test]
fn the_last_handle_has_the_object_for_itself() {
    model::shared::<atomic::AtomicCounts>(Fault::None);
    model::shared::<atomic::AtomicCount>(Fault::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn the_last_handle_needs_memory_orders() {
    model::shared::<atomic::AtomicCounts>(Fault::Relaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn the_last_lean_handle_needs_memory_orders() {
    model::shared::<atomic::AtomicCount>(Fault::Relaxed);
}

#[test]
#[should_panic]
fn handles_need_whole_exchanges() {
    model::shared::<atomic::AtomicCounts>(Fault::TornExchange);
}

#[test]
fn the_only_handle_may_change_the_object() {
    model::only::<atomic::AtomicCounts>(Fault::None);
    model::only::<atomic::AtomicCount>(Fault::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn changing_needs_memory_orders() {
    model::only::<atomic::AtomicCounts>(Fault::Relaxed);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn changing_with_lean_counts_needs_memory_orders() {
    model::only::<atomic::AtomicCount>(Fault::Relaxed);
}

#[test]
fn a_weak_handle_finds_the_object_or_nothing() {
    model::weak(Fault::None);
}

#[test]
#[should_panic]
fn weak_handles_need_memory_orders() {
    model::weak(Fault::Relaxed);
}

#[test]
#[should_panic]
fn weak_handles_need_whole_exchanges() {
    model::weak(Fault::TornExchange);
}

#[test]
fn who_changes_the_object_is_alone_with_weak_handles_too() {
    model::unique_or_weak(Fault::None);
}

#[test]
#[should_panic]
fn to_be_alone_with_weak_handles_needs_memory_orders() {
    model::unique_or_weak(Fault::Relaxed);
}

#[test]
#[should_panic]
fn to_be_alone_with_weak_handles_needs_whole_exchanges() {
    model::unique_or_weak(Fault::TornExchange);
}

#[test]
fn an_object_that_knows_itself_is_found_once_it_is_whole() {
    model::begun(Fault::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn to_be_found_whole_needs_memory_orders() {
    model::begun(Fault::Relaxed);
}
