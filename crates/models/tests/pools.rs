//! The kit's pools under model checkers, whole and with faults on purpose. Each model is a run of a program, since a checker
//! that finds a fault may leave its threads as they are.

use std::process::{Command, Output};

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn holds(program: &str, arguments: &[&str]) {
    let output = run(program, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The checker's own words, or those of an assertion of the model.
fn is_found(program: &str, arguments: &[&str], words: &[&str]) {
    let output = run(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} was not found");
    assert!(words.iter().any(|words| said.contains(words)), "{arguments:?}: {said}");
}

const POOLS: &str = env!("CARGO_BIN_EXE_pools");
const TURNS: &str = env!("CARGO_BIN_EXE_turns");

/// How loom, or a model, tells of a fault.
const WRONG: [&str; 6] = [
    "Causality violation",
    "lost or doubled",
    "got twice",
    "between the indices is full",
    "bytes in use",
    "bytes are lost",
];

#[test]
fn blocks_pass_through_a_cache_queue_once() {
    holds(POOLS, &["queue"]);
}

#[test]
fn a_cache_queue_needs_its_orders_and_exchanges() {
    is_found(POOLS, &["queue", "relaxed"], &WRONG);
    is_found(POOLS, &["queue", "torn"], &WRONG);
}

#[test]
fn objects_pass_through_a_chain_once() {
    holds(POOLS, &["chain"]);
}

#[test]
fn a_chain_needs_its_orders_and_exchanges() {
    is_found(POOLS, &["chain", "relaxed"], &WRONG);
    is_found(POOLS, &["chain", "torn"], &WRONG);
}

#[test]
fn a_ledger_never_grants_more_than_its_limit() {
    holds(POOLS, &["ledger"]);
}

#[test]
fn a_ledger_needs_whole_exchanges() {
    is_found(POOLS, &["ledger", "torn"], &WRONG);
}

#[test]
fn bytes_are_handed_over_in_turn_and_none_is_lost() {
    holds(TURNS, &[]);
}

#[test]
fn a_signal_that_is_not_heard_is_found_out() {
    is_found(TURNS, &["deaf"], &["deadlock"]);
}
