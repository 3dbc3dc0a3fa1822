//! The harness itself: that it notices what it is there to notice, and that it cleans up.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use freestone_programs::fail;
use freestone_programs::job::{Job, Need, Outcome, Scale};
use freestone_programs::library::find_library;
use freestone_programs::place::Place;
use freestone_programs::session::Session;
use freestone_programs::setting::Setting;

const EXAMPLE: Job = Job {
    name: "example",
    about: "an example",
    needs: &[Need::command("sh", "dash")],
    limit: 30,
    prepare: None,
    run: |_| Ok(()),
};

/// The C library itself: a preload that is there on every system and changes nothing.
fn library() -> PathBuf {
    find_library("libc.so.6").expect("the C library")
}

fn check(job: &'static Job) -> Outcome<freestone_programs::session::Run> {
    let session = Session::new(Scale::Small)?;
    session.bench(job).check(&Setting::preload("libc", &library()))
}

fn failure(job: &'static Job) -> String {
    check(job).expect_err("the job must fail").to_string()
}

fn shell(place: &mut Place, script: &str) -> Outcome {
    let step = place.subject("sh").args(["-c", script]);
    place.run_and_note("script", step)?;
    Ok(())
}

#[test]
fn equal_output_passes_and_is_measured() {
    static JOB: Job = Job { run: |place| shell(place, "echo same; echo more >&2; echo $PWD"), ..EXAMPLE };
    let run = check(&JOB).unwrap();
    assert!(run.meter.wall.as_nanos() > 0 && run.meter.peak_kib > 100, "{:?}", run.meter);
    let text = run.evidence.to_string();
    assert!(text.contains("same") && text.contains("more") && text.contains("FOLDER"), "{text}");
}

#[test]
fn output_that_differs_under_preload_is_told() {
    static JOB: Job = Job { run: |place| shell(place, "echo \"is: $LD_PRELOAD\""), ..EXAMPLE };
    let text = failure(&JOB);
    assert!(text.contains("script, stdout differs") && text.contains("libc.so.6"), "{text}");
}

#[test]
fn a_message_on_stderr_alone_is_a_difference() {
    static JOB: Job =
        Job { run: |place| shell(place, "test -z \"$LD_PRELOAD\" || echo corrupted >&2"), ..EXAMPLE };
    assert!(failure(&JOB).contains("script, stderr differs"));
}

#[test]
fn a_job_that_never_repeats_itself_is_named_as_the_culprit() {
    static JOB: Job = Job { run: |place| shell(place, "cat /proc/sys/kernel/random/uuid"), ..EXAMPLE };
    assert!(failure(&JOB).contains("the job is at fault"));
}

#[test]
fn a_crash_is_told_with_the_end_of_stderr() {
    static JOB: Job = Job {
        run: |place| shell(place, "echo last words >&2; test -z \"$LD_PRELOAD\" || kill -ABRT $$"),
        ..EXAMPLE
    };
    let text = failure(&JOB);
    assert!(text.contains("SIGABRT") && text.contains("last words"), "{text}");
}

#[test]
fn what_hangs_is_killed_with_all_its_children() {
    const MARK: &str = "86399.7531";
    static JOB: Job = Job {
        limit: 1,
        run: |place| shell(place, "echo so far >&2; sleep 86399.7531 & sleep 86399.7531"),
        ..EXAMPLE
    };
    let text = failure(&JOB);
    assert!(text.contains("still ran after ") && text.contains(" s and was killed"), "{text}");
    assert!(text.contains("so far"), "{text}");
    let left = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.starts_with(b"sleep") && String::from_utf8_lossy(&line).contains(MARK)
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_server_that_ends_at_once_is_told() {
    fn serve(place: &mut Place) -> Outcome {
        let step = place.subject("sh").args(["-c", "echo no port >&2; exit 4"]);
        place.serve(step, || false).map(drop)
    }
    static JOB: Job = Job { run: serve, ..EXAMPLE };
    let text = failure(&JOB);
    assert!(text.contains("ended before it served") && text.contains("no port"), "{text}");
}

#[test]
fn a_server_is_stopped_and_its_peak_is_its_own() {
    fn serve(place: &mut Place) -> Outcome {
        let step =
            place.subject("sh").args(["-c", "trap 'exit 0' TERM; : >up; while :; do sleep 0.01; done"]);
        let up = place.path("up");
        let server = place.serve(step, || up.exists())?;
        let pid = server.pid();
        place.stop("server", server, libc::SIGTERM)?;
        if Path::new(&format!("/proc/{pid}")).exists() {
            fail!("it is still there");
        }
        Ok(())
    }
    static JOB: Job = Job { run: serve, ..EXAMPLE };
    let run = check(&JOB).unwrap();
    assert!(run.meter.peak_kib > 100, "{:?}", run.meter);
}

#[test]
fn a_missing_program_is_told_with_its_package() {
    static JOB: Job = Job { needs: &[Need::command("no-such-program-anywhere", "its-package")], ..EXAMPLE };
    assert_eq!(JOB.missing(), ["its-package"]);
    assert!(EXAMPLE.missing().is_empty());
}

#[test]
fn input_files_are_prepared_once_and_without_preload() {
    fn prepare(place: &mut Place) -> Outcome {
        let step = place.subject("sh").args(["-c", "echo \"preload: $LD_PRELOAD.\" >>input"]);
        place.run(step)?;
        Ok(())
    }
    fn read(place: &mut Place) -> Outcome {
        let text = std::fs::read_to_string(place.inputs().join("input"))?;
        place.note("input", text);
        Ok(())
    }
    static JOB: Job = Job { prepare: Some(prepare), run: read, ..EXAMPLE };
    let evidence = check(&JOB).unwrap().evidence.to_string();
    assert_eq!(evidence, "== input\npreload: .\n");
}

#[test]
fn the_folder_is_gone_when_the_session_is() {
    let session = Session::new(Scale::Small).unwrap();
    let copy = session.adopt(&library()).unwrap();
    assert!(copy.is_file());
    drop(session);
    assert!(!copy.exists());
}

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_freestone-programs")).args(arguments).output().unwrap()
}

#[test]
fn bad_arguments_get_a_clear_message() {
    for (arguments, expected) in [
        (&["frobnicate"][..], "list, packages, run, ledger or refuse"),
        (&["run", "no-such-job"], "there are: loaded, python"),
        (&["run", "--lib", "/no/such/file"], "/no/such/file"),
        (&["run", "--fast"], "invalid option '--fast'"),
        (&["list", "more"], "more"),
    ] {
        let output = command(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn packages_are_told_in_one_line() {
    let text = String::from_utf8(command(&["packages"]).stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    for package in ["redis-server", "wrk", "postgresql"] {
        assert!(text.split_whitespace().any(|word| word == package), "{package}: {text}");
    }
}

#[test]
fn a_single_job_runs_from_the_command_line() {
    let library = library();
    let output = command(&["run", "loaded", "--lib", library.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    // Without the programs that the job needs it is skipped, which is no failure either.
    assert!(output.status.success() && text.contains("0 failed"), "{text}");
}

/// The signals that a program under the harness ignores, one a bit.
#[test]
fn ignored_by_a_program() {
    if std::env::var_os("FREESTONE_TEST_IGNORES").is_none() {
        return;
    }
    static JOB: Job = Job { run: |place| shell(place, "exec grep SigIgn /proc/self/status"), ..EXAMPLE };
    let text = check(&JOB).unwrap().evidence.to_string();
    let (_, bits) = text.split_once("SigIgn:").unwrap();
    let bits = u64::from_str_radix(bits.split_whitespace().next().unwrap(), 16).unwrap();
    let (interrupt, quit) = (1 << 1, 1 << 2);
    assert_eq!(bits & (interrupt | quit), 0, "{text}");
}

#[test]
fn programs_hear_signals_though_the_harness_runs_in_a_shells_background() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' INT QUIT; exec \"$0\" --exact ignored_by_a_program --nocapture"]);
    let output = command.arg(std::env::current_exe().unwrap()).env("FREESTONE_TEST_IGNORES", "1").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
