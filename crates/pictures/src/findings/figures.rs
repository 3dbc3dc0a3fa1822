//! What stands out in the figures of a run, without any call being known.

use super::Finding;
use crate::quantity::{bytes, count, rough};
use crate::report::Figures;

const LEAST: u64 = 1 << 20;

/// What is found in the figures of a run.
pub fn of_figures(figures: &Figures) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(growth(figures));
    findings.extend(free_in_slabs(figures));
    findings.extend(stays_resident(figures));
    findings.extend(copies(figures));
    findings.extend(back_and_forth(figures));
    findings.extend(foreign(figures));
    findings
}

/// Live bytes that rose from each eighth of the run to the next.
fn growth(figures: &Figures) -> Option<Finding> {
    let live: Vec<u64> = figures.history.iter().map(|sample| sample.live).collect();
    if live.len() < 16 {
        return None;
    }
    let eighths: Vec<u64> = (2..8).map(|part| live[part * live.len() / 8]).collect();
    let (first, last) = (eighths[0], eighths[eighths.len() - 1]);
    let rises = eighths.windows(2).all(|pair| pair[1] > pair[0].saturating_add(last / 50));
    (rises && last > LEAST && first < last / 10 * 7).then(|| Finding {
        kind: "Growth",
        seen: format!("Live bytes rose all through the run, from {} after a quarter of it to {}.", bytes(first), bytes(last)),
        advice: "A leak, a cache without a bound, or a program that collects its result. A trace (`freestone record -- CMD`) shows the call sites."
            .into(),
        section: "timeline",
        weight: last as f64,
    })
}

fn line(figures: &Figures, name: &str) -> u64 {
    figures.ledger.iter().find(|line| line.name == name).map_or(0, |line| line.bytes)
}

fn free_in_slabs(figures: &Figures) -> Option<Finding> {
    let free = line(figures, "free_in_slabs");
    let live = line(figures, "live") + line(figures, "rounding");
    if free < LEAST || free < live / 4 {
        return None;
    }
    let worst = figures.classes.iter().max_by_key(|class| class.free_bytes)?;
    Some(Finding {
        kind: "Fragmentation",
        seen: format!(
            "{} are resident in free blocks of slabs that are still partly in use, beside {} live; most in blocks of {} ({}).",
            bytes(free),
            bytes(live),
            bytes(worst.size),
            bytes(worst.free_bytes),
        ),
        advice: "A few long-lived blocks keep whole slabs. A trace (`freestone record -- CMD`) shows whose they are."
            .into(),
        section: "ledger",
        weight: free as f64,
    })
}

/// Most of what is resident lies beside the live blocks at the end, though it is free.
fn stays_resident(figures: &Figures) -> Option<Finding> {
    let free: u64 =
        ["caches", "transfer", "free_dirty", "lazily_freed"].iter().map(|name| line(figures, name)).sum();
    (free > 4 * LEAST && free > figures.resident / 4).then(|| Finding {
        kind: "Free but resident",
        seen: format!("{} of {} resident at the end were free memory on its way back to the system.", bytes(free), bytes(figures.resident)),
        advice: "It goes back within a second of quiet. `decay_ms` and `cache_bytes` set how much is kept, and for how long.".into(),
        section: "ledger",
        weight: free as f64 * 0.5,
    })
}

fn copies(figures: &Figures) -> Option<Finding> {
    let moved = figures.reallocs.saturating_sub(figures.reallocs_in_place);
    (moved > 10_000 && moved > figures.calls / 20).then(|| Finding {
        kind: "Growing in steps",
        seen: format!(
            "{} of {} calls were a realloc that had to move its block.",
            rough(moved as f64),
            rough(figures.calls as f64)
        ),
        advice: "Reserving the final size at once saves the calls and the copies; a trace shows where."
            .into(),
        section: "sizes",
        weight: moved as f64 * 256.0,
    })
}

fn back_and_forth(figures: &Figures) -> Option<Finding> {
    let most = figures.resident_peak.max(1);
    (figures.purged > most.saturating_mul(4) && figures.purged > 64 * LEAST).then(|| Finding {
        kind: "Back and forth",
        seen: format!(
            "{} went back to the system in the course of the run, {} times the peak: the same memory, again and again.",
            bytes(figures.purged),
            count(figures.purged / most)
        ),
        advice: "A larger `decay_ms` keeps it for the next use.".into(),
        section: "timeline",
        weight: figures.purged as f64 * 0.02,
    })
}

fn foreign(figures: &Figures) -> Option<Finding> {
    let other: u64 =
        figures.ledger.iter().filter(|line| line.share == "not the heap's").map(|line| line.bytes).sum();
    (other > 8 * LEAST && other > figures.resident / 10 * 6).then(|| Finding {
        kind: "Not the heap",
        seen: format!(
            "{} of {} resident are not the heap's: code, files, stacks, mappings of the program's own.",
            bytes(other),
            bytes(figures.resident)
        ),
        advice: "No allocator can change that; the table of the ledger says what it is.".into(),
        section: "ledger",
        weight: other as f64 * 0.1,
    })
}
