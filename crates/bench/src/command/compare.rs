//! `compare`: two results.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

use super::Done;
use super::contestants::{FREESTONE, GLIBC};
use crate::result::{Results, compare};

/// Runs the subcommand.
pub fn main(mut arguments: lexopt::Parser) -> Done {
    let mut paths: Vec<PathBuf> = Vec::new();
    let (mut name, mut absolute, mut limit) = (FREESTONE.to_string(), false, None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(path) if paths.len() < 2 => paths.push(path.into()),
            Long("contestant") => name = arguments.value()?.string()?,
            Long("absolute") => absolute = true,
            Long("fail-above") => limit = Some(arguments.value()?.parse_with(percent)?),
            other => return Err(other.unexpected().into()),
        }
    }
    let [a, b] = &paths[..] else { return Err("compare which two results? compare A B".into()) };
    let (before, after) = (Results::read(a)?, Results::read(b)?);
    for (path, results) in [(a, &before), (b, &after)] {
        let names: Vec<&str> = results.contestants.iter().map(|one| one.name.as_str()).collect();
        if !names.contains(&name.as_str()) {
            return Err(format!("{} has no {name}; it has: {}", path.display(), names.join(", ")).into());
        }
    }
    let has_glibc = |results: &Results| results.contestants.iter().any(|one| one.name == GLIBC);
    let relative = !absolute && name != GLIBC && has_glibc(&before) && has_glibc(&after);
    let reference = relative.then_some(GLIBC);
    for (letter, results) in [("A", &before), ("B", &after)] {
        let revision = if results.revision.is_empty() { "of unknown revision" } else { &results.revision };
        println!("{letter}: {} {revision}, {}", results.date, results.machine.line());
    }
    if before.machine != after.machine {
        println!("The machines differ: only large changes mean anything.");
    }
    let (one, other) = (&before.parameters, &after.parameters);
    if (one.scale, one.threads, one.seed) != (other.scale, other.threads, other.seed) {
        return Err(format!("the parameters differ, so the work did: {one:?} and {other:?}").into());
    }
    let basis = if relative { "in terms of glibc in the same run" } else { "as they are" };
    println!("Figures of {name}, {basis}.");
    let changes = compare::changes(&before, &after, &name, reference);
    if changes.is_empty() {
        return Err("the two have no row in common".into());
    }
    print!("{}", compare::write(&changes));
    let failed: Vec<_> =
        limit.iter().flat_map(|limit| changes.iter().filter(|one| one.fails(*limit))).collect();
    if !failed.is_empty() {
        println!("\nWorse by more than {} %, noise apart:", limit.unwrap_or(0.0));
        for change in &failed {
            println!("  {} ({}): {:.3}", change.row, change.metric.title(), change.ratio);
        }
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn percent(text: &str) -> Result<f64, &'static str> {
    let allowed = |number: &f64| number.is_finite() && *number >= 0.0;
    text.parse().ok().filter(allowed).ok_or("here it must be a number of per cent, 0 or more")
}
