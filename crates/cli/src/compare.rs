//! `freestone compare`: a program on several allocators, in turn.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use serde_json::json;

use crate::args::{Command, Topic, text, unknown};
use crate::chart::{Chart, Dots};
use crate::conf::Conf;
use crate::contestants::{self, Contestant};
use crate::os::{self, End};
use crate::output::Results;
use crate::quantity::{bytes, count, counted};
use crate::replay::{Bar, number, seconds, time_in_words, what_if};
use crate::report::text::shortened;
use crate::run::by_shell;
use crate::verdict::{Ratio, Verdict, median, range};
use crate::{complain, program, shown};

/// The options of `freestone compare`.
#[derive(Debug, Default)]
pub struct Options {
    on: Option<String>,
    what_if: Vec<Conf>,
    rounds: usize,
    input: Option<PathBuf>,
    show: bool,
    json: bool,
    svg: Option<PathBuf>,
    output: Option<PathBuf>,
    library: Option<PathBuf>,
    quiet: bool,
    command: OsString,
    arguments: Vec<OsString>,
}

/// Understands the words behind `compare`.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, String> {
    const OPTIONS: [&str; 11] =
        ["on", "what-if", "rounds", "input", "show", "json", "svg", "output", "lib", "quiet", "help"];
    let mut options = Options { rounds: 7, ..Options::default() };
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("on") => options.on = Some(shown(&parser.value().map_err(text)?)),
            Long("what-if") => options.what_if.push(what_if(&shown(&parser.value().map_err(text)?))?),
            Long("rounds") => options.rounds = number("--rounds", &mut parser, 1000)?.max(1),
            Long("input") => options.input = Some(parser.value().map_err(text)?.into()),
            Long("show") => options.show = true,
            Long("json") => options.json = true,
            Long("svg") => options.svg = Some(parser.value().map_err(text)?.into()),
            Short('o') | Long("output") => options.output = Some(parser.value().map_err(text)?.into()),
            Long("lib") => options.library = Some(parser.value().map_err(text)?.into()),
            Short('q') | Long("quiet") => options.quiet = true,
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Compare)),
            Value(command) => {
                options.command = command;
                options.arguments = parser.raw_args().map_err(text)?.collect();
                return Ok(Command::Compare(options));
            }
            other => return Err(unknown(other, "freestone compare", &OPTIONS)),
        }
    }
    Err("freestone compare: which program? Say `freestone compare -- CMD ARGS…`".into())
}

/// What one run cost.
#[derive(Clone, Copy, Debug)]
struct Run {
    wall: f64,
    processor: f64,
    /// Largest resident set of any of its processes.
    peak: f64,
    /// Mean resident set of the first of them.
    mean: f64,
    faults: f64,
    end: End,
}

/// One that took part.
struct Entry {
    contestant: Contestant,
    runs: Vec<Run>,
}

impl Entry {
    fn figures(&self, of: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(of).collect()
    }
}

/// Compares.
pub fn run(options: Options) -> ExitCode {
    match compare(&options) {
        Ok(code) => code,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<ExitCode, String> {
    let mut usual = vec!["freestone", "glibc"];
    usual.extend(contestants::installed());
    let (on, own) = (options.on.as_deref(), options.library.as_deref());
    let chosen = contestants::choose(on, &options.what_if, own, false, &usual)?;
    let mut entries: Vec<Entry> =
        chosen.into_iter().map(|contestant| Entry { contestant, runs: Vec::new() }).collect();
    let results = Results::open(options.svg.as_deref(), options.output.as_deref())?;
    let bar = Bar::new(options.quiet);
    let several = entries.len();
    for round in 0..=options.rounds {
        for place in 0..several {
            let entry = &mut entries[(place + round) % several];
            let what = match round {
                0 => "to warm up".into(),
                _ => format!("round {round} of {}", options.rounds),
            };
            let done = (round * several + place) * 100 / ((options.rounds + 1) * several);
            bar.show(&format!("{}: {what}", entry.contestant.name), Some(done));
            let run = measure(options, &entry.contestant)?;
            if round > 0 {
                entry.runs.push(run);
            }
        }
    }
    bar.clear();
    let text = if options.json { all_figures(options, &entries) } else { table(options, &entries) };
    results.write(|| picture(options, &entries), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// One run.
fn measure(options: &Options, contestant: &Contestant) -> Result<Run, String> {
    let resolved = program::resolve(&options.command);
    let prepare = |command: &mut std::process::Command| -> Result<(), String> {
        contestant.equip(command);
        match &options.input {
            Some(path) => {
                let file =
                    File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                command.stdin(file);
            }
            None => drop(command.stdin(Stdio::null())),
        }
        if !options.show {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Ok(())
    };
    let mut command = std::process::Command::new(&options.command);
    command.args(&options.arguments);
    prepare(&mut command)?;
    let started = Instant::now();
    let (outcome, mean) = match watched(&mut command) {
        (Err(error), _) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            let mut command = by_shell(&options.command, resolved.as_deref(), &options.arguments);
            prepare(&mut command)?;
            watched(&mut command)
        }
        outcome => outcome,
    };
    let wall = started.elapsed().as_secs_f64();
    let (end, usage) =
        outcome.map_err(|error| format!("cannot start {}: {error}", shown(&options.command)))?;
    Ok(Run {
        wall,
        processor: (usage.user + usage.system).as_secs_f64(),
        peak: usage.peak_resident as f64,
        mean,
        faults: (usage.minor_faults + usage.major_faults) as f64,
        end,
    })
}

/// Runs a program and looks at its resident set meanwhile; the mean of what was seen.
fn watched(command: &mut std::process::Command) -> (std::io::Result<(End, os::Usage)>, f64) {
    let (pid, ended, ready) = (AtomicU32::new(0), AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            os::block_signals();
            ready.wait();
            let (mut sum, mut looks) = (0.0, 0.0);
            let mut wait = Duration::from_millis(1);
            while !ended.load(Ordering::Relaxed) {
                std::thread::park_timeout(wait);
                // Closer looks at the beginning, for programs that are soon over.
                wait = (wait * 2).min(Duration::from_millis(10));
                if let Some(bytes) = resident(pid.load(Ordering::Relaxed)) {
                    (sum, looks) = (sum + bytes * wait.as_secs_f64(), looks + wait.as_secs_f64());
                }
            }
            if looks > 0.0 { sum / looks } else { 0.0 }
        });
        ready.wait();
        let outcome = os::run(command, |child| pid.store(child, Ordering::Relaxed));
        ended.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        (outcome, watcher.join().unwrap_or(0.0))
    })
}

/// The resident set of a process, in bytes.
fn resident(pid: u32) -> Option<f64> {
    if pid == 0 {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    Some(text.split(' ').nth(1)?.parse::<f64>().ok()? * 4096.0).filter(|bytes| *bytes > 0.0)
}

fn command_line(options: &Options) -> String {
    let words = std::iter::once(&options.command).chain(&options.arguments);
    shortened(&words.map(shown).collect::<Vec<_>>().join(" "), 100)
}

fn table(options: &Options, entries: &[Entry]) -> String {
    let rounds = counted(options.rounds as u64, "round", "rounds");
    let mut text = format!("{}, {rounds} after one to warm up\n\n", command_line(options));
    let width = entries.iter().map(|entry| entry.contestant.name.chars().count()).max().unwrap_or(0).max(9);
    text.push_str(&format!(
        "{:<width$}  {:>9}  {:>21}  {:>9}  {:>9}  {:>9}  {:>9}\n",
        "allocator", "time", "least to most", "processor", "peak", "mean", "faults"
    ));
    for entry in entries {
        let walls = entry.figures(|run| run.wall);
        let (least, most) = range(&walls);
        let of = |figure: fn(&Run) -> f64| median(&entry.figures(figure));
        // A run that was over before anybody looked has none.
        let means: Vec<f64> = entry.figures(|run| run.mean).into_iter().filter(|&mean| mean > 0.0).collect();
        text.push_str(&format!(
            "{:<width$}  {:>9}  {:>21}  {:>9}  {:>9}  {:>9}  {:>9}",
            entry.contestant.name,
            seconds(median(&walls)),
            format!("{} to {}", seconds(least), seconds(most)),
            seconds(of(|run| run.processor)),
            bytes(of(|run| run.peak) as u64),
            if means.is_empty() { "-".into() } else { bytes(median(&means) as u64) },
            count(of(|run| run.faults) as u64),
        ));
        if let Some(run) = entry.runs.iter().find(|run| run.end != End::Exit(0)) {
            text.push_str(&match run.end {
                End::Exit(code) => format!("  exit code {code}"),
                End::Signal(signal) => format!("  ended by {}", os::signal_name(signal)),
            });
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&words(entries));
    let Some(path) = program::resolve(&options.command) else { return text };
    if let Some(reason) = program::never_loads(&path) {
        text.push_str(&format!("{reason} So all of its runs were on one and the same.\n"));
    } else if let Some(name) = program::built_in(&path) {
        text.push_str(&format!(
            "{} seems to have {name} built in. If it asks that for its memory, all of its runs were on one and the same.\n",
            path.display()
        ));
    }
    text
}

/// Each against the first, and whether it is worth a change.
fn words(entries: &[Entry]) -> String {
    let Some((first, others)) = entries.split_first() else { return String::new() };
    let mut text = String::new();
    let base = &first.contestant.name;
    for other in others {
        let time = Ratio::of(&other.figures(|run| run.wall), &first.figures(|run| run.wall));
        let peak = Ratio::of(&other.figures(|run| run.peak), &first.figures(|run| run.peak));
        let memory = match peak.verdict() {
            Verdict::Less => format!("{:.0} % less memory at the peak", (1.0 - peak.median) * 100.0),
            Verdict::More if peak.median < 10.0 => {
                format!("{:.0} % more memory at the peak", (peak.median - 1.0) * 100.0)
            }
            Verdict::More => format!("{:.0} times the memory at the peak", peak.median),
            Verdict::Noise => "no difference in memory beyond noise".into(),
            Verdict::TooFew => format!("{:.2} times the memory at the peak", peak.median),
        };
        text.push_str(&format!(
            "{} against {base}: {}, {memory}.\n",
            other.contestant.name,
            time_in_words(time)
        ));
    }
    let ends: Vec<End> = entries.iter().flat_map(|entry| entry.runs.iter().map(|run| run.end)).collect();
    if ends.windows(2).any(|pair| pair[0] != pair[1]) {
        text.push_str("The runs did not all end alike: what they cost may not be comparable.\n");
    }
    text
}

fn all_figures(options: &Options, entries: &[Entry]) -> String {
    let first = entries.first();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let ratio = |of: fn(&Run) -> f64| {
                Ratio::of(&entry.figures(of), &first.map(|first| first.figures(of)).unwrap_or_default())
            };
            let (time, peak) = (ratio(|run| run.wall), ratio(|run| run.peak));
            json!({
                "allocator": entry.contestant.name,
                "options": entry.contestant.conf.text(),
                "time_s": entry.figures(|run| run.wall),
                "processor_s": entry.figures(|run| run.processor),
                "peak_resident": entry.figures(|run| run.peak),
                "mean_resident": entry.figures(|run| run.mean),
                "faults": entry.figures(|run| run.faults),
                "time_to_first": time,
                "time_verdict": time.verdict(),
                "peak_to_first": peak,
                "peak_verdict": peak.verdict(),
            })
        })
        .collect();
    let command: Vec<String> =
        std::iter::once(&options.command).chain(&options.arguments).map(shown).collect();
    format!("{:#}\n", json!({ "command": command, "rounds": options.rounds, "allocators": rows }))
}

fn picture(options: &Options, entries: &[Entry]) -> String {
    let rows = |of: fn(&Run) -> f64| {
        entries.iter().map(|entry| (entry.contestant.name.clone(), entry.figures(of))).collect()
    };
    let mut chart = Chart::new(command_line(options));
    chart.dots(Dots { title: "Time".into(), show: seconds, rows: rows(|run| run.wall) });
    let memory = |value: f64| bytes(value as u64);
    chart.dots(Dots { title: "Most memory resident".into(), show: memory, rows: rows(|run| run.peak) });
    chart.dots(Dots { title: "Mean memory resident".into(), show: memory, rows: rows(|run| run.mean) });
    chart.finish()
}
