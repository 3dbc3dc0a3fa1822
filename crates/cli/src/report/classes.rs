//! The report's table of size classes.

use super::text::Paint;
use crate::quantity::{bytes, count, percent};
use crate::snapshot::Snapshot;

/// Lines at most; the smallest classes beyond are drawn together into one.
const LINES: usize = 12;
/// Columns of the longest bar.
const BAR: usize = 20;

#[derive(Clone, Debug, Default)]
struct Row {
    label: String,
    allocs: u64,
    live: u64,
    requested: u64,
    slabs: u64,
    /// What the rows are ranked by: bytes handed out, or bytes in slabs.
    weight: u64,
}

/// The table, or nothing when no class was used.
pub fn table(snapshot: &Snapshot, paint: Paint) -> String {
    let rows = collapsed(rows(snapshot));
    let total: u64 = rows.iter().map(|row| row.weight).sum();
    let longest = rows.iter().map(|row| row.weight).max().unwrap_or(0);
    if longest == 0 {
        return String::new();
    }
    let mut text = if snapshot.counted {
        format!("  {:>12} {:>15} {:>12} {:>9} {:>12}\n", "size", "handed out", "live", "unused", "bytes")
    } else {
        format!("  {:>12} {:>12} {:>12} {:>12}\n", "size", "slabs", "live", "in slabs")
    };
    for row in rows {
        let cells = if snapshot.counted {
            let unused = row.weight.saturating_sub(row.requested);
            format!(
                "  {:>12} {:>15} {:>12} {:>9} {:>12}",
                row.label,
                count(row.allocs),
                count(row.live),
                percent(unused, row.weight).unwrap_or_default().replace("under ", "<"),
                bytes(row.weight),
            )
        } else {
            let slabs = if row.slabs == 0 { "-".into() } else { count(row.slabs) };
            format!("  {:>12} {:>12} {:>12} {:>12}", row.label, slabs, count(row.live), bytes(row.weight))
        };
        let bar = paint.bar(&bar(row.weight, longest));
        let share = percent(row.weight, total).unwrap_or_default().replace("under ", "<");
        text.push_str(&format!("{cells}  {bar} {share:>7}\n"));
    }
    text
}

/// One row a class and one for what is larger, the heaviest first.
fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows: Vec<Row> = snapshot
        .classes
        .iter()
        .map(|class| Row {
            label: count(class.size),
            allocs: class.allocs,
            live: class.live_blocks(),
            requested: class.requested,
            slabs: class.slabs,
            weight: if snapshot.counted { class.handed_out() } else { class.slab_bytes },
        })
        .collect();
    let large = &snapshot.large;
    // Bytes handed out in large blocks are what remains of the total.
    let small: u64 = rows.iter().map(|row| row.weight).sum();
    let handed_out = snapshot.allocated_total.saturating_sub(small).max(large.requested);
    rows.push(Row {
        label: "larger".into(),
        allocs: large.allocs,
        live: large.live_blocks,
        requested: large.requested,
        slabs: 0,
        weight: if snapshot.counted { handed_out } else { large.live_bytes },
    });
    rows.retain(|row| row.weight > 0);
    rows.sort_by_key(|row| std::cmp::Reverse(row.weight));
    rows
}

/// Draws the rows beyond [`LINES`] together, unless there is only one.
fn collapsed(mut rows: Vec<Row>) -> Vec<Row> {
    if rows.len() <= LINES + 1 {
        return rows;
    }
    let rest = rows.split_off(LINES);
    let mut sum = Row { label: format!("{} others", rest.len()), ..Row::default() };
    for row in &rest {
        sum.allocs += row.allocs;
        sum.live += row.live;
        sum.requested += row.requested;
        sum.slabs += row.slabs;
        sum.weight += row.weight;
    }
    rows.push(sum);
    rows
}

/// A bar of eighths of a column, padded to [`BAR`] columns.
fn bar(weight: u64, longest: u64) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (weight as u128 * (BAR as u128 * 8)).div_ceil(longest.max(1) as u128) as usize;
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8]);
    }
    let width = text.chars().count();
    text.push_str(&" ".repeat(BAR - width));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_their_column() {
        assert_eq!(bar(8, 8), "█".repeat(BAR));
        assert_eq!(bar(0, 8), " ".repeat(BAR));
        assert!(bar(1, u64::MAX).starts_with('▏'));
        for weight in 0..=100 {
            assert_eq!(bar(weight, 100).chars().count(), BAR);
        }
    }

    #[test]
    fn many_rows_become_few_and_nothing_is_lost() {
        let rows: Vec<Row> = (1..=30).rev().map(|n| Row { weight: n, allocs: 1, ..Row::default() }).collect();
        let few = collapsed(rows);
        assert_eq!(few.len(), LINES + 1);
        assert_eq!(few.last().unwrap().label, "18 others");
        assert_eq!(few.iter().map(|row| row.weight).sum::<u64>(), 465);
        assert_eq!(few.iter().map(|row| row.allocs).sum::<u64>(), 30);
    }
}
