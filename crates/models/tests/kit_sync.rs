//! The kit's lock and its shared fixed buffer under loom, whole and with faults on purpose.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kit_sync")).args(arguments).output().unwrap()
}

fn holds(model: &str) {
    let output = run(&[model]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_found(model: &str, fault: &str, report: &str) {
    let output = run(&[model, fault]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(report), "{said}");
}

#[test]
fn the_lock_lets_one_in_at_a_time_and_leaves_nobody_asleep() {
    holds("lock");
}

#[test]
fn the_lock_needs_its_memory_orders() {
    is_found("lock", "relaxed", "Causality violation");
}

#[test]
fn the_lock_needs_whole_exchanges() {
    is_found("lock", "torn", "panicked");
}

#[test]
fn blocks_of_a_shared_buffer_are_apart() {
    holds("buffer");
}

#[test]
fn blocks_of_a_shared_buffer_need_no_memory_order() {
    // Whoever hands a block to another thread orders that himself.
    let output = run(&["buffer", "relaxed"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn blocks_of_a_shared_buffer_need_whole_exchanges() {
    is_found("buffer", "torn", "two blocks overlap");
}
