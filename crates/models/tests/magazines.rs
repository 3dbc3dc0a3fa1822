//! The kit's magazines and arenas under shuttle, whole and with a fault on purpose.

use std::process::{Command, Output};

fn magazines(fault: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_magazines")).args(fault).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn blocks_pass_through_magazines_and_arenas_once() {
    let (output, said) = magazines(&[]);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_lock_that_two_threads_can_take_is_found_out() {
    let (output, said) = magazines(&["torn"]);
    assert!(!output.status.success());
    assert!(said.contains("two threads have one lock"), "{said}");
}
