//! Real programs as rows of the table: whole commands, run with a library preloaded.
//!
//! A row says what to install, makes its input once, and builds the command to be timed. Whoever
//! measures it starts the command, waits for its end, and reads from the system what the process
//! and its children used. Input and output are the same on every run, and the output is compared
//! with that of a run without preload: an allocator that is fast because the program went wrong
//! shows no figures.
//!
//! A row is there because its program calls the allocator hundreds of thousands of times a second.
//! Ghostscript, ImageMagick and minisat were tried and left out: they make a few thousand calls.
//! So was `rustc`, which brings an allocator of its own that no preload replaces.

mod prepared;
mod rows;

use freestone_programs::job::{Need, Outcome};
use freestone_programs::place::Place;
use freestone_programs::step::Step;

pub use freestone_programs::job::Failure;
pub use prepared::Prepared;

/// One row: a program and the work it does.
#[derive(Debug)]
pub struct Program {
    /// A unique name, in lower case with dashes.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// The program and what it asks of an allocator, in a line.
    pub source: &'static str,
    needs: &'static [Need],
    prepare: Option<fn(&mut Place, f64) -> Outcome>,
    command: fn(&Place, f64) -> Step,
    /// Files that the command makes and that must be the same under every allocator.
    results: &'static [&'static str],
}

impl Program {
    /// The Debian packages that are not installed; without them the row is skipped.
    pub fn missing(&self) -> Vec<String> {
        self.needs.iter().filter(|need| !need.met()).map(Need::package).collect()
    }
}

/// All rows, in the order in which they are listed.
pub fn all() -> impl Iterator<Item = &'static Program> {
    rows::FAMILIES.iter().copied().flatten()
}

/// The file in its folder where a program may leave what was resident at which moment: lines of a name and KiB.
pub const MOMENTS: &str = "moments";

/// A program that shows memory over time instead of being a row. It leaves [`MOMENTS`].
pub fn emptied() -> &'static Program {
    &rows::EMPTIED
}

/// A program that is no row of the table either: one of those on which the instruments are measured.
pub fn gxx() -> &'static Program {
    &rows::GXX
}

/// The row called `name`.
pub fn find(name: &str) -> Option<&'static Program> {
    all().find(|program| program.name == name)
}

/// The Debian packages of all rows. None of them is needed for a build or a test.
pub fn packages() -> Vec<String> {
    let every = all().chain([emptied(), gxx()]);
    let mut packages: Vec<String> = every.flat_map(|program| program.needs).map(Need::package).collect();
    packages.sort();
    packages.dedup();
    packages
}

/// `most` at scale 1, in proportion at other scales, and at least `least`.
fn scaled(most: u64, scale: f64, least: u64) -> u64 {
    ((most as f64 * scale) as u64).max(least)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::*;

    /// Small enough that all rows together take seconds.
    const TINY: f64 = 0.01;

    #[test]
    fn names_are_unique_and_found() {
        for program in all() {
            assert_eq!(all().filter(|other| other.name == program.name).count(), 1, "{}", program.name);
            assert!(std::ptr::eq(find(program.name).unwrap(), program));
            assert!(!program.about.contains('\n') && !program.source.contains('\n'));
        }
        assert!(find("no such program").is_none());
        assert!(packages().contains(&"redis-server".to_string()));
    }

    #[test]
    fn every_installed_program_gives_the_same_output_twice() {
        let root = tempfile::tempdir().unwrap();
        for program in all().chain([emptied(), gxx()]) {
            if !program.missing().is_empty() {
                eprintln!("{}: skipped, not installed: {}", program.name, program.missing().join(" "));
                continue;
            }
            let prepared = Prepared::new(program, root.path(), TINY).unwrap_or_else(|failure| {
                panic!("{}: {failure}", program.name);
            });
            let run = prepared.run(None, |command| Ok(command.status()?));
            assert!(run.is_ok_and(|status| status.success()), "{}", program.name);
        }
    }

    #[test]
    fn a_program_that_goes_wrong_has_no_result() {
        let root = tempfile::tempdir().unwrap();
        let program = find("nothing").unwrap();
        let prepared = Prepared::new(program, root.path(), TINY).unwrap();
        // The loader only warns of a library that it cannot load; no row may pass for measured then.
        let wrong = PathBuf::from("/no/such/library.so");
        assert!(prepared.run(Some(&wrong), |command| Ok(command.status()?)).is_err());
        let failed = prepared.run(None, |_| Ok(Command::new("false").status()?));
        assert!(failed.is_err());
        let silent = prepared.run(None, |command| Ok(command.stdout(Stdio::null()).status()?));
        assert!(silent.unwrap_err().to_string().contains("output differs"));
    }
}
