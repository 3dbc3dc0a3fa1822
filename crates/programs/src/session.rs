//! Running jobs: input files once, the reference run once, and each setting compared with it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;

use crate::evidence::Evidence;
use crate::job::{Failure, Job, Outcome, Scale};
use crate::place::{Meter, Place};
use crate::setting::Setting;

/// Everything that the runs of one invocation share: a folder, removed at the end, the scale, and how many times its usual
/// time each job may take.
#[derive(Debug)]
pub struct Session {
    root: TempDir,
    scale: Scale,
    patience: u32,
}

/// What a run yielded.
#[derive(Clone, Debug)]
pub struct Run {
    /// What must be the same under every allocator.
    pub evidence: Evidence,
    /// What it took.
    pub meter: Meter,
}

impl Session {
    /// A session in a new folder below the system's temporary folder.
    pub fn new(scale: Scale) -> Outcome<Arc<Session>> {
        Session::patient(scale, 1)
    }

    /// The same, for settings that are so many times as slow as the usual ones.
    pub fn patient(scale: Scale, patience: u32) -> Outcome<Arc<Session>> {
        let root = tempfile::Builder::new().prefix("freestone-").tempdir()?;
        open_to_all(root.path())?;
        Ok(Arc::new(Session { root, scale, patience }))
    }

    /// Copies a library to where every user can read it, and where no build replaces it while jobs run.
    pub fn adopt(&self, library: &Path) -> Outcome<PathBuf> {
        let name = library.file_name().ok_or(Failure(format!("{} names no file", library.display())))?;
        let folder = tempfile::Builder::new().prefix("lib").tempdir_in(self.root.path())?.keep();
        open_to_all(&folder)?;
        let copy = folder.join(name);
        match std::fs::copy(library, &copy) {
            Ok(_) => Ok(copy),
            Err(error) => Err(Failure(format!("{}: {error}", library.display()))),
        }
    }

    /// A bench on which `job` can be run any number of times.
    pub fn bench(self: &Arc<Session>, job: &'static Job) -> Bench {
        Bench { session: Arc::clone(self), job, inputs: OnceLock::new(), reference: OnceLock::new() }
    }

    fn folder(&self, job: &Job) -> Outcome<TempDir> {
        let folder = tempfile::Builder::new().prefix(job.name).tempdir_in(self.root.path())?;
        open_to_all(folder.path())?;
        Ok(folder)
    }
}

fn open_to_all(folder: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}

/// One job with its input files and its reference run, both made when first needed.
#[derive(Debug)]
pub struct Bench {
    session: Arc<Session>,
    job: &'static Job,
    inputs: OnceLock<Outcome<TempDir>>,
    reference: OnceLock<Outcome<Run>>,
}

impl Bench {
    /// The job.
    pub fn job(&self) -> &'static Job {
        self.job
    }

    /// Runs the job under `setting`; `measuring` leaves clients of servers alone.
    pub fn run(&self, setting: &Setting, measuring: bool) -> Outcome<Run> {
        let inputs = self.inputs()?;
        let folder = self.session.folder(self.job)?;
        let mut place = self.place(folder.path(), inputs, setting);
        if measuring {
            place.measure();
        }
        (self.job.run)(&mut place)?;
        let (evidence, meter) = place.finish();
        Ok(Run { evidence, meter })
    }

    /// The run without preload that the others are compared with.
    pub fn reference(&self) -> Outcome<&Run> {
        let run = self.reference.get_or_init(|| self.run(&Setting::plain(), false));
        run.as_ref().map_err(|failure| Failure(format!("the run without preload: {failure}")))
    }

    /// Runs the job under `setting` and compares what it noted with the reference.
    pub fn check(&self, setting: &Setting) -> Outcome<Run> {
        let reference = self.reference()?;
        let run = self.run(setting, false)?;
        let Some(difference) = run.evidence.difference(&reference.evidence) else { return Ok(run) };
        // A job that is not the same twice without preload says nothing about the allocator.
        let again = self.run(&Setting::plain(), false)?;
        if let Some(own) = again.evidence.difference(&reference.evidence) {
            return Err(Failure(format!(
                "{difference}\nBut two runs without preload differ too, so the job is at fault: {own}"
            )));
        }
        Err(Failure(difference))
    }

    fn inputs(&self) -> Outcome<&Path> {
        let inputs = self.inputs.get_or_init(|| {
            let folder = self.session.folder(self.job)?;
            if let Some(prepare) = self.job.prepare {
                prepare(&mut self.place(folder.path(), folder.path(), &Setting::plain()))?;
            }
            Ok(folder)
        });
        match inputs {
            Ok(folder) => Ok(folder.path()),
            Err(failure) => Err(Failure(format!("preparing: {failure}"))),
        }
    }

    fn place(&self, folder: &Path, inputs: &Path, setting: &Setting) -> Place {
        let limit: Duration = self.job.limit(self.session.scale) * self.session.patience;
        Place::new(folder, inputs, setting, self.session.scale, limit)
    }
}
