//! `memory`: what is resident when, against the goals.

use std::path::PathBuf;
use std::process::ExitCode;

use freestone_bench::{Kind, program, workload};
use lexopt::prelude::*;

use super::contestants::{self, Field};
use super::options::Options;
use super::rows::Job;
use super::run::Rounds;
use super::{Done, plot};
use crate::result::table::{self, Style};
use crate::result::{Interface, memory};

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C]);
    options.parameters.rounds = 3;
    let mut names = Vec::new();
    let (mut json, mut charts): (Option<PathBuf>, Option<PathBuf>) = (None, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => names.push(name.string()?),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("charts") => charts = Some(arguments.value()?.into()),
            Long(name) => {
                let name = name.to_string();
                options.take("memory", &name, &mut arguments)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let names = scenarios(&names)?;
    let field = contestants::assemble(&options)?;
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let jobs = jobs(&names, &options, &field, folder.path());
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let results = rounds.run(false, |cell, sample, outcome| {
        for (name, value) in outcome.into_iter().flat_map(|outcome| outcome.notes) {
            if memory::is_figure(&name) {
                cell.figures.entry(name).or_default().push(value);
            }
        }
        if cell.course.is_empty() {
            cell.course = sample.course;
        }
    })?;
    print!("{}", table::write(&results, &[], Style::of_stdout()));
    if let Some(folder) = charts {
        plot::draw(&results, &folder)?;
    }
    Ok(if results.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All scenarios.
fn known() -> Vec<&'static str> {
    let workloads = workload::all().iter().filter(|one| one.kind == Kind::Memory).map(|one| one.name);
    workloads.chain([program::emptied().name]).collect()
}

/// The scenarios of these names; all if there are none.
fn scenarios(names: &[String]) -> Result<Vec<&'static str>, String> {
    if names.is_empty() {
        return Ok(known());
    }
    let find = |name: &String| {
        known().into_iter().find(|known| known == name).ok_or_else(|| {
            format!("{name:?} is not about memory over time; these are: {}", known().join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// What runs under each interface; the program only as C's. What cannot be made ready is told on stderr and left out.
fn jobs(names: &[&'static str], options: &Options, field: &Field, root: &std::path::Path) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &interface in &options.interfaces {
        for &name in names {
            let job = match (workload::find(name), interface) {
                (Some(workload), _) => Some(Job::workload(workload, &[], interface, options, &field.bench_c)),
                (None, Interface::C) => Job::program(program::emptied(), options, root),
                (None, Interface::Rust) => None,
            };
            jobs.extend(job.map(Job::followed));
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_figures_and_every_figure_a_scenario() {
        let known = scenarios(&[]).unwrap();
        assert!(known.iter().all(|name| memory::figures(name).next().is_some()), "{known:?}");
        assert!(memory::rows().all(|row| known.contains(&row)));
        assert!(scenarios(&["larson".into()]).unwrap_err().contains("long-churn"));
    }
}
