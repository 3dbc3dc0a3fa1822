//! What is resident when: the figures of `memory`, their targets, and their table.

use std::fmt::Write;

use super::stats::median;
use super::table::{Style, aligned, emphasise, folded, markdown, ratio};
use super::{Interface, Results, Role, Row};

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as MiB.
    Bytes,
    /// A part of something else.
    Ratio,
}

/// A figure that a row tells.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// The row that tells it.
    pub row: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it is, for the table.
    pub about: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// What Freestone should not exceed.
    pub target: Option<f64>,
}

const MIB: f64 = (1 << 20) as f64;

const fn bytes(row: &'static str, name: &'static str, about: &'static str) -> Figure {
    Figure { row, name, about, unit: Unit::Bytes, target: None }
}

const fn part(row: &'static str, name: &'static str, about: &'static str) -> Figure {
    Figure { unit: Unit::Ratio, ..bytes(row, name, about) }
}

impl Figure {
    const fn at_most(self, target: f64) -> Figure {
        Figure { target: Some(target), ..self }
    }

    /// A value as the table shows it.
    fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Bytes if value < 99.95 * MIB => format!("{:.1}", value / MIB),
            Unit::Bytes => format!("{:.0}", value / MIB),
            Unit::Ratio if value < 10.0 => format!("{value:.3}"),
            Unit::Ratio => ratio(value),
        }
    }

    /// Differences below this are none: what a process has now and then for reasons of its own, and what is noise.
    fn near(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Bytes => (value * 1.03).max(value + 0.5 * MIB),
            Unit::Ratio => value + 0.01,
        }
    }
}

/// All figures, in the order of the table. The targets are the project's goals.
const FIGURES: [Figure; 23] = [
    part("peak-and-fall", "peak", "at the peak, of what was requested"),
    bytes("peak-and-fall", "at_once", "above the start, all freed"),
    bytes("peak-and-fall", "after_1s", "1 s later, without a call").at_most(2.0 * MIB),
    bytes("peak-and-fall", "after_1s_lazy", "of that lazily freed"),
    bytes("peak-and-fall", "after_3s", "3 s later"),
    bytes("idle-threads-1000", "at_once", "heap when all wait"),
    bytes("idle-threads-1000", "after_1s", "1 s later").at_most(8.0 * MIB),
    bytes("idle-threads-10000", "at_once", "heap when all wait"),
    bytes("idle-threads-10000", "after_1s", "1 s later").at_most(16.0 * MIB),
    part("in-flight", "peak", "at the peak, of what is in flight"),
    bytes("in-flight", "after_1s", "above the start, 1 s after the end"),
    part("long-churn", "filled", "when filled, of what was requested").at_most(1.05),
    part("long-churn", "steady", "after churn of the same sizes").at_most(1.08),
    part("long-churn", "shifting", "at the worst while the mix shifts"),
    part("long-churn", "churned", "at the end, sizes as at first").at_most(1.08),
    bytes("tokio-spike", "before", "before the spike"),
    bytes("tokio-spike", "peak", "at the peak"),
    bytes("tokio-spike", "after_1s", "1 s after, above before"),
    bytes("tokio-spike", "after_3s", "3 s after, above before"),
    bytes("redis-emptied", "filled", "filled"),
    bytes("redis-emptied", "at_once", "nine of ten deleted"),
    bytes("redis-emptied", "after_1s", "1 s later"),
    bytes("redis-emptied", "after_3s", "3 s later"),
];

/// The figures of a row.
pub fn figures(row: &str) -> impl Iterator<Item = &'static Figure> {
    FIGURES.iter().filter(move |figure| figure.row == row)
}

/// The rows that have figures, each several times.
#[cfg(test)]
pub fn rows() -> impl Iterator<Item = &'static str> {
    FIGURES.iter().map(|figure| figure.row)
}

/// Whether a figure is called so.
pub fn is_figure(name: &str) -> bool {
    FIGURES.iter().any(|figure| figure.name == name)
}

/// Whether a row tells figures.
pub fn is_about(row: &Row) -> bool {
    row.cells.values().any(|cell| !cell.figures.is_empty())
}

/// The median of a contestant's figure.
fn value(row: &Row, contestant: &str, figure: &Figure) -> Option<f64> {
    let cell = row.cells.get(contestant).filter(|cell| cell.failure.is_none())?;
    median(cell.figures.get(figure.name)?)
}

/// The tables of all interfaces that have figures; nothing where there are none.
pub fn write(results: &Results, style: Style) -> String {
    let mut text = String::new();
    for interface in results.interfaces() {
        let about = |row: &&Row| row.interface == interface && is_about(row);
        let rows: Vec<&Row> = results.rows.iter().filter(about).collect();
        if !rows.is_empty() {
            text.push_str(&one_table(results, interface, &rows, style));
        }
    }
    text
}

fn one_table(results: &Results, interface: Interface, rows: &[&Row], style: Style) -> String {
    let shown = results.shown(interface);
    let mut header = vec!["resident, MiB or ratio".to_string(), "target".to_string()];
    header.extend(shown.iter().map(|one| one.name.clone()));
    let mut lines = Vec::new();
    for row in rows {
        for figure in figures(&row.name) {
            let values: Vec<Option<f64>> = shown.iter().map(|one| value(row, &one.name, figure)).collect();
            let least = values.iter().flatten().copied().fold(f64::INFINITY, f64::min);
            let target = figure.target.map_or(String::new(), |target| format!("≤ {}", figure.show(target)));
            let mut cells = vec![format!("{}: {}", row.name, figure.about), target];
            cells.extend(values.iter().map(|value| match value {
                Some(value) if *value <= least => emphasise(&figure.show(*value), style),
                Some(value) => figure.show(*value),
                None => "–".into(),
            }));
            lines.push(cells);
        }
    }
    let title = format!("What is resident, {interface} interface");
    let mut text = match style {
        Style::Markdown => format!("\n**{title}**\n\n{}", markdown(&header, &lines)),
        _ => {
            let (above, below) = folded(&header);
            format!("\n{title}\n{}", aligned(&[above, below], &lines, 0))
        }
    };
    for one in shown.iter().filter(|one| one.role == Role::Subject) {
        text.push_str(&remarks(results, rows, &one.name, interface));
    }
    text.push_str(&noise(results, rows));
    text
}

/// Which targets a contestant meets, and where a peer is leaner.
fn remarks(results: &Results, rows: &[&Row], name: &str, interface: Interface) -> String {
    let (mut met, mut missed, mut leaner) = (0, Vec::new(), Vec::new());
    for row in rows {
        for figure in figures(&row.name) {
            let Some(own) = value(row, name, figure) else { continue };
            let label = || format!("{}, {}: {}", row.name, figure.about, figure.show(own));
            match figure.target {
                Some(target) if own > target => {
                    missed.push(format!("{} (target {})", label(), figure.show(target)));
                }
                Some(_) => met += 1,
                None => {}
            }
            let peers = results.shown(interface).into_iter().filter(|one| one.role == Role::Peer);
            let values = peers.filter_map(|one| Some((value(row, &one.name, figure)?, &one.name)));
            let best = values.min_by(|one, other| one.0.total_cmp(&other.0));
            if let Some((best, peer)) = best.filter(|(best, _)| own > figure.near(*best)) {
                leaner.push(format!("{} ({peer} {})", label(), figure.show(best)));
            }
        }
    }
    let list = |items: Vec<String>| if items.is_empty() { "none".to_string() } else { items.join("; ") };
    format!(
        "\n{name} meets {met} of {} targets; missed: {}.\n\nA peer is leaner than {name} in: {}.\n",
        met + missed.len(),
        list(missed),
        list(leaner)
    )
}

/// By how much a peer that took part twice differs from itself.
fn noise(results: &Results, rows: &[&Row]) -> String {
    let Some(control) = results.contestants.iter().find(|one| one.role == Role::Control) else {
        return String::new();
    };
    // The control is called by its peer's name with a word behind.
    let peer = control.name.split(' ').next().unwrap_or_default();
    let difference = |row: &Row, figure: &Figure| {
        Some((value(row, peer, figure)? - value(row, &control.name, figure)?).abs())
    };
    let most = |unit: Unit| {
        let all = rows.iter().flat_map(|row| {
            figures(&row.name).filter(|one| one.unit == unit).filter_map(|one| difference(row, one))
        });
        all.fold(0.0, f64::max)
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\nNoise: {peer} against itself differs by {:.1} MiB at the most, and by {:.3} in the ratios.",
        most(Unit::Bytes) / MIB,
        most(Unit::Ratio)
    );
    text
}

/// Results of a memory run to test with: two rows of three rounds.
#[cfg(test)]
pub fn example() -> Results {
    let mut results = super::example(2, 3);
    for (row, name) in results.rows.iter_mut().zip(["peak-and-fall", "long-churn"]) {
        row.name = name.into();
        for (number, cell) in row.cells.values_mut().enumerate() {
            cell.samples.clear();
            cell.course = (0..50).map(|at| (f64::from(at) * 0.1, 1e6 * f64::from(at + 1))).collect();
            for figure in figures(name) {
                let unit = if figure.unit == Unit::Bytes { MIB } else { 1.0 };
                let value = unit * (1.0 + number as f64 * 0.07);
                cell.figures.insert(figure.name.into(), vec![value, 0.0, value * 2.0]);
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_judges_medians_against_targets() {
        let results = example();
        assert_eq!(results.rounds(), 3);
        let text = write(&results, Style::Plain);
        // By name: alpha, beta, freestone, glibc, glibc again.
        let line = text.lines().find(|line| line.contains("1 s later, without a call")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().rev().take(4).collect();
        assert_eq!(cells, ["1.1", "1.1", "*1.0", "1.2"], "{line}");
        assert!(text.contains("freestone meets 1 of 4 targets; missed: long-churn, when filled"), "{text}");
        assert!(text.contains("1.140 (target 1.080)"), "{text}");
        assert!(text.contains("(alpha 1.000)"), "{text}");
        assert!(text.contains("glibc against itself differs by 0.1 MiB at the most, and by 0.070"), "{text}");
    }

    #[test]
    fn markdown_has_a_cell_for_every_column() {
        let text = write(&example(), Style::Markdown);
        let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
        assert!(table.len() == 10 && table.iter().all(|line| line.matches('|').count() == 7), "{text}");
    }

    #[test]
    fn other_results_have_no_such_table() {
        assert_eq!(write(&super::super::example(2, 3), Style::Plain), "");
    }

    #[test]
    fn values_are_short() {
        assert_eq!([2.0 * MIB, 445.2 * MIB].map(|value| FIGURES[1].show(value)), ["2.0", "445"]);
        assert_eq!([1.0512, 33.3].map(|value| FIGURES[0].show(value)), ["1.051", "33.3"]);
    }
}
