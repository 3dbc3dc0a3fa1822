//! The command as a user calls it.

use std::path::Path;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freestone-bench"));
    // A preloaded allocator or its options would be measured as well.
    command.args(arguments).env("MALLOC_CONF", "no such option").output().expect("the command starts")
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A run of two small workloads under glibc alone, which is there wherever this test is.
fn small_run(json: &Path) -> Output {
    // The programs beside the command are built with it.
    assert!(Path::new(env!("CARGO_BIN_EXE_bench-c")).is_file());
    let common = ["run", "simple", "threads", "--peers", "glibc", "--without", "freestone", "--no-build"];
    let size = ["--interface", "both", "--rounds", "2", "--scale", "0.001", "--json"];
    let all: Vec<&str> = common.iter().chain(&size).copied().chain(json.to_str()).collect();
    bench(&all)
}

#[test]
fn a_run_is_measured_kept_compared_and_drawn() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let json = folder.path().join("result.json");
    let output = small_run(&json);
    let (table, errors) = said(&output);
    assert!(output.status.success(), "{errors}");
    assert!(
        table.contains("Wall time, C interface") && table.contains("Peak resident set, Rust interface"),
        "{table}"
    );
    assert!(table.contains("glibc against itself"), "{table}");

    let json = json.to_str().expect("a plain path");
    let (again, _) = said(&bench(&["table", json]));
    assert_eq!(again, table);
    let output = bench(&["compare", json, json, "--contestant", "glibc", "--fail-above", "0"]);
    let (changes, errors) = said(&output);
    assert!(output.status.success() && changes.contains("simple"), "{changes}{errors}");
    let output = bench(&["compare", json, json]);
    assert!(!output.status.success() && said(&output).1.contains("has no freestone"));

    let charts = folder.path().join("charts");
    let (files, errors) = said(&bench(&["plot", json, charts.to_str().expect("a plain path")]));
    assert_eq!(files.lines().count(), 6, "{files}{errors}");
    assert!(charts.join("both-rust.svg").is_file());

    let document = folder.path().join("document.md");
    let marks = "before\n<!-- freestone-bench: begin -->\n<!-- freestone-bench: end -->\nafter\n";
    std::fs::write(&document, marks).expect("the folder can be written");
    let output = bench(&["table", json, "--into", document.to_str().expect("a plain path")]);
    assert!(output.status.success(), "{}", said(&output).1);
    let text = std::fs::read_to_string(&document).expect("it was just written");
    assert!(text.starts_with("before\n") && text.ends_with("after\n") && text.contains("| row |"), "{text}");
}

#[test]
fn memory_is_told_kept_and_drawn() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let (json, charts) = (folder.path().join("result.json"), folder.path().join("charts"));
    let text = |path: &Path| path.to_str().expect("a plain path").to_string();
    let (json, charts_name) = (text(&json), text(&charts));
    let common = ["memory", "peak-and-fall", "idle-threads-1000", "tokio-spike", "--peers", "glibc"];
    let size = ["--without", "freestone", "--no-build", "--rounds", "1", "--scale", "0.001"];
    let files = ["--json", &json, "--charts", &charts_name];
    let all: Vec<&str> = common.iter().chain(&size).chain(&files).copied().collect();
    let output = bench(&all);
    let (table, errors) = said(&output);
    assert!(output.status.success(), "{errors}");
    assert!(table.contains("What is resident, C interface") && table.contains("≤ 8.0"), "{table}");
    assert!(table.contains("Noise: glibc against itself"), "{table}");
    assert!(charts.join("peak-and-fall-c.svg").is_file() && charts.join("tokio-spike-c.svg").is_file());
    let (again, _) = said(&bench(&["table", &json]));
    assert!(table.starts_with(&again), "{again}");
}

#[test]
fn what_is_not_understood_is_told_with_what_is_allowed() {
    for (arguments, wanted) in [
        (&["rum"][..], "it may be list, peers, run"),
        (&["run"], "--all"),
        (&["run", "--all", "--rounds", "none"], "from 1 up"),
        (&["run", "--all", "--round", "1"], "--help"),
        (&["run", "nobody"], "freestone-bench list"),
        (&["run", "simple", "--peers", "nobody", "--no-build"], "mimalloc3"),
        (&["latency", "nothing"], "replace"),
        (&["growth", "simple"], "growth-threads"),
        (&["memory", "simple"], "redis-emptied"),
        (&["profile", "simple"], "perf or callgrind"),
        (&["compare", "one"], "compare A B"),
        (&["plot", "/no/such/file", "x"], "/no/such/file"),
    ] {
        let output = bench(arguments);
        let (_, errors) = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(wanted), "{arguments:?}: {errors}");
    }
}

#[test]
fn rows_are_listed() {
    let (list, _) = said(&bench(&["list"]));
    for name in ["larson", "xmalloc", "growth", "redis", "long-churn", "redis-emptied"] {
        assert!(list.contains(name), "{name}");
    }
}
