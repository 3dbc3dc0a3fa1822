//! The report's ledger and history.

use std::time::Duration;

use freestone_base::ledger::{Line, Share};

use super::spark::spark;
use super::text::Paint;
use crate::quantity::{bytes, counted, percent, time};
use crate::snapshot::{Ledger, Sample};

/// Columns of the longest bar.
const BAR: usize = 20;
/// Columns of a picture over time.
const PICTURE: usize = 44;
/// Fewer samples make no picture.
const SAMPLES: usize = 3;

/// What the shares are called, in the order in which they are shown.
pub const SHARES: [(Share, &str); 4] = [
    (Share::Live, "live blocks"),
    (Share::Free, "free memory"),
    (Share::Metadata, "metadata"),
    (Share::Foreign, "not the heap's"),
];

/// The table: shares and their lines, those that are empty left out.
pub fn table(ledger: &Ledger, paint: Paint) -> String {
    let mut text = format!("  {:<24}{:>10}", "resident", bytes(ledger.resident));
    text.push_str(&format!(
        "   in {}, {}\n",
        counted(ledger.threads, "thread", "threads"),
        difference(ledger)
    ));
    let longest = Line::ALL.into_iter().map(|line| ledger.line(line)).max().unwrap_or(0);
    for (share, name) in SHARES {
        let sum = ledger.share(share);
        if sum == 0 {
            continue;
        }
        text.push_str(&format!("  {name:<24}{:>10} {:>9}\n", bytes(sum), part_of(sum, ledger)));
        let lines = Line::ALL.into_iter().filter(|line| line.share() == share && ledger.line(*line) > 0);
        for line in lines {
            let sum = ledger.line(line);
            let row = format!("    {:<22}{:>10} {:>9}", line.label(), bytes(sum), part_of(sum, ledger));
            let bar = bar(sum, longest);
            let bar = if bar.is_empty() { bar } else { format!("  {}", paint.bar(&bar)) };
            text.push_str(&format!("{row}{bar}\n"));
        }
    }
    for (name, sum) in [("in huge pages", ledger.huge), ("in swap", ledger.swapped)] {
        if sum > 0 {
            text.push_str(&format!("  {name:<24}{:>10}\n", bytes(sum)));
        }
    }
    text
}

/// How well the lines add up, in words.
fn difference(ledger: &Ledger) -> String {
    let off = ledger.unexplained.unsigned_abs();
    match off {
        0 => "the lines add up to it exactly".into(),
        _ => format!(
            "the lines add up to {} {}",
            bytes(off),
            if ledger.unexplained > 0 { "less" } else { "more" }
        ),
    }
}

fn part_of(sum: u64, ledger: &Ledger) -> String {
    percent(sum, ledger.resident).unwrap_or_default().replace("under ", "<")
}

fn bar(sum: u64, longest: u64) -> String {
    let halves = (u128::from(sum) * 2 * BAR as u128 / u128::from(longest.max(1))) as usize;
    format!("{}{}", "█".repeat(halves / 2), if halves % 2 == 1 { "▌" } else { "" })
}

/// Each figure over time, from the start to the end; nothing after a run that was too short for a picture.
pub fn history(samples: &[Sample], paint: Paint) -> String {
    if samples.len() < SAMPLES {
        return String::new();
    }
    let mut text = String::new();
    for (place, name) in ["resident", "live", "free dirty", "in caches"].into_iter().enumerate() {
        let values: Vec<u64> = samples.iter().map(|sample| sample.figures()[place]).collect();
        let (Some(lowest), Some(highest)) = (values.iter().min(), values.iter().max()) else { continue };
        let at = samples[values.iter().position(|value| value == highest).unwrap_or(0)].0;
        let picture = spark(&values, PICTURE);
        text.push_str(&format!(
            "  {name:<18}{}  {} to {} at {}\n",
            paint.bar(&picture),
            bytes(*lowest),
            bytes(*highest),
            time(Duration::from_nanos(at))
        ));
    }
    text
}
