//! Starts one case as a process group of its own, with a time limit, and reads how it went.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed};
use rustix::process::{Pid, Signal, kill_process_group};

const TIME_LIMIT: Duration = Duration::from_secs(40);
/// The same where options were added, which may make every call slower.
const LONGER_LIMIT: Duration = Duration::from_secs(120);
/// The exit status by which a case says that it does not apply here; the same in `conformance.h`.
const SKIPPED: i32 = 77;

/// Runs `program case` with these variables added.
pub fn run(program: &Path, case: &str, environment: &[(&str, &OsStr)]) -> Result<Completion, Failed> {
    // A file, not a pipe: a child left behind by a crashed case would hold a pipe open for ever.
    let log = program.with_extension(format!("{case}.{}.{}.log", std::process::id(), unique()));
    let file = fs::File::create(&log)?;
    let mut command = Command::new(program);
    command.arg(case).envs(environment.iter().copied()).process_group(0);
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn()?;
    let ended = wait(&mut child);
    if let Some(group) = Pid::from_raw(child.id() as i32) {
        // Whatever the case left running goes with it; usually there is nothing, and this fails.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if ended.is_err() {
        child.wait()?;
    }
    let output = fs::read(&log)?;
    fs::remove_file(&log)?;
    judge(ended, &String::from_utf8_lossy(&output))
}

/// The names that `program --list` prints, without any preload.
pub fn list(program: &Path) -> Result<Vec<String>, Failed> {
    let output = Command::new(program).arg("--list").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn time_limit() -> Duration {
    if std::env::var_os("FREESTONE_CONF").is_some() { LONGER_LIMIT } else { TIME_LIMIT }
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Only the count matters; nothing is published through it.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn judge(ended: Result<ExitStatus, String>, output: &str) -> Result<Completion, Failed> {
    let status = match ended {
        Ok(status) => status,
        Err(threads) => {
            return Err(format!("still running after {:?}\n{threads}{output}", time_limit()).into());
        }
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(Completion::Completed),
        (Some(SKIPPED), _) => {
            let reason = output.lines().find_map(|line| Some(line.split_once("# SKIP ")?.1));
            Ok(Completion::ignored_with(reason.unwrap_or("the case skipped itself")))
        }
        (Some(code), _) => Err(format!("exit status {code}\n{output}").into()),
        (None, signal) => Err(format!("died of signal {}\n{output}", signal.unwrap_or(0)).into()),
    }
}

/// The status at the end, or what each thread was doing when the time was over.
fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + time_limit();
    let mut pause = Duration::from_micros(200);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Err(threads(child.id()))
}

/// Where each thread of the process and of its children waits in the kernel.
fn threads(pid: u32) -> String {
    let mut text = String::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return text };
    for task in tasks.flatten().take(20) {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let tid = task.file_name();
        let _ = writeln!(text, "thread {}: {} {}", tid.display(), read("wchan"), read("syscall").trim());
        for child in read("children").split_whitespace() {
            let wchan = fs::read_to_string(format!("/proc/{child}/wchan")).unwrap_or_default();
            let _ = writeln!(text, "  child {child}: {wchan}");
        }
    }
    text
}
