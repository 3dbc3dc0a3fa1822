//! `overhead`: what Freestone's instruments cost a program.
//!
//! The contestants are the library as it is, twice, and the library with one instrument at work; the rounds are those of `run`.
//! With `--instructions` they are counted instead of timed, those of the program and of the library without the kernel's: a
//! measure without noise, for what costs less than timing can tell.
//!
//! What an instrument writes goes to a folder that is emptied after each run, outside the time that is measured.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use freestone_bench::{program, workload};
use lexopt::prelude::*;

use super::Done;
use super::contestants::{self, FREESTONE, Field, Runner};
use super::options::{self, Options};
use super::rows::Job;
use super::run::Rounds;
use crate::measure::instructions;
use crate::result::overhead::{self, WRITTEN};
use crate::result::score::Metric;
use crate::result::table::Style;
use crate::result::{Interface, Role};

/// What is measured unless told otherwise: programs with malloc from the library, programs in Rust that bring it along, and
/// the worst that there can be, threads that do nothing but allocate.
const ROWS: [(&str, Interface); 6] = [
    ("python", Interface::C),
    ("g++", Interface::C),
    ("redis", Interface::C),
    ("tokio-service", Interface::Rust),
    ("serde-json", Interface::Rust),
    ("threadtest", Interface::C),
];

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C, Interface::Rust]);
    options.parameters.rounds = 7;
    let (mut names, mut stacks): (Vec<String>, Option<Vec<String>>) = (Vec::new(), None);
    let mut json: Option<PathBuf> = None;
    let mut metrics = overhead::USUAL.to_vec();
    let (mut counted, mut given) = (false, Vec::new());
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) => names.push(name.string()?),
            Long("json") => json = Some(arguments.value()?.into()),
            Long("metric") => metrics = options::metrics(arguments.value()?)?,
            Long("instructions") => counted = true,
            Long("stacks") => stacks = Some(options::words(arguments.value()?)?),
            Long(name @ ("peers" | "lib" | "without")) => {
                return Err(
                    format!("overhead has no option --{name}: only Freestone has these instruments").into()
                );
            }
            Long(name) => {
                let name = name.to_string();
                options.take("overhead", &name, &mut arguments)?;
                given.push(name);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    // Counting takes its time: the usual one alone.
    let usual = if counted { &["32"][..] } else { &["16", "32"] };
    let stacks = stacks.unwrap_or_else(|| usual.iter().map(ToString::to_string).collect());
    if let Some(bad) = stacks.iter().find(|every| every.parse::<u32>().is_err()) {
        return Err(format!("--stacks {bad}: here it must be whole numbers, separated by commas").into());
    }
    if counted {
        metrics = vec![Metric::Instructions];
        // The counts of two runs hardly differ, and take twenty times as long as a run.
        let is_given = |name: &str| given.iter().any(|given| given == name);
        if !is_given("rounds") {
            options.parameters.rounds = 1;
        }
        if !is_given("scale") {
            options.parameters.scale = 0.1;
        }
        if !is_given("limit") {
            options.limit = 3600.0;
        }
    }
    let rows = rows(&names, &options.interfaces)?;
    options.peers = Some(Vec::new());
    let mut field = contestants::assemble(&options)?;
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let output = folder.path().join("instruments");
    std::fs::create_dir(&output)?;
    instruments(&mut field, &stacks, &output)?;
    let counter = if counted { Some(instructions::prepare(folder.path())?) } else { None };
    let jobs = rows.iter().filter_map(|row| job(row, &options, &field.bench_c, folder.path()));
    let jobs: Vec<Job> = match &counter {
        Some(library) => jobs.map(|job| job.counted(library)).collect(),
        None => jobs.collect(),
    };
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let results = rounds.run(false, |cell, sample, _| {
        cell.samples.push(sample);
        cell.figures.entry(WRITTEN.into()).or_default().push(emptied(&output));
    })?;
    print!("{}", overhead::write(&results, &metrics, &[], Style::of_stdout())?);
    Ok(if results.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The rows of these names with the interface of each; the usual ones if there are none.
fn rows(names: &[String], interfaces: &[Interface]) -> Result<Vec<(&'static str, Interface)>, String> {
    if names.is_empty() {
        return Ok(ROWS.into_iter().filter(|(_, interface)| interfaces.contains(interface)).collect());
    }
    let mut found = Vec::new();
    for name in names {
        let usual = ROWS.into_iter().find(|(known, _)| known == name);
        let row = usual.or_else(|| {
            let program = program::find(name).map(|one| (one.name, Interface::C));
            program.or_else(|| Some((workload::find(name)?.name, *interfaces.first()?)))
        });
        found.push(row.ok_or_else(|| format!("there is no row {name:?}; `freestone-bench list` shows all"))?);
    }
    Ok(found)
}

/// A row, ready to run, also one that is no row of the table; nothing, and a word on stderr, where it cannot be made ready.
pub fn job(
    &(name, interface): &(&'static str, Interface),
    options: &Options,
    bench_c: &Path,
    root: &Path,
) -> Option<Job> {
    let gxx = Some(program::gxx()).filter(|gxx| gxx.name == name);
    match (program::find(name).or(gxx), interface) {
        (Some(program), Interface::C) => Job::program(program, options, root),
        _ => Some(Job::workload(workload::find(name)?, &[], interface, options, bench_c)),
    }
}

/// Sets beside the library itself, which alone is there: itself again, and with each instrument, writing to `output`.
fn instruments(field: &mut Field, stacks: &[String], output: &Path) -> Result<(), String> {
    let plain = field.runners.first().cloned().ok_or("there is no library to measure")?;
    let output = output.display();
    let mut add = |name: &str, role, conf: Option<String>| {
        let mut runner: Runner = plain.clone();
        runner.contestant.name = name.into();
        runner.contestant.role = role;
        // What stands where a table has the version: the options without the folder, which is nobody's business.
        runner.contestant.version = conf.clone().unwrap_or_default();
        let conf = conf.map(|conf| conf.replace("DIR", &output.to_string()));
        runner.environment.extend(conf.map(|conf| ("FREESTONE_CONF".to_string(), conf)));
        field.runners.push(runner);
    };
    add(&format!("{FREESTONE} again"), Role::Control, None);
    add("profile", Role::Instrument, Some("heap_profile:DIR".into()));
    add("recording", Role::Instrument, Some("record:DIR,record_sample:0".into()));
    for every in stacks {
        let name = format!("stacks 1:{every}");
        add(&name, Role::Instrument, Some(format!("record:DIR,record_sample:{every}")));
    }
    Ok(())
}

/// The bytes of the files in a folder, which are removed. A recording's file is longer than what was written of it.
fn emptied(folder: &Path) -> f64 {
    const BLOCK: u64 = 512;
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let blocks = files.map(|file| {
        let blocks = file.metadata().map_or(0, |metadata| metadata.blocks());
        // What cannot be removed is counted again, and shows.
        let _ = std::fs::remove_file(file.path());
        blocks
    });
    (blocks.sum::<u64>() * BLOCK) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rows_exist() {
        for (name, interface) in ROWS {
            let program = program::find(name).is_some() || program::gxx().name == name;
            let workload = workload::find(name).is_some();
            assert!(if interface == Interface::C { program || workload } else { workload }, "{name}");
        }
        let both = [Interface::C, Interface::Rust];
        assert_eq!(rows(&[], &both).unwrap().len(), ROWS.len());
        assert_eq!(rows(&["larson".into(), "g++".into()], &both).unwrap()[0], ("larson", Interface::C));
        assert!(rows(&["nobody".into()], &both).unwrap_err().contains("list"));
    }

    #[test]
    fn what_was_written_is_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(folder.path().join("1-2.part")).unwrap();
        file.set_len(64 << 30).unwrap();
        assert!(emptied(folder.path()) < 1e6);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(emptied(folder.path()), 0.0);
    }
}
