//! The programs that run one workload, as the command starts them.

use std::process::{Command, Output};

use freestone_bench::{Outcome, workload};

const C: &str = env!("CARGO_BIN_EXE_bench-c");
const RUST_SYSTEM: &str = env!("CARGO_BIN_EXE_bench-rust-system");
const RUST_FREESTONE: &str = env!("CARGO_BIN_EXE_bench-rust-freestone");

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().expect("the program starts")
}

fn outcome(program: &str, args: &[&str]) -> Outcome {
    let output = run(program, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(&output.stdout).expect("an outcome in JSON")
}

#[test]
fn each_program_runs_the_same_work() {
    let args = ["replace", "--scale", "0.001", "--seed", "7"];
    let outcomes = [C, RUST_SYSTEM, RUST_FREESTONE].map(|program| outcome(program, &args));
    assert!(outcomes.iter().all(|o| o.operations == outcomes[0].operations && o.seconds > 0.0));
}

#[test]
fn a_process_that_does_nothing_says_nothing() {
    let output = run(C, &["nothing", "--once"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(outcome(RUST_FREESTONE, &["nothing", "--scale", "0.005"]).operations, 3);
}

#[test]
fn single_calls_are_timed_on_demand() {
    let args = ["replace", "--scale", "0.001", "--latency", "--every", "1"];
    let latency = outcome(C, &args).latency.expect("histograms");
    assert_eq!(latency.every, 1);
    assert!(latency.free.count + 4096 >= latency.alloc.count && latency.alloc.count > 40_000);
    assert!(latency.alloc.percentile(0.5) <= latency.alloc.percentile(0.999));
    assert!(latency.alloc.percentile(0.999) <= latency.alloc.worst_ns);
}

#[test]
fn growth_takes_its_own_numbers() {
    let args = ["growth", "--scale", "0.001", "--live", "2M"];
    assert_eq!(outcome(C, &args).notes["live_bytes"], f64::from(2 << 20));
    let args = ["growth-threads", "--scale", "0.001", "--parked", "20", "--threads", "1"];
    assert_eq!(outcome(C, &args).notes["parked_threads"], 20.0);
}

#[test]
fn every_workload_is_listed() {
    let output = run(C, &["--list"]);
    let list = String::from_utf8(output.stdout).expect("text");
    assert!(workload::all().iter().all(|w| list.lines().any(|line| line.starts_with(w.name))));
}

#[test]
fn what_is_not_understood_is_named() {
    for (args, message) in [
        (&[][..], "which workload? --list names them"),
        (&["larsen"], "no workload is called \"larsen\"; --list names them"),
        (&["larson", "--scale", "0"], "a number above 0, at most 1e6"),
        (&["larson", "--threads", "0"], "a whole number from 1 to 100000"),
        (&["growth", "--live", "7X"], "bytes, perhaps with K, M or G behind, below 1024G"),
        (&["trees", "--latency"], "trees has no single calls worth timing: leave out --latency"),
        (&["larson", "--round", "3"], "--round"),
        (&["larson", "trees"], "trees"),
    ] {
        let output = run(C, args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text.starts_with("bench-c: ") && text.contains(message), "{args:?}: {text}");
    }
}
