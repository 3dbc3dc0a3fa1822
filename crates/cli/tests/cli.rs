//! The command as a user runs it.

#[path = "shared/library.rs"]
mod library;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use library::library;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_freestone");
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The command in an environment without settings that the test does not make itself.
fn freestone(arguments: &[&str]) -> Command {
    let mut command = Command::new(EXECUTABLE);
    command.args(arguments).env_remove("FREESTONE_CONF").env_remove("LD_PRELOAD").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    freestone(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("freestone-cli-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The text with every run of white space made one space, since the report breaks lines.
fn words(bytes: &[u8]) -> String {
    text(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&[][..], &["--help"], &["help"], &["help", "run"], &["run", "--help"], &["stats", "-h"]]
    {
        let output = output(arguments);
        assert!(output.status.success(), "{arguments:?}");
        assert!(text(&output.stdout).starts_with("freestone"), "{arguments:?}");
        assert!(output.stderr.is_empty());
    }
    assert_eq!(text(&output(&["--version"]).stdout), concat!("freestone ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn mistakes_end_with_code_2_and_a_hint() {
    for (arguments, expected) in [
        (&["rn", "ls"][..], "Did you mean 'run'?"),
        (&["run", "--jsno", "ls"], "Did you mean '--json'?"),
        (&["run", "--conf", "cahce:cpu", "ls"], "Did you mean 'cache'?"),
        (&["run"], "which program?"),
        (&["stats", "refils"], "Did you mean 'refills'?"),
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
    for (arguments, expected) in
        [(&["rn", "ls"][..], "\nSee `freestone --help`."), (&["run"], "\nSee `freestone help run`.")]
    {
        let output = output(arguments);
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    }
}

#[test]
fn classes_and_stats_print() {
    assert!(text(&output(&["classes"]).stdout).contains("size classes up to"));
    assert!(text(&output(&["classes", "--json"]).stdout).starts_with('['));
    assert!(text(&output(&["stats", "peak", "live"]).stdout).contains("most bytes in live blocks"));
    assert!(text(&output(&["stats", "--markdown"]).stdout).starts_with("# "));
}

#[test]
fn a_missing_library_is_our_failure() {
    let output = output(&["run", "--lib", "/nonexistent/lib.so", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("/nonexistent/lib.so, which --lib names"));
    let output = freestone(&["run", "true"]).env("FREESTONE_LIB", "/nonexistent/lib.so").output().unwrap();
    assert!(text(&output.stderr).contains("FREESTONE_LIB"));
    let output = freestone(&["run", "--lib", "/etc/passwd", "true"]).output().unwrap();
    assert!(text(&output.stderr).contains("not a shared library"));
}

#[test]
fn exit_codes_pass_through() {
    let library = library();
    for code in [0, 1, 42, 255] {
        let script = format!("exit {code}");
        let output = output(&["run", "--lib", library, "-q", "--", "sh", "-c", &script]);
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn a_death_by_signal_is_reproduced() {
    let library = library();
    for signal in [SIGTERM, SIGKILL, SIGINT] {
        let script = format!("kill -{signal} $$");
        // A shell has what it runs in the background ignore SIGINT, and programs inherit that.
        let mut command = Command::new("env");
        command.args(["--default-signal", "-u", "FREESTONE_CONF", "-u", "LD_PRELOAD", EXECUTABLE]);
        let output = command.args(["run", "--lib", library, "--", "sh", "-c", &script]).output().unwrap();
        assert_eq!(output.status.signal(), Some(signal));
        assert!(words(&output.stderr).contains("ended by SIG"), "{}", text(&output.stderr));
    }
}

/// The files below a directory whose names end so.
fn files_below(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, ending));
        } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_program_that_is_killed_leaves_a_report_and_a_profile() {
    let scratch = Scratch::new("killed");
    let library = library();
    let (json, profile) = (scratch.path("report"), scratch.path("killed.txt"));
    let arguments = ["run", "--lib", library, "--json", "-o", json.to_str().unwrap(), "--profile"];
    let mut command = freestone(&arguments);
    command.arg(&profile).args(["--conf", "sample:64", "--", "sh", "-c", "while :; do sleep 0.1; done"]);
    let run = command.env("TMPDIR", &scratch.0).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let kept = loop {
        let is_written = |path: &PathBuf| fs::metadata(path).is_ok_and(|about| about.len() > 0);
        // The second is begun when the first is whole. Those who sleep end before they keep anything.
        if let Some(path) = files_below(&scratch.0, ".json.2").into_iter().find(is_written) {
            break path;
        }
        assert!(Instant::now() < until, "nothing was kept");
        std::thread::sleep(Duration::from_millis(20));
    };
    let name = kept.file_name().unwrap().to_str().unwrap();
    let killed = Command::new("kill").args(["-9", name.trim_end_matches(".json.2")]).status().unwrap();
    assert!(killed.success());
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(SIGKILL), "{output:?}");
    assert!(text(&output.stderr).contains("the profile is the last that it kept"), "{output:?}");
    let report = fs::read_to_string(&json).unwrap();
    assert!(report.contains("\"heap_before_end_ns\"") && report.contains("\"ledger\""), "{report}");
    assert!(!fs::read_to_string(&profile).unwrap().is_empty());
    let page = scratch.path("killed.html");
    let made = freestone(&["report", "-o"]).arg(&page).arg(&json).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert!(fs::read_to_string(&page).unwrap().contains("without the time to report"));
}

#[test]
fn who_reports_at_the_end_leaves_nothing_else() {
    let scratch = Scratch::new("kept");
    let directory = scratch.0.to_str().unwrap();
    let script = "until test -s $0/$$.json.1 -a -s $0/$$.heap.1; do :; done";
    let ended = Command::new("sh")
        .args(["-c", script, directory])
        .env("LD_PRELOAD", library())
        .env("FREESTONE_CONF", format!("report:{directory},heap_profile:{directory}"))
        .spawn()
        .and_then(|child| {
            let pid = child.id();
            child.wait_with_output().map(|output| (pid, output.status))
        });
    let (pid, status) = ended.unwrap();
    assert!(status.success(), "{status}");
    let mut left = files_below(&scratch.0, "");
    left.sort();
    assert_eq!(left, [scratch.path(&format!("{pid}.heap")), scratch.path(&format!("{pid}.json"))]);
}

#[test]
fn what_cannot_be_started_is_told_as_a_shell_tells_it() {
    let scratch = Scratch::new("start");
    let library = library();
    let script = scratch.path("script");
    for (contents, mode, expected, message) in [
        ("#!/nonexistent/interpreter\n", 0o755, 126, "interpreter"),
        ("exit 3\n", 0o644, 126, "not executable"),
        ("exit 3\n", 0o755, 3, ""),
    ] {
        fs::write(&script, contents).unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let output = output(&["run", "-q", "--lib", library, "--", script.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(expected), "{contents} {mode:o}: {output:?}");
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
    for (name, message) in [("no-such-command-anywhere", "PATH"), ("/no/such/file", "no such file")] {
        let output = output(&["run", "--lib", library, "--", name]);
        assert_eq!(output.status.code(), Some(127));
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
}

#[test]
fn input_output_and_environment_pass_through() {
    let scratch = Scratch::new("through");
    let library = library();
    let input = scratch.path("input");
    fs::write(&input, "hello\n").unwrap();
    let output = freestone(&["run", "--lib", library, "-q", "--", "cat", "-"])
        .stdin(fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "hello\n");
    let output = freestone(&["run", "--lib", library, "--cache", "thread", "--", "env"])
        .env("LD_PRELOAD", library)
        .env("FREESTONE_CONF", "check:1,cache:cpu,report:/elsewhere")
        .output()
        .unwrap();
    let environment = text(&output.stdout);
    assert!(environment.contains(&format!("LD_PRELOAD={library}:{library}\n")), "{environment}");
    let conf = environment.lines().find(|line| line.starts_with("FREESTONE_CONF=")).unwrap();
    assert!(conf.starts_with("FREESTONE_CONF=check:1,cache:thread,report:/"), "{conf}");
    assert!(conf.ends_with(",count:1") && !conf.contains("elsewhere"), "{conf}");
}

#[test]
fn without_figures_the_report_says_why() {
    let scratch = Scratch::new("why");
    let library = library();
    let (source, program) = (scratch.path("main.c"), scratch.path("static"));
    fs::write(&source, "int main(void) { return 5; }\n").unwrap();
    let built = Command::new("cc").args(["-static", "-o"]).arg(&program).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        return freestone_testkit::skipped(format_args!("no static C library"));
    }
    let out = output(&["run", "--lib", library, "--", program.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(5));
    assert!(words(&out.stderr).contains("statically linked"), "{}", text(&out.stderr));
    let program = program.to_str().unwrap();
    let out =
        output(&["compare", "--lib", library, "--on", "freestone,glibc", "--rounds", "1", "--", program]);
    assert!(words(&out.stdout).contains("1 round after one to warm up"), "{}", text(&out.stdout));
    assert!(
        words(&out.stdout).contains("So all of its runs were on one and the same."),
        "{}",
        text(&out.stdout)
    );
}

/// Waits until the file has contents.
fn wait_for(path: &Path) -> String {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if let Ok(contents) = fs::read_to_string(path)
            && contents.ends_with('\n')
        {
            return contents;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} did not appear", path.display());
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
    assert!(status.unwrap().success());
}

#[test]
fn signals_reach_the_program() {
    let scratch = Scratch::new("signals");
    let library = library();
    let (ready, seen) = (scratch.path("ready"), scratch.path("seen"));
    let script = format!(
        "for s in HUP INT QUIT USR1 USR2; do trap \"echo $s >> '{seen}'\" $s; done; trap 'exit 9' TERM; \
         echo ready > '{ready}'; while :; do sleep 0.02; done",
        seen = seen.display(),
        ready = ready.display()
    );
    // A shell sets no trap for what it was started to ignore, as under `nohup`.
    let shell = ["env", "--default-signal", "sh", "-c", &script];
    let mut child = freestone(&["run", "--lib", library, "-q", "--"]).args(shell).spawn().unwrap();
    wait_for(&ready);
    let mut expected = String::new();
    for signal in ["HUP", "INT", "QUIT", "USR1", "USR2"] {
        send(signal, &child);
        expected.push_str(&format!("{signal}\n"));
        let started = Instant::now();
        while fs::read_to_string(&seen).unwrap_or_default() != expected {
            assert!(started.elapsed() < Duration::from_secs(20), "{signal} did not arrive");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn the_program_has_the_signal_mask_of_its_parent() {
    let library = library();
    let output = output(&["run", "--lib", library, "-q", "--", "grep", "SigBlk", "/proc/self/status"]);
    assert_eq!(text(&output.stdout).trim(), "SigBlk:\t0000000000000000");
}

#[test]
fn a_report_can_go_to_a_file_or_be_json() {
    let scratch = Scratch::new("file");
    let library = library();
    let file = scratch.path("report");
    let name = file.to_str().unwrap();
    let out =
        output(&["run", "--lib", library, "-q", "-o", name, "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((text(&out.stdout), text(&out.stderr)), ("out\n", "err\n"));
    assert!(fs::read_to_string(&file).unwrap().contains("wall time"));
    output(&["run", "--lib", library, "--json", "-o", name, "--", "sh", "-c", "exit 4"]);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(json["exit_code"], 4);
    assert_eq!(json["command"][0], "sh");
    assert!(json["heap"].is_object() || json["heap_absent"].is_string());
    for option in ["--output", "--profile"] {
        let out = output(&["run", "--lib", library, option, "/nonexistent/report", "--", "echo", "ran"]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(125), ""), "{option}");
    }
}

#[test]
fn a_file_stays_as_it_is_when_the_program_cannot_be_started() {
    let scratch = Scratch::new("kept");
    let (library, old, new) = (library(), scratch.path("old"), scratch.path("new"));
    fs::write(&old, "precious").unwrap();
    for path in [&old, &new] {
        let path = path.to_str().unwrap();
        for arguments in [["run", "-o", path], ["run", "--profile", path], ["record", "-o", path]] {
            let out =
                output(&[&arguments[..], &["--lib", library, "--", "no-such-command-anywhere"]].concat());
            assert_eq!(out.status.code(), Some(127), "{arguments:?}");
        }
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "precious");
    assert!(!new.exists());
    // The program's own output is in it as well.
    let out = fs::File::create(&old).unwrap();
    let mut command = freestone(&["run", "--lib", library, "-o", "/dev/stdout", "--", "echo", "first"]);
    assert!(command.stdout(out).status().unwrap().success());
    let both = fs::read_to_string(&old).unwrap();
    assert!(both.starts_with("first\n") && both.contains("wall time"), "{both}");
}

#[test]
fn what_cannot_be_printed_is_a_failure_and_a_closed_pipe_is_none() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let out = freestone(&["stats"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let out = out.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("cannot write to standard output"));
    let mut child = freestone(&["classes", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn nothing_is_left_in_the_temporary_directory() {
    let scratch = Scratch::new("tidy");
    let library = library();
    let tmp = scratch.path("tmp");
    fs::create_dir(&tmp).unwrap();
    for script in ["exit 0", "kill -TERM $$"] {
        let out =
            freestone(&["run", "--lib", library, "--", "sh", "-c", script]).env("TMPDIR", &tmp).output();
        assert!(!out.unwrap().stderr.is_empty());
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }
}

#[test]
fn the_library_is_found_under_a_name_with_spaces() {
    let scratch = Scratch::new("name with spaces: and a colon");
    let copy = scratch.path("library.so");
    fs::copy(library(), &copy).unwrap();
    let library = copy.to_str().unwrap();
    let out = output(&["run", "--lib", library, "-q", "--", "sh", "-c", "echo $LD_PRELOAD"]);
    assert!(!text(&out.stdout).contains(' ') && text(&out.stdout).starts_with('/'), "{}", text(&out.stdout));
    assert!(out.stderr.is_empty(), "{}", text(&out.stderr));
}

#[test]
fn the_heap_of_a_real_program_is_reported() {
    let library = library();
    for cache in ["cpu", "thread"] {
        let script = "i=0; x=; while [ $i -lt 2000 ]; do x=\"$x$i\"; i=$((i+1)); done; \
                      sh -c 'sh -c \"echo inner\"; exit 0'; exit 6";
        let out = output(&["run", "--lib", library, "--json", "--cache", cache, "--", "bash", "-c", script]);
        assert_eq!((out.status.code(), text(&out.stdout)), (Some(6), "inner\n"), "{}", text(&out.stderr));
        let json: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
        let heap = &json["heap"];
        assert_eq!(heap["pid"], json["pid"], "{}", text(&out.stderr));
        assert!(heap["calls"]["malloc"].as_u64().unwrap() > 1000);
        assert!(heap["live"]["peak_bytes"].as_u64() >= heap["live"]["bytes"].as_u64());
        assert!(!heap["classes"].as_array().unwrap().is_empty());
    }
}

#[test]
fn the_live_blocks_of_the_classes_add_up() {
    // Slabs of 4,096 bytes have a coloured first block, and one block less than would fit.
    let library = library();
    let script = "x=$(printf '%5000s' x); y=$(printf '%4090s' y); echo \"$x\" > /dev/null; exit 0";
    let out = output(&["run", "--lib", library, "--json", "--", "bash", "-c", script]);
    let json: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
    let heap: freestone_cli::snapshot::Snapshot = serde_json::from_value(json["heap"].clone()).unwrap();
    assert!(heap.classes.iter().any(|class| class.size == 4096), "{}", text(&out.stderr));
    let live: u64 = heap.classes.iter().map(|class| class.live_blocks()).sum();
    assert_eq!(live + heap.large.live_blocks, heap.live.blocks);
    for class in &heap.classes {
        assert_eq!(class.live_blocks(), class.allocs - class.frees, "{class:?}");
    }
}

#[test]
fn the_text_of_a_real_program_has_every_section() {
    let library = library();
    let out = output(&["run", "--lib", library, "--", "bash", "-c", "x=$(seq 10000); exit 0"]);
    let report = text(&out.stderr);
    for section in ["Program", "Heap", "Fragmentation", "System", "Slow path", "Size classes"] {
        assert!(report.contains(&format!("\n{section}\n")), "{report}");
    }
    let out = output(&["run", "--lib", library, "--no-count", "--", "bash", "-c", "exit 0"]);
    assert!(text(&out.stderr).contains("not counted"), "{}", text(&out.stderr));
}

#[test]
fn a_profile_of_a_run_becomes_what_its_name_says() {
    let library = library();
    let scratch = Scratch::new("profile");
    for (name, beginning) in [
        ("a.heap", &b"freestone-heap-profile 1\n"[..]),
        ("a.pb.gz", b"\x1f\x8b"),
        ("a.svg", b"<?xml"),
        ("a.txt", b"bytes in live blocks"),
    ] {
        let path = scratch.path(name);
        let path = path.to_str().unwrap();
        let out = output(&[
            "run",
            "--lib",
            library,
            "-q",
            "--conf",
            "sample:50",
            "--profile",
            path,
            "--",
            "ls",
            "/",
        ]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let made = std::fs::read(path).unwrap();
        assert!(made.starts_with(beginning), "{name}: {}", String::from_utf8_lossy(&made));
    }
    let heap = scratch.path("a.heap");
    let heap = heap.to_str().unwrap();
    let top = output(&["profile", "-m", "allocated", "-n", "3", heap]);
    assert!(text(&top.stdout).starts_with("bytes allocated: "), "{}", text(&top.stdout));
    let same = output(&["profile", "--base", heap, "-f", "folded", heap]);
    assert!(same.status.success() && same.stdout.is_empty());
    let lost = output(&["profile", "-m", "lost", heap]);
    assert!(!lost.status.success() && text(&lost.stderr).contains("--leaks"));
    let leaks = output(&["run", "--lib", library, "-q", "--conf", "sample:50", "--leaks", "--", "ls", "/"]);
    assert!(text(&leaks.stderr).contains("that nothing leads to"), "{}", text(&leaks.stderr));
}

#[test]
fn the_command_and_the_library_know_the_same_options() {
    let library = library();
    let own = output(&["run", "--conf", "nonsense:1", "--", "true"]);
    let own = text(&own.stderr);
    // A line each: the name, and what it means.
    let own: BTreeSet<&str> = own
        .lines()
        .filter(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut program = Command::new("true");
    let said = program.env("LD_PRELOAD", library).env("FREESTONE_CONF", "nonsense:1").output().unwrap();
    let said = text(&said.stderr);
    let list = said.split_once("there are: ").and_then(|(_, rest)| rest.split_once("; ignored"));
    let (list, _) = list.unwrap_or_else(|| panic!("no list, or one that was cut: {said}"));
    let theirs: BTreeSet<&str> = list.split_whitespace().collect();
    assert!(theirs.len() > 20, "{said}");
    assert_eq!(own, theirs);
    // What the command takes for right the library does, too.
    let scratch = Scratch::new("options");
    let folder = scratch.path("");
    let mut taken = 0;
    for name in theirs {
        for value in ["0", "1", "auto", "default", "64K", folder.to_str().unwrap()] {
            let conf = format!("{name}:{value}");
            let command = output(&["run", "-q", "--lib", library, "--conf", &conf, "--", "true"]);
            if command.status.code() == Some(0) {
                taken += 1;
                assert!(!text(&command.stderr).contains("ignored"), "{conf}: {}", text(&command.stderr));
            }
        }
    }
    assert!(taken > 40, "{taken}");
}

#[test]
fn the_debug_mode_tells_of_a_double_free_with_three_named_stacks() {
    let library = library();
    let scratch = Scratch::new("debug");
    let (source, program) = (scratch.path("twice.c"), scratch.path("twice"));
    let lines = [
        "#include <stdlib.h>",
        "__attribute__((noinline)) void *made_here(void) { void *p = malloc(40); __asm__(\"\" : \"+r\"(p)); return p; }",
        "__attribute__((noinline)) void freed_here(void *p) { free(p); __asm__(\"\"); }",
        "int main(void) { void *p = made_here(); freed_here(p); freed_here(p); return 0; }",
    ];
    fs::write(&source, lines.join("\n")).unwrap();
    let built = Command::new("cc")
        .args(["-g", "-w", "-O1", "-fno-builtin", "-o"])
        .arg(&program)
        .arg(&source)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return freestone_testkit::skipped(format_args!("there is no C compiler"));
    }
    let output = output(&["run", "--debug", "--lib", library, "--", program.to_str().unwrap()]);
    assert_eq!(output.status.signal(), Some(6));
    let said = text(&output.stderr);
    let report = said.split_once("\n\n").unwrap().1;
    assert!(report.starts_with("freestone: double free: the block of 40 bytes is free already"), "{said}");
    for (stack, function) in
        [("freed again", "freed_here"), ("allocated", "made_here"), ("freed by", "freed_here")]
    {
        let of_stack = report.split_once(&format!("    {stack}")).unwrap().1;
        let first = of_stack.lines().nth(1).unwrap();
        if first.contains("no stack") {
            return freestone_testkit::skipped(format_args!("the system has no unwinder"));
        }
        assert!(first.trim().starts_with(function) && first.contains("twice.c:"), "{stack}: {said}");
    }
}
