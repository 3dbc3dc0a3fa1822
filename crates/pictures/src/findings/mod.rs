//! What stands out, in words, the weightiest first.
//!
//! Each finding says what was seen, with figures and the call site, and what would change it. The thresholds are below what would
//! be worth a look by hand, and are stated beside each; nothing is reported that was not seen in this run.

mod figures;
mod trace;

pub use figures::of_figures;
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

/// The weightiest first, and not too many of one kind.
pub fn ranked(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        if kept.iter().filter(|other| other.kind == finding.kind).count() < 2 {
            kept.push(finding);
        }
    }
    kept.truncate(MOST);
    kept
}
