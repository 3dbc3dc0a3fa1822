//! `freestone why A B`: what grew between two sets of figures of one process, in words, and what would change it.
//!
//! The causes are told apart by which lines of the ledger grew: `causes.rs` decides and words them, this file reads the
//! figures and puts the answer together.

mod causes;

use std::path::Path;
use std::time::Duration;

use freestone_base::ledger::Line;

use crate::explain::wrapped;
use crate::quantity::{bytes, percent, time};
use crate::snapshot::{self, Ledger, Snapshot};
use causes::Cause;

/// Smaller changes are noise: a refilled cache, a page of a library that was not needed before.
const NOISE: u64 = 256 << 10;

/// Answers with a text for the terminal; the message says what is wrong with the files.
pub fn answer(first: &Path, second: &Path) -> Result<String, String> {
    let read = |path: &Path| {
        let contents =
            std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        figures(&contents).map_err(|error| format!("{} holds no figures: {error}", path.display()))
    };
    compare(read(first)?, read(second)?)
}

/// The figures of the program: as the library writes them, or in a report of `freestone run --json`.
fn figures(contents: &[u8]) -> Result<Snapshot, String> {
    let read = snapshot::read(contents);
    if read.is_err()
        && let Ok(report) = serde_json::from_slice::<serde_json::Value>(contents)
        && let Some(heap) = report.get("heap").filter(|heap| heap.is_object())
    {
        return snapshot::read(heap.to_string().as_bytes());
    }
    read
}

/// Two ledgers of one process, the older first.
struct Pair {
    before: Snapshot,
    after: Snapshot,
    old: Ledger,
    new: Ledger,
}

impl Pair {
    /// By how much a line grew.
    fn grown(&self, line: Line) -> i64 {
        self.new.line(line) as i64 - self.old.line(line) as i64
    }

    /// By how much the resident set grew.
    fn resident(&self) -> i64 {
        self.new.resident as i64 - self.old.resident as i64
    }
}

fn compare(mut before: Snapshot, mut after: Snapshot) -> Result<String, String> {
    if before.pid != after.pid || before.command != after.command {
        return Err(format!(
            "these are two processes ({} {} and {} {}): only figures of one and the same can be compared",
            before.command, before.pid, after.command, after.pid
        ));
    }
    let mut notes = String::new();
    if before.elapsed_ns > after.elapsed_ns {
        std::mem::swap(&mut before, &mut after);
        notes.push_str("The second file is the older one; they are compared in the order of time. ");
    }
    let (Some(old), Some(new)) = (before.ledger.take(), after.ledger.take()) else {
        return Err(
            "there is no ledger in the figures: the kernel did not show the process its own mappings".into(),
        );
    };
    Ok(text(&Pair { before, after, old, new }, notes))
}

fn text(pair: &Pair, notes: String) -> String {
    let causes = causes::find(pair);
    let mut text = wrapped(&format!("{notes}{}", headline(pair, &causes)), "");
    for cause in &causes {
        text.push_str(&format!("\n{}: {}\n", cause.title, change(cause.grown)));
        text.push_str(&wrapped(&cause.words, "  "));
        text.push_str(&wrapped(&format!("To change it: {}", cause.remedy), "  "));
    }
    text.push_str(&table(pair));
    text
}

/// What happened, and why in the main.
fn headline(pair: &Pair, causes: &[Cause]) -> String {
    let span = time(Duration::from_nanos(pair.after.elapsed_ns.saturating_sub(pair.before.elapsed_ns)));
    let (old, new) = (bytes(pair.old.resident), bytes(pair.new.resident));
    let resident = pair.resident();
    let name = format!("{} (process {})", pair.after.command, pair.after.pid);
    let moved = match resident {
        r if r.unsigned_abs() < NOISE => format!("In {span} the resident set of {name} stayed at {new}."),
        r if r < 0 => {
            format!("In {span} the resident set of {name} fell by {}, from {old} to {new}.", size(r))
        }
        r => format!("In {span} the resident set of {name} grew by {}, from {old} to {new}.", size(r)),
    };
    let Some(main) = causes.first() else {
        return format!("{moved} No line of the ledger grew by more than {}.", bytes(NOISE));
    };
    let share = percent(main.grown.unsigned_abs().min(resident.unsigned_abs()), resident.unsigned_abs());
    match share.filter(|_| resident >= NOISE as i64) {
        Some(share) => format!("{moved} {share} of that: {}.", main.verdict),
        None => format!("{moved} What grew: {}.", main.verdict),
    }
}

/// All lines that changed.
fn table(pair: &Pair) -> String {
    let mut text = format!("\n  {:<24}{:>12}{:>12}{:>14}\n", "", "before", "after", "change");
    let mut row = |name: &str, old: u64, new: u64| {
        let grown = new as i64 - old as i64;
        text.push_str(&format!("  {name:<24}{:>12}{:>12}{:>14}\n", bytes(old), bytes(new), change(grown)));
    };
    row("resident", pair.old.resident, pair.new.resident);
    let mut lines: Vec<Line> = Line::ALL.into_iter().filter(|&line| pair.grown(line) != 0).collect();
    lines.sort_by_key(|&line| std::cmp::Reverse(pair.grown(line).unsigned_abs()));
    for line in lines {
        row(line.label(), pair.old.line(line), pair.new.line(line));
    }
    text
}

/// `+1.5 MiB`, `-4.0 KiB`, `0 B`.
fn change(grown: i64) -> String {
    match grown {
        0 => "0 B".into(),
        g => format!("{}{}", if g > 0 { "+" } else { "-" }, size(g)),
    }
}

fn size(grown: i64) -> String {
    bytes(grown.unsigned_abs())
}

#[cfg(test)]
mod tests;
