//! `run`: rows under all contestants, interleaved.
//!
//! Round by round every row runs under every contestant, in another order each time, so that what the machine does meanwhile, and
//! what the run before left behind, falls on all of them alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use freestone_bench::Outcome;
use freestone_bench::workload::Random;
use lexopt::prelude::*;

use super::Done;
use super::contestants::{self, CONTROL, Field, Runner};
use super::options::{self, Options};
use super::progress::Progress;
use super::rows::{self, Job};
use crate::measure::Sample;
use crate::result::machine::{self, Machine};
use crate::result::table::{self, Style};
use crate::result::{Cell, FORMAT, Interface, Results};

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C, Interface::Rust]);
    let (mut names, mut all, mut calls) = (Vec::new(), false, false);
    let mut json: Option<PathBuf> = None;
    let mut metrics = table::USUAL.to_vec();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => names.push(name.string()?),
            Long("all") => all = true,
            Long("calls") => calls = true,
            Long("json") => json = Some(arguments.value()?.into()),
            Long("metric") => metrics = options::metrics(arguments.value()?)?,
            Long(name) => {
                let name = name.to_string();
                options.take("run", &name, &mut arguments)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if all != names.is_empty() {
        return Err("run what? Name rows (freestone-bench list shows them), or say --all; not both".into());
    }
    let wanted = rows::wanted(&names)?;
    let field = contestants::assemble(&options)?;
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let mut jobs = Vec::new();
    for &interface in &options.interfaces {
        jobs.extend(rows::prepare(&wanted, interface, &options, &field.bench_c, folder.path()));
    }
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let results = rounds.run(calls, |cell, sample, _| cell.samples.push(sample))?;
    print!("{}", table::write(&results, &metrics, Style::of_stdout()));
    Ok(if results.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A result without rows.
fn begin(field: &Field, options: &Options) -> Results {
    Results {
        format: FORMAT,
        arguments: std::env::args().skip(1).collect(),
        date: machine::date(),
        seconds: 0.0,
        revision: machine::revision(&contestants::workspace()),
        machine: Machine::here(),
        parameters: options.parameters.clone(),
        contestants: field.runners.iter().map(|runner| runner.contestant.clone()).collect(),
        rows: Vec::new(),
    }
}

/// Those who run jobs of that kind.
fn takers(field: &Field, interface: Interface) -> Vec<&Runner> {
    field.runners.iter().filter(|one| one.takes_part(interface)).collect()
}

/// The same in an order drawn by lot: who comes right after whom changes what a run finds, the memory that the one before gave
/// back above all.
fn turns<'a>(field: &'a Field, interface: Interface, lot: &mut Random) -> Vec<&'a Runner> {
    let mut all = takers(field, interface);
    for last in (1..all.len()).rev() {
        all.swap(last, lot.below(last + 1));
    }
    all
}

/// The rounds of a command: who takes part in which jobs, and where results go.
#[derive(Clone, Copy)]
pub struct Rounds<'a> {
    /// What is run.
    pub jobs: &'a [Job],
    /// Under whom.
    pub field: &'a Field,
    /// How often, and how long at the most.
    pub options: &'a Options,
    /// Where the programs leave their output.
    pub folder: &'a Path,
    /// The file of results.
    pub json: Option<&'a Path>,
}

impl Rounds<'_> {
    /// Runs all rounds, interleaved; `keep` puts what a run gave into its cell. With `calls`, system calls are counted in
    /// one run more of each.
    pub fn run(
        self,
        calls: bool,
        mut keep: impl FnMut(&mut Cell, Sample, Option<Outcome>),
    ) -> Result<Results, String> {
        if self.jobs.is_empty() {
            return Err("nothing is left to run".into());
        }
        let started = Instant::now();
        let mut results = begin(self.field, self.options);
        results.rows = self.jobs.iter().map(Job::row).collect();
        let runs: usize = self.jobs.iter().map(|job| takers(self.field, job.interface).len()).sum();
        let rounds = self.options.parameters.rounds;
        let mut progress = Progress::new(runs * rounds + if calls { runs } else { 0 });
        let mut lot = Random::new(self.options.parameters.seed, 0);
        for round in 0..rounds {
            for (number, job) in self.jobs.iter().enumerate() {
                for runner in turns(self.field, job.interface, &mut lot) {
                    let name = &runner.contestant.name;
                    let cell = cell(&mut results.rows[number].cells, name);
                    if cell.failure.is_none() {
                        let label = job.label();
                        progress.show(&format!("round {}/{rounds}  {label}  {name}", round + 1));
                        match job.run(runner, false, self.options.limit, self.folder) {
                            Ok((sample, outcome)) => keep(cell, sample, outcome),
                            Err(failure) => {
                                progress
                                    .say(&format!("{label}, {} interface, {name}: {failure}", job.interface));
                                cell.failure = Some(failure);
                            }
                        }
                    }
                    progress.step();
                }
                save(&mut results, started, self.json)?;
            }
        }
        if calls {
            count_calls(self.jobs, self.field, self.options, self.folder, &mut results, &mut progress);
            save(&mut results, started, self.json)?;
        }
        progress.clear();
        Ok(results)
    }
}

/// Saves what there is by now, so that an interrupted run is not lost.
fn save(results: &mut Results, started: Instant, json: Option<&Path>) -> Result<(), String> {
    results.seconds = started.elapsed().as_secs_f64();
    json.map_or(Ok(()), |path| results.write(path))
}

/// The cell of `name`, made if there is none.
fn cell<'a>(cells: &'a mut BTreeMap<String, Cell>, name: &str) -> &'a mut Cell {
    cells.entry(name.to_string()).or_default()
}

fn count_calls(
    jobs: &[Job],
    field: &Field,
    options: &Options,
    folder: &Path,
    results: &mut Results,
    progress: &mut Progress,
) {
    for (number, job) in jobs.iter().enumerate() {
        for runner in takers(field, job.interface) {
            let name = &runner.contestant.name;
            let cell = cell(&mut results.rows[number].cells, name);
            progress.show(&format!("system calls  {}  {name}", job.name));
            progress.step();
            if cell.failure.is_some() || name == CONTROL {
                continue;
            }
            match job.run(runner, true, options.limit, folder) {
                Ok((sample, _)) => cell.calls = sample.calls,
                Err(reason) => {
                    progress.say(&format!("system calls cannot be counted: {reason}"));
                    return;
                }
            }
        }
    }
}
