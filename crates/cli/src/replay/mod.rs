//! `freestone replay`: the calls of a trace on other allocators.
//!
//! The trace is turned into a [plan](plan) once; a [player](player), which is this command again in a process of its own with the
//! allocator preloaded, makes its calls.

mod backend;
mod plan;
mod player;
mod present;

use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use freestone_trace::{Call, Ending, Trace};
use lexopt::prelude::*;

pub use backend::KIT;
use player::{Performance, Played};
pub use present::time_in_words;

use crate::args::{Command, Topic, text, unknown};
use crate::conf::Conf;
use crate::contestants::{self, Contestant, Way};
use crate::output::Results;
use crate::private_dir::PrivateDir;
use crate::quantity::{bytes, count, counted, time};
use crate::{complain, print, shown};

/// The first argument that makes this command a player. Nobody is meant to type it.
pub const PLAYER: &str = "play-a-plan";

/// Changes of thread beyond which an exact run would take too long: then one thread makes all calls in it.
const MOST_CHANGES: usize = 1_000_000;

/// The options of `freestone replay`.
#[derive(Debug)]
pub struct Options {
    trace: PathBuf,
    on: Option<String>,
    what_if: Vec<Conf>,
    rounds: usize,
    process: Option<usize>,
    list: bool,
    paced: bool,
    json: bool,
    svg: Option<PathBuf>,
    output: Option<PathBuf>,
    library: Option<PathBuf>,
    quiet: bool,
}

/// Understands the words behind `replay`.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, String> {
    const OPTIONS: [&str; 12] = [
        "on", "what-if", "rounds", "process", "list", "paced", "json", "svg", "output", "lib", "quiet",
        "help",
    ];
    let mut options = Options {
        trace: PathBuf::new(),
        on: None,
        what_if: Vec::new(),
        rounds: 5,
        process: None,
        list: false,
        paced: false,
        json: false,
        svg: None,
        output: None,
        library: None,
        quiet: false,
    };
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("on") => options.on = Some(shown(&parser.value().map_err(text)?)),
            Long("what-if") => options.what_if.push(what_if(&shown(&parser.value().map_err(text)?))?),
            Long("rounds") => options.rounds = number("--rounds", &mut parser, 1000)?,
            Long("process") => options.process = Some(number("--process", &mut parser, 1_000_000)?),
            Long("list") => options.list = true,
            Long("paced") => options.paced = true,
            Long("json") => options.json = true,
            Long("svg") => options.svg = Some(parser.value().map_err(text)?.into()),
            Short('o') | Long("output") => options.output = Some(parser.value().map_err(text)?.into()),
            Long("lib") => options.library = Some(parser.value().map_err(text)?.into()),
            Short('q') | Long("quiet") => options.quiet = true,
            Short('h') | Long("help") => return Ok(Command::Help(Topic::Replay)),
            Value(trace) if options.trace.as_os_str().is_empty() => options.trace = trace.into(),
            other => return Err(unknown(other, "freestone replay", &OPTIONS)),
        }
    }
    if options.trace.as_os_str().is_empty() {
        return Err("freestone replay: which trace? `freestone record -- CMD ARGS…` makes one".into());
    }
    Ok(Command::Replay(Box::new(options)))
}

/// Options of the library as they are given to `--what-if`.
pub fn what_if(list: &str) -> Result<Conf, String> {
    let mut conf = Conf::default();
    conf.add(list).map_err(|message| format!("--what-if: {message}"))?;
    if conf.text().is_empty() {
        return Err("--what-if takes options of the library, KEY:VALUE separated by commas".into());
    }
    Ok(conf)
}

/// The value of an option that is a number up to `most`.
pub fn number(option: &str, parser: &mut lexopt::Parser, most: usize) -> Result<usize, String> {
    let value = shown(&parser.value().map_err(text)?);
    value
        .parse()
        .ok()
        .filter(|&number| number <= most)
        .ok_or(format!("{option} cannot be '{value}'. It takes a number up to {most}"))
}

/// What a player is told.
#[derive(Debug, Default)]
pub struct Orders {
    plan: PathBuf,
    exact: bool,
    /// One of the kit's allocators.
    kit: Option<String>,
    /// The library that must have been preloaded.
    expect: Option<PathBuf>,
}

/// Understands the words behind [`PLAYER`].
pub fn parse_orders(mut parser: lexopt::Parser) -> Result<Command, String> {
    let mut orders = Orders::default();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("exact") => orders.exact = true,
            Long("kit") => orders.kit = Some(shown(&parser.value().map_err(text)?)),
            Long("expect") => orders.expect = Some(parser.value().map_err(text)?.into()),
            Value(plan) => orders.plan = plan.into(),
            other => return Err(unknown(other, PLAYER, &["exact", "kit", "expect"])),
        }
    }
    Ok(Command::Player(orders))
}

/// Plays, in a process of its own.
pub fn play(orders: &Orders) -> ExitCode {
    let performance = Performance { plan: &orders.plan, exact: orders.exact };
    let played = match &orders.kit {
        Some(name) if name == backend::NOTHING => {
            backend::Nothing::new().and_then(|nothing| backend::With::with(performance, &nothing))
        }
        Some(name) => {
            backend::with_kit(name, performance).unwrap_or_else(|| Err(format!("the kit has no {name}")))
        }
        None => check_loaded(orders.expect.as_deref())
            .and_then(|()| backend::With::with(performance, &backend::C)),
    };
    let line = played.and_then(|played| serde_json::to_string(&played).map_err(|error| error.to_string()));
    match line {
        Ok(line) => {
            print(&format!("{line}\n"));
            ExitCode::SUCCESS
        }
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// Whether the loader has loaded the library that it was to preload: it goes on where it cannot.
fn check_loaded(library: Option<&Path>) -> Result<(), String> {
    let Some(library) = library else { return Ok(()) };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    if maps.lines().any(|line| line.ends_with(&*library.to_string_lossy())) {
        return Ok(());
    }
    Err(format!("the loader did not load {}", library.display()))
}

/// Replays.
pub fn run(options: Options) -> ExitCode {
    match replay(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

/// What the trace is, for the head of the result.
struct Original {
    trace: String,
    process: String,
    threads: usize,
    calls: u64,
    seconds: f64,
    peak_live: u64,
    /// What the timed runs of a player gave whose allocator costs nothing.
    own: Vec<Played>,
    /// How the trace ends, unless it is whole, and what else there is to say.
    remarks: Vec<String>,
}

/// One that took part, and what its runs gave.
struct Entry {
    contestant: Contestant,
    /// The exact run.
    exact: Option<Played>,
    /// The timed runs.
    timed: Vec<Played>,
    /// Why it is not there, or not in all rounds.
    failure: Option<String>,
}

fn replay(options: &Options) -> Result<(), String> {
    let trace =
        Trace::open(&options.trace).map_err(|error| format!("{}: {error}", options.trace.display()))?;
    if options.list {
        print(&list(&trace)?);
        return Ok(());
    }
    let usual = ["freestone", "glibc"];
    let chosen = contestants::choose(
        options.on.as_deref(),
        &options.what_if,
        options.library.as_deref(),
        true,
        &usual,
    )?;
    let process = options.process.unwrap_or_else(|| largest(&trace));
    let results = Results::open(options.svg.as_deref(), options.output.as_deref())?;
    let dir = PrivateDir::new().map_err(|error| format!("cannot make a temporary directory: {error}"))?;
    let bar = Bar::new(options.quiet);
    let (mut original, exact, free) = plans(options, &trace, process, &dir, &bar)?;
    drop(trace);
    let mut entries: Vec<Entry> = chosen
        .into_iter()
        .map(|contestant| Entry { contestant, exact: None, timed: Vec::new(), failure: None })
        .collect();
    for entry in &mut entries {
        match perform(&exact, true, &entry.contestant, &bar, "memory") {
            Ok(played) => entry.exact = Some(played),
            Err(message) => entry.failure = Some(message),
        }
    }
    let several = entries.len();
    let nothing = Contestant {
        name: "the player itself".into(),
        way: Way::Kit(backend::NOTHING.into()),
        conf: Conf::default(),
    };
    for round in 0..options.rounds {
        let what = format!("round {} of {}", round + 1, options.rounds);
        // Another begins in each round.
        for place in 0..several {
            let entry = &mut entries[(place + round) % several];
            if entry.failure.is_some() {
                continue;
            }
            match perform(&free, false, &entry.contestant, &bar, &what) {
                Ok(played) => entry.timed.push(played),
                Err(message) => entry.failure = Some(message),
            }
        }
        original.own.extend(perform(&free, false, &nothing, &bar, &what));
    }
    bar.clear();
    let text =
        if options.json { present::json(&original, &entries) } else { present::table(&original, &entries) };
    results.write(|| present::picture(&original, &entries), &text)?;
    if entries.iter().all(|entry| entry.failure.is_some()) {
        return Err("no allocator could play the trace".into());
    }
    Ok(())
}

/// The process with the longest record.
fn largest(trace: &Trace) -> usize {
    let sizes = trace.processes().iter().enumerate().map(|(place, process)| (process.bytes, place));
    sizes.max_by_key(|&(bytes, place)| (bytes, std::cmp::Reverse(place))).map_or(0, |(_, place)| place)
}

fn list(trace: &Trace) -> Result<String, String> {
    let mut text = String::new();
    for (place, process) in trace.processes().iter().enumerate() {
        let mut calls = trace.calls(place).map_err(|error| error.to_string())?;
        let is_call = |call| !matches!(call, Call::Stack | Call::ThreadStart { .. });
        let made = calls.by_ref().filter(|timed| is_call(timed.call)).count() as u64;
        let command = match process.command.is_empty() {
            true => process.name(),
            false => process.command.join(" ").trim_end().to_string(),
        };
        let command: String = command.chars().take(100).collect();
        text.push_str(&format!(
            "{place:>3}  process {:<8} {:>13} calls, at most {} live  {command}\n",
            process.pid,
            count(made),
            bytes(calls.blocks().peak_bytes()),
        ));
        let ending = calls.ending();
        if !ending.is_whole() {
            text.push_str(&format!("     {ending}\n"));
        }
    }
    Ok(text)
}

/// Writes the plans for exact and for free playing, which may be the same.
fn plans(
    options: &Options,
    trace: &Trace,
    process: usize,
    dir: &PrivateDir,
    bar: &Bar,
) -> Result<(Original, PathBuf, PathBuf), String> {
    let about = trace.processes().get(process);
    let name = about.map_or(String::new(), |process| process.name());
    let read = |paced, merge| {
        let mut calls = trace.calls(process).map_err(|error| error.to_string())?;
        let mut last = 0;
        let plan = plan::Plan::new(&mut calls, paced, merge, |number| {
            last = number;
            if number.is_multiple_of(1 << 18) {
                bar.show(&format!("reading the trace: {} calls", count(number)), None);
            }
        });
        match calls.take_error() {
            Some(error) => Err(error.to_string()),
            None => Ok((plan, calls.ending(), calls.blocks().unknown(), calls.blocks().doubled())),
        }
    };
    let write = |plan: &plan::Plan, name: &str| {
        let path = dir.own_file(name);
        let told = |error: std::io::Error| format!("cannot write the plan to {}: {error}", path.display());
        let mut out = BufWriter::new(std::fs::File::create(&path).map_err(told)?);
        plan.write(&mut out).and_then(|()| out.flush()).map_err(told)?;
        Ok::<PathBuf, String>(path)
    };
    let (plan, ending, unknown, doubled) = read(false, false)?;
    if plan.call_count() == 0 {
        return Err(format!("process {process} of the trace made no calls; --list lists its processes"));
    }
    let seconds = seconds_of(trace, process)?;
    let mut original = Original {
        trace: options.trace.display().to_string(),
        process: name,
        threads: plan.thread_count(),
        calls: plan.call_count(),
        seconds,
        peak_live: plan.peak_bytes(),
        own: Vec::new(),
        remarks: Vec::new(),
    };
    remark(&mut original.remarks, &plan, &ending, unknown, doubled);
    let free = write(&plan, "free.plan")?;
    let merge = plan.changes() > MOST_CHANGES;
    if merge {
        original.remarks.push(format!(
            "The threads take turns {} times: in the run for memory, one thread makes all calls.",
            count(plan.changes() as u64)
        ));
    }
    drop(plan);
    let exact = if options.paced || merge {
        write(&read(options.paced, merge)?.0, "exact.plan")?
    } else {
        free.clone()
    };
    Ok((original, exact, free))
}

/// How long the process took, from its first call to its last.
fn seconds_of(trace: &Trace, process: usize) -> Result<f64, String> {
    let clock = trace.processes()[process].clock;
    let mut events = trace.events(process).map_err(|error| error.to_string())?;
    let first = events.next().map_or(0, |event| event.ticks);
    let last = events.last().map_or(first, |event| event.ticks);
    Ok(clock.ns(last).saturating_sub(clock.ns(first)) as f64 / 1e9)
}

fn remark(remarks: &mut Vec<String>, plan: &plan::Plan, ending: &Ending, unknown: u64, doubled: u64) {
    if !ending.is_whole() {
        remarks.push(format!("The trace is {ending}."));
    }
    if plan.refused > 0 {
        remarks.push(format!(
            "{} refused to the original {} not made again.",
            counted(plan.refused, "call that was", "calls that were"),
            if plan.refused == 1 { "is" } else { "are" }
        ));
    }
    if unknown + doubled > 0 {
        remarks.push(format!(
            "{} of blocks whose allocation is not in the trace {} left out.",
            counted(unknown + doubled, "call", "calls"),
            if unknown + doubled == 1 { "is" } else { "are" }
        ));
    }
}

/// Has a player make the calls of a plan.
fn perform(plan: &Path, exact: bool, who: &Contestant, bar: &Bar, what: &str) -> Result<Played, String> {
    // Not by its name, under which another version may have been put meanwhile.
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg(PLAYER).arg(plan);
    if exact {
        command.arg("--exact");
    }
    match &who.way {
        Way::Kit(name) => drop(command.args(["--kit", name])),
        Way::Preload(library) => drop(command.arg("--expect").arg(library)),
        Way::None => {}
    }
    who.equip(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("the player did not start: {error}"))?;
    let mut result = None;
    let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    bar.show(&format!("{}: {what}", who.name), Some(0));
    for line in lines.map_while(Result::ok) {
        match line.parse() {
            Ok(percent) => bar.show(&format!("{}: {what}", who.name), Some(percent)),
            Err(_) => result = Some(line),
        }
    }
    let mut said = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        let _ = std::io::Read::read_to_string(&mut pipe, &mut said);
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let said = said.lines().last().unwrap_or_default().trim_start_matches("freestone: ").to_string();
    if !status.success() {
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        return Err(format!("the player ended with {status}{said}"));
    }
    let line = result.ok_or("the player said nothing")?;
    serde_json::from_str(&line).map_err(|error| format!("the player said what cannot be understood: {error}"))
}

/// A line at the bottom of the terminal that says how far it is.
pub struct Bar {
    on: bool,
}

impl Bar {
    /// Shown only where somebody can see it.
    pub fn new(quiet: bool) -> Bar {
        Bar { on: !quiet && std::io::stderr().is_terminal() }
    }

    /// Shows what is being done, and how much of it in percent.
    pub fn show(&self, what: &str, percent: Option<usize>) {
        if self.on {
            let bar = percent.map_or(String::new(), |percent| {
                let full = percent.min(100) / 4;
                format!(" [{}{}] {percent} %", "#".repeat(full), ".".repeat(25 - full))
            });
            let _ = write!(std::io::stderr(), "\r\x1b[K{what}{bar}");
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.on {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Seconds, as they are shown.
pub fn seconds(seconds: f64) -> String {
    time(std::time::Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told() {
        let parsed = |line: &str| parse(lexopt::Parser::from_args(line.split_whitespace())).unwrap_err();
        for (line, expected) in [
            ("", "which trace?"),
            ("a.trace --rounds many", "It takes a number up to 1000"),
            ("a.trace --what-if nothing:1", "--what-if"),
            ("a.trace b.trace", "takes no argument 'b.trace'"),
            ("--onn x", "Did you mean '--on'?"),
        ] {
            let message = parsed(line);
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn the_loader_is_not_believed() {
        assert!(check_loaded(None).is_ok());
        assert!(check_loaded(Some(Path::new("/no/such.so"))).unwrap_err().contains("did not load"));
    }
}
