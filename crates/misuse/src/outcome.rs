//! Committing one fault in a process of its own, and judging how it ended.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use freestone_programs::os;

/// A case that takes longer hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The exit statuses of `cases/misuse.h`.
const MISSED: i32 = 40;
const HARMLESS: i32 = 41;
const SKIPPED: i32 = 77;

/// How a fault ended, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// The allocator said what was wrong.
    Reported,
    /// The process died without a word from the allocator, by a signal.
    Stopped,
    /// Nobody said anything, and the fault had no effect.
    Harmless,
    /// The fault had its effect, or was accepted in silence.
    Missed,
    /// It cannot be committed with this allocator.
    Skipped,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 5] =
        [Outcome::Reported, Outcome::Stopped, Outcome::Harmless, Outcome::Missed, Outcome::Skipped];

    /// The word for it in files and tables.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Reported => "reported",
            Outcome::Stopped => "stopped",
            Outcome::Harmless => "harmless",
            Outcome::Missed => "missed",
            Outcome::Skipped => "skipped",
        }
    }

    /// Whether the program's memory was kept from harm.
    pub fn is_good(self) -> bool {
        matches!(self, Outcome::Reported | Outcome::Stopped | Outcome::Harmless)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How one run of a case ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// The judgement.
    pub outcome: Outcome,
    /// What the allocator said: its first line, and all of it.
    pub said: String,
    /// What the case said of its effect.
    pub effect: String,
    /// The process's status, in words.
    pub status: String,
}

impl End {
    /// The first line that the allocator said, or what became of the process instead.
    pub fn message(&self) -> &str {
        self.said.lines().find(|line| !line.trim().is_empty()).unwrap_or("")
    }
}

/// An allocator to commit faults on.
#[derive(Clone, Debug)]
pub struct Subject {
    /// How tables call it.
    pub name: String,
    /// The library to preload; none for the C library's own.
    pub library: Option<PathBuf>,
    /// More of its environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Subject {
    /// Freestone's library in a mode.
    pub fn freestone(library: &Path, mode: crate::Mode) -> Subject {
        let mut environment = vec![("FREESTONE_CONF".into(), mode.conf.into())];
        if mode.at_once {
            environment.push(("MISUSE_SHORT".into(), "1".into()));
        }
        Subject { name: mode.name.to_owned(), library: Some(library.to_owned()), environment }
    }

    /// What the library complains of in its environment: an option that it does not know. `program` is any of the suite.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn complaint(&self, program: &Path) -> Result<Option<String>, String> {
        let mut command = Command::new(program);
        command.arg("--list").stdin(Stdio::null());
        self.prepare(&mut command);
        let output = command.output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(said.lines().find(|line| line.contains("FREESTONE_CONF")).map(str::to_owned))
    }

    fn prepare(&self, command: &mut Command) {
        for inherited in
            ["LD_PRELOAD", "FREESTONE_CONF", "MALLOC_CHECK_", "MALLOC_PERTURB_", "GLIBC_TUNABLES"]
        {
            command.env_remove(inherited);
        }
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library);
        }
    }

    /// Commits the fault `case` of `program`.
    ///
    /// # Errors
    /// When the process cannot be started or watched.
    pub fn commit(&self, program: &Path, case: &str) -> Result<End, String> {
        let failed = |error: std::io::Error| format!("{case}: {error}");
        // Files, not pipes: what a case leaves running would hold a pipe open.
        let folder = tempfile::tempdir().map_err(failed)?;
        let (said, effect) = (folder.path().join("said"), folder.path().join("effect"));
        let mut command = Command::new(program);
        command.arg(case).stdin(Stdio::null());
        command.stderr(File::create(&said).map_err(failed)?).stdout(File::create(&effect).map_err(failed)?);
        self.prepare(&mut command);
        os::contain(&mut command);
        let child = command.spawn().map_err(failed)?;
        let usage = os::wait_until(child.id(), Instant::now() + TIME_LIMIT).map_err(failed)?;
        os::kill_group(child.id());
        let read = |path: &Path| {
            std::fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned())
                .map_err(failed)
        };
        let (said, effect) = (read(&said)?, read(&effect)?);
        let Some(usage) = usage else {
            let _ = os::reap(child.id());
            // Whoever hangs neither notices the fault nor keeps the program from harm.
            let status = format!("killed after {TIME_LIMIT:?}");
            return Ok(End { outcome: Outcome::Missed, said, effect: format!("it hung; {effect}"), status });
        };
        let outcome = judge(usage.status, &said).ok_or_else(|| {
            format!("{case}: an end that no case has: {}; it said: {said} {effect}", usage.status)
        })?;
        Ok(End { outcome, said, effect, status: usage.status.to_string() })
    }
}

/// What the end of a case means; `None` for one that cannot be.
fn judge(status: ExitStatus, said: &str) -> Option<Outcome> {
    let spoke = !said.is_empty();
    match (status.code(), status.signal()) {
        (Some(SKIPPED), _) => Some(Outcome::Skipped),
        // Leaks are told at the end of a process that ends as usual.
        (Some(MISSED | HARMLESS), _) if spoke => Some(Outcome::Reported),
        (Some(MISSED), _) => Some(Outcome::Missed),
        (Some(HARMLESS), _) => Some(Outcome::Harmless),
        // Some allocators end the process by an exit status of their own, after a message.
        (Some(_), _) => spoke.then_some(Outcome::Reported),
        (None, Some(_)) if spoke => Some(Outcome::Reported),
        (None, _) => Some(Outcome::Stopped),
    }
}

/// The library that an environment variable or the workspace gives; see `freestone_programs::library`.
///
/// # Errors
/// Cargo's own words, when it does not build.
pub fn library(named: Option<&OsStr>) -> Result<PathBuf, String> {
    match named {
        Some(path) => freestone_programs::library::checked(Path::new(path)),
        None => freestone_programs::library::find_or_build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_judged() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let signal = ExitStatus::from_raw;
        assert_eq!(judge(signal(6), "freestone: double free"), Some(Outcome::Reported));
        assert_eq!(judge(signal(11), ""), Some(Outcome::Stopped));
        assert_eq!(judge(exit(MISSED), ""), Some(Outcome::Missed));
        assert_eq!(judge(exit(MISSED), "a leak"), Some(Outcome::Reported));
        assert_eq!(judge(exit(HARMLESS), ""), Some(Outcome::Harmless));
        assert_eq!(judge(exit(SKIPPED), ""), Some(Outcome::Skipped));
        assert_eq!(judge(exit(1), "free(): invalid pointer"), Some(Outcome::Reported));
        assert_eq!(judge(exit(0), ""), None);
    }
}
