//! `freestone record`: runs a program and writes every call of it for memory to a trace.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use freestone_trace::{Packed, Trace, TraceError, pack};
use lexopt::prelude::*;

use crate::args::{Command, Topic, text, unknown};
use crate::conf::{self, Conf};
use crate::os::{self, End};
use crate::output::Output;
use crate::private_dir::{self, PrivateDir};
use crate::quantity::{bytes, count, counted, time};
use crate::run::{OWN_FAILURE, by_shell, cannot_start, preload, preloadable};
use crate::{complain, library, program, shown};

/// The ending of the files that the library writes, one a process.
const PART: &str = "part";
/// What is written.
const WHAT: &str = "the trace";

/// The options of `freestone record`.
#[derive(Debug, Default)]
pub struct Options {
    output: Option<PathBuf>,
    library: Option<PathBuf>,
    conf: Conf,
    quiet: bool,
    recover: Option<PathBuf>,
    command: OsString,
    arguments: Vec<OsString>,
}

/// Understands the words behind `record`.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, String> {
    const OPTIONS: [&str; 7] = ["output", "lib", "conf", "stacks", "quiet", "recover", "help"];
    let mut options = Options::default();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Short('o') | Long("output") => options.output = Some(parser.value().map_err(text)?.into()),
            Long("lib") => options.library = Some(parser.value().map_err(text)?.into()),
            Long("conf") => {
                let conf = shown(&parser.value().map_err(text)?);
                options.conf.add(&conf).map_err(|message| format!("--conf: {message}"))?;
                if options.conf.get("record").is_some() {
                    return Err(
                        "--conf: freestone record sets record itself; name the trace with --output".into()
                    );
                }
            }
            Long("stacks") => {
                let every = shown(&parser.value().map_err(text)?);
                options.conf.add(&format!("record_sample:{every}")).map_err(|_| {
                    format!("--stacks takes a number: one call in so many has its stack in the trace; 1: all, 0: none; not '{every}'")
                })?;
            }
            Short('q') | Long("quiet") => options.quiet = true,
            Long("recover") => options.recover = Some(parser.value().map_err(text)?.into()),
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Record)),
            Value(command) if options.recover.is_none() => {
                options.command = command;
                options.arguments = parser.raw_args().map_err(text)?.collect();
                break;
            }
            other => return Err(unknown(other, "freestone record", &OPTIONS)),
        }
    }
    match (options.command.is_empty(), &options.recover, &options.output) {
        (true, None, _) => Err("freestone record: which program? Say `freestone record -- CMD ARGS…`".into()),
        (_, Some(_), None) => Err("freestone record --recover needs --output FILE for the trace".into()),
        _ => Ok(Command::Record(options)),
    }
}

/// Records; the exit code is the program's.
pub fn run(options: Options) -> ExitCode {
    let done = match &options.recover {
        Some(directory) => recover(directory, &options).map(|()| ExitCode::SUCCESS),
        None => record(&options),
    };
    done.unwrap_or_else(|message| {
        complain(&message);
        ExitCode::from(OWN_FAILURE)
    })
}

fn record(options: &Options) -> Result<ExitCode, String> {
    let library = library::find(options.library.as_deref())?;
    let output = options.output.clone().unwrap_or_else(|| default_output(&options.command));
    // Before the program runs: a trace that cannot be written is known now.
    let mut output = Output::open(&output, WHAT)?;
    let dir = PrivateDir::beside(&folder(output.path()))
        .map_err(|error| format!("cannot make a directory for the recording: {error}"))?;
    let library = preloadable(library, &dir)?;
    let mut conf = Conf::default();
    if let Some(inherited) = std::env::var_os(conf::VARIABLE) {
        conf.add(&shown(&inherited)).map_err(|message| format!("{}: {message}", conf::VARIABLE))?;
    }
    conf.add(&options.conf.text())?;
    conf.set("record", &dir.path().to_string_lossy());
    let program = program::resolve(&options.command);
    let environment = |command: &mut std::process::Command| {
        command.env("LD_PRELOAD", preload(&library, std::env::var_os("LD_PRELOAD")));
        command.env(conf::VARIABLE, conf.text());
    };
    let started = Instant::now();
    let mut command = std::process::Command::new(&options.command);
    command.args(&options.arguments);
    environment(&mut command);
    let outcome = match os::run(&mut command, |_| {}) {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            let mut command = by_shell(&options.command, program.as_deref(), &options.arguments);
            environment(&mut command);
            os::run(&mut command, |_| {})
        }
        outcome => outcome,
    };
    let wall = started.elapsed();
    let end = match outcome {
        Ok((end, _)) => end,
        Err(error) => return Ok(cannot_start(&options.command, program.as_deref(), &error)),
    };
    match gather(dir.path(), &mut output) {
        Ok(packed) if packed.processes == 0 => {
            complain(&format!("nothing was recorded. {}", program::why_not_loaded(program.as_deref(), end)));
        }
        Ok(packed) => {
            if !options.quiet {
                let took = format!(" in {}", time(wall));
                complain(&packed.told(output.path(), &took));
            }
        }
        Err(message) => {
            let kept = dir.keep();
            complain(&format!(
                "cannot write the trace to {}: {message}. The recording is kept in {}; \
                 `freestone record --recover {} --output FILE` makes a trace of it",
                output.path().display(),
                kept.display(),
                kept.display(),
            ));
            return Ok(exit(end));
        }
    }
    // The end may be by a signal, which runs no destructors.
    drop((output, dir));
    Ok(exit(end))
}

fn exit(end: End) -> ExitCode {
    match end {
        End::Exit(code) => ExitCode::from(code as u8),
        End::Signal(signal) => {
            os::die_by(signal);
            ExitCode::from((128 + signal) as u8)
        }
    }
}

fn recover(directory: &Path, options: &Options) -> Result<(), String> {
    let parts = private_dir::files(directory, PART)
        .map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
    if parts.is_empty() {
        return Err(format!("there is no recording in {}: no file *.{PART}", directory.display()));
    }
    let mut output = Output::open(options.output.as_deref().unwrap_or(Path::new("")), WHAT)?;
    let gathered = gather(directory, &mut output)?;
    if !options.quiet {
        complain(&gathered.told(output.path(), ""));
    }
    Ok(())
}

/// What was gathered from the files of all processes.
#[derive(Default)]
struct Gathered {
    processes: u64,
    events: u64,
    bytes: u64,
    /// Files that are no traces, with what is wrong.
    strange: Vec<String>,
}

impl Gathered {
    fn told(&self, output: &Path, took: &str) -> String {
        let each = self.bytes as f64 / self.events.max(1) as f64;
        let mut text = format!(
            "recorded {} events of {}{took}: {}, {} ({each:.1} bytes each)",
            count(self.events),
            counted(self.processes, "process", "processes"),
            output.display(),
            bytes(self.bytes),
        );
        for strange in &self.strange {
            text.push_str(&format!("\nfreestone: left out {strange}"));
        }
        text
    }
}

/// Packs all parts into one trace, those that began first at its beginning. Where there is none the output is left alone.
fn gather(directory: &Path, output: &mut Output) -> Result<Gathered, String> {
    let mut gathered = Gathered::default();
    let mut traces = Vec::new();
    let parts = private_dir::files(directory, PART).map_err(|error| error.to_string())?;
    for part in parts {
        match Trace::open(&part) {
            Ok(trace) => traces.push(trace),
            // Created, and then the process was killed.
            Err(TraceError::Empty | TraceError::NoTrace(_)) => {}
            Err(error) => gathered.strange.push(format!("{}: {error}", part.display())),
        }
    }
    traces.sort_by_key(|trace| trace.processes().first().map_or(0, |process| process.started_ns));
    if traces.is_empty() {
        return Ok(gathered);
    }
    let mut out = BufWriter::new(output.begin().map_err(|error| error.to_string())?);
    for trace in &traces {
        let Packed { bytes, events } = pack(trace, &mut out).map_err(|error| error.to_string())?;
        gathered.processes += 1;
        gathered.events += events;
        gathered.bytes += bytes;
    }
    out.flush().map_err(|error| error.to_string())?;
    Ok(gathered)
}

/// `CMD.trace` in the current directory.
fn default_output(command: &OsStr) -> PathBuf {
    let name = Path::new(command).file_name().unwrap_or(OsStr::new("program"));
    let mut name = name.to_os_string();
    name.push(".trace");
    PathBuf::from(name)
}

/// The folder that a file is in, as an absolute path where that can be had.
fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let absolute: io::Result<PathBuf> = parent.canonicalize();
    absolute.unwrap_or_else(|_| parent.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_named_after_the_program() {
        assert_eq!(default_output(OsStr::new("/usr/bin/gcc")), Path::new("gcc.trace"));
        assert!(folder(Path::new("x.trace")).is_absolute());
        assert_eq!(folder(Path::new("/x.trace")), Path::new("/"));
    }

    #[test]
    fn mistakes_are_told() {
        let parsed = |line: &str| parse(lexopt::Parser::from_args(line.split_whitespace())).unwrap_err();
        assert!(parsed("").contains("which program?"));
        assert!(parsed("--recover d").contains("needs --output"));
        assert!(parsed("--conf record:/x ls").contains("sets record itself"));
        assert!(parsed("--stacks many ls").contains("--stacks takes a number"));
        assert!(parsed("--svg x ls").contains("no option '--svg'"));
    }
}
