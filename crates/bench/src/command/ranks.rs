//! `ranks`: does the replay of a program's trace rank allocators as the program itself does?
//!
//! Each row is recorded once, runs under every allocator in interleaved rounds as in `run`, and is then replayed on the same
//! libraries by `freestone replay`, as often and interleaved as well.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use freestone_bench::program;
use serde::Deserialize;

use super::Done;
use super::contestants::{self, FREESTONE, Field, GLIBC, Runner};
use super::options::Options;
use super::overhead::job;
use super::progress::Progress;
use super::rows::Job;
use super::run::Rounds;
use crate::measure::Sample;
use crate::result::ranks::{self, Figure};
use crate::result::table::Style;
use crate::result::{Interface, Role, Row};

/// What is replayed unless told otherwise: a server, a compiler, a service in Rust.
const ROWS: [&str; 3] = ["redis", "gcc", "tokio-service"];

/// Who is ranked, beside Freestone.
const PEERS: [&str; 4] = [GLIBC, "jemalloc", "mimalloc2", "gperftools"];

/// Runs the subcommand.
pub fn main(arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C]);
    options.peers = Some(PEERS.map(String::from).to_vec());
    let (names, json) = options.take_all("ranks", arguments)?;
    if options.interfaces != [Interface::C] {
        return Err("ranks: a trace is replayed by the C interface".into());
    }
    let field = contestants::assemble(&options)?;
    let command = contestants::freestone_command(&options, &field)?;
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    // The peak is that of the largest process: what a client holds meanwhile is in no trace.
    let jobs: Vec<Job> =
        jobs(&names, &options, &field, folder.path())?.into_iter().map(Job::followed).collect();
    let mut traces = Vec::new();
    for job in &jobs {
        eprintln!("recording {}", job.name);
        traces.push(record(job, &command, &field, options.limit, folder.path())?);
    }
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let mut results = rounds.run(false, |cell, sample, _| {
        cell.samples.push(Sample { course: Vec::new(), ..sample });
    })?;
    let mut progress = Progress::new(jobs.len());
    for (row, trace) in results.rows.iter_mut().zip(&traces) {
        progress.show(&format!("replaying {}", row.name));
        replay(row, trace, &command, &field, options.parameters.rounds)?;
        progress.step();
    }
    progress.clear();
    if let Some(path) = &json {
        results.write(path)?;
    }
    print!("{}", ranks::write(&results, Style::of_stdout()));
    Ok(if results.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn jobs(names: &[String], options: &Options, field: &Field, root: &Path) -> Result<Vec<Job>, String> {
    let usual = ROWS.map(String::from);
    let names = if names.is_empty() { &usual } else { names };
    let mut jobs = Vec::new();
    for name in names {
        let found = program::find(name).map(|one| one.name);
        let found = found.or_else(|| freestone_bench::workload::find(name).map(|one| one.name));
        let found =
            found.ok_or_else(|| format!("there is no row {name:?}; `freestone-bench list` shows all"))?;
        jobs.extend(job(&(found, Interface::C), options, &field.bench_c, root));
    }
    if jobs.is_empty() { Err("no row is left to run".into()) } else { Ok(jobs) }
}

/// Runs a row once on Freestone while it records; the trace.
fn record(job: &Job, command: &Path, field: &Field, limit: f64, folder: &Path) -> Result<PathBuf, String> {
    let parts = folder.join(format!("{}.parts", job.name));
    std::fs::create_dir(&parts).map_err(|error| format!("{}: {error}", parts.display()))?;
    let own = field.runners.iter().find(|runner| runner.contestant.name == FREESTONE);
    let mut runner: Runner = own.ok_or("without freestone nothing can be recorded")?.clone();
    let conf = format!("record:{},record_sample:0", parts.display());
    runner.environment.push(("FREESTONE_CONF".into(), conf));
    job.run(&runner, false, limit, folder)?;
    let trace = folder.join(format!("{}.trace", job.name));
    let mut packing = Command::new(command);
    packing.args(["record", "--quiet", "--recover"]).arg(&parts).arg("--output").arg(&trace);
    said_by(&mut packing)?;
    let _ = std::fs::remove_dir_all(&parts);
    Ok(trace)
}

/// What of a replay's JSON is asked for.
#[derive(Deserialize)]
struct Replayed {
    player_time_s: Vec<f64>,
    player_processor_s: Vec<f64>,
    allocators: Vec<Allocator>,
}

#[derive(Deserialize)]
struct Allocator {
    failure: Option<String>,
    time_s: Vec<f64>,
    processor_s: Vec<f64>,
    start_resident: Option<f64>,
    peak_resident: Option<f64>,
}

/// Replays a trace under everybody, and puts the figures beside those of the row.
fn replay(row: &mut Row, trace: &Path, command: &Path, field: &Field, rounds: usize) -> Result<(), String> {
    let takes_part = |runner: &&Runner| runner.contestant.role != Role::Control;
    let runners: Vec<&Runner> = field.runners.iter().filter(takes_part).collect();
    let on: Vec<String> = runners
        .iter()
        .map(|runner| runner.preload.as_ref().map_or(GLIBC.into(), |path| path.display().to_string()))
        .collect();
    let mut replaying = Command::new(command);
    replaying.arg("replay").arg(trace).args(["--quiet", "--json", "--rounds", &rounds.to_string()]);
    let said = said_by(replaying.arg("--on").arg(on.join(",")))?;
    let replayed: Replayed = serde_json::from_str(&said)
        .map_err(|error| format!("what the replay said is not readable: {error}"))?;
    for (runner, figures) in runners.iter().zip(replayed.allocators) {
        let name = &runner.contestant.name;
        if let Some(failure) = figures.failure {
            return Err(format!("{}: the replay on {name}: {failure}", row.name));
        }
        let cell = row.cells.entry(name.clone()).or_default();
        let resident = figures.start_resident.zip(figures.peak_resident).map(|(start, peak)| start + peak);
        for (figure, values) in [
            (Figure::Time, figures.time_s),
            (Figure::Processor, figures.processor_s),
            (Figure::Peak, resident.into_iter().collect()),
            (Figure::PlayerTime, replayed.player_time_s.clone()),
            (Figure::PlayerProcessor, replayed.player_processor_s.clone()),
        ] {
            cell.figures.insert(figure.name().into(), values);
        }
    }
    Ok(())
}

/// The output of a command, which must succeed.
fn said_by(command: &mut Command) -> Result<String, String> {
    command.env_remove("LD_PRELOAD").env_remove("FREESTONE_CONF").stdin(Stdio::null());
    let output =
        command.output().map_err(|error| format!("{:?} did not start: {error}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("freestone ended with {}: {}", output.status, said.trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rows_and_peers_exist() {
        for name in ROWS {
            assert!(
                program::find(name).is_some() || freestone_bench::workload::find(name).is_some(),
                "{name}"
            );
        }
        let known: Vec<&str> = freestone_bench::peers::names().collect();
        assert!(PEERS.iter().all(|name| known.contains(name)));
    }

    #[test]
    fn what_failed_is_told() {
        assert!(
            said_by(Command::new("/bin/sh").args(["-c", "echo no >&2; exit 3"]))
                .unwrap_err()
                .ends_with(": no")
        );
        assert_eq!(said_by(Command::new("/bin/echo").arg("yes")).unwrap(), "yes\n");
    }
}
