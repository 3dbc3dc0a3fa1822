//! The kit's `Smp` under shuttle, whole and with a fault on purpose.

use std::process::{Command, Output};

fn smp(fault: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smp")).args(fault).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn blocks_pass_through_the_slots_once() {
    let output = smp(&[]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_slot_that_two_threads_can_take_is_found_out() {
    let output = smp(&["torn"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("two threads have one slot"), "{}", said(&output));
}
