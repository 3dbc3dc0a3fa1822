//! Holds the library to what each mode promises for each fault. A test is named `mode::group::fault`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use freestone_misuse::cases::Suite;
use freestone_misuse::expectation::{self, Expectation};
use freestone_misuse::outcome::{self, Outcome, Subject};
use freestone_misuse::{MODES, Mode};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<Vec<Trial>, String> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("misuse");
    let suite = Arc::new(Suite::scan(out).map_err(|error| format!("cannot read the cases: {error}"))?);
    let mut trials = Vec::new();
    for mode in MODES {
        let Some(promises) = expectation::read(mode.name)? else { continue };
        let promised: Vec<String> = promises.keys().cloned().collect();
        let known = Arc::clone(&suite);
        trials.push(Trial::test(format!("{}::every_fault_has_a_promise", mode.name), move || {
            complete(&known, &promised)
        }));
        for (index, fault) in suite.faults.iter().enumerate() {
            let Some(promise) = promises.get(&fault.name).cloned() else { continue };
            let name = format!("{}::{}::{}", mode.name, suite.programs[fault.program].name, fault.name);
            let suite = Arc::clone(&suite);
            trials.push(Trial::ignorable_test(name, move || hold(&suite, index, mode, &promise)));
        }
    }
    Ok(trials)
}

fn complete(suite: &Suite, promised: &[String]) -> Result<(), Failed> {
    let faults: Vec<_> = suite.faults.iter().map(|fault| &fault.name).collect();
    if let Some(fault) = faults.iter().find(|fault| !promised.contains(fault)) {
        return Err(format!("no promise for {fault}").into());
    }
    match promised.iter().find(|name| !faults.contains(name)) {
        Some(name) => Err(format!("a promise for {name}, which is no fault").into()),
        None => Ok(()),
    }
}

fn hold(suite: &Suite, fault: usize, mode: Mode, promise: &Expectation) -> Result<Completion, Failed> {
    static LIBRARY: OnceLock<Result<std::path::PathBuf, String>> = OnceLock::new();
    if let Some(reason) = suite.cannot_compile() {
        return Ok(Completion::ignored_with(reason));
    }
    let library = LIBRARY.get_or_init(|| outcome::library(None)).as_ref()?;
    let fault = &suite.faults[fault];
    let (subject, program) = (Subject::freestone(library, mode), suite.executable(fault.program)?);
    if subject.complaint(program)?.is_some() {
        return Ok(Completion::ignored_with(format!("the library does not know {}", mode.conf)));
    }
    let end = subject.commit(program, &fault.name)?;
    if let Some(objection) = promise.objection(&end) {
        return Err(objection.into());
    }
    Ok(if end.outcome == Outcome::Skipped {
        Completion::ignored_with(end.effect)
    } else {
        Completion::Completed
    })
}
