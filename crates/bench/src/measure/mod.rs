//! Measuring one run of one program.
//!
//! The program is not started by the command itself but by a second, small process of it, the *launcher*
//! ([`launcher`]), one for each run. The kernel counts in a child's peak resident set what its parent held when it forked:
//! the launcher has next to nothing then, whatever the command has gathered by now. The launcher takes the time
//! from fork to end, samples the resident set meanwhile, and collects what the kernel has counted.

pub mod callgrind;
pub mod instructions;
pub mod launcher;
mod os;
mod resident;

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use serde::{Deserialize, Serialize};

pub use resident::Scope;

/// How to measure a run.
#[derive(Clone, Debug)]
pub struct How {
    /// Whose resident set is sampled.
    pub scope: Scope,
    /// Whether to count system calls. That makes them slower: the times of such a run are worthless.
    pub count_calls: bool,
    /// Whether to count instructions, and by which library of [`instructions`]. It takes twenty times as long.
    pub count_instructions: Option<PathBuf>,
    /// Whether to keep the resident set over time.
    pub follow: bool,
    /// Seconds after which the program counts as hung.
    pub limit: f64,
}

/// What was measured in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from fork to end.
    pub wall: f64,
    /// Processor seconds in the program's own code, of the whole tree.
    pub user: f64,
    /// Processor seconds in the kernel, of the whole tree.
    pub system: f64,
    /// The largest resident set, in bytes: of the largest process, or of the sampled tree where that is more.
    pub peak: f64,
    /// The mean resident set over time, in bytes.
    pub average: f64,
    /// Page faults, of the whole tree.
    pub faults: u64,
    /// Those among them that waited for a file.
    pub major_faults: u64,
    /// Times the processor was given up.
    pub voluntary_switches: u64,
    /// Times the processor was taken away.
    pub involuntary_switches: u64,
    /// System calls, if they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Instructions of the program's own, if they were counted: of the process that executed most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// Seconds of the part that the workload itself timed, without start and set-up, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner: Option<f64>,
    /// Allocator calls, or whatever else the workload counts, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<u64>,
    /// The resident set over time, pairs of seconds and bytes, if it was followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<(f64, f64)>,
}

/// What the launcher writes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Report {
    sample: Sample,
    /// The exit status as the kernel encodes it.
    status: i32,
    /// Why there is no status, or none worth the name.
    failure: Option<String>,
}

/// Runs `command`, its streams as they are set in it, and measures it. Of its environment only what was set in it and a few
/// harmless variables arrive. An error says why the run has no figures; that the program failed is none.
pub fn measure(command: &mut Command, how: &How) -> Result<(ExitStatus, Sample), String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| format!("a temporary file: {error}"))?;
    let own = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let mut arguments = vec![own.clone().into_os_string(), launcher::NAME.into()];
    arguments.extend(launcher::arguments(command, how, file.path()));
    let arguments = arguments.into_iter().map(terminated).collect::<Result<_, _>>()?;
    os::replace_program(command, terminated(own.into_os_string())?, arguments);
    let status = command.status().map_err(|error| format!("the launcher did not start: {error}"))?;
    let text = std::fs::read(file.path()).map_err(|error| format!("the launcher's report: {error}"))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|error| format!("the launcher ({status}) left no readable report: {error}"))?;
    match report.failure {
        Some(failure) => Err(failure),
        None => Ok((ExitStatus::from_raw(report.status), report.sample)),
    }
}

fn terminated(text: OsString) -> Result<CString, String> {
    CString::new(text.into_vec()).map_err(|_| "an argument holds a zero byte".into())
}
