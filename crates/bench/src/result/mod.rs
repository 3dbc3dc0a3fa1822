//! Results: what a run leaves behind, and what is made of it.
//!
//! A result is one JSON file. Its format is this module's types, field by field; `format` is raised when a field changes its
//! meaning or goes. Times are seconds, sizes bytes, latencies nanoseconds, everywhere.

pub mod compare;
pub mod growth;
pub mod latency;
pub mod machine;
pub mod memory;
pub mod modes;
pub mod overhead;
pub mod ranks;
pub mod score;
pub mod stats;
pub mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::measure::Sample;
use machine::Machine;

/// The version of the format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Everything that one call of the command measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`FORMAT`].
    pub format: u32,
    /// The command's arguments.
    pub arguments: Vec<String>,
    /// When it began, in UTC, as `2026-11-21T06:00:00Z`.
    pub date: String,
    /// How long it took.
    pub seconds: f64,
    /// The revision of the library's sources, with `+` if there were changes; empty if not known.
    pub revision: String,
    /// Where it ran.
    pub machine: Machine,
    /// How often and how much.
    pub parameters: Parameters,
    /// The allocators, in the order in which tables show them.
    pub contestants: Vec<Contestant>,
    /// The workloads, in order.
    pub rows: Vec<Row>,
}

/// How often and how much was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Rounds of the interleaved run.
    pub rounds: usize,
    /// The amount of work in a run; 1 is about a second under glibc.
    pub scale: f64,
    /// Threads of the workloads that have several; 0 is each workload's own choice.
    pub threads: usize,
    /// What the workloads' random numbers start from.
    pub seed: u64,
}

/// How a contestant is put under a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// As a library preloaded under a program that calls `malloc` and its kin.
    C,
    /// As the global allocator of a Rust program of its own.
    Rust,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Interface::C => "C",
            Interface::Rust => "Rust",
        })
    }
}

/// What a contestant is in the run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The library under test, or a version of it.
    Subject,
    /// An allocator to compare with.
    Peer,
    /// One of them a second time: the differences between the two are the noise.
    Control,
    /// The library under test with one of its instruments at work.
    Instrument,
}

/// An allocator in the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contestant {
    /// What tables call it; the same under both interfaces.
    pub name: String,
    /// Its version, as far as known.
    pub version: String,
    /// What it is in the run for.
    pub role: Role,
    /// The interfaces it took part under.
    pub interfaces: Vec<Interface>,
}

/// One workload under one interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The workload's name.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// The interface.
    pub interface: Interface,
    /// The value of what grows, for a row of a growth run: live bytes or threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
    /// The figures of each contestant, by its name.
    pub cells: BTreeMap<String, Cell>,
}

impl Row {
    /// The workload's name, and on a growth curve where on it.
    pub fn label(&self) -> String {
        label(&self.name, self.point.as_ref())
    }
}

/// The name of a row of that workload, at that point of a growth curve if it is on one.
pub fn label(name: &str, point: Option<&Point>) -> String {
    match point {
        Some(point) => format!("{name} at {}", growth::short(point.value)),
        None => name.to_owned(),
    }
}

/// Where on a growth curve a row stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What grows: `live bytes` or `threads`.
    pub axis: String,
    /// How much of it there is.
    pub value: f64,
}

/// The runs of one contestant in one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// One for each round, in order.
    pub samples: Vec<Sample>,
    /// System calls of one run, if they were counted (in a run of its own).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// The latencies of single calls, one for each round, for each kind of call (`alloc`, `free`, `realloc`), if they were
    /// taken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency: BTreeMap<String, Vec<Latency>>,
    /// What a row about memory tells, one for each round, by the names that [`memory`] explains; bytes and ratios.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, Vec<f64>>,
    /// The resident set over time in the first round, pairs of seconds and bytes, if it was followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<(f64, f64)>,
    /// Why there are no more figures. A cell that failed takes no part in any comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Latencies of single calls in one run, in nanoseconds, the cost of the clock included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many calls were timed.
    pub count: u64,
    /// The longest.
    pub worst: f64,
    /// What reading the clock twice costs.
    pub clock: f64,
    /// Pairs of a part of all calls (0 to 1) and the nanoseconds that so many of them stayed within, rising.
    pub curve: Vec<(f64, f64)>,
}

impl Results {
    /// Rounds that were finished: fewer than were asked for when the run was interrupted.
    pub fn rounds(&self) -> usize {
        let of_cell = |cell: &Cell| {
            cell.figures.values().map(Vec::len).chain([cell.samples.len()]).max().unwrap_or_default()
        };
        self.rows.iter().flat_map(|row| row.cells.values()).map(of_cell).max().unwrap_or(0)
    }

    /// Whether any run of any row failed.
    pub fn any_failed(&self) -> bool {
        self.rows.iter().flat_map(|row| row.cells.values()).any(|cell| cell.failure.is_some())
    }

    /// Reads a file of results.
    pub fn read(path: &Path) -> Result<Results, String> {
        let told = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| told(&error))?;
        match value["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(told(&format!("has format {format}; this program knows {FORMAT}"))),
            None => return Err(told(&"holds no results of this command")),
        }
        serde_json::from_value(value).map_err(|error| told(&error))
    }

    /// Writes the file, through a second one beside it, so that an interruption leaves no half.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let told = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let text = serde_json::to_string_pretty(self).map_err(|error| told(&error))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        std::fs::write(&partial, text + "\n").map_err(|error| told(&error))?;
        std::fs::rename(&partial, path).map_err(|error| told(&error))
    }

    /// The contestants under `interface`, without those that only measure the noise.
    pub fn shown(&self, interface: Interface) -> Vec<&Contestant> {
        let takes_part = |one: &&Contestant| one.interfaces.contains(&interface) && one.role != Role::Control;
        self.contestants.iter().filter(takes_part).collect()
    }

    /// The interfaces that have rows.
    pub fn interfaces(&self) -> Vec<Interface> {
        [Interface::C, Interface::Rust]
            .into_iter()
            .filter(|interface| self.rows.iter().any(|row| row.interface == *interface))
            .collect()
    }
}

/// Results to test with: glibc, its control, two peers and Freestone; `rows` rows of which the figures differ a little.
#[cfg(test)]
pub fn example(rows: usize, rounds: usize) -> Results {
    let contestant = |name: &str, role| Contestant {
        name: name.into(),
        version: "1.0".into(),
        role,
        interfaces: vec![Interface::C],
    };
    let speeds = [("glibc", 1.4), ("glibc again", 1.41), ("alpha", 1.0), ("beta", 1.1), ("freestone", 0.95)];
    let cell = |speed: f64, row: usize| Cell {
        samples: (0..rounds)
            .map(|round| Sample {
                wall: speed * (1.0 + row as f64 * 0.1) * (1.0 + round as f64 * 0.01),
                user: speed,
                peak: 1e6 * (3.0 - speed),
                average: 8e5 * (3.0 - speed),
                ..Sample::default()
            })
            .collect(),
        ..Cell::default()
    };
    Results {
        format: FORMAT,
        arguments: vec!["run".into()],
        date: "2026-11-21T06:00:00Z".into(),
        seconds: 12.5,
        revision: "abc".into(),
        machine: Machine::default(),
        parameters: Parameters { rounds, scale: 1.0, threads: 0, seed: 1 },
        contestants: vec![
            contestant("glibc", Role::Peer),
            contestant("glibc again", Role::Control),
            contestant("alpha", Role::Peer),
            contestant("beta", Role::Peer),
            contestant("freestone", Role::Subject),
        ],
        rows: (0..rows)
            .map(|row| Row {
                name: format!("row-{row}"),
                about: "a test".into(),
                interface: Interface::C,
                point: None,
                cells: speeds.iter().map(|(name, speed)| (name.to_string(), cell(*speed, row))).collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_run_has_the_rounds_that_it_finished() {
        let mut results = example(2, 5);
        for cell in results.rows.iter_mut().flat_map(|row| row.cells.values_mut()) {
            cell.samples.truncate(2);
        }
        assert_eq!((results.parameters.rounds, results.rounds()), (5, 2));
    }

    #[test]
    fn results_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        let mut results = example(3, 5);
        // Numbers that need all digits may come back with another last one.
        for sample in
            results.rows.iter_mut().flat_map(|row| row.cells.values_mut()).flat_map(|cell| &mut cell.samples)
        {
            for value in [&mut sample.wall, &mut sample.user, &mut sample.peak, &mut sample.average] {
                *value = (*value * 64.0).round() / 64.0;
            }
        }
        let cell = results.rows[0].cells.get_mut("alpha").unwrap();
        cell.calls = Some(12);
        cell.failure = Some("exit code 3".into());
        let latency = Latency { count: 9, worst: 1e3, clock: 20.0, curve: vec![(0.5, 30.0), (1.0, 1e3)] };
        cell.latency.insert("free".into(), vec![latency]);
        results.write(&path).unwrap();
        assert!(Results::read(&path).unwrap() == results);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_result_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        assert!(Results::read(&path).unwrap_err().contains("x.json"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Results::read(&path).unwrap_err().contains("no results"));
        std::fs::write(&path, r#"{"format": 99}"#).unwrap();
        assert!(Results::read(&path).unwrap_err().contains("format 99"));
    }
}
