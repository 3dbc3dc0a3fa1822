//! The small process between the command and the program that is measured.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lexopt::prelude::*;

use super::os::{self, CallCounter};
use super::resident::{Sampler, Scope};
use super::{How, Report, Sample, instructions};

/// The command's first argument that makes it the launcher. Nobody is meant to type it.
pub const NAME: &str = "launch-and-measure";

/// Variables of the caller's that every measured program gets; all others are withheld, since many tune allocators.
const KEPT: [&str; 6] = ["PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "XDG_RUNTIME_DIR"];

/// Variables that every measured program gets with these values.
const FIXED: [(&str, &str); 2] = [("LC_ALL", "C.UTF-8"), ("TZ", "UTC")];

/// The launcher's arguments for `command`, the report going to `report`.
pub(super) fn arguments(command: &Command, how: &How, report: &Path) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["--report".into(), report.into(), "--limit".into()];
    all.push(how.limit.to_string().into());
    if how.scope == Scope::Tree {
        all.push("--tree".into());
    }
    if how.count_calls {
        all.push("--count-calls".into());
    }
    if let Some(library) = &how.count_instructions {
        all.extend(["--count-instructions".into(), library.into()]);
    }
    if how.follow {
        all.push("--follow".into());
    }
    let kept = KEPT.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let fixed = FIXED.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let own = command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    for (name, value) in kept.chain(fixed).chain(own) {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        all.extend(["--env".into(), pair]);
    }
    all.extend(["--".into(), command.get_program().to_owned()]);
    all.extend(command.get_args().map(OsStr::to_owned));
    all
}

/// What the launcher was told.
#[derive(Default)]
struct Orders {
    words: Vec<OsString>,
    environment: Vec<(String, String)>,
    report: PathBuf,
    tree: bool,
    count_calls: bool,
    count_instructions: Option<PathBuf>,
    follow: bool,
    limit: f64,
}

fn parse(mut arguments: lexopt::Parser) -> Result<Orders, lexopt::Error> {
    let mut orders = Orders { limit: 600.0, ..Orders::default() };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("report") => orders.report = arguments.value()?.into(),
            Long("limit") => orders.limit = arguments.value()?.parse()?,
            Long("tree") => orders.tree = true,
            Long("count-calls") => orders.count_calls = true,
            Long("count-instructions") => orders.count_instructions = Some(arguments.value()?.into()),
            Long("follow") => orders.follow = true,
            Long("env") => {
                let pair = arguments.value()?.string()?;
                let (name, value) = pair.split_once('=').ok_or("--env: here it must be NAME=VALUE")?;
                orders.environment.push((name.into(), value.into()));
            }
            Value(word) => orders.words.push(word),
            other => return Err(other.unexpected()),
        }
    }
    Ok(orders)
}

/// Runs the program and writes the report.
pub fn main(arguments: lexopt::Parser) -> Result<(), String> {
    let orders = parse(arguments).map_err(|error| error.to_string())?;
    // Without these two, what an interrupted run leaves behind would go on; the measuring works all the same.
    let _ = os::die_with_parent();
    let _ = os::adopt_orphans();
    let report =
        launch(&orders).unwrap_or_else(|failure| Report { failure: Some(failure), ..Report::default() });
    let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
    std::fs::write(&orders.report, text).map_err(|error| format!("{}: {error}", orders.report.display()))
}

fn launch(orders: &Orders) -> Result<Report, String> {
    let Some(library) = &orders.count_instructions else {
        return launch_words(orders, &orders.words, &orders.environment);
    };
    let folder = tempfile::tempdir().map_err(|error| format!("a folder for counts: {error}"))?;
    let (words, environment) =
        instructions::wrapped(&orders.words, &orders.environment, library, folder.path());
    let mut report = launch_words(orders, &words, &environment)?;
    if report.failure.is_none() && report.status == 0 {
        report.sample.instructions = Some(instructions::counted(folder.path())?);
    }
    Ok(report)
}

fn launch_words(
    orders: &Orders,
    words: &[OsString],
    environment: &[(String, String)],
) -> Result<Report, String> {
    let (program, words) = words.split_first().ok_or("no program was named")?;
    let mut command = Command::new(program);
    command.args(words).env_clear().envs(environment.iter().cloned());
    os::contain(&mut command);
    let mut counter = match orders.count_calls {
        true => Some(CallCounter::new()?),
        false => None,
    };
    let scope = if orders.tree { Scope::Tree } else { Scope::Process };
    let os_page = os::os_page();
    let started = Instant::now();
    let spawned = command.spawn();
    let child =
        spawned.map_err(|error| format!("{} did not start: {error}", program.to_string_lossy()))?.id();
    let told = |error: std::io::Error| error.to_string();
    let process = os::open_process(child).map_err(told)?;
    let mut sampler = Sampler::new(child, scope, os_page, started);
    if orders.follow {
        sampler = sampler.following();
    }
    let deadline = started + Duration::from_secs_f64(orders.limit.clamp(0.1, 1e6));
    let mut hung = false;
    while !os::wait(&process, sampler.sample()).map_err(told)? {
        if !hung && Instant::now() > deadline {
            hung = true;
            os::kill_group(child);
        }
    }
    let usage = os::reap(child).map_err(told)?;
    let end = Instant::now();
    // Helpers that outlive their leader would disturb the runs that follow.
    os::kill_group(child);
    let resident = sampler.finish(end);
    let sample = Sample {
        wall: end.duration_since(started).as_secs_f64(),
        user: usage.user,
        system: usage.system,
        peak: usage.peak.max(resident.peak) as f64,
        average: resident.average.round(),
        faults: usage.minor_faults + usage.major_faults,
        major_faults: usage.major_faults,
        voluntary_switches: usage.voluntary_switches,
        involuntary_switches: usage.involuntary_switches,
        course: resident.course,
        calls: counter.as_mut().map(CallCounter::read).transpose().map_err(told)?,
        ..Sample::default()
    };
    let failure = hung.then(|| format!("still ran after {} s and was killed", orders.limit));
    Ok(Report { sample, status: usage.status, failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(command: &Command, limit: f64) -> Orders {
        let scope = Scope::Tree;
        let how = How { scope, count_calls: false, count_instructions: None, follow: false, limit };
        let arguments = arguments(command, &how, Path::new("/f/report"));
        parse(lexopt::Parser::from_args(arguments)).unwrap()
    }

    #[test]
    fn orders_arrive_as_given() {
        let mut command = Command::new("/bin/echo");
        command.args(["--tree", "-x"]).env("LD_PRELOAD", "/a=b.so").env_remove("HOME");
        let told = orders(&command, 20.0);
        assert_eq!(told.words, ["/bin/echo", "--tree", "-x"]);
        assert!(told.tree && !told.count_calls && told.limit == 20.0);
        assert!(told.environment.contains(&("LD_PRELOAD".into(), "/a=b.so".into())));
        assert!(!told.environment.iter().any(|(name, _)| name == "MALLOC_CONF"));
        assert_eq!(told.report, Path::new("/f/report"));
    }

    #[test]
    fn a_program_is_measured() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 0.05; exit 3"]);
        let report = launch(&orders(&command, 20.0)).unwrap();
        assert_eq!(report.status, 3 << 8);
        assert!((0.05..5.0).contains(&report.sample.wall), "{:?}", report.sample);
        assert!(report.sample.peak > 200e3 && report.sample.average > 100e3, "{:?}", report.sample);
    }

    #[test]
    fn a_program_is_followed() {
        let mut command = Command::new("/bin/sleep");
        // Long enough for a few samples on a busy machine, too.
        command.arg("0.5");
        let mut orders = orders(&command, 20.0);
        orders.follow = true;
        let course = launch(&orders).unwrap().sample.course;
        assert!(course.len() > 2 && course.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{course:?}");
    }

    #[test]
    fn what_hangs_is_killed() {
        let mut command = Command::new("/bin/sleep");
        command.arg("100");
        let report = launch(&orders(&command, 0.1)).unwrap();
        assert!(report.failure.unwrap().contains("was killed"));
    }

    #[test]
    fn a_missing_program_is_told() {
        assert!(
            launch(&orders(&Command::new("/no/such/program"), 1.0)).unwrap_err().contains("did not start")
        );
    }
}
