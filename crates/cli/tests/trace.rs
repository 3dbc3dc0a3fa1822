//! Recording, replaying and comparing as a user does.

mod shared;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use freestone_trace::{Call, Ending, Op, ProcessInfo, Trace, TraceWriter, Way};
use serde_json::Value;

use shared::{EXECUTABLE, Scratch, library};

fn output(arguments: &[&str]) -> Output {
    let mut command = Command::new(EXECUTABLE);
    command.args(arguments).env_remove("FREESTONE_CONF").env_remove("LD_PRELOAD").stdin(Stdio::null());
    command.env("FREESTONE_LIB", library());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A trace of two threads that pass blocks to each other, in a file; the peak of live bytes.
fn passed_blocks(path: &str) -> u64 {
    let mut writer = TraceWriter::new(Vec::new(), &ProcessInfo::default()).unwrap();
    let (mut live, mut peak) = (0u64, 0u64);
    for n in 0..3_000u64 {
        let addr = 0x1000 + n % 100 * 0x10_0000;
        if n >= 100 {
            live -= 1 + (n - 100) % 700 * 13;
            writer.event(2 - (n / 7 % 2) as u32, n, Op::Free { addr }).unwrap();
        }
        let size = 1 + n % 700 * 13;
        let way = if n % 50 == 7 { Way::Aligned { align: 256, zeroed: false } } else { Way::Malloc };
        writer.event(1 + (n / 5 % 2) as u32, n, Op::Alloc { way, size, addr }).unwrap();
        live += size;
        peak = peak.max(live);
    }
    fs::write(path, writer.finish().unwrap()).unwrap();
    peak
}

#[test]
fn a_replay_makes_the_calls_again_to_the_byte() {
    let scratch = Scratch::new("replay");
    let trace = scratch.path("passed.trace");
    let peak = passed_blocks(&trace);
    let on = "glibc,freestone,kit:best-fit";
    let (json, svg) = (scratch.path("out.json"), scratch.path("out.svg"));
    let done = output(&["replay", &trace, "--on", on, "--rounds", "2", "--json", "-o", &json, "--svg", &svg]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let found: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(found["peak_live"], peak);
    assert_eq!(found["threads"], 2);
    for row in found["allocators"].as_array().unwrap() {
        assert_eq!(row["failure"], Value::Null, "{row}");
        assert_eq!((&row["peak_live"], &row["refused"]), (&peak.into(), &0.into()), "{}", row["allocator"]);
        assert_eq!(row["time_s"].as_array().unwrap().len(), 2);
        assert!(row["resident_at_peak"].as_u64().unwrap() > peak / 2, "{row}");
    }
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.contains("best-fit") || svg.contains("glibc"), "{svg}");

    let table = text(&output(&["replay", &trace, "--on", "glibc", "--rounds", "0"]).stdout);
    assert!(table.contains("in every replay as in the original"), "{table}");
}

#[test]
fn what_is_no_trace_or_cut_is_told() {
    let scratch = Scratch::new("cut");
    let trace = scratch.path("a.trace");
    passed_blocks(&trace);
    let whole = fs::read(&trace).unwrap();
    for (name, contents, expected) in [
        ("empty", &b""[..], "it is empty"),
        (
            "text",
            b"#!/bin/sh\necho this is a script and surely no trace at all, however long\n",
            "not a trace",
        ),
        ("zeros", &[0; 5000], "not a trace"),
        ("beginning", &whole[..300], "made no calls"),
    ] {
        let path = scratch.path(name);
        fs::write(&path, contents).unwrap();
        let done = output(&["replay", &path, "--on", "glibc"]);
        assert!(text(&done.stderr).contains(expected), "{name}: {}", text(&done.stderr));
        assert_eq!(done.status.code(), Some(1));
    }
    let mut damaged = whole.clone();
    let last = damaged.len() - 100;
    damaged[last] ^= 0xff;
    let path = scratch.path("damaged");
    fs::write(&path, &damaged).unwrap();
    let listed = text(&output(&["replay", "--list", &path]).stdout);
    assert!(listed.contains("damaged at byte"), "{listed}");
    assert!(text(&output(&["replay", "/no/such/file"]).stderr).contains("/no/such/file"));
}

#[test]
fn recording_sees_what_counting_sees() {
    let scratch = Scratch::new("counts");
    let (trace, conf) = (scratch.path("c.trace"), format!("count:1,report:{}", scratch.path("")));
    let done = output(&["record", "-o", &trace, "--conf", &conf, "--", EXECUTABLE, "classes"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("recorded ") && text(&done.stdout).contains("32768"));
    let listed = output(&["replay", "--list", &trace]);
    let trace = Trace::open(Path::new(&trace)).unwrap();
    let mut calls = trace.calls(0).unwrap();
    let (mut allocs, mut frees, mut resizes) = (0u64, 0u64, 0u64);
    for timed in calls.by_ref() {
        match timed.call {
            Call::Allocate { .. } => allocs += 1,
            Call::Free { .. } => frees += 1,
            Call::Resize { .. } => resizes += 1,
            _ => {}
        }
    }
    assert_eq!(calls.ending(), Ending::Whole);
    assert_eq!((calls.blocks().unknown(), calls.blocks().doubled()), (0, 0));
    let mut report = fs::read_dir(scratch.folder()).unwrap().flatten().map(|entry| entry.path());
    let report = report.find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap();
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let calls = &report["calls"];
    let count = |name: &str| calls[name].as_u64().unwrap_or_else(|| panic!("{name}: {report}"));
    assert_eq!(allocs, count("malloc") + count("calloc") + count("aligned"));
    assert_eq!(resizes, count("realloc"));
    assert_eq!(frees, count("free"));
    // Stacks and beginnings of threads are events, and no calls.
    let digits: String = text(&listed.stdout).replace(',', "");
    assert!(digits.contains(&format!(" {} calls", allocs + frees + resizes)), "{digits}");
}

#[test]
fn forks_and_kills_lose_nothing() {
    let scratch = Scratch::new("kill");
    let path = scratch.path("k.trace");
    let script = "x=$(echo one | tr o O); (exit 3); ls / > /dev/null; kill -9 $$";
    let done = output(&["record", "-o", &path, "--", "sh", "-c", script]);
    assert_eq!(done.status.signal(), Some(9));
    let trace = Trace::open(Path::new(&path)).unwrap();
    let endings: Vec<(String, Ending)> = (0..trace.processes().len())
        .map(|process| {
            let mut calls = trace.calls(process).unwrap();
            calls.by_ref().for_each(drop);
            assert_eq!(calls.blocks().unknown(), 0, "{:?}", trace.processes()[process].command);
            (trace.processes()[process].name(), calls.ending())
        })
        .collect();
    let killed =
        endings.iter().filter(|(name, ending)| name == "sh" && *ending == Ending::Abrupt { unwritten: 0 });
    assert!(killed.count() >= 1, "{endings:?}");
    assert!(endings.iter().any(|(name, ending)| name == "ls" && ending.is_whole()), "{endings:?}");
    let listed = text(&output(&["replay", "--list", &path]).stdout);
    assert!(listed.contains("abrupt end"), "{listed}");
}

/// A program of the fixtures with debugging information; `None`, with a message, where there is no C compiler.
fn compiled(name: &str, scratch: &Scratch) -> Option<String> {
    let program = scratch.path(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.c"));
    let built = Command::new("cc").args(["-g", "-O1", "-o"]).arg(&program).arg(source).status();
    if built.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    freestone_testkit::skipped(format_args!("there is no C compiler"));
    None
}

/// The line of the service's source that ends with such a remark.
fn line_of(remark: &str) -> usize {
    let source = include_str!("fixtures/service.c");
    1 + source.lines().position(|line| line.ends_with(&format!("/* {remark} */"))).unwrap()
}

#[test]
fn planted_faults_are_named_by_function_and_line_in_the_first_lines_of_the_page() {
    let scratch = Scratch::new("planted");
    let Some(program) = compiled("service", &scratch) else { return };
    let (trace, html) = (scratch.path("service.trace"), scratch.path("service.html"));
    for stacks in ["16", "1"] {
        let arguments = ["record", "-q", "-o", &trace, "--stacks", stacks, "--", &program, "10000"];
        let recorded = output(&arguments);
        assert!(recorded.status.success(), "{}", text(&recorded.stderr));
        let done = output(&["report", "-o", &html, &trace]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let found = |remark, function| format!("{function} at fixtures/service.c:{}", line_of(remark));
        let told = text(&done.stdout);
        assert!(told.contains("Leak or unbounded cache"), "{told}");
        assert!(told.contains(&found("leak", "remember_request")), "{told}");
        let page = fs::read_to_string(&html).unwrap();
        let summary = page.split("Over time").find(|part| part.contains("What stands out")).unwrap();
        for (kind, remark, function) in [
            ("Leak or unbounded cache", "leak", "remember_request"),
            ("Fragmentation", "fragmentation", "open_session"),
            ("Growing in steps", "steps", "build_answer"),
            ("Short-lived blocks", "churn", "parse_fields"),
        ] {
            let finding = summary.split(kind).nth(1).unwrap_or_else(|| panic!("no {kind}: {told}"));
            let (expected, till) = (found(remark, function), finding.find("<h").unwrap_or(finding.len()));
            let near = &finding[..till.min(900)];
            assert!(near.contains(&expected), "{kind} is not at {expected}: {near}");
        }
        assert_eq!(page.contains("figures by call site are estimates"), stacks == "16");
    }
}

/// A copy of the library under a name that says nothing, without symbols where there is `strip`.
fn renamed_library(scratch: &Scratch) -> String {
    let copy = scratch.path("memory.so.1");
    fs::copy(library(), &copy).unwrap();
    let _ = Command::new("strip").arg(&copy).status();
    copy
}

#[test]
fn the_allocators_own_frames_are_left_out_whatever_the_library_is_called() {
    let scratch = Scratch::new("renamed");
    let Some(program) = compiled("service", &scratch) else { return };
    let library = renamed_library(&scratch);
    let (trace, profile) = (scratch.path("a.trace"), scratch.path("a.heap"));
    let record = ["record", "-q", "--lib", &library, "-o", &trace, "--stacks", "1", "--", &program, "4000"];
    assert!(output(&record).status.success());
    let told = text(&output(&["report", "-o", &scratch.path("a.html"), &trace]).stdout);
    assert!(
        told.contains(&format!("at remember_request at fixtures/service.c:{}", line_of("leak"))),
        "{told}"
    );

    let run = ["run", "-q", "--lib", &library, "--conf", "sample:1K", "--profile", &profile, "--", &program];
    assert!(output(&[&run[..], &["2000"]].concat()).status.success());
    let folded = text(&output(&["profile", "-f", "folded", "-m", "allocated", &profile]).stdout);
    assert!(folded.contains("remember_request ") && folded.contains("parse_fields "), "{folded}");
    assert!(!folded.contains("memory.so.1") && !folded.contains("freestone::"), "{folded}");

    // What the debug mode finds begins with who called, too.
    let (source, program) = (scratch.path("twice.c"), scratch.path("twice"));
    fs::write(&source, "#include <stdlib.h>\nint main(void) { char *p = malloc(9); free(p); free(p); }\n")
        .unwrap();
    assert!(Command::new("cc").args(["-g", "-o", &program, &source]).status().unwrap().success());
    let found = text(&output(&["run", "-q", "--lib", &library, "--debug", "--", &program]).stderr);
    assert!(found.contains("main at ") && !found.contains("memory.so.1"), "{found}");
}

#[test]
fn figures_by_site_are_estimates_of_the_exact_ones() {
    let scratch = Scratch::new("estimates");
    let Some(program) = compiled("service", &scratch) else { return };
    let path = scratch.path("service.trace");
    let recorded = output(&["record", "-q", "-o", &path, "--", &program, "4000"]);
    assert!(recorded.status.success(), "{}", text(&recorded.stderr));
    let trace = Trace::open(Path::new(&path)).unwrap();
    let process = &trace.processes()[0];
    assert_eq!(process.stack_every, 32);
    let mut calls = trace.calls(0).unwrap();
    let (mut has_stack, mut drawn, mut weighed, mut all) = (false, 0u64, 0.0, 0u64);
    while let Some(timed) = calls.next() {
        match timed.call {
            Call::Stack => {
                assert!(!has_stack && (3..=64).contains(&calls.frames().len()), "{:?}", calls.frames());
                has_stack = true;
            }
            Call::Allocate { size, .. } | Call::Resize { size, .. } => {
                all += 1;
                if std::mem::take(&mut has_stack) {
                    drawn += 1;
                    weighed += process.stack_weight(size);
                }
            }
            _ => assert!(!has_stack, "the call with the stack follows at once"),
        }
    }
    // Six standard deviations of so many draws.
    let off = 6.0 * 32.0 * (drawn as f64).sqrt();
    assert!((weighed - all as f64).abs() < off, "{weighed} for {all} calls, by {drawn}");
    let lists = trace.mappings(0).unwrap();
    assert!(!lists.is_empty() && lists[0].lines().any(|line| line.contains("/service")), "{lists:?}");
}

#[test]
fn a_file_that_cannot_grow_ends_the_trace_and_not_the_program() {
    let scratch = Scratch::new("full");
    let path = scratch.path("f.trace");
    // Room for a sheet or two, in units of 512 bytes or 1 KiB.
    let script = "ulimit -f 300; for i in 1 2 3 4 5 6; do x=$x$(ls -l /usr/bin); done; echo ${#x}";
    let done = output(&["record", "-o", &path, "--", "sh", "-c", script]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).trim().parse::<u64>().is_ok(), "{}", text(&done.stdout));
}

#[test]
fn a_comparison_says_what_is_noise() {
    let scratch = Scratch::new("compare");
    let (json, svg) = (scratch.path("c.json"), scratch.path("c.svg"));
    let arguments =
        ["compare", "--on", "glibc,freestone", "--rounds", "5", "--json", "-o", &json, "--svg", &svg, "--"];
    let done = output(&[&arguments[..], &[EXECUTABLE, "classes"]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let found: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(found["allocators"][0]["time_verdict"], "noise");
    assert_eq!(found["allocators"][0]["time_s"].as_array().unwrap().len(), 5);
    assert!(found["allocators"][0]["peak_resident"][0].as_f64().unwrap() > 1e5);
    assert!(fs::read_to_string(svg).unwrap().contains("Mean memory resident"));

    let failing = output(&["compare", "--on", "glibc", "--rounds", "1", "--", "sh", "-c", "exit 7"]);
    assert!(text(&failing.stdout).contains("exit code 7"), "{}", text(&failing.stdout));
    let missing = output(&["compare", "--on", "glibc", "--", "no-such-program-anywhere"]);
    assert!(text(&missing.stderr).contains("cannot start no-such-program-anywhere"));
}
