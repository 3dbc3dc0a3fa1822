//! The rows: a workload or a program under an interface, and how one run of it is measured.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use freestone_bench::program::{self, Failure, Prepared, Program};
use freestone_bench::{Kind, Outcome, Workload, workload};

use super::contestants::Runner;
use super::options::Options;
use crate::measure::{self, How, Sample, Scope};
use crate::result::{self, Interface, Point, Row};

/// What a row runs.
#[derive(Debug)]
enum Work {
    Workload { workload: &'static Workload, arguments: Vec<String>, bench_c: PathBuf },
    Program(Box<Prepared>),
}

/// A row, ready to run.
#[derive(Debug)]
pub struct Job {
    /// As tables name it.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// The interface.
    pub interface: Interface,
    /// Where on a growth curve it stands.
    pub point: Option<Point>,
    /// Whether the resident set of its process is followed over time.
    pub follow: bool,
    /// Whether its instructions are counted, and by what; see [`measure::instructions`].
    pub counted: Option<PathBuf>,
    work: Work,
}

/// A row that was asked for, by the names that there are.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// One of the bench's own.
    Workload(&'static Workload),
    /// A whole program; only under the C interface.
    Program(&'static Program),
}

/// The rows of these names; all that belong into a table if there are none.
pub fn wanted(names: &[String]) -> Result<Vec<Wanted>, String> {
    if names.is_empty() {
        let workloads = workload::all().iter().filter(|one| one.kind.is_row()).map(Wanted::Workload);
        return Ok(workloads.chain(program::all().map(Wanted::Program)).collect());
    }
    let mut found = Vec::new();
    for name in names {
        let workload = workload::find(name).map(Wanted::Workload);
        let all: Vec<Wanted> = workload.into_iter().chain(program::find(name).map(Wanted::Program)).collect();
        if all.is_empty() {
            return Err(format!("there is no row {name:?}; `freestone-bench list` shows all"));
        }
        found.extend(all);
    }
    Ok(found)
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Wanted::Workload(workload) => workload.name,
            Wanted::Program(program) => program.name,
        }
    }
}

/// Makes the rows ready that are wanted under `interface`; programs get a folder below `root`. What cannot be made ready
/// is told on stderr and left out.
pub fn prepare(
    wanted: &[Wanted],
    interface: Interface,
    options: &Options,
    bench_c: &Path,
    root: &Path,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for &row in wanted {
        match row {
            Wanted::Workload(workload) => {
                // A program of the same name is the better row where both could run.
                let program =
                    wanted.iter().any(|one| matches!(one, Wanted::Program(_)) && one.name() == workload.name);
                if !(program && interface == Interface::C) {
                    jobs.push(Job::workload(workload, &[], interface, options, bench_c));
                }
            }
            Wanted::Program(program) if interface == Interface::C => {
                jobs.extend(Job::program(program, options, root));
            }
            Wanted::Program(_) => {}
        }
    }
    jobs
}

impl Job {
    /// What messages call it: the row, and where on a curve.
    pub fn label(&self) -> String {
        result::label(&self.name, self.point.as_ref())
    }

    /// A workload with further arguments for its program.
    pub fn workload(
        workload: &'static Workload,
        further: &[String],
        interface: Interface,
        options: &Options,
        bench_c: &Path,
    ) -> Job {
        let parameters = &options.parameters;
        let mut arguments: Vec<String> = vec![workload.name.into(), "--scale".into()];
        arguments.extend([parameters.scale.to_string(), "--seed".into(), parameters.seed.to_string()]);
        if parameters.threads > 0 && workload.kind == Kind::Threads {
            arguments.extend(["--threads".into(), parameters.threads.to_string()]);
        }
        arguments.extend_from_slice(further);
        let work = Work::Workload { workload, arguments, bench_c: bench_c.into() };
        let (name, about) = (workload.name.into(), workload.about.into());
        Job { name, about, interface, point: None, follow: false, counted: None, work }
    }

    /// A program, with a folder below `root`. That it cannot be made ready is told on stderr.
    pub fn program(program: &'static Program, options: &Options, root: &Path) -> Option<Job> {
        let missing = program.missing();
        if !missing.is_empty() {
            eprintln!("{} is left out; to have it: apt-get install {}", program.name, missing.join(" "));
            return None;
        }
        eprintln!("preparing {}", program.name);
        let prepared = Prepared::new(program, root, options.parameters.scale)
            .map_err(|failure| eprintln!("{} is left out: {failure}", program.name));
        Some(Job {
            name: program.name.into(),
            about: program.about.into(),
            interface: Interface::C,
            point: None,
            follow: false,
            counted: None,
            work: Work::Program(Box::new(prepared.ok()?)),
        })
    }

    /// The same, its resident set followed.
    pub fn followed(self) -> Job {
        Job { follow: true, ..self }
    }

    /// The same, its instructions counted by this library.
    pub fn counted(self, library: &Path) -> Job {
        Job { counted: Some(library.into()), ..self }
    }

    /// The row without figures.
    pub fn row(&self) -> Row {
        Row {
            name: self.name.clone(),
            about: self.about.clone(),
            interface: self.interface,
            point: self.point.clone(),
            cells: Default::default(),
        }
    }

    /// Runs it once under `runner`, output going to files in `folder`. The workload's own figures come along, where it has any.
    pub fn run(
        &self,
        runner: &Runner,
        count_calls: bool,
        limit: f64,
        folder: &Path,
    ) -> Result<(Sample, Option<Outcome>), String> {
        match &self.work {
            Work::Workload { workload, .. } => {
                let scope = if workload.kind == Kind::Processes { Scope::Tree } else { Scope::Process };
                self.run_workload(runner, &self.how(scope, count_calls, limit), folder)
            }
            Work::Program(prepared) => {
                let scope = if self.follow { Scope::Process } else { Scope::Tree };
                let how = self.how(scope, count_calls, limit);
                let mut outcome = None;
                let done = prepared.run(runner.preload.as_deref(), |command| {
                    command.envs(runner.environment.iter().cloned());
                    let measured = measure::measure(command, &how).map_err(Failure)?;
                    outcome = command.get_current_dir().and_then(moments);
                    Ok(measured)
                });
                done.map(|(_, sample)| (sample, outcome)).map_err(|failure| failure.to_string())
            }
        }
    }

    fn how(&self, scope: Scope, count_calls: bool, limit: f64) -> How {
        How { scope, count_calls, count_instructions: self.counted.clone(), follow: self.follow, limit }
    }

    /// The workload's program under `runner`, with its arguments and environment; none for a row that is a program.
    pub fn command(&self, runner: &Runner) -> Option<Command> {
        let Work::Workload { arguments, bench_c, .. } = &self.work else { return None };
        let mut command = match self.interface {
            Interface::C => Command::new(bench_c),
            Interface::Rust => Command::new(runner.program.as_ref()?),
        };
        command.args(arguments).envs(runner.environment.iter().cloned());
        if let (Interface::C, Some(library)) = (self.interface, &runner.preload) {
            command.env("LD_PRELOAD", library);
        }
        Some(command)
    }

    fn run_workload(
        &self,
        runner: &Runner,
        how: &How,
        folder: &Path,
    ) -> Result<(Sample, Option<Outcome>), String> {
        let (output, errors) = (folder.join("stdout"), folder.join("stderr"));
        let create = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut command = self.command(runner).ok_or("there is no program of it")?;
        command.stdin(Stdio::null()).stdout(create(&output)?).stderr(create(&errors)?).current_dir(folder);
        let (status, mut sample) = measure::measure(&mut command, how)?;
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        check(status, &said)?;
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        let outcome: Outcome = serde_json::from_str(&text)
            .map_err(|error| format!("its outcome is not readable: {error}: {}", last_words(&text)))?;
        sample.inner = Some(outcome.seconds);
        sample.operations = Some(outcome.operations);
        Ok((sample, Some(outcome)))
    }
}

/// What a program tells of its moments, in bytes, if it does.
fn moments(folder: &Path) -> Option<Outcome> {
    let text = std::fs::read_to_string(folder.join(program::MOMENTS)).ok()?;
    let moments = text.lines().filter_map(|line| {
        let (name, kibibytes) = line.split_once(' ')?;
        Some((name, kibibytes.parse::<f64>().ok()? * 1024.0))
    });
    Some(moments.fold(Outcome::default(), |outcome, (name, bytes)| outcome.note(name, bytes)))
}

/// Whether a workload's program ended well, with the library that it was to have.
fn check(status: ExitStatus, said: &str) -> Result<(), String> {
    if !status.success() {
        let how = match status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => status.to_string(),
        };
        return Err(format!("{how}: {}", last_words(said)));
    }
    // The loader only warns, and the program runs without the library.
    if said.contains("cannot be preloaded") {
        return Err(last_words(said));
    }
    Ok(())
}

/// The end of a text, in a line.
fn last_words(text: &str) -> String {
    let text = text.trim();
    let start = text.len().saturating_sub(300);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[start..].replace('\n', " | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_every_row_but_those_about_growth() {
        let all = wanted(&[]).unwrap();
        assert!(all.iter().any(|row| row.name() == "larson"));
        assert!(all.iter().any(|row| matches!(row, Wanted::Program(_))));
        assert!(!all.iter().any(|row| row.name() == "growth"));
        assert!(wanted(&["growth".into()]).is_ok());
        assert!(wanted(&["nobody".into()]).unwrap_err().contains("list"));
    }

    #[test]
    fn a_library_that_was_not_loaded_is_a_failure() {
        let well = ExitStatus::from_raw(0);
        assert!(check(well, "a warning of the program's own").is_ok());
        assert!(check(well, "ERROR: ld.so: object 'x' from LD_PRELOAD cannot be preloaded").is_err());
        assert!(check(ExitStatus::from_raw(11), "").unwrap_err().contains("signal 11"));
    }

    #[test]
    fn moments_are_read_in_bytes() {
        let folder = tempfile::tempdir().unwrap();
        assert!(moments(folder.path()).is_none());
        std::fs::write(folder.path().join(program::MOMENTS), "start 3\nafter_1s 10\n").unwrap();
        let notes = moments(folder.path()).unwrap().notes;
        assert_eq!((notes["start"], notes["after_1s"]), (3072.0, 10240.0));
    }

    #[test]
    fn last_words_are_a_line_and_cut() {
        let told = last_words(&format!("{}\nthe end\n", "ü".repeat(1000)));
        assert!(told.ends_with("| the end") && told.len() <= 302, "{told}");
    }
}
