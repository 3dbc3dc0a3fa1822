//! The kit's `Smp` under shuttle, whole and with a fault on purpose.

use std::process::Command;

#[test]
fn blocks_pass_through_the_slots_once() {
    let output = Command::new(env!("CARGO_BIN_EXE_smp")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_lock_that_two_threads_can_take_is_found_out() {
    let output = Command::new(env!("CARGO_BIN_EXE_smp")).arg("torn").output().unwrap();
    assert!(!output.status.success());
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(found.contains("two threads have one slot"), "{found}");
}
