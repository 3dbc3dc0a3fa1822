//! The report as JSON.

use serde::Serialize;

use super::Report;
use crate::os::End;
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct Run<'a> {
    version: u32,
    command: &'a [String],
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    wall_ns: u64,
    user_ns: u64,
    system_ns: u64,
    peak_resident: u64,
    minor_faults: u64,
    major_faults: u64,
    /// The heap of the program itself.
    heap: Option<&'a Snapshot>,
    /// How long before the end that was, if it is not of the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_before_end_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_absent: Option<&'a str>,
    further_processes: &'a [Snapshot],
    /// Those of them whose figures are not of their end.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    unfinished: &'a [u32],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    problems: &'a [String],
}

/// Writes the report as one JSON object.
pub fn render(report: &Report) -> String {
    let (exit_code, signal) = match report.end {
        End::Exit(code) => (Some(code), None),
        End::Signal(signal) => (None, Some(signal)),
    };
    let run = Run {
        version: 1,
        command: &report.command,
        pid: report.pid,
        exit_code,
        signal,
        wall_ns: report.wall.as_nanos() as u64,
        user_ns: report.usage.user.as_nanos() as u64,
        system_ns: report.usage.system.as_nanos() as u64,
        peak_resident: report.usage.peak_resident,
        minor_faults: report.usage.minor_faults,
        major_faults: report.usage.major_faults,
        heap: report.root.as_ref(),
        heap_before_end_ns: report.earlier.map(|before| before.as_nanos() as u64),
        heap_absent: report.absent.as_deref(),
        further_processes: &report.others,
        unfinished: &report.unfinished,
        problems: &report.broken,
    };
    let mut text = serde_json::to_string_pretty(&run).unwrap_or_default();
    text.push('\n');
    text
}
