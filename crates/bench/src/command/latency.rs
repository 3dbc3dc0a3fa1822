//! `latency`: the time of single calls.

use std::process::ExitCode;

use freestone_bench::{Workload, workload};

use super::Done;
use super::contestants::{self, CONTROL};
use super::options::Options;
use super::rows::Job;
use super::run::Rounds;
use crate::result::table::Style;
use crate::result::{Interface, Latency, latency};

/// Runs the subcommand.
pub fn main(arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C]);
    let (names, json) = options.take_all("latency", arguments)?;
    let workloads = timed(&names)?;
    let mut field = contestants::assemble(&options)?;
    // The noise of single calls shows in their own distribution.
    field.runners.retain(|runner| runner.contestant.name != CONTROL);
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let mut jobs = Vec::new();
    for &interface in &options.interfaces {
        let further = ["--latency".to_string()];
        let job = |one: &&'static Workload| Job::workload(one, &further, interface, &options, &field.bench_c);
        jobs.extend(workloads.iter().map(job));
    }
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let results = rounds.run(false, |cell, sample, outcome| {
        cell.samples.push(sample);
        let taken = outcome.and_then(|outcome| outcome.latency).unwrap_or_default();
        let kinds = [("alloc", taken.alloc), ("free", taken.free), ("realloc", taken.realloc)];
        for (kind, histogram) in kinds.iter().filter(|(_, one)| one.count > 0) {
            let latency = Latency::of(histogram, taken.clock_ns);
            cell.latency.entry((*kind).into()).or_default().push(latency);
        }
    })?;
    print!("{}", latency::write(&results, Style::of_stdout()));
    Ok(ExitCode::SUCCESS)
}

/// The workloads of these names, which must have calls worth timing; all that have if there are none.
fn timed(names: &[String]) -> Result<Vec<&'static Workload>, String> {
    let has_calls = |one: &&Workload| one.latency && one.kind.is_row();
    if names.is_empty() {
        return Ok(workload::all().iter().filter(has_calls).collect());
    }
    let find = |name: &String| {
        workload::all().iter().filter(has_calls).find(|one| one.name == name).ok_or_else(|| {
            let known: Vec<&str> = workload::all().iter().filter(has_calls).map(|one| one.name).collect();
            format!("{name:?} has no single calls to time; these have: {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_single_calls_is_timed() {
        assert!(timed(&[]).unwrap().iter().all(|one| one.latency));
        assert!(timed(&["replace".into()]).is_ok());
        assert!(timed(&["nothing".into()]).unwrap_err().contains("replace"));
    }
}
