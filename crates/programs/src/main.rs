//! The command `freestone-programs`: list, run, packages, table.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use freestone_programs::job::{Job, Scale};
use freestone_programs::peers::{self, Peer};
use freestone_programs::session::{Bench, Session};
use freestone_programs::setting::Setting;
use freestone_programs::table::{self, Plan};
use freestone_programs::{jobs, library};
use lexopt::prelude::*;

/// How the table calls the library under test.
const FREESTONE: &str = "freestone";

const HELP: &str = "\
Real programs on Freestone, compared with a run without it.

usage: freestone-programs COMMAND

  list                 the jobs, and what each one does
  packages             the Debian packages that the jobs and the table need, for
                         apt-get install -y --no-install-recommends $(freestone-programs packages)
  run [NAME...]        run jobs (default: all) plain and preloaded, and compare
      --lib PATH         the library to preload (default: $FREESTONE_LIB, or a release build)
      --full             the long form: gigabytes and minutes
  table                time and peak resident set of programs under several allocators
      --rounds N         rounds of the interleaved run (default 7)
      --only NAME,...    these jobs instead of those marked * by `list`
      --lib NAME=PATH    one more library to compare; may be given several times
      --without NAME     leave one of the allocators out; may be given several times
      --json PATH        also write every sample and the machine as JSON
      --full             the long form
";

fn main() -> ExitCode {
    match command() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("freestone-programs: {error}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = lexopt::Parser::from_env();
    let command = match arguments.next()? {
        Some(Value(name)) => name.string()?,
        None | Some(Short('h') | Long("help")) => {
            print!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "list" => no_more(arguments).map(|()| list()),
        "packages" => no_more(arguments).map(|()| packages()),
        "run" => run(arguments),
        "table" => compare(arguments),
        other => Err(format!("there is no command {other:?}: it may be list, packages, run or table").into()),
    }
}

fn no_more(mut arguments: lexopt::Parser) -> Result<(), Box<dyn Error>> {
    match arguments.next()? {
        Some(argument) => Err(argument.unexpected().into()),
        None => Ok(()),
    }
}

fn list() -> ExitCode {
    for job in jobs::all() {
        let mark = if job.tabled { '*' } else { ' ' };
        println!("{mark} {:<34} {}", job.name, job.about);
        let missing = job.missing();
        if !missing.is_empty() {
            println!("  {:<34} not installed: {}", "", missing.join(" "));
        }
    }
    println!("\nThose marked * are in the table by default.");
    ExitCode::SUCCESS
}

fn packages() -> ExitCode {
    let needs = jobs::all().into_iter().flat_map(|job| job.needs).map(|need| need.package());
    let all: BTreeSet<String> = needs.chain(peers::packages().map(String::from)).collect();
    println!("{}", all.into_iter().collect::<Vec<_>>().join(" "));
    ExitCode::SUCCESS
}

fn find(name: &str) -> Result<&'static Job, String> {
    let known = || jobs::all().iter().map(|job| job.name).collect::<Vec<_>>().join(", ");
    jobs::find(name).ok_or_else(|| format!("there is no job {name:?}; there are: {}", known()))
}

fn run(mut arguments: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let mut chosen = Vec::new();
    let mut library = None;
    let mut scale = Scale::from_environment()?;
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => chosen.push(find(&name.string()?)?),
            Long("lib") => library = Some(library::checked(Path::new(&arguments.value()?))?),
            Long("full") => scale = Scale::Full,
            other => return Err(other.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen = jobs::all();
    }
    let library = library.map_or_else(library::find_or_build, Ok)?;
    let session = Session::new(scale)?;
    let settings = Setting::of_library(&session.adopt(&library)?);
    let (mut failed, mut skipped) = (0, 0);
    for job in chosen {
        let missing = job.missing();
        if !missing.is_empty() {
            println!("{:<34} skipped: apt-get install {}", job.name, missing.join(" "));
            skipped += 1;
            continue;
        }
        failed += run_job(&session.bench(job), &settings);
    }
    println!("\n{failed} failed, {skipped} skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one job in all settings; the number of failures.
fn run_job(bench: &Bench, settings: &[Setting]) -> usize {
    let name = bench.job().name;
    let mut failed = 0;
    for setting in settings {
        let start = Instant::now();
        match bench.check(setting) {
            Ok(run) => {
                let (wall, peak) = (run.meter.wall.as_secs_f64(), run.meter.peak_kib as f64 / 1024.0);
                println!("{name:<34} {:<10} ok       {wall:7.2} s {peak:8.1} MiB", setting.name);
            }
            Err(failure) => {
                let seconds = start.elapsed().as_secs_f64();
                println!("{name:<34} {:<10} FAILED   {seconds:7.2} s", setting.name);
                println!("{failure}");
                failed += 1;
            }
        }
    }
    failed
}

fn compare(mut arguments: lexopt::Parser) -> Result<ExitCode, Box<dyn Error>> {
    let mut rounds = 7;
    let mut chosen = Vec::new();
    let mut added = Vec::new();
    let mut without = Vec::new();
    let mut json = None;
    let mut scale = Scale::from_environment()?;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => rounds = arguments.value()?.parse_with(positive)?,
            Long("only") => {
                for name in arguments.value()?.string()?.split(',') {
                    chosen.push(find(name)?);
                }
            }
            Long("lib") => added.push(named_library(arguments.value()?)?),
            Long("without") => without.push(arguments.value()?.string()?),
            Long("json") => json = Some(PathBuf::from(arguments.value()?)),
            Long("full") => scale = Scale::Full,
            other => return Err(other.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen = jobs::all().into_iter().filter(|job| job.tabled).collect();
    }
    let missing: BTreeSet<String> = chosen.iter().flat_map(|job| job.missing()).collect();
    chosen.retain(|job| job.missing().is_empty());
    if !missing.is_empty() {
        let missing = missing.into_iter().collect::<Vec<_>>().join(" ");
        eprintln!("Some programs are left out; to have them: apt-get install {missing}");
    }
    let peers = contestants(added, &without)?;
    let start = Instant::now();
    let table = table::measure(Plan { jobs: chosen, peers, rounds, scale }, |line| eprintln!("{line}"))?;
    println!("{}", table.markdown());
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&table.json(start.elapsed()))?;
        std::fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(if table.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The installed peers, Freestone, and what was added, less what is left out.
fn contestants(added: Vec<Peer>, without: &[String]) -> Result<Vec<Peer>, Box<dyn Error>> {
    let (mut peers, missing) = peers::installed();
    let added_names = added.iter().map(|peer| peer.name.as_str());
    // glibc, the first, stays: it is what the others are compared with.
    let names: Vec<&str> = peers.iter().skip(1).map(|peer| peer.name.as_str()).chain(added_names).collect();
    let unknown = |left: &&String| !names.contains(&left.as_str()) && *left != FREESTONE;
    if let Some(left) = without.iter().find(unknown) {
        return Err(format!("--without {left}: it may be {FREESTONE}, {}", names.join(", ")).into());
    }
    if !missing.is_empty() {
        eprintln!("Some allocators are left out; to have them: apt-get install {}", missing.join(" "));
    }
    if !without.iter().any(|left| left == FREESTONE) {
        peers.push(Peer::new(FREESTONE, &library::find_or_build()?));
    }
    peers.extend(added);
    peers.retain(|peer| !without.contains(&peer.name));
    Ok(peers)
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number of rounds from 1 up".into()),
        Ok(number) => Ok(number),
    }
}

fn named_library(argument: OsString) -> Result<Peer, Box<dyn Error>> {
    let text = argument.string()?;
    let Some((name, path)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(format!("--lib {text}: here it must be NAME=PATH").into());
    };
    Ok(Peer::new(name, &library::checked(Path::new(path))?))
}
