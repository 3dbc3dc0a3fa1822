//! The examples of counting print what they are to print.

use std::path::Path;
use std::process::Command;

fn check(name: &str) {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).with_extension("out");
    let output = Command::new(&program).output().unwrap_or_else(|error| {
        panic!("{}: {error}; `cargo test` without --test builds it, or --examples", program.display())
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), std::fs::read_to_string(expected).unwrap());
}

#[test]
fn handles() {
    check("counted_handles");
}

#[test]
fn cycles() {
    check("counted_cycles");
}
