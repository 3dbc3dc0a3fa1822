//! The machine that figures come from.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Processor, memory, kernel and system, as far as they can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model name.
    pub processor: String,
    /// Its architecture, as Rust calls it.
    pub architecture: String,
    /// Processors that this command may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// The C library's version.
    pub libc: String,
    /// `always`, `madvise` or `never`.
    pub huge_pages: String,
    /// The frequency governor, where the machine shows one.
    pub governor: String,
}

impl Machine {
    /// This machine.
    pub fn here() -> Machine {
        let cpus = read("/proc/cpuinfo");
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let system = read("/etc/os-release");
        let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
        let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        Machine {
            processor: field(&cpus, "model name").or_else(|| field(&cpus, "CPU part")).unwrap_or_default(),
            architecture: std::env::consts::ARCH.into(),
            cpus: std::thread::available_parallelism().map_or(0, |count| count.get()),
            memory: kib << 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            system: system.trim_matches('"').into(),
            libc: output("getconf", &["GNU_LIBC_VERSION"], None).unwrap_or_default(),
            huge_pages: chosen(&huge_pages).unwrap_or_default(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").trim().into(),
        }
    }

    /// The description in one line, for the head of a table.
    pub fn line(&self) -> String {
        let Machine { processor, cpus, memory, kernel, system, libc, huge_pages, .. } = self;
        let memory = *memory as f64 / (1u64 << 30) as f64;
        format!(
            "{processor}, {cpus} CPUs, {memory:.0} GiB, Linux {kernel}, {system}, {libc}, huge pages {huge_pages}"
        )
    }
}

/// The revision of the sources in `folder`, with `+` if files differ from it; empty where git knows nothing of them.
pub fn revision(folder: &Path) -> String {
    let Some(revision) = output("git", &["rev-parse", "--short=12", "HEAD"], Some(folder)) else {
        return String::new();
    };
    let changes = output("git", &["status", "--porcelain", "--untracked-files=no"], Some(folder));
    let mark = if changes.is_some_and(|text| !text.is_empty()) { "+" } else { "" };
    format!("{revision}{mark}")
}

/// What a program prints, if it succeeds.
fn output(program: &str, arguments: &[&str], folder: Option<&Path>) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let done = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&done.stdout).trim().to_string())
}

/// Now, in UTC.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format_date(seconds)
}

/// Seconds since 1970 as year, month, day and time of day.
fn format_date(seconds: u64) -> String {
    let (mut days, time) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// The word in brackets.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(format_date(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_date(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(format_date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(format_date(1_795_241_655), "2026-11-21T06:14:15Z");
    }

    #[test]
    fn this_machine_is_described() {
        let here = Machine::here();
        assert!(here.cpus > 0 && here.memory > 0 && !here.kernel.is_empty(), "{here:?}");
        assert!(here.line().contains("Linux"));
    }

    #[test]
    fn the_chosen_word_is_in_brackets() {
        assert_eq!(chosen("always [madvise] never"), Some("madvise".into()));
        assert_eq!(chosen(""), None);
    }
}
