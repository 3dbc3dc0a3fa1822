//! Each soak program runs for a few seconds, to its `ok`.

use std::process::Command;

fn runs(program: &str, options: &[&str]) {
    let output =
        Command::new(program).args(["--seconds", "3"]).args(options).output().expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}{err}");
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    assert!(out.trim_end().ends_with("ok"), "{out}");
    for none in [" 0 operations", " 0 walks"] {
        assert!(!out.contains(none), "{out}");
    }
}

#[test]
fn server() {
    runs(env!("CARGO_BIN_EXE_soak-server"), &["--connections", "500"]);
}

#[test]
fn rayon() {
    runs(env!("CARGO_BIN_EXE_soak-rayon"), &[]);
}

#[test]
fn operations() {
    runs(env!("CARGO_BIN_EXE_soak-ops"), &[]);
}
