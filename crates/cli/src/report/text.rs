//! The report as text: first in words, then section by section.

use std::time::Duration;

use super::{Report, classes, ledger};
use crate::explain::wrapped;
use crate::os::{End, signal_name};
use crate::quantity::{bytes, count, counted, percent, rough, time};
use crate::snapshot::Snapshot;

/// Further processes that get a line of their own.
const PROCESSES: usize = 8;

/// Whether and how to colour.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether at all.
    pub on: bool,
}

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }

    fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    fn warning(self, text: &str) -> String {
        self.with("33", text)
    }

    /// A bar of a table.
    pub fn bar(self, text: &str) -> String {
        self.with("36", text)
    }
}

/// Lines of "label, value" under headings.
struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn section(&mut self, name: &str) {
        self.text.push_str(&format!("\n{}\n", self.paint.heading(name)));
    }

    fn line(&mut self, label: &str, value: impl AsRef<str>) {
        self.text.push_str(&format!("  {label:<18}{}\n", value.as_ref()));
    }

    /// A part of the line above.
    fn part(&mut self, label: &str, value: impl AsRef<str>) {
        self.text.push_str(&format!("    {label:<16}{}\n", value.as_ref()));
    }
}

/// Writes the report.
pub fn render(report: &Report, paint: Paint) -> String {
    let mut page = Page { text: String::new(), paint };
    let title = format!("freestone: {}", shortened(&report.command.join(" "), 84));
    page.text.push_str(&format!("{}\n\n", paint.heading(&title)));
    match (&report.root, &report.absent) {
        (Some(root), _) => page.text.push_str(&wrapped(&summary(report, root), "  ")),
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            let words = format!("The program left no figures of its heap. {reason}");
            page.text.push_str(&paint.warning(wrapped(&words, "  ").trim_end()));
            page.text.push('\n');
        }
    }
    for problem in &report.broken {
        page.text.push_str(&paint.warning(wrapped(problem, "  ").trim_end()));
        page.text.push('\n');
    }
    program(&mut page, report);
    if let Some(root) = &report.root {
        heap(&mut page, root, report.wall);
        fragmentation(&mut page, root);
        if let Some(taken) = &root.ledger {
            page.section("Ledger");
            page.text.push_str(&ledger::table(taken, paint));
        }
        let history = ledger::history(&root.history, paint);
        if !history.is_empty() {
            page.section("History");
            page.text.push_str(&history);
        }
        system(&mut page, root);
        slow_path(&mut page, root, report);
        let table = classes::table(root, paint);
        if !table.is_empty() {
            page.section("Size classes");
            page.text.push_str(&table);
        }
    }
    processes(&mut page, report);
    page.text
}

/// What the heap did, in two or three sentences.
fn summary(report: &Report, root: &Snapshot) -> String {
    let (resident, elsewhere) = report.peaks();
    let peak = root.live.peak_bytes;
    let mut words = match report.earlier {
        Some(before) => format!(
            "The program {}: what stands here as \"at exit\" it had noted {} before its end. ",
            match report.end {
                End::Signal(signal) =>
                    format!("was ended by {}, without the time to report", signal_name(signal)),
                End::Exit(_) => "left no report at its end".into(),
            },
            time(before)
        ),
        None => String::new(),
    };
    words += &if !root.counted {
        format!("At its peak {} was resident, code and stacks included.", bytes(resident))
    } else if peak <= resident {
        format!(
            "The program held at most {} in live blocks, {} of the {} that were resident at the peak, code and \
             stacks included.",
            bytes(peak),
            percent(peak, resident).unwrap_or_default(),
            bytes(resident)
        )
    } else {
        format!(
            "The program held at most {} in live blocks, of which it never touched a part: no more than {} were \
             resident at a time.",
            bytes(peak),
            bytes(resident)
        )
    };
    if let Some(most) = elsewhere {
        words.push_str(&format!(" A process that it started had {} resident", bytes(most)));
        words.push_str(&match report.others.first().filter(|other| other.counted) {
            Some(first) => format!(
                "; of the heaps of {}, which are not in these figures, the largest held {} in live blocks ({}, {}).",
                counted(report.others.len() as u64, "further process", "further processes"),
                bytes(first.live.peak_bytes),
                shortened(&first.command, 16),
                first.pid
            ),
            None => ".".into(),
        });
    }
    if let Some(rest) = report.past_the_heap() {
        let whose = match report.built_in {
            Some(name) => format!("the program has {name} built in, and asks that for its memory"),
            None => "the program has an allocator of its own, or maps memory or files".into(),
        };
        words.push_str(&format!(
            " Most of what was resident, at least {}, is not the heap's and in none of its figures: {whose}.",
            bytes(rest)
        ));
    }
    let in_use = root.pages.in_use();
    let overhead = in_use.saturating_sub(root.live.bytes);
    let parts = outside(root);
    let most = parts.iter().max_by_key(|part| part.bytes).filter(|part| overhead > 0 && part.bytes > 0);
    let at_exit = if report.earlier.is_some() { "Then" } else { "At exit" };
    // The share says nothing about a program that cleared up behind itself.
    let cleared = root.counted && root.live.bytes < peak / 10;
    words.push_str(&match cleared {
        true if root.live.bytes == 0 => format!(" {at_exit} all of it was freed"),
        true => format!(" {at_exit} all of it but {} was freed", bytes(root.live.bytes)),
        false => format!(" {at_exit} {} were live in a heap of {}", bytes(root.live.bytes), bytes(in_use)),
    });
    match most {
        Some(most) if cleared => words.push_str(&format!(
            "; the heap still had {}, most of it {} ({}).",
            bytes(in_use),
            most.words,
            bytes(most.bytes)
        )),
        Some(most) => words.push_str(&format!(
            ", so {} of it was overhead, most of it {} ({}).",
            percent(overhead, in_use).unwrap_or_default(),
            most.words,
            bytes(most.bytes)
        )),
        None => words.push('.'),
    }
    if root.counted {
        let rounding = root.allocated_total.saturating_sub(root.requested_total);
        let rounding = match percent(rounding, root.allocated_total) {
            Some(share) => format!("rounding up to size classes took {share} of the blocks"),
            None => "no block was asked for".into(),
        };
        words.push_str(&format!(
            " Over the run {rounding}, and the heap went to the system {}.",
            counted(root.system.calls(), "time", "times")
        ));
    }
    if let (End::Signal(signal), None) = (report.end, report.earlier) {
        words.push_str(&format!(" The program was ended by {}.", signal_name(signal)));
    }
    words
}

fn program(page: &mut Page, report: &Report) {
    page.section("Program");
    let usage = &report.usage;
    page.line(
        "exit",
        match report.end {
            End::Exit(code) => count(code as u64),
            End::Signal(signal) => format!("by {}", signal_name(signal)),
        },
    );
    page.line("wall time", time(report.wall));
    page.line("processor time", format!("{} user, {} system", time(usage.user), time(usage.system)));
    page.line(
        "page faults",
        format!("{} minor, {} major", count(usage.minor_faults), count(usage.major_faults)),
    );
    let (own, elsewhere) = report.peaks();
    let elsewhere =
        elsewhere.map_or(String::new(), |most| format!(", {} in a process that it started", bytes(most)));
    page.line("peak resident", format!("{}{elsewhere}", bytes(own)));
}

fn heap(page: &mut Page, root: &Snapshot, wall: Duration) {
    page.section("Heap");
    let peak = if root.counted { bytes(root.live.peak_bytes) } else { "not counted".into() };
    page.line("peak live", peak);
    let mut live = format!("{} in {}", bytes(root.live.bytes), counted(root.live.blocks, "block", "blocks"));
    if root.counted {
        live.push_str(&format!(", about {} asked for", bytes(root.requested_live)));
    }
    page.line("live at exit", live);
    if !root.counted {
        page.line("calls", "not counted");
        return;
    }
    let calls = &root.calls;
    let rate = calls.total() as f64 / wall.as_secs_f64().max(1e-9);
    page.line("calls", format!("{}, {} a second", count(calls.total()), rough(rate)));
    page.part("malloc", count(calls.malloc));
    page.part("calloc", count(calls.calloc));
    page.part(
        "realloc",
        format!("{}, of them {} in place", count(calls.realloc), count(calls.realloc_in_place)),
    );
    page.part("aligned", count(calls.aligned));
    page.part("free", count(calls.free));
    page.part("failed", count(calls.failed));
}

/// Memory of the heap that was in no live block at exit.
struct Part {
    label: &'static str,
    words: &'static str,
    bytes: u64,
}

fn outside(root: &Snapshot) -> [Part; 6] {
    let sum = |blocks: fn(&crate::snapshot::Class) -> u64| {
        root.classes.iter().map(|class| blocks(class).saturating_mul(class.size)).sum::<u64>()
    };
    let remainder =
        root.classes.iter().map(|class| class.slab_bytes.saturating_sub(class.capacity() * class.size)).sum();
    let part = |label, words, bytes| Part { label, words, bytes };
    [
        part("free in slabs", "blocks free in slabs", sum(|class| class.free_in_slabs)),
        part("in caches", "free blocks in caches", sum(|class| class.in_caches)),
        part("in transfer", "free blocks in the transfer caches", sum(|class| class.in_transfer)),
        part("slab remainder", "the remainders of slabs", remainder),
        part("free dirty", "free pages not yet returned", root.pages.free_dirty),
        part("metadata", "metadata", root.pages.all_metadata()),
    ]
}

fn fragmentation(page: &mut Page, root: &Snapshot) {
    page.section("Fragmentation");
    let rounding = root.allocated_total.saturating_sub(root.requested_total);
    page.line(
        "rounding",
        match percent(rounding, root.allocated_total) {
            Some(share) if root.counted => format!(
                "{share} of {} handed out for {} asked for",
                bytes(root.allocated_total),
                bytes(root.requested_total)
            ),
            None if root.counted => "nothing was asked for".into(),
            _ => "not counted".into(),
        },
    );
    let in_use = root.pages.in_use();
    let overhead = in_use.saturating_sub(root.live.bytes);
    let share = percent(overhead, in_use).unwrap_or("0 %".into());
    page.line(
        "heap at exit",
        format!("{}, of that {} ({share}) in no live block", bytes(in_use), bytes(overhead)),
    );
    // The ledger says the same and more.
    for part in outside(root).into_iter().filter(|_| root.ledger.is_none()) {
        let share = percent(part.bytes, in_use).unwrap_or("0 %".into());
        page.part(part.label, format!("{:<12} {share}", bytes(part.bytes)));
    }
}

fn system(page: &mut Page, root: &Snapshot) {
    page.section("System");
    let system = &root.system;
    page.line(
        "mapped",
        format!("{} at exit, {} at most", bytes(root.pages.mapped), bytes(root.pages.mapped_peak)),
    );
    page.line("obtained", bytes(system.bytes_mapped));
    page.line("purged", bytes(system.bytes_purged));
    page.line("released", bytes(system.bytes_released));
    let kinds = [
        ("map", system.map),
        ("commit", system.commit),
        ("purge", system.purge),
        ("release", system.release),
        ("remap", system.remap),
        ("other", system.other),
    ];
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|kind| kind.1 > 0)
        .map(|(name, calls)| format!("{name} {}", count(*calls)))
        .collect();
    let detail = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    page.line("system calls", format!("{}{detail}", count(system.calls())));
}

fn slow_path(page: &mut Page, root: &Snapshot, report: &Report) {
    page.section("Slow path");
    let slow = &root.slow_path;
    let mut entries = count(slow.entries);
    if let Some(calls) = root.calls.total().checked_div(slow.entries).filter(|&calls| calls > 1) {
        entries.push_str(&format!(", one in {} calls", count(calls)));
    }
    page.line("entries", entries);
    let inside = Duration::from_nanos(slow.ns);
    let share = percent(slow.ns, report.wall.as_nanos() as u64).unwrap_or("0 %".into());
    // What is more than all processor time was spent waiting, mostly for a processor that other threads had.
    let waited = inside.saturating_sub(report.usage.user + report.usage.system);
    let waited = match waited > inside / 20 {
        true => format!(", at least {} of it waiting", time(waited)),
        false => String::new(),
    };
    page.line("time", format!("{}, {share} of the run{waited}", time(inside)));
    page.line("refills", count(slow.refills));
    page.line("flushes", count(slow.flushes));
    page.line("emergency", count(slow.emergency));
}

fn processes(page: &mut Page, report: &Report) {
    let others = &report.others;
    if others.is_empty() {
        return;
    }
    page.section("Further processes");
    page.text.push_str(&format!("  {:>9}  {:<16} {:>12} {:>15}\n", "pid", "command", "peak live", "calls"));
    for other in others.iter().take(PROCESSES) {
        let (peak, calls) = match other.counted {
            true => (bytes(other.live.peak_bytes), count(other.calls.total())),
            false => ("not counted".into(), "not counted".into()),
        };
        page.text.push_str(&format!(
            "  {:>9}  {:<16} {peak:>12} {calls:>15}\n",
            other.pid,
            shortened(&other.command, 16),
        ));
    }
    if let Some(more) = others.len().checked_sub(PROCESSES).filter(|&more| more > 0) {
        page.text.push_str(&format!("  and {} more\n", count(more as u64)));
    }
    match report.unfinished.iter().filter(|&&pid| pid != report.pid).count() as u64 {
        0 => (),
        some => page.text.push_str(&wrapped(
            &format!(
                "{} not report an end, killed or still running: the last figures noted.",
                counted(some, "process did", "processes did")
            ),
            "  ",
        )),
    }
}

/// The text, without control characters and cut to so many columns.
pub(crate) fn shortened(text: &str, columns: usize) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() <= columns {
        return clean;
    }
    clean.chars().take(columns - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::SECTIONS;
    use crate::os::Usage;
    use crate::snapshot;

    const PLAIN: Paint = Paint { on: false };

    fn root() -> Snapshot {
        snapshot::read(include_bytes!("../../tests/fixtures/snapshot.json")).unwrap()
    }

    fn report() -> Report {
        let other = |pid, peak: u64| {
            let mut other = root();
            other.pid = pid;
            other.command = format!("worker\t{pid}");
            other.live.peak_bytes = peak;
            other.live.bytes = 0;
            other
        };
        Report {
            command: ["python3", "examples/words.py"].map(String::from).to_vec(),
            pid: 4711,
            end: End::Exit(0),
            wall: Duration::from_millis(3214),
            usage: Usage {
                user: Duration::from_millis(3100),
                system: Duration::from_millis(84),
                peak_resident: 100_663_296,
                minor_faults: 24_120,
                major_faults: 0,
            },
            root: Some(root()),
            earlier: None,
            absent: None,
            others: (0..10).map(|n| other(4712 + n, 1 << (24 - n))).collect(),
            unfinished: Vec::new(),
            broken: Vec::new(),
            built_in: None,
        }
    }

    /// The whole text; also writes it when `FREESTONE_BLESS` is set.
    #[test]
    fn the_text_is_as_expected() {
        let text = render(&report(), PLAIN);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/report.txt");
        if std::env::var_os("FREESTONE_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text == expected, "tests/fixtures/report.txt differs from:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100 && line.trim_end() == line));
    }

    #[test]
    fn every_label_is_explained() {
        let text = render(&report(), PLAIN);
        let mut section = None;
        let mut labels = 0;
        for line in text.lines().skip(1) {
            if !line.starts_with(' ') && !line.is_empty() {
                let found = SECTIONS.iter().find(|section| section.name == line);
                section = Some(found.unwrap_or_else(|| panic!("no section {line}")));
                continue;
            }
            let Some(section) = section.filter(|_| !line.trim().is_empty()) else { continue };
            if section.name == "Size classes" || section.name == "Further processes" {
                continue;
            }
            let indented = line.trim_start();
            let wide = section.name == "Ledger";
            let label: String = indented.chars().take(if wide { 22 } else { 16 }).collect();
            let label = label.split("  ").next().unwrap().trim();
            assert!(section.terms.iter().any(|term| term.name == label), "{}: '{label}'", section.name);
            labels += 1;
        }
        assert!(labels > 40, "{labels}");
    }

    #[test]
    fn without_a_ledger_the_heap_is_divided_as_it_may_be_resident() {
        let mut report = report();
        report.root.as_mut().unwrap().ledger = None;
        let text = render(&report, PLAIN);
        assert!(text.contains("    free dirty      1.0 MiB") && !text.contains("Ledger"), "{text}");
    }

    #[test]
    fn a_program_that_cleared_up_has_no_overhead_to_speak_of() {
        let mut report = report();
        for (live, words) in
            [(0, "all of it was freed; the heap still"), (1 << 20, "all of it but 1.0 MiB was freed")]
        {
            report.root.as_mut().unwrap().live.bytes = live;
            let text = render(&report, PLAIN).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(words) && !text.contains("of it was overhead"), "{text}");
        }
    }

    #[test]
    fn memory_that_is_not_the_heaps_is_told() {
        let mut report = report();
        let words = |report: &Report| render(report, PLAIN).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!words(&report).contains("Most of what was resident"));
        let root = report.root.as_mut().unwrap();
        root.pages.mapped_peak = 1 << 20;
        root.history[0].1 = 400 << 20;
        assert!(words(&report).contains("the program has an allocator of its own, or maps memory or files."));
        report.built_in = Some("jemalloc");
        assert!(words(&report).contains("the program has jemalloc built in"), "{}", words(&report));
    }

    #[test]
    fn what_a_child_held_is_not_told_of_the_program() {
        let mut report = report();
        let words = |report: &Report| render(report, PLAIN).split_whitespace().collect::<Vec<_>>().join(" ");
        report.usage.peak_resident = 400 << 20;
        assert!(words(&report).contains("of the 400.0 MiB that were resident"), "{}", words(&report));
        report.root.as_mut().unwrap().peak_resident = 100 << 20;
        let text = words(&report);
        assert!(text.contains("of the 100.0 MiB that were resident at the peak"), "{text}");
        assert!(
            text.contains("A process that it started had 400.0 MiB resident; of the heaps of 10 further"),
            "{text}"
        );
        assert!(text.contains("peak resident 100.0 MiB, 400.0 MiB in a process that it started"), "{text}");
        report.usage.peak_resident = 105 << 20;
        let text = words(&report);
        assert!(
            text.contains("of the 105.0 MiB that were resident") && !text.contains("it started had"),
            "{text}"
        );
    }

    #[test]
    fn threads_that_wait_in_the_slow_path_are_told() {
        let mut report = report();
        assert!(!render(&report, PLAIN).contains("of it waiting"));
        report.root.as_mut().unwrap().slow_path.ns = 13_184_000_000;
        let text = render(&report, PLAIN);
        assert!(text.contains("13.18 s, 410.2 % of the run, at least 10.00 s of it waiting"), "{text}");
    }

    #[test]
    fn what_was_not_counted_is_called_so() {
        let mut report = report();
        let root = report.root.as_mut().unwrap();
        root.counted = false;
        root.calls = Default::default();
        (root.requested_live, root.requested_total, root.allocated_total) = (0, 0, 0);
        root.classes.iter_mut().for_each(|class| (class.allocs, class.frees, class.requested) = (0, 0, 0));
        let text = render(&report, PLAIN);
        assert_eq!(text.matches("not counted").count(), 3, "{text}");
        assert!(text.contains("in slabs") && !text.contains("handed out"), "{text}");
    }

    #[test]
    fn without_figures_the_reason_stands_first() {
        let mut report = report();
        report.root = None;
        report.others.clear();
        report.absent = Some("It is statically linked.".into());
        report.end = End::Signal(11);
        let text = render(&report, PLAIN);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains("left no figures of its heap. It is statically linked."), "{text}");
        assert!(text.contains("by SIGSEGV") && !text.contains("Slow path"), "{text}");
    }

    #[test]
    fn of_a_killed_program_the_last_figures_are_shown_as_such() {
        let mut report = report();
        report.end = End::Signal(9);
        report.earlier = Some(Duration::from_millis(400));
        report.unfinished = vec![4711, 4712, 4713];
        let text = render(&report, PLAIN).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("was ended by SIGKILL, without the time to report"), "{text}");
        assert!(text.contains("it had noted 400.0 ms before its end"), "{text}");
        assert!(text.contains("2 processes did not report an end"), "{text}");
        assert!(!text.contains("At exit"), "{text}");
    }

    #[test]
    fn colours_only_when_asked_for() {
        assert!(!render(&report(), PLAIN).contains('\x1b'));
        assert!(render(&report(), Paint { on: true }).contains("\x1b[1mProgram\x1b[0m"));
    }

    #[test]
    fn an_empty_heap_is_described_too() {
        let mut report = report();
        report.root = Some(Snapshot { version: 1, pid: 4711, counted: true, ..Snapshot::default() });
        let text = render(&report, PLAIN);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains("no block was asked for"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("Size classes"), "{text}");
    }
}
