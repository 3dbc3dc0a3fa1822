//! The central list under shuttle, whole and with a fault on purpose.

use std::process::Command;

#[test]
fn blocks_pass_through_the_central_list_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_central")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn two_lists_for_one_class_are_found_out() {
    let output = Command::new(env!("CARGO_BIN_EXE_central")).arg("divided").output().unwrap();
    assert!(!output.status.success());
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(found.contains("test panicked in task") || found.contains("freestone: "), "{found}");
}
