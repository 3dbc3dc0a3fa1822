//! Running one program to its end, with its output captured and a deadline.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::fail;
use crate::job::{Failure, Outcome};
use crate::os;
use crate::step::Step;

/// How much of a program's stderr a failure quotes, in bytes.
const TAIL: u64 = 4 << 10;

/// A program that ended.
#[derive(Debug)]
pub struct Finished {
    /// The command, as one would type it.
    pub command: String,
    /// Exit code or signal.
    pub status: ExitStatus,
    /// From start to end.
    pub wall: Duration,
    /// The largest resident set in its tree, in KiB.
    pub peak_kib: u64,
    /// Where its output was captured.
    pub stdout_path: PathBuf,
    /// Where its messages were captured.
    pub stderr_path: PathBuf,
}

impl Finished {
    /// What it printed to stdout.
    pub fn stdout(&self) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.stdout_path)?).into_owned())
    }

    /// What it printed to stderr.
    pub fn stderr(&self) -> Outcome<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.stderr_path)?).into_owned())
    }

    /// A failure's text: the command, how it ended and the last things it said.
    pub fn report(&self, what: &str) -> String {
        let mut text = format!("`{}` {what}: {}", self.command, self.status);
        quote_tails(&mut text, &self.stdout_path, &self.stderr_path);
        text
    }
}

/// Appends the ends of both captured streams.
pub(crate) fn quote_tails(text: &mut String, stdout: &Path, stderr: &Path) {
    for (name, path) in [("stdout", stdout), ("stderr", stderr)] {
        let tail = tail(path).unwrap_or_default();
        if !tail.trim().is_empty() {
            text.push_str(&format!("\n--- end of {name}:\n{}", tail.trim_end()));
        }
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A started program; the whole group is killed when this is dropped before it was reaped.
#[derive(Debug)]
pub(crate) struct Running {
    pub command: String,
    pub pid: u32,
    pub started: Instant,
    pub stdout_path: PathBuf,
    pub stderr_path: PathBuf,
    reaped: bool,
}

impl Running {
    /// Starts `step` in a process group of its own, its output going to the files named.
    pub fn start(step: Step, (stdout_path, stderr_path): (PathBuf, PathBuf)) -> Outcome<Running> {
        let mut command = step.into_command()?;
        let text = spell(&command);
        command.stdout(File::create(&stdout_path)?).stderr(File::create(&stderr_path)?);
        os::contain(&mut command);
        let started = Instant::now();
        match command.spawn() {
            // Dropping the handle neither waits nor kills: `wait` below reaps the child by its id.
            Ok(child) => Ok(Running {
                command: text,
                pid: child.id(),
                started,
                stdout_path,
                stderr_path,
                reaped: false,
            }),
            Err(error) => fail!("`{text}` did not start: {error}"),
        }
    }

    /// Waits for the end; what still runs at `deadline` is shown and killed.
    pub fn wait(mut self, deadline: Instant) -> Outcome<Finished> {
        let Some(usage) = os::wait_until(self.pid, deadline)? else {
            return Err(self.hung());
        };
        self.reaped = true;
        let wall = self.started.elapsed();
        // Helpers that outlive their leader would disturb the runs that follow.
        os::kill_group(self.pid);
        Ok(Finished {
            command: std::mem::take(&mut self.command),
            status: usage.status,
            wall,
            peak_kib: usage.peak_kib,
            stdout_path: std::mem::take(&mut self.stdout_path),
            stderr_path: std::mem::take(&mut self.stderr_path),
        })
    }

    /// What a process that hangs is doing.
    pub fn hung(&self) -> Failure {
        // The deadline is that of the whole place, set before this program started.
        let seconds = self.started.elapsed().as_secs_f64();
        let mut text = format!("`{}` still ran after {seconds:.1} s and was killed", self.command);
        quote_tails(&mut text, &self.stdout_path, &self.stderr_path);
        text.push_str(&stacks(self.pid));
        Failure(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            os::kill_group(self.pid);
            // The leader was killed, or ended by itself: either way this returns at once.
            let _ = os::reap(self.pid);
        }
    }
}

/// Runs `step` to its end or until `deadline`.
pub(crate) fn run(step: Step, logs: (PathBuf, PathBuf), deadline: Instant) -> Outcome<Finished> {
    Running::start(step, logs)?.wait(deadline)
}

fn spell(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    if text.len() > 400 {
        let cut = (0..=400).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// The stacks of the group's processes, from gdb where it is installed: what one needs to see of a
/// deadlock.
fn stacks(leader: u32) -> String {
    let mut text = String::new();
    for pid in group_members(leader).into_iter().take(3) {
        let gdb = Command::new("timeout")
            .args(["20", "gdb", "-nx", "-q", "-batch", "-ex", "thread apply all backtrace 12", "-p"])
            .arg(pid.to_string())
            .env_remove("LD_PRELOAD")
            // Symbols are not fetched from the network: the stacks must be taken soon.
            .env_remove("DEBUGINFOD_URLS")
            .stdin(Stdio::null())
            .output();
        if let Ok(output) = gdb {
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            let stack: Vec<&str> =
                lines.lines().filter(|line| line.starts_with(['#', 'T'])).take(60).collect();
            text.push_str(&format!("\n--- stacks of process {pid}:\n{}", stack.join("\n")));
        }
    }
    text
}

fn group_members(leader: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let in_group = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in parentheses may hold spaces; state, parent and group follow it.
        let group = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2));
        group.and_then(|group| group.parse().ok()) == Some(leader)
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(in_group).collect()
}
