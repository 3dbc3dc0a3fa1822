//! What stands out, in words, the gravest first.
//!
//! Each finding says what was seen, with figures and the call site, and what would change it. The thresholds are below what would
//! be worth a look by hand, and are stated beside each; nothing is reported that was not seen in this run.

mod figures;
mod profile;
mod trace;

pub use figures::of_figures;
pub use profile::of_profile;
pub(crate) use trace::Names;
pub use trace::{of_trace, size_label};

/// One thing that stands out.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What it is, in a word or two: `Leak or unbounded cache`.
    pub kind: &'static str,
    /// What was seen.
    pub seen: String,
    /// What would change it.
    pub advice: String,
    /// The section of the page that shows it.
    pub section: &'static str,
    /// Bytes at stake, or what is comparable: by this findings are ordered.
    pub weight: f64,
}

/// At most so many findings are shown.
pub const MOST: usize = 6;

/// What cannot be undone comes first: memory that only grows, then memory that is held back, then work.
fn severity(kind: &str) -> u8 {
    match kind {
        "Leak" | "Leak or unbounded cache" => 0,
        "Growth without a bound" | "Growth" => 1,
        "Fragmentation" => 2,
        "Who holds the most" => 3,
        "Growing in steps" | "Short-lived blocks" => 4,
        _ => 5,
    }
}

/// The first of each kind by severity, then the second of each; at most [`MOST`] in all.
pub fn ranked(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let mut seen: Vec<&str> = Vec::new();
    let mut placed: Vec<(usize, u8, Finding)> = Vec::new();
    for finding in findings {
        let before = seen.iter().filter(|kind| **kind == finding.kind).count();
        seen.push(finding.kind);
        if before < 2 {
            placed.push((before, severity(finding.kind), finding));
        }
    }
    placed.sort_by_key(|&(before, severity, _)| (before, severity));
    placed.truncate(MOST);
    placed.into_iter().map(|(_, _, finding)| finding).collect()
}
