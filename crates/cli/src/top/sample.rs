//! What `freestone top` knows of a process at one moment, and what changed since the moment before.

use std::fs;
use std::time::{Duration, Instant};

use freestone_base::ledger::Line;
use freestone_base::live::{ClassFigure, Figure};
use serde::Serialize;

use crate::attach::{Control, Figures, Process};

/// The ledger may take the process this part of its time.
const LEDGER_SHARE: u32 = 50;

/// All that is shown.
#[derive(Debug, Default, Serialize)]
pub struct Sample {
    pub pid: u32,
    pub command: String,
    pub threads: u64,
    /// The resident set, in bytes.
    pub resident: u64,
    /// What the process says of its heap; absent when it has no control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap: Option<Heap>,
    /// What the kernel says of its memory; only when it has no control.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<Named>,
    /// The resident set over time, oldest first.
    pub history: Vec<u64>,
    /// How long the history is, in seconds.
    pub history_seconds: f64,
}

/// What a process with an open control says of its heap.
#[derive(Debug, Default, Serialize)]
pub struct Heap {
    pub library: String,
    pub cache: &'static str,
    /// Whether every call is counted.
    pub counted: bool,
    /// How long the control is open, in seconds.
    pub open_seconds: f64,
    /// Resident bytes, line by line; empty when the process did not give its ledger.
    pub ledger: Vec<Named>,
    /// Whether the ledger is an estimate from the figures, which do not know what is resident.
    pub estimated: bool,
    pub figures: Vec<Named>,
    /// Changes a second, where there was a moment before.
    pub rates: Vec<Rate>,
    pub classes: Vec<Class>,
}

/// A number with its name.
#[derive(Clone, Debug, Serialize)]
pub struct Named {
    pub name: &'static str,
    /// What a person reads.
    #[serde(skip)]
    pub label: &'static str,
    pub value: u64,
}

/// A change a second.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    pub name: &'static str,
    pub per_second: f64,
}

/// A size class; blocks unless said otherwise.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Class {
    /// Bytes of a block.
    pub size: u64,
    pub live: u64,
    pub cached: u64,
    pub free_in_slabs: u64,
    pub slabs: u64,
    /// Blocks handed out a second, where calls are counted.
    pub allocs_per_second: f64,
}

impl Class {
    /// Bytes of live, cached and free blocks.
    pub fn bytes(&self) -> [u64; 3] {
        [self.live, self.cached, self.free_in_slabs].map(|blocks| blocks * self.size)
    }

    fn from(figures: &[u64]) -> Class {
        let get = |figure: ClassFigure| figures[figure as usize];
        Class {
            size: get(ClassFigure::Size),
            live: get(ClassFigure::Live),
            cached: get(ClassFigure::InCaches) + get(ClassFigure::InTransfer),
            free_in_slabs: get(ClassFigure::FreeInSlabs),
            slabs: get(ClassFigure::Slabs),
            allocs_per_second: 0.0,
        }
    }
}

/// Looks at a process again and again.
pub struct Watcher {
    process: Process,
    control: Option<Control>,
    before: Option<Figures>,
    /// The last ledger, and when the next may be asked for.
    ledger: Vec<Named>,
    next_ledger: Instant,
    /// Without a control: what was seen.
    seen: Vec<u64>,
    began: Instant,
}

impl Watcher {
    pub fn new(process: Process, control: Option<Control>) -> Watcher {
        let now = Instant::now();
        Watcher {
            process,
            control,
            before: None,
            ledger: Vec::new(),
            next_ledger: now,
            seen: Vec::new(),
            began: now,
        }
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn control(&self) -> Option<&Control> {
        self.control.as_ref()
    }

    /// Looks; the message says why that is no longer possible.
    pub fn look(&mut self) -> Result<Sample, String> {
        if !self.process.is_alive() {
            return Err(self.process.ended());
        }
        let figures = match self.control.as_ref().map(Control::read) {
            None => return self.look_from_outside(),
            Some(Err(_)) if !self.process.is_alive() => return Err(self.process.ended()),
            Some(figures) => figures?,
        };
        self.take_ledger();
        let heap = self.heap(&figures);
        let (history, spacing_ns) = figures.history();
        let sample = Sample {
            pid: self.process.pid,
            command: self.process.name.clone(),
            threads: threads(self.process.pid).unwrap_or(self.process.threads),
            resident: figures.get(Figure::Resident),
            heap: Some(heap),
            kernel: Vec::new(),
            history_seconds: history.len() as f64 * spacing_ns as f64 / 1e9,
            history: history
                .into_iter()
                .map(|(resident, _)| resident)
                .chain([figures.get(Figure::Resident)])
                .collect(),
        };
        self.before = Some(figures);
        Ok(sample)
    }

    /// Asks for the ledger, unless that was so costly that it must wait.
    fn take_ledger(&mut self) {
        let began = Instant::now();
        if began < self.next_ledger {
            return;
        }
        let Some(Ok(json)) = self.control.as_ref().map(|control| control.ask("ledger")) else {
            self.ledger.clear();
            return;
        };
        self.ledger = ledger_lines(&json);
        self.next_ledger = began + began.elapsed() * LEDGER_SHARE;
    }

    fn heap(&self, figures: &Figures) -> Heap {
        let estimated = self.ledger.is_empty();
        let mut classes: Vec<Class> = figures.classes().map(Class::from).collect();
        let mut rates = Vec::new();
        if let Some(before) = &self.before {
            let span_ns = figures.get(Figure::Updated).saturating_sub(before.get(Figure::Updated));
            let per_second =
                |now: u64, then: u64| now.saturating_sub(then) as f64 * 1e9 / span_ns.max(1) as f64;
            let grows = |figure: &&Figure| **figure as usize >= Figure::Malloc as usize;
            if span_ns > 0 {
                rates.extend(Figure::ALL.iter().filter(grows).map(|&figure| Rate {
                    name: figure.name(),
                    per_second: per_second(figures.get(figure), before.get(figure)),
                }));
                for (class, now) in classes.iter_mut().zip(figures.classes()) {
                    let then = before.classes().find(|then| then[0] == now[0]);
                    let allocs = ClassFigure::Allocs as usize;
                    class.allocs_per_second = per_second(now[allocs], then.map_or(0, |then| then[allocs]));
                }
            }
        }
        Heap {
            library: figures.library(),
            cache: figures.cache(),
            counted: figures.get(Figure::Counted) == 1,
            open_seconds: figures.get(Figure::Updated).saturating_sub(figures.opened_ns()) as f64 / 1e9,
            ledger: if estimated { estimate(figures) } else { self.ledger.clone() },
            estimated,
            figures: Figure::ALL
                .iter()
                .map(|&figure| Named {
                    name: figure.name(),
                    label: figure.meaning(),
                    value: figures.get(figure),
                })
                .collect(),
            rates,
            classes,
        }
    }

    /// Without a control: what the kernel says.
    fn look_from_outside(&mut self) -> Result<Sample, String> {
        let rollup = fs::read_to_string(self.process.proc("smaps_rollup"))
            .map_err(|error| format!("{} cannot be looked into: {error}", self.process.shown()))?;
        let bytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        let (resident, anonymous) = (bytes("Rss"), bytes("Anonymous"));
        let named = |name, label, value| Named { name, label, value };
        let files = resident.saturating_sub(anonymous);
        self.seen.push(resident);
        Ok(Sample {
            pid: self.process.pid,
            command: self.process.name.clone(),
            threads: threads(self.process.pid).unwrap_or(self.process.threads),
            resident,
            heap: None,
            kernel: vec![
                named("anonymous", "heap and stacks", anonymous),
                named("files", "files and shared", files),
                named("huge_pages", "in huge pages", bytes("AnonHugePages")),
                named("lazily_freed", "lazily freed", bytes("LazyFree")),
                named("swap", "swapped out", bytes("Swap")),
            ],
            history: self.seen.clone(),
            history_seconds: self.began.elapsed().as_secs_f64(),
        })
    }
}

fn threads(pid: u32) -> Option<u64> {
    Process::find(pid).ok().map(|process| process.threads)
}

/// The lines of the ledger in what a process answered; empty when there are none.
fn ledger_lines(json: &str) -> Vec<Named> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return Vec::new() };
    let lines = &value["ledger"]["lines"];
    let known = Line::ALL.into_iter().filter_map(|line| {
        let value = lines[line.name()].as_u64()?;
        Some(Named { name: line.name(), label: line.label(), value })
    });
    known.collect()
}

/// A ledger from the figures alone, for a process that does not give its own.
fn estimate(figures: &Figures) -> Vec<Named> {
    let get = |figure: Figure| figures.get(figure);
    let in_slabs = get(Figure::Live).saturating_sub(get(Figure::Large));
    let blocks = in_slabs + get(Figure::Cached) + get(Figure::FreeInSlabs);
    let mut lines = vec![
        (Line::Live, get(Figure::Live)),
        (Line::Caches, get(Figure::Cached)),
        (Line::FreeInSlabs, get(Figure::FreeInSlabs)),
        (Line::SlabRests, get(Figure::Slabs).saturating_sub(blocks)),
        (Line::FreeDirty, get(Figure::FreeDirty)),
        (Line::Records, get(Figure::Metadata)),
    ];
    let known = lines.iter().map(|(_, value)| value).sum();
    lines.push((Line::OtherAnonymous, get(Figure::Resident).saturating_sub(known)));
    lines.into_iter().map(|(line, value)| Named { name: line.name(), label: line.label(), value }).collect()
}

/// The longest that one look may make the next wait.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_by_the_names_of_its_lines() {
        let lines = ledger_lines(r#"{"ledger":{"resident":9,"lines":{"live":5,"caches":3,"unheard_of":1}}}"#);
        let pairs: Vec<_> = lines.iter().map(|line| (line.name, line.value)).collect();
        assert_eq!(pairs, [("live", 5), ("caches", 3)]);
        assert!(ledger_lines("{}").is_empty() && ledger_lines("").is_empty());
    }

    #[test]
    fn a_process_without_control_is_seen_from_outside() {
        let own = Process::find(std::process::id()).unwrap();
        let mut watcher = Watcher::new(own, None);
        let sample = watcher.look().unwrap();
        assert!(sample.resident > 1 << 20 && sample.heap.is_none() && sample.threads >= 1);
        assert_eq!(sample.kernel[0].value + sample.kernel[1].value, sample.resident);
        assert_eq!(watcher.look().unwrap().history.len(), 2);
    }
}
