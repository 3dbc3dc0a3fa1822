//! The kit's pools under model checkers, whole and with faults on purpose.
//!
//! Under loom, here: the queue of a thread's cache in `netty` and who owns the cache, the shards of an object pool and
//! their shared queues, the byte counter of `accounting`, a slot of `smp`. Under shuttle, as a program of its own: the bank of the bounded pool.

#[path = "../../../kit/src/object_pool/chain.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod chain;
#[path = "../../../kit/src/accounting/ledger.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod ledger;
mod model;
mod netty;
#[path = "../../../kit/src/netty/queue.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod queue;
#[path = "../../../kit/src/object_pool/shard.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod shard;
mod smp;
#[path = "../../../kit/src/object_pool/stats.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod stats;
mod sync;

use std::process::{Command, Output};
use sync::Fault;

#[test]
fn blocks_pass_through_a_cache_queue_once() {
    model::queue(Fault::None);
}

#[test]
#[should_panic]
fn a_cache_queue_needs_its_memory_orders() {
    model::queue(Fault::Relaxed);
}

#[test]
#[should_panic]
fn a_cache_queue_needs_whole_exchanges() {
    model::queue(Fault::TornExchange);
}

#[test]
fn a_cache_has_one_owner_after_the_other() {
    netty::ownership(Fault::None);
}

#[test]
#[should_panic]
fn a_caches_owner_needs_memory_orders() {
    netty::ownership(Fault::Relaxed);
}

#[test]
#[should_panic]
fn a_caches_owner_needs_whole_exchanges() {
    netty::ownership(Fault::TornExchange);
}

#[test]
fn a_slot_is_one_threads_at_a_time() {
    smp::slot(Fault::None);
}

#[test]
#[should_panic]
fn a_slot_needs_its_memory_orders() {
    smp::slot(Fault::Relaxed);
}

#[test]
#[should_panic]
fn a_slot_needs_whole_exchanges() {
    smp::slot(Fault::TornExchange);
}

#[test]
fn objects_pass_through_a_chain_once() {
    model::chain(Fault::None);
}

#[test]
#[should_panic]
fn a_chain_needs_its_memory_orders() {
    model::chain(Fault::Relaxed);
}

#[test]
#[should_panic]
fn a_chain_needs_whole_exchanges() {
    model::chain(Fault::TornExchange);
}

#[test]
fn objects_of_a_shard_are_used_by_one_at_a_time() {
    model::shard(Fault::None);
}

#[test]
#[should_panic]
fn a_shard_needs_its_memory_orders() {
    model::shard(Fault::Relaxed);
}

#[test]
#[should_panic]
fn a_shard_needs_whole_exchanges() {
    model::shard(Fault::TornExchange);
}

#[test]
fn a_ledger_never_grants_more_than_its_limit() {
    model::ledger(Fault::None);
}

#[test]
fn a_ledger_needs_no_memory_orders() {
    model::ledger(Fault::Relaxed);
}

#[test]
#[should_panic]
fn a_ledger_needs_whole_exchanges() {
    model::ledger(Fault::TornExchange);
}

fn turns(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turns")).args(arguments).output().unwrap()
}

#[test]
fn bytes_are_handed_over_in_turn_and_none_is_lost() {
    let output = turns(&[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_signal_that_is_not_given_is_found_out() {
    let output = turns(&["deaf"]);
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && found.contains("deadlock"), "{found}");
}
