//! The report of `freestone run`: what is in it. How it is written: [`text`], [`json`].

mod classes;
pub mod json;
pub mod ledger;
pub mod spark;
pub mod text;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use freestone_base::ledger::{Line, Share};

use crate::os::{End, Usage};
use crate::private_dir::PrivateDir;
use crate::snapshot::{self, Snapshot};

/// All that is known of a run.
#[derive(Debug)]
pub struct Report {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its process.
    pub pid: u32,
    pub end: End,
    pub wall: Duration,
    pub usage: Usage,
    /// The heap of the program itself.
    pub root: Option<Snapshot>,
    /// How long before its end that was, if it is not of its end.
    pub earlier: Option<Duration>,
    /// Why there is none.
    pub absent: Option<String>,
    /// The heaps of the processes that it started, largest first.
    pub others: Vec<Snapshot>,
    /// Those of them whose figures are not of their end: they were killed, or run on.
    pub unfinished: Vec<u32>,
    /// Files of figures that could not be read.
    pub broken: Vec<String>,
    /// An allocator that the program has built in, if most of its memory does not come from the heap.
    pub built_in: Option<&'static str>,
}

impl Report {
    /// As [`Snapshot::peaks`].
    pub fn peaks(&self) -> (u64, Option<u64>) {
        let all = self.usage.peak_resident;
        self.root.as_ref().map_or((all, None), |root| root.peaks(all, self.earlier.is_some()))
    }

    /// Resident bytes that the program got from the kernel by itself, if they are most of all and some megabytes: then the heap's figures
    /// are not about its memory. Rather too few, since the heap is counted as if all of it had been resident.
    pub fn past_the_heap(&self) -> Option<u64> {
        const WORTH_TELLING: u64 = 2 << 20;
        let root = self.root.as_ref()?;
        let ledger = root.ledger.as_ref()?;
        let resident = root.history.iter().map(|sample| sample.1).max().unwrap_or(0).max(ledger.resident);
        let own = [Line::Stacks, Line::Code, Line::Files, Line::Kernel].map(|line| ledger.line(line));
        let known = own.iter().sum::<u64>() + ledger.share(Share::Metadata) + root.pages.mapped_peak;
        Some(resident.saturating_sub(known)).filter(|&rest| rest > WORTH_TELLING.max(resident / 2))
    }
}

/// What the library wrote.
#[derive(Debug, Default)]
pub struct Collected {
    pub root: Option<Snapshot>,
    pub others: Vec<Snapshot>,
    /// Processes whose figures are the last that they kept while they ran.
    pub unfinished: Vec<u32>,
    pub broken: Vec<String>,
}

/// Reads what the processes left in `dir`; `pid` is the program's own.
pub fn collect(dir: &PrivateDir, pid: u32) -> Collected {
    let mut collected = Collected::default();
    let files = match dir.reports() {
        Ok(files) => files,
        Err(error) => {
            collected.broken.push(format!("The figures cannot be read: {error}."));
            return collected;
        }
    };
    let mut ended = HashSet::new();
    for (path, contents) in files {
        let read = contents.map_err(|error| error.to_string()).and_then(|json| snapshot::read(&json));
        if read.is_ok() {
            ended.insert(path.clone());
        }
        match read {
            Ok(snapshot) if snapshot.pid == pid => collected.root = Some(snapshot),
            Ok(snapshot) => collected.others.push(snapshot),
            Err(error) => {
                let process = path.file_stem().map(Path::new).unwrap_or(&path).display();
                collected.broken.push(format!("The figures of process {process} cannot be read: {error}."));
            }
        }
    }
    for snapshot in kept(dir, &ended) {
        collected.unfinished.push(snapshot.pid);
        if snapshot.pid == pid {
            collected.root = Some(snapshot);
        } else {
            collected.others.push(snapshot);
        }
    }
    collected.others.sort_by_key(|other| (std::cmp::Reverse(weight(other)), other.pid));
    collected
}

/// The last figures of the processes that did not write any at their end, which would lie in the files `ended`. Of two files that a process
/// writes in turn, one is whole.
fn kept(dir: &PrivateDir, ended: &HashSet<PathBuf>) -> Vec<Snapshot> {
    let mut last = BTreeMap::<PathBuf, Snapshot>::new();
    for (path, contents) in dir.kept("json") {
        if ended.contains(&path) {
            continue;
        }
        let Some(snapshot) = contents.ok().and_then(|json| snapshot::read(&json).ok()) else { continue };
        let place = last.entry(path).or_default();
        if snapshot.elapsed_ns >= place.elapsed_ns {
            *place = snapshot;
        }
    }
    last.into_values().collect()
}

/// By what processes are ranked: the bytes that they held.
fn weight(snapshot: &Snapshot) -> u64 {
    snapshot.live.peak_bytes.max(snapshot.live.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The figures that one process might write.
    fn figures(pid: u32, elapsed_ns: u64) -> String {
        let mut snapshot = snapshot::read(include_bytes!("../tests/fixtures/snapshot.json")).unwrap();
        (snapshot.pid, snapshot.elapsed_ns) = (pid, elapsed_ns);
        serde_json::to_string(&snapshot).unwrap()
    }

    #[test]
    fn what_was_kept_takes_the_place_of_what_is_missing_or_cut() {
        let dir = PrivateDir::new().unwrap();
        let write = |name: &str, contents: &str| fs::write(dir.path().join(name), contents).unwrap();
        // Ended: what it kept is of no interest. Killed: the newer of two. Killed at its end. Killed as it wrote the second file.
        write("1.json", &figures(1, 50));
        write("1.json.1", &figures(1, 40));
        write("2.json.1", &figures(2, 30));
        write("2.json.2", &figures(2, 20));
        write("3.json", "{");
        write("3.json.2", &figures(3, 10));
        write("4.json.1", &figures(4, 10));
        write("4.json.2", &figures(4, 20)[..40]);
        let collected = collect(&dir, 2);
        assert_eq!(collected.root.map(|root| root.elapsed_ns), Some(30));
        let mut others: Vec<_> = collected.others.iter().map(|other| (other.pid, other.elapsed_ns)).collect();
        others.sort();
        assert_eq!(others, [(1, 50), (3, 10), (4, 10)]);
        assert_eq!(collected.unfinished, [2, 3, 4]);
        assert_eq!(collected.broken.len(), 1);
    }
}
