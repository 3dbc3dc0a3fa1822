//! The lock-free files of the allocator under loom, whole and with faults on purpose.

use freestone_models::models::company::{self, Omission};
use freestone_models::models::{custody, deferred, emergency, gate};
use freestone_models::sync::Fault;

#[test]
fn deferred_frees_are_neither_lost_nor_doubled() {
    deferred::nothing_is_lost_or_doubled(Fault::None);
}

#[test]
#[should_panic]
fn deferred_frees_need_their_memory_orders() {
    deferred::nothing_is_lost_or_doubled(Fault::Relaxed);
}

#[test]
#[should_panic]
fn deferred_frees_need_whole_exchanges() {
    deferred::nothing_is_lost_or_doubled(Fault::TornExchange);
}

#[test]
fn emergency_blocks_are_apart() {
    emergency::blocks_are_apart(Fault::None);
}

#[test]
#[should_panic]
fn emergency_blocks_need_their_memory_orders() {
    emergency::blocks_are_apart(Fault::Relaxed);
}

#[test]
#[should_panic]
fn emergency_blocks_need_whole_exchanges() {
    emergency::blocks_are_apart(Fault::TornExchange);
}

#[test]
fn emergency_chunks_are_set_up_once() {
    emergency::chunks_are_set_up_once(Fault::None);
}

#[test]
#[should_panic]
fn emergency_chunks_need_their_claim_to_be_whole() {
    emergency::chunks_are_set_up_once(Fault::TornExchange);
}

#[test]
fn nobody_is_inside_during_a_fork() {
    gate::nobody_is_inside_during_a_fork(Fault::None);
}

#[test]
fn nobody_is_inside_during_two_forks() {
    gate::nobody_is_inside_during_two_forks(Fault::None);
}

#[test]
#[should_panic]
fn the_gate_needs_its_memory_orders() {
    gate::nobody_is_inside_during_a_fork(Fault::Relaxed);
}

#[test]
fn the_only_thread_and_the_allocators_own_are_never_both_inside() {
    company::never_both_inside(Fault::None, Omission::None);
}

#[test]
#[should_panic]
fn company_needs_its_memory_orders() {
    company::never_both_inside(Fault::Relaxed, Omission::None);
}

#[test]
#[should_panic]
fn company_needs_its_barrier() {
    company::never_both_inside(Fault::None, Omission::Barrier);
}

#[test]
#[should_panic]
fn company_needs_its_wait() {
    company::never_both_inside(Fault::None, Omission::Wait);
}

#[test]
fn an_owner_and_who_empties_its_cache_are_never_both_inside() {
    custody::never_both_inside(Fault::None, custody::Omission::None);
}

#[test]
#[should_panic]
fn custody_needs_its_memory_orders() {
    custody::never_both_inside(Fault::Relaxed, custody::Omission::None);
}

#[test]
#[should_panic]
fn custody_needs_its_barrier() {
    custody::never_both_inside(Fault::None, custody::Omission::Barrier);
}

#[test]
#[should_panic]
fn custody_needs_its_look() {
    custody::never_both_inside(Fault::None, custody::Omission::Look);
}

#[test]
#[should_panic]
fn custody_needs_its_lock() {
    custody::never_both_inside(Fault::None, custody::Omission::Lock);
}
