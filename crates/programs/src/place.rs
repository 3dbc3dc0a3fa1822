//! The place where one run of a job happens: a folder, an allocator, a deadline.
//!
//! A job starts programs in one of three roles. The *subject* is the program under test: always
//! preloaded, its time and peak counted. A *client* drives a server: preloaded when correctness is
//! checked (one more program tested), left alone when servers are measured; its time counts, its
//! memory does not. A *tool* prepares or inspects: never preloaded, never counted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::evidence::{Evidence, digest_file, text_or_digest};
use crate::fail;
use crate::job::{Outcome, Scale, find_program};
use crate::process::{self, Finished};
use crate::server::Server;
use crate::setting::Setting;
use crate::step::{Role, Step};

/// Time and memory of the subjects of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// Wall time of the subjects and clients, one after the other.
    pub wall: Duration,
    /// The largest resident set of any subject, in KiB.
    pub peak_kib: u64,
}

/// Where one run of a job happens.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    inputs: PathBuf,
    setting: Setting,
    scale: Scale,
    deadline: Instant,
    measuring: bool,
    steps: u32,
    meter: Meter,
    evidence: Evidence,
}

impl Place {
    /// A run in the existing folder `folder`, reading what was prepared in `inputs`.
    pub fn new(folder: &Path, inputs: &Path, setting: &Setting, scale: Scale, limit: Duration) -> Place {
        Place {
            folder: folder.into(),
            inputs: inputs.into(),
            setting: setting.clone(),
            scale,
            deadline: Instant::now() + limit,
            measuring: false,
            steps: 0,
            meter: Meter::default(),
            evidence: Evidence::default(),
        }
    }

    /// Says that the run is timed, so that clients are not preloaded.
    pub fn measure(&mut self) {
        self.measuring = true;
    }

    /// The run's own folder; programs start in it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with the files that the job's `prepare` made.
    pub fn inputs(&self) -> &Path {
        &self.inputs
    }

    /// How much work to do.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The allocator of this run.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// When the run counts as hung.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A path in the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file in the run's folder.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Outcome<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, contents)?;
        Ok(path)
    }

    /// The program under test.
    pub fn subject(&self, program: &str) -> Step {
        self.step(program, Role::Subject)
    }

    /// A program that drives a server under test.
    pub fn client(&self, program: &str) -> Step {
        self.step(program, Role::Client)
    }

    /// A program that only prepares or inspects.
    pub fn tool(&self, program: &str) -> Step {
        self.step(program, Role::Tool)
    }

    fn step(&self, program: &str, role: Role) -> Step {
        // A name that is not found is left as it is: starting it then fails with the name.
        let path = find_program(program).unwrap_or_else(|| program.into());
        let mut command = Command::new(path);
        let preloaded = match role {
            Role::Subject => true,
            Role::Client => !self.measuring,
            Role::Tool => false,
        };
        if preloaded {
            self.setting.apply(&mut command);
        } else {
            Setting::plain().apply(&mut command);
        }
        command
            .current_dir(&self.folder)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        Step { command, role, input: None }
    }

    /// Runs `step` to its end; it must succeed.
    pub fn run(&mut self, step: Step) -> Outcome<Finished> {
        let finished = self.run_any(step)?;
        if !finished.status.success() {
            fail!("{}", finished.report("failed"));
        }
        Ok(finished)
    }

    /// Runs `step` to its end, whatever its exit code.
    pub fn run_any(&mut self, step: Step) -> Outcome<Finished> {
        let role = step.role;
        let logs = self.logs()?;
        let finished = process::run(step, logs, self.deadline)?;
        if role != Role::Tool {
            self.meter.wall += finished.wall;
        }
        if role == Role::Subject {
            self.meter.peak_kib = self.meter.peak_kib.max(finished.peak_kib);
        }
        Ok(finished)
    }

    /// Runs `step`, which must succeed, and notes everything it printed.
    pub fn run_and_note(&mut self, name: &str, step: Step) -> Outcome<Finished> {
        let finished = self.run(step)?;
        self.note_streams(name, &finished)?;
        Ok(finished)
    }

    /// Notes both streams of a finished program.
    pub fn note_streams(&mut self, name: &str, finished: &Finished) -> Outcome {
        let output = text_or_digest(&finished.stdout_path)?;
        self.note(&format!("{name}, stdout"), output);
        self.note_errors(name, finished)
    }

    /// Notes what a finished program printed to stderr, where an allocator would complain.
    pub fn note_errors(&mut self, name: &str, finished: &Finished) -> Outcome {
        let errors = text_or_digest(&finished.stderr_path)?;
        self.note(&format!("{name}, stderr"), errors);
        Ok(())
    }

    /// Notes a text that must be the same under every allocator.
    pub fn note(&mut self, name: &str, text: impl AsRef<str>) {
        let text = text.as_ref();
        let text = text.replace(&*self.folder.to_string_lossy(), "FOLDER");
        self.evidence.note(name, text.replace(&*self.inputs.to_string_lossy(), "INPUTS"));
    }

    /// Notes the digest of a file in the run's folder.
    pub fn note_file(&mut self, name: &str) -> Outcome {
        let path = self.path(name);
        match digest_file(&path) {
            Ok(digest) => self.note(name, digest),
            Err(error) => fail!("{}: {error}", path.display()),
        }
        Ok(())
    }

    /// Starts `step` as a server and waits until `ready` says so.
    pub fn serve(&mut self, step: Step, ready: impl FnMut() -> bool) -> Outcome<Server> {
        let logs = self.logs()?;
        Server::start(step, &self.setting, logs, self.deadline, ready)
    }

    /// Ends a server by `signal`, notes how it ended, and counts its peak; it must end well.
    pub fn stop(&mut self, name: &str, server: Server, signal: i32) -> Outcome<Finished> {
        let finished = server.stop(signal, self.deadline)?;
        self.meter.peak_kib = self.meter.peak_kib.max(finished.peak_kib);
        self.note(&format!("{name}, end"), finished.status.to_string());
        if !finished.status.success() {
            fail!("{}", finished.report("ended badly"));
        }
        Ok(finished)
    }

    /// Does `work` in this process and counts its time, as a client's.
    pub fn timed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.meter.wall += start.elapsed();
        result
    }

    /// What the run noted and what it took.
    pub fn finish(self) -> (Evidence, Meter) {
        (self.evidence, self.meter)
    }

    /// Names for the next step's captured streams.
    fn logs(&mut self) -> Outcome<(PathBuf, PathBuf)> {
        self.steps += 1;
        let names =
            (self.path(&format!("{}.stdout", self.steps)), self.path(&format!("{}.stderr", self.steps)));
        File::create(&names.0)?;
        File::create(&names.1)?;
        Ok(names)
    }
}
