//! A row that is ready to be timed: its input made, and the expected output known.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use freestone_programs::evidence::{Evidence, digest_file, text_or_digest};
use freestone_programs::job::{Failure, Outcome, Scale};
use freestone_programs::place::Place;
use freestone_programs::setting::Setting;
use tempfile::TempDir;

use super::Program;

/// Where the timed command's streams go, in the folder of its run.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A row with its input files, and what its command must yield.
#[derive(Debug)]
pub struct Prepared {
    program: &'static Program,
    scale: f64,
    root: TempDir,
    inputs: TempDir,
    expected: Evidence,
}

/// How a measured command ended.
pub trait Ended {
    /// Its exit status.
    fn status(&self) -> ExitStatus;
}

impl Ended for ExitStatus {
    fn status(&self) -> ExitStatus {
        *self
    }
}

impl<T> Ended for (ExitStatus, T) {
    fn status(&self) -> ExitStatus {
        self.0
    }
}

impl Prepared {
    /// Makes the input files of `program` in a new folder below `root`, and runs it once without
    /// preload to learn what it must yield. All of it is removed when the result is dropped.
    pub fn new(program: &'static Program, root: &Path, scale: f64) -> Outcome<Prepared> {
        let root = tempfile::Builder::new().prefix(program.name).tempdir_in(root)?;
        let inputs = tempfile::Builder::new().prefix("inputs").tempdir_in(root.path())?;
        if let Some(prepare) = program.prepare {
            let plain = Setting::plain();
            prepare(&mut place(inputs.path(), inputs.path(), &plain), scale)
                .map_err(|failure| Failure(format!("{}: preparing: {failure}", program.name)))?;
        }
        let mut prepared = Prepared { program, scale, root, inputs, expected: Evidence::default() };
        let (_, expected) = prepared.evidence(None, |command| Ok(command.status()?))?;
        prepared.expected = expected;
        Ok(prepared)
    }

    /// The row.
    pub fn program(&self) -> &'static Program {
        self.program
    }

    /// Runs the row with `library` preloaded, or as it is.
    ///
    /// `measure` gets the command with its arguments, environment, folder and streams set; it must
    /// start it, wait for its end, and return how it ended, alone or with what it measured. That the
    /// command succeeded and yielded what it must is checked here afterwards.
    pub fn run<T: Ended>(
        &self,
        library: Option<&Path>,
        measure: impl FnOnce(&mut Command) -> Outcome<T>,
    ) -> Outcome<T> {
        let (measured, evidence) = self.evidence(library, measure)?;
        match evidence.difference(&self.expected) {
            None => Ok(measured),
            Some(difference) => Err(Failure(format!("{}: {difference}", self.program.name))),
        }
    }

    fn evidence<T: Ended>(
        &self,
        library: Option<&Path>,
        measure: impl FnOnce(&mut Command) -> Outcome<T>,
    ) -> Outcome<(T, Evidence)> {
        let name = self.program.name;
        let setting = match library {
            None => Setting::plain(),
            // The loader only warns of a library that it does not find.
            Some(library) if !library.is_file() => {
                return Err(Failure(format!("{name}: there is no library {}", library.display())));
            }
            Some(library) => Setting::preload(name, library),
        };
        let folder = tempfile::Builder::new().prefix("run").tempdir_in(self.root.path())?;
        let place = place(folder.path(), self.inputs.path(), &setting);
        let mut command = (self.program.command)(&place, self.scale).into_command()?;
        let [stdout, stderr] = STREAMS.map(|stream| folder.path().join(stream));
        command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let measured = measure(&mut command)?;
        if !measured.status().success() {
            let text = text_or_digest(&stderr)?;
            return Err(Failure(format!("{name}: {}: {}", measured.status(), text.trim_end())));
        }
        let mut evidence = Evidence::default();
        evidence.note("output", text_or_digest(&stdout)?);
        for result in self.program.results {
            let path = folder.path().join(result);
            let digest = digest_file(&path)
                .map_err(|error| Failure(format!("{name}: {}: {error}", path.display())))?;
            evidence.note(result, digest);
        }
        Ok((measured, evidence))
    }
}

fn place(folder: &Path, inputs: &Path, setting: &Setting) -> Place {
    // The limit is for the steps that prepare; the timed command is its measurer's.
    Place::new(folder, inputs, setting, Scale::Small, Duration::from_secs(300))
}
