//! `growth`: the cost of a call against live bytes and against threads.

use std::path::PathBuf;
use std::process::ExitCode;

use freestone_bench::{Kind, Workload, workload};
use lexopt::prelude::*;

use super::Done;
use super::contestants::{self, CONTROL, Field};
use super::options::{self, Options};
use super::rows::Job;
use super::run::Rounds;
use crate::result::table::Style;
use crate::result::{Point, growth};

/// The workload that grows in threads; all others grow in live bytes.
const THREADS: &str = "growth-threads";

/// How far the curves go.
#[derive(Clone, Copy, Debug)]
struct Range {
    bytes: f64,
    threads: f64,
}

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[crate::result::Interface::C]);
    options.parameters.rounds = 3;
    options.parameters.scale = 0.25;
    let mut range = Range { bytes: 1e10, threads: 1e4 };
    let mut names = Vec::new();
    let mut json: Option<PathBuf> = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => names.push(name.string()?),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("to") => range.bytes = arguments.value()?.parse_with(options::bytes)?,
            Long("threads-to") => range.threads = arguments.value()?.parse_with(options::positive)? as f64,
            Long(name) => {
                let name = name.to_string();
                options.take("growth", &name, &mut arguments)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let workloads = growing(&names)?;
    let mut field = contestants::assemble(&options)?;
    // Neighbouring points show the noise.
    field.runners.retain(|runner| runner.contestant.name != CONTROL);
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let jobs = jobs(&workloads, &options, &field, range);
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let results = rounds.run(false, |cell, sample, _| cell.samples.push(sample))?;
    print!("{}", growth::write(&results, Style::of_stdout()));
    Ok(ExitCode::SUCCESS)
}

fn jobs(workloads: &[&'static Workload], options: &Options, field: &Field, range: Range) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &interface in &options.interfaces {
        for workload in workloads {
            let (axis, option, values) = match workload.name {
                THREADS => ("threads", "--parked", steps(1.0, range.threads)),
                _ => ("live bytes", "--live", steps(1e6, range.bytes)),
            };
            for value in values {
                let further = [option.to_string(), format!("{value:.0}")];
                let mut job = Job::workload(workload, &further, interface, options, &field.bench_c);
                job.point = Some(Point { axis: axis.into(), value });
                jobs.push(job);
            }
        }
    }
    jobs
}

/// Two values for each factor of ten, from `first` to `last`.
fn steps(first: f64, last: f64) -> Vec<f64> {
    let mut values: Vec<f64> = (0..)
        .map(|step| first * 10f64.powi(step / 2) * if step % 2 == 0 { 1.0 } else { 3.0 })
        .take_while(|value| *value < last * 0.999)
        .collect();
    values.push(last);
    values
}

/// The workloads of these names, which must grow; all that do if there are none.
fn growing(names: &[String]) -> Result<Vec<&'static Workload>, String> {
    let all = || workload::all().iter().filter(|one| one.kind == Kind::Growth);
    if names.is_empty() {
        return Ok(all().collect());
    }
    let find = |name: &String| {
        all().find(|one| one.name == name).ok_or_else(|| {
            let known: Vec<&str> = all().map(|one| one.name).collect();
            format!("{name:?} does not grow; these do: {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_where_told() {
        assert_eq!(steps(1.0, 100.0), [1.0, 3.0, 10.0, 30.0, 100.0]);
        assert_eq!(steps(1.0, 20.0), [1.0, 3.0, 10.0, 20.0]);
        assert_eq!(steps(1e6, 1e10).len(), 9);
    }

    #[test]
    fn the_workload_about_threads_is_there() {
        assert!(growing(&[]).unwrap().iter().any(|one| one.name == THREADS));
        assert!(growing(&["larson".into()]).unwrap_err().contains(THREADS));
    }
}
