//! Every job in every setting of the library, each a test of its own name: `redis::thread`. Some jobs also in the modes that look
//! for misuse: `sqlite::debug`; all of them by `freestone-programs run --modes`.
//!
//! A job whose programs are not installed is reported as ignored, with the packages to install.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use freestone_programs::job::{Job, Scale};
use freestone_programs::library;
use freestone_programs::session::{Bench, Session};
use freestone_programs::setting::Setting;
use freestone_programs::{jobs, library::FILE_NAME};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The settings under test, made from the library when the first test asks: listing the tests, or running
/// none of them, builds nothing.
struct Library {
    session: Arc<Session>,
    settings: OnceLock<Result<Vec<Setting>, String>>,
}

impl Library {
    fn setting(&self, number: usize) -> Result<&Setting, String> {
        let settings = self.settings.get_or_init(|| {
            let library = library::find_or_build()?;
            let copy = self.session.adopt(&library).map_err(|failure| failure.to_string())?;
            Ok(settings(&copy))
        });
        settings.as_ref().map(|settings| &settings[number]).map_err(String::clone)
    }
}

/// Jobs that are short in every mode: programs in C and C++, with threads and forks, and an interpreter.
const IN_MODES: [&str; 3] = ["loaded", "cpp-refusal", "python-test-re"];

/// The usual settings, behind them those of the modes.
fn settings(library: &Path) -> Vec<Setting> {
    Setting::of_library(library).into_iter().chain(Setting::of_modes(library)).collect()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let session = match Scale::from_environment().map(Session::new) {
        Ok(Ok(session)) => session,
        Ok(Err(failure)) => return refuse(&failure.to_string()),
        Err(error) => return refuse(&error),
    };
    let library = Arc::new(Library { session: session.clone(), settings: OnceLock::new() });
    // The names must be known before the library is built, so they follow from its file name.
    let named = std::env::var_os("FREESTONE_LIB").filter(|path| !path.is_empty());
    let named = named.unwrap_or(FILE_NAME.into());
    let (usual, names) = (Setting::of_library(named.as_ref()).len(), settings(named.as_ref()));
    let benches: Vec<_> = jobs::all().into_iter().map(|job| (job, Arc::new(session.bench(job)))).collect();
    let trial = |number: usize, (job, bench): &(&'static Job, Arc<Bench>)| {
        let (job, bench, library) = (*job, bench.clone(), library.clone());
        let name = format!("{}::{}", job.name, names[number].name);
        Trial::ignorable_test(name, move || check(job, &bench, &library, number))
    };
    // Setting by setting: the tests of one job, side by side, would all wait for its run without the library.
    let mut trials = Vec::new();
    for number in 0..names.len() {
        let runs = |job: &Job| number < usual || IN_MODES.contains(&job.name);
        trials.extend(benches.iter().filter(|(job, _)| runs(job)).map(|pair| trial(number, pair)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check(job: &Job, bench: &Bench, library: &Library, number: usize) -> Result<Completion, Failed> {
    let missing = job.missing();
    if !missing.is_empty() {
        return Ok(Completion::ignored_with(format!("needs: apt-get install {}", missing.join(" "))));
    }
    bench.check(library.setting(number)?)?;
    Ok(Completion::Completed)
}

fn refuse(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
