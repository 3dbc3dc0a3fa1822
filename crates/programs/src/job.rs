//! What a job is: a name, the programs it needs, and the work it does.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::place::Place;

/// Why a job failed, with everything that helps to find the cause.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.to_string())
    }
}

impl From<Failure> for Box<dyn std::error::Error> {
    fn from(failure: Failure) -> Self {
        failure.0.into()
    }
}

/// Returns early with a [`Failure`] made by `format!`.
#[macro_export]
macro_rules! fail {
    ($($argument:tt)*) => {
        return Err($crate::job::Failure(format!($($argument)*)))
    };
}

/// The result of anything a job does.
pub type Outcome<T = ()> = Result<T, Failure>;

/// How much work the jobs do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Seconds a job: all of them, in all settings, in a few minutes on two cores.
    Small,
    /// The long form: gigabytes and minutes.
    Full,
}

impl Scale {
    /// The scale that the environment asks for: `FREESTONE_PROGRAMS=full`, else small.
    pub fn from_environment() -> Result<Scale, String> {
        match std::env::var("FREESTONE_PROGRAMS").as_deref() {
            Ok("full") => Ok(Scale::Full),
            Ok("" | "small") | Err(_) => Ok(Scale::Small),
            Ok(other) => Err(format!("FREESTONE_PROGRAMS is {other:?}; it may be \"small\" or \"full\"")),
        }
    }

    /// `small` or `full`, whichever the scale calls for.
    pub fn pick<T>(self, small: T, full: T) -> T {
        match self {
            Scale::Small => small,
            Scale::Full => full,
        }
    }
}

/// Something that must be installed before a job can run.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    probe: Probe,
    package: Package,
    extra: bool,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    Command(&'static str),
    Postgres,
    PythonModule(&'static str),
    Header(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Package {
    Named(&'static str),
    /// `libpythonX.Y-testsuite`, of the version that `python3` is.
    PythonTests,
}

impl Need {
    /// The command `name`, from the Debian package `package`.
    pub const fn command(name: &'static str, package: &'static str) -> Need {
        Need { probe: Probe::Command(name), package: Package::Named(package), extra: false }
    }

    /// The same of a package that is used where it is, and not asked for elsewhere: it is large, or few have it.
    pub const fn extra(name: &'static str, package: &'static str) -> Need {
        Need { extra: true, ..Need::command(name, package) }
    }

    /// Whether a job that needs it is run only where it happens to be installed.
    pub fn is_extra(&self) -> bool {
        self.extra
    }

    /// PostgreSQL's server programs, which Debian keeps out of the path.
    pub const POSTGRES: Need =
        Need { probe: Probe::Postgres, package: Package::Named("postgresql"), extra: false };

    /// The test suite of the system's Python.
    pub const PYTHON_TESTS: Need =
        Need { probe: Probe::PythonModule("test.test_json"), package: Package::PythonTests, extra: false };

    /// A module of the system's Python.
    pub const fn python_module(name: &'static str, package: &'static str) -> Need {
        Need { probe: Probe::PythonModule(name), package: Package::Named(package), extra: false }
    }

    /// The C or C++ header `name`, as in `#include`.
    pub const fn header(name: &'static str, package: &'static str) -> Need {
        Need { probe: Probe::Header(name), package: Package::Named(package), extra: false }
    }

    /// Whether it is installed.
    pub fn met(&self) -> bool {
        match self.probe {
            Probe::Command(name) => find_program(name).is_some(),
            Probe::Postgres => postgres_programs().is_some(),
            Probe::PythonModule(name) => {
                let Some(python) = find_program("python3") else { return false };
                let import = format!("import {name}");
                let run = Command::new(python).args(["-c", &import]).output();
                run.is_ok_and(|output| output.status.success())
            }
            Probe::Header(name) => {
                let own = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
                [Path::new("/usr/include"), Path::new(&own)].iter().any(|folder| folder.join(name).is_file())
            }
        }
    }

    /// The Debian package that brings it.
    pub fn package(&self) -> String {
        match self.package {
            Package::Named(name) => name.to_string(),
            Package::PythonTests => format!("lib{}-testsuite", python_version()),
        }
    }
}

/// The versioned name of the system's Python, as in `python3.11`: from the link that Debian
/// installs, or, before it is installed, from the package lists.
fn python_version() -> String {
    if let Ok(link) = std::fs::read_link("/usr/bin/python3")
        && let Some(name) = link.file_name()
    {
        return name.to_string_lossy().into_owned();
    }
    let lists = Command::new("apt-cache").args(["depends", "python3"]).output();
    let text = lists.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.split_whitespace().find(|word| word.starts_with("python3."));
    version.unwrap_or("python3").to_string()
}

/// Finds `name` where packages install programs, and only then along `PATH`, so that a version
/// manager's wrapper or a locally built program does not take the place of the packaged one.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let packaged = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    packaged
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| is_executable(program))
}

fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    program.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The folder of the newest PostgreSQL server's programs.
pub fn postgres_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let version: u32 = folder.file_name()?.to_str()?.parse().ok()?;
            let programs = folder.join("bin");
            is_executable(&programs.join("initdb")).then_some((version, programs))
        })
        .max()
        .map(|(_, programs)| programs)
}

/// One piece of real work by real programs.
#[derive(Debug)]
pub struct Job {
    /// A unique name, in lower case with dashes.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What must be installed.
    pub needs: &'static [Need],
    /// Seconds after which a run at small scale counts as hung.
    pub limit: u64,
    /// Makes input files, once for all runs, without preload.
    pub prepare: Option<fn(&mut Place) -> Outcome>,
    /// Does the work and notes what must be the same under every allocator.
    pub run: fn(&mut Place) -> Outcome,
}

impl Job {
    /// A job of two minutes at most that needs no files made beforehand.
    pub const fn plain(
        name: &'static str,
        about: &'static str,
        needs: &'static [Need],
        run: fn(&mut Place) -> Outcome,
    ) -> Job {
        Job { name, about, needs, limit: 120, prepare: None, run }
    }

    /// The packages that are missing for this job.
    pub fn missing(&self) -> Vec<String> {
        self.needs.iter().filter(|need| !need.met()).map(Need::package).collect()
    }

    /// How long a run may take at `scale`.
    pub fn limit(&self, scale: Scale) -> Duration {
        Duration::from_secs(self.limit * scale.pick(1, 15))
    }
}
