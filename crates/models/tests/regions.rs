//! The per-CPU caches under shuttle, whole and with faults on purpose.

use freestone_models::regions::{Fault, caches_lose_nothing};

/// Interleavings that are tried; each fault shows within a tenth of them.
const ROUNDS: usize = 3000;

#[test]
fn nothing_is_lost_whoever_is_aborted_where() {
    caches_lose_nothing(Fault::None, ROUNDS);
}

#[test]
#[should_panic]
fn sequences_must_be_aborted() {
    caches_lose_nothing(Fault::NoAbort, ROUNDS);
}

#[test]
#[should_panic]
fn stopping_must_abort_sequences_under_way() {
    caches_lose_nothing(Fault::NoBarrier, ROUNDS);
}

#[test]
#[should_panic]
fn the_base_must_be_read_inside_the_sequence() {
    caches_lose_nothing(Fault::BaseOutside, ROUNDS);
}

#[test]
#[should_panic]
fn a_push_must_commit_last() {
    caches_lose_nothing(Fault::EarlyCommit, ROUNDS);
}

#[test]
#[should_panic]
fn a_header_is_replaced_only_in_the_region_meant() {
    caches_lose_nothing(Fault::AnyRegion, ROUNDS);
}

#[test]
#[should_panic]
fn a_header_is_replaced_only_if_it_is_as_it_was() {
    caches_lose_nothing(Fault::AnyHeader, ROUNDS);
}
