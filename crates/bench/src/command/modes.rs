//! `modes`: what each of Freestone's modes costs, beside allocators that are made for safety, in one run.

use std::process::ExitCode;

use freestone_bench::peers;

use super::Done;
use super::contestants::{self, GLIBC};
use super::options::Options;
use super::rows;
use super::run::Rounds;
use crate::result::table::Style;
use crate::result::{Interface, modes};

/// The rows, unless others are named: of each kind of work, and every program that takes about as long as a workload.
const ROWS: [&str; 30] = [
    "simple",
    "pair",
    "replace",
    "glibc-thread",
    "batch-random",
    "realloc-vectors",
    "calloc",
    "middle",
    "large-touched",
    "trees",
    "lists",
    "strings",
    "churn",
    "larson",
    "xmalloc",
    "mstress",
    "tokio-service",
    "hashbrown-strings",
    "serde-json",
    "box-tree",
    "nothing",
    "redis",
    "sqlite",
    "gcc",
    "clang",
    "python",
    "perl",
    "lua",
    "jq",
    "json-cpp",
];

/// The modes, unless others are named: the whole of hardened mode, each part of it alone, and guarded blocks at the rate that
/// their documentation names. The debug mode is for tests, and would take as long as all others together.
const MODES: [(&str, &str); 9] = [
    ("guarded blocks", "guard:8M"),
    ("hardened", "harden:1"),
    ("sized alone", "harden_sized:1"),
    ("canary alone", "harden_canary:1"),
    ("zero and check", "harden_zero:256K,harden_check:1"),
    ("wait alone", "harden_wait:8K"),
    ("shuffle alone", "harden_shuffle:1"),
    ("isolate alone", "harden_isolate:1"),
    ("guards alone", "harden_guards:1"),
];

/// Runs the subcommand.
pub fn main(arguments: lexopt::Parser) -> Done {
    let mut options = Options::new(&[Interface::C]);
    options.parameters.rounds = 7;
    options.parameters.scale = 0.25;
    let (mut names, json) = options.take_all("modes", arguments)?;
    if names.is_empty() {
        names = ROWS.map(String::from).into();
    }
    if options.modes.is_empty() {
        options.modes = MODES.map(|(name, conf)| (name.into(), conf.into())).into();
    }
    options
        .peers
        .get_or_insert_with(|| [GLIBC].into_iter().chain(peers::secure()).map(String::from).collect());
    let wanted = rows::wanted(&names)?;
    let field = contestants::assemble(&options)?;
    let folder = tempfile::Builder::new().prefix("freestone-bench-").tempdir()?;
    let jobs = rows::prepare(&wanted, Interface::C, &options, &field.bench_c, folder.path());
    let rounds = Rounds {
        jobs: &jobs,
        field: &field,
        options: &options,
        folder: folder.path(),
        json: json.as_deref(),
    };
    let results = rounds.run(false, |cell, sample, _| cell.samples.push(sample))?;
    print!("{}", modes::write(&results, Style::of_stdout()));
    Ok(if results.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_are_known_and_the_names_of_modes_distinct() {
        let wanted = rows::wanted(&ROWS.map(String::from)).unwrap();
        assert!(wanted.len() >= ROWS.len());
        let mut names = MODES.map(|(name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
