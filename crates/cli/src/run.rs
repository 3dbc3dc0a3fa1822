//! `freestone run`: starts a program on the allocator and reports what its heap did.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use freestone_profile::{Raw, Symbols};

use crate::args::RunOptions;
use crate::conf::{self, Conf};
use crate::os::{self, End, Usage};
use crate::output::Output;
use crate::private_dir::PrivateDir;
use crate::profile::{self, Format};
use crate::program;
use crate::report::{self, Report};
use crate::{complain, library, shown, symbolize};

/// Functions and call sites that are listed.
const TOP: usize = 40;

/// Our own failure, before the program was started.
pub const OWN_FAILURE: u8 = 125;

/// Runs the program; the exit code is the program's.
pub fn run(options: RunOptions) -> ExitCode {
    match Job::prepare(options) {
        Ok(job) => job.perform(),
        Err(message) => {
            complain(&message);
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// Everything that can fail before the program starts, done.
struct Job {
    options: RunOptions,
    program: Option<PathBuf>,
    library: PathBuf,
    conf: Conf,
    dir: PrivateDir,
    output: Option<Output>,
    /// Where the heap profile goes.
    profile: Option<Output>,
    /// Whether anybody wants a report.
    reporting: bool,
    /// Whether a heap profile is taken.
    profiling: bool,
    /// What the program does wrong is looked for.
    debugging: bool,
}

impl Job {
    fn prepare(options: RunOptions) -> Result<Job, String> {
        let library = library::find(options.library.as_deref())?;
        let mut conf = Conf::default();
        if let Some(inherited) = std::env::var_os(conf::VARIABLE) {
            conf.add(&shown(&inherited)).map_err(|message| format!("{}: {message}", conf::VARIABLE))?;
        }
        let open =
            |path: &Option<PathBuf>, what| path.as_deref().map(|path| Output::open(path, what)).transpose();
        let output = open(&options.output, "the report")?;
        let profile = open(&options.profile, "the profile")?;
        let dir = PrivateDir::new().map_err(|error| format!("cannot make a temporary directory: {error}"))?;
        let library = preloadable(library, &dir)?;
        let program = program::resolve(&options.command);
        // Figures of the heap mean nothing where every block has pages of its own.
        let debugging = options.conf.get("debug") == Some("1");
        let reporting = output.is_some() || !options.quiet && !debugging;
        if reporting {
            conf.set("count", "1");
        }
        conf.add(&options.conf.text())?;
        let profiling = profile.is_some() || options.leaks;
        // Who reports keeps the profile, too, for the case that the program is killed.
        if reporting || debugging || profiling {
            conf.set("report", &dir.path().to_string_lossy());
        }
        if profiling {
            conf.set("heap_profile", &dir.path().to_string_lossy());
        }
        if options.leaks {
            conf.set("leaks", "1");
        }
        Ok(Job { options, program, library, conf, dir, output, profile, reporting, profiling, debugging })
    }

    fn perform(mut self) -> ExitCode {
        let started = Instant::now();
        let mut pid = 0;
        let outcome = match os::run(&mut self.command(), |child| pid = child) {
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                os::run(&mut self.by_shell(), |child| pid = child)
            }
            outcome => outcome,
        };
        let wall = started.elapsed();
        if self.debugging {
            self.tell_findings();
        }
        let (end, usage) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return cannot_start(&self.options.command, self.program.as_deref(), &error),
        };
        if self.reporting {
            let collected = report::collect(&self.dir, pid);
            let earlier = collected
                .root
                .as_ref()
                .filter(|_| collected.unfinished.contains(&pid))
                .map(|root| wall.saturating_sub(Duration::from_nanos(root.elapsed_ns)));
            let ledger = collected.root.as_ref().and_then(|root| root.ledger.as_ref());
            // The kernel's peak lags behind by what each CPU has not added yet, the ledger is exact.
            let at_exit = ledger.map_or(0, |ledger| ledger.resident);
            let usage = Usage { peak_resident: usage.peak_resident.max(at_exit), ..usage };
            let absent = match collected.root {
                Some(_) => None,
                None => Some(program::why_not_loaded(self.program.as_deref(), end)),
            };
            let command = std::iter::once(&self.options.command).chain(&self.options.arguments);
            let mut report = Report {
                command: command.map(shown).collect(),
                pid,
                end,
                wall,
                usage,
                root: collected.root,
                earlier,
                absent,
                others: collected.others,
                unfinished: collected.unfinished,
                broken: collected.broken,
                built_in: None,
            };
            if report.past_the_heap().is_some() {
                report.built_in = self.program.as_deref().and_then(program::built_in);
            }
            self.write(&report);
        }
        if self.profiling
            && let Err(message) = self.write_profile(pid)
        {
            complain(&message);
        }
        // The end may be by a signal, which runs no destructors.
        drop(self);
        match end {
            End::Exit(code) => ExitCode::from(code as u8),
            End::Signal(signal) => {
                os::die_by(signal);
                ExitCode::from((128 + signal) as u8)
            }
        }
    }

    /// Writes what the debug mode has found in the program and in the processes that it started.
    fn tell_findings(&self) {
        let mut symbols = Symbols::new();
        for (_, contents) in self.dir.contents("debug").into_iter().flatten() {
            let text = contents.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            // There is nobody to tell if that fails.
            let _ = write!(io::stderr(), "\n{}", symbolize::resolve(&mut symbols, &text));
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.options.command);
        command.args(&self.options.arguments);
        self.environment(&mut command);
        command
    }

    fn by_shell(&self) -> Command {
        let mut command = by_shell(&self.options.command, self.program.as_deref(), &self.options.arguments);
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        command.env("LD_PRELOAD", preload(&self.library, std::env::var_os("LD_PRELOAD")));
        let conf = self.conf.text();
        if !conf.is_empty() {
            command.env(conf::VARIABLE, conf);
        }
    }

    /// Makes of the program's heap profile what was asked for.
    fn write_profile(&mut self, pid: u32) -> Result<(), String> {
        let text = self.profile_of(pid).ok_or(
            "there is no heap profile: the program was killed in its first moments, or ran without the library. While it runs, \
             `freestone profile PID` takes one, if it was started with --control",
        )?;
        if let Some(output) = &mut self.profile {
            let format = profile::format_for(output.path());
            let made = profile::make(&text, None, format, None, TOP)?;
            let written = output.write(&made);
            written.map_err(|error| format!("cannot write {}: {error}", output.path().display()))?;
        }
        if self.options.leaks {
            let list = profile::make(&text, None, Format::Leaks, None, TOP)?;
            let _ = io::stderr().write_all(&list);
        }
        Ok(())
    }

    /// The profile that the program wrote at its end, or the last that it kept.
    fn profile_of(&self, pid: u32) -> Option<String> {
        let path = self.dir.path().join(format!("{pid}.heap"));
        let is_whole = |text: &String| Raw::parse(text).is_ok_and(|raw| raw.damage.is_none());
        // A link that somebody put there is not followed.
        let is_file = std::fs::symlink_metadata(&path).is_ok_and(|about| about.is_file());
        let at_end = is_file.then(|| std::fs::read_to_string(&path).ok()).flatten();
        if at_end.as_ref().is_some_and(is_whole) {
            return at_end;
        }
        let text =
            |contents: io::Result<Vec<u8>>| contents.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let kept = self.dir.kept("heap").into_iter().filter(|(of, _)| *of == path);
        let Some(last) = kept.filter_map(|(_, contents)| text(contents).filter(is_whole)).last() else {
            return at_end;
        };
        let unsearched = if self.options.leaks { "; lost blocks were not looked for" } else { "" };
        complain(&format!(
            "the program did not end in an orderly way: the profile is the last that it kept, as a rule less than two \
             seconds old{unsearched}"
        ));
        Some(last)
    }

    /// Writes the report; a failure is told but does not change the program's exit code.
    fn write(&mut self, report: &Report) {
        let to_terminal = self.output.is_none() && io::stderr().is_terminal();
        let paint = report::text::Paint { on: to_terminal && colours_wanted() };
        let text = if self.options.json {
            report::json::render(report)
        } else {
            report::text::render(report, paint)
        };
        let written = match &mut self.output {
            Some(output) => output.write(text.as_bytes()),
            None if self.options.json => io::stderr().write_all(text.as_bytes()),
            None => io::stderr().write_all(format!("\n{text}").as_bytes()),
        };
        if let Err(error) = written {
            complain(&format!("cannot write the report: {error}"));
        }
    }
}

/// A file without a first line that names an interpreter is a shell script, as `execvp` has it.
pub fn by_shell(command: &OsStr, program: Option<&Path>, arguments: &[OsString]) -> Command {
    let mut shell = Command::new("/bin/sh");
    let file = program.unwrap_or(Path::new(command));
    // A path that begins with a hyphen would be taken for an option.
    let file = if file.is_relative() { Path::new(".").join(file) } else { file.to_path_buf() };
    shell.arg(file).args(arguments);
    shell
}

/// Says why the program could not be started; the exit code for it, as shells have it.
pub fn cannot_start(command: &OsStr, program: Option<&Path>, error: &io::Error) -> ExitCode {
    let name = command.to_string_lossy();
    let (code, why) = match error.kind() {
        io::ErrorKind::NotFound if program.is_some() => {
            (126, "its interpreter (the loader, or what its first line names) was not found".into())
        }
        io::ErrorKind::NotFound if name.contains('/') => (127, "there is no such file".into()),
        io::ErrorKind::NotFound => (127, "it is not in any directory of PATH".into()),
        io::ErrorKind::PermissionDenied => (126, "it is not executable, or access is denied".into()),
        _ => (126, error.to_string()),
    };
    complain(&format!("cannot start {name}: {why}"));
    ExitCode::from(code)
}

/// See <https://no-color.org>: any value that is not empty means no.
fn colours_wanted() -> bool {
    let no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !no && !dumb
}

/// The library under a name that `LD_PRELOAD` can hold: the loader splits it at colons and spaces.
pub fn preloadable(library: PathBuf, dir: &PrivateDir) -> Result<PathBuf, String> {
    let splits = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
    if !library.as_os_str().as_bytes().iter().any(splits) {
        return Ok(library);
    }
    let link = dir.own_file(library::FILE);
    std::os::unix::fs::symlink(&library, &link)
        .map_err(|error| format!("cannot link {} to {}: {error}", link.display(), library.display()))?;
    Ok(link)
}

/// The library in front of what is preloaded already.
pub fn preload(library: &Path, inherited: Option<OsString>) -> OsString {
    let mut list = library.as_os_str().to_owned();
    if let Some(inherited) = inherited.filter(|list| !list.is_empty()) {
        list.push(OsStr::new(":"));
        list.push(inherited);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_preloaded_stays() {
        let library = Path::new("/lib/a.so");
        assert_eq!(preload(library, None), "/lib/a.so");
        assert_eq!(preload(library, Some("".into())), "/lib/a.so");
        assert_eq!(preload(library, Some("b.so c.so".into())), "/lib/a.so:b.so c.so");
    }

    #[test]
    fn a_path_that_the_loader_would_split_is_linked() {
        let dir = PrivateDir::new().unwrap();
        let plain = PathBuf::from("/lib/a.so");
        assert_eq!(preloadable(plain.clone(), &dir).unwrap(), plain);
        let link = preloadable(PathBuf::from("/my files/a.so"), &dir).unwrap();
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("/my files/a.so"));
        assert!(!link.to_str().unwrap().contains(' '));
    }
}
