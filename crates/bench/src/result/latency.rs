//! Latencies of single calls: percentiles over rounds, and their table.

use std::fmt::Write;

use freestone_bench::Histogram;

use super::stats::{geometric_mean, median};
use super::table::{self, Style, aligned, emphasise, folded, markdown, ratio};
use super::{Cell, Interface, Latency, Results, Role, Row};

/// The columns of the table: a heading, and the part of all calls that stay within the figure.
pub const COLUMNS: [(&str, f64); 5] =
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("worst", 1.0)];

/// Points of a curve for each factor of ten in rareness.
const POINTS: u32 = 8;

impl Latency {
    /// From what a workload counted.
    pub fn of(histogram: &Histogram, clock: f64) -> Latency {
        // The rarest call that a curve can show is one of all.
        let decades = (histogram.count.max(1) as f64).log10();
        let points = (decades * f64::from(POINTS)).floor() as u32;
        let part = |point: u32| 1.0 - 10f64.powf(-f64::from(point) / f64::from(POINTS));
        let usual = COLUMNS.iter().map(|(_, part)| *part).filter(|part| *part <= 1.0 - 10f64.powf(-decades));
        let mut parts: Vec<f64> = (1..=points).map(part).chain(usual).chain([1.0]).collect();
        parts.sort_by(f64::total_cmp);
        parts.dedup_by(|one, other| (*one - *other).abs() < 1e-9);
        let curve = parts.into_iter().map(|part| (part, histogram.percentile(part))).collect();
        Latency { count: histogram.count, worst: histogram.worst_ns, clock, curve }
    }

    /// The nanoseconds that the part `part` of all calls stayed within.
    pub fn at(&self, part: f64) -> f64 {
        let reached = self.curve.iter().find(|(share, _)| *share >= part - 1e-9);
        reached.map_or(self.worst, |(_, nanoseconds)| *nanoseconds)
    }
}

/// The median over the rounds of what `part` of the calls of a kind stayed within.
pub fn percentile(cell: &Cell, kind: &str, part: f64) -> Option<f64> {
    let rounds = cell.latency.get(kind).filter(|_| cell.failure.is_none())?;
    median(&rounds.iter().map(|round| round.at(part)).collect::<Vec<_>>())
}

/// The kinds of call that a row has figures of.
pub fn kinds(row: &Row) -> Vec<String> {
    let mut kinds: Vec<String> = row.cells.values().flat_map(|cell| cell.latency.keys().cloned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Whether the result is one of `latency`.
pub fn is_about(results: &Results) -> bool {
    results.rows.iter().any(|row| row.cells.values().any(|cell| !cell.latency.is_empty()))
}

/// The figures: on a terminal those of each row and kind of call by themselves, then all of them side by side.
pub fn write(results: &Results, style: Style) -> String {
    let mut text = format!("{}\n", table::head(results));
    if style != Style::Markdown {
        for row in &results.rows {
            for kind in kinds(row) {
                write_one(results, row, &kind, &mut text);
            }
        }
    }
    for interface in results.interfaces() {
        side_by_side(&Field::of(results, interface), interface, style, &mut text);
    }
    text += &table::failures(results, style);
    text + &table::versions(results, style)
}

/// Everybody's figures under one interface.
struct Field<'a> {
    /// Contestants, and whether each is a peer.
    names: Vec<(&'a str, bool)>,
    /// A row and a kind of call, and for each contestant the figures of [`COLUMNS`], if it has them.
    lines: Vec<(String, Vec<Option<Vec<f64>>>)>,
}

impl Field<'_> {
    fn of(results: &Results, interface: Interface) -> Field<'_> {
        let shown = results.shown(interface);
        let mut lines = Vec::new();
        for row in results.rows.iter().filter(|row| row.interface == interface) {
            for kind in kinds(row) {
                let figures = |name: &str| {
                    let cell = row.cells.get(name)?;
                    COLUMNS.iter().map(|(_, part)| percentile(cell, &kind, *part)).collect()
                };
                lines.push((
                    format!("{}, {kind}", row.name),
                    shown.iter().map(|one| figures(&one.name)).collect(),
                ));
            }
        }
        Field { names: shown.iter().map(|one| (one.name.as_str(), one.role == Role::Peer)).collect(), lines }
    }

    /// The least of a column among the peers of a line.
    fn best(&self, line: &[Option<Vec<f64>>], column: usize) -> f64 {
        let peers = line.iter().zip(&self.names).filter(|(_, (_, is_peer))| *is_peer);
        peers.filter_map(|(all, _)| Some(all.as_ref()?[column])).fold(f64::INFINITY, f64::min)
    }

    /// The geometric mean over the lines of what a contestant has in a column, in terms of the best peer, and the lines where it is
    /// at most that.
    fn standing(&self, place: usize, column: usize) -> Option<(f64, usize)> {
        let ratios: Vec<f64> = self
            .lines
            .iter()
            .filter_map(|(_, line)| Some(line[place].as_ref()?[column] / self.best(line, column)))
            .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
            .collect();
        Some((geometric_mean(&ratios)?, ratios.iter().filter(|ratio| **ratio <= 1.0).count()))
    }
}

fn side_by_side(field: &Field, interface: Interface, style: Style, text: &mut String) {
    let heading = format!(
        "All {} rows and kinds of call, {interface} interface: geometric mean in terms of the best peer of each (and where at most that)",
        field.lines.len()
    );
    let _ = writeln!(text, "\n{}\n", table::heading(&heading, style));
    let header: Vec<String> =
        ["allocator"].iter().copied().chain(COLUMNS.map(|(name, _)| name)).map(String::from).collect();
    let standing = |place: usize, column: usize| {
        let (mean, won) = field.standing(place, column)?;
        Some(format!("{} ({won})", ratio(mean)))
    };
    let body = field.names.iter().enumerate().map(|(place, (name, _))| {
        let cells = (0..COLUMNS.len()).map(|column| standing(place, column).unwrap_or("–".into()));
        std::iter::once(name.to_string()).chain(cells).collect()
    });
    *text += &written(&header, &body.collect::<Vec<Vec<String>>>(), style);
    for column in [2, COLUMNS.len() - 1] {
        let heading = format!("{}: nanoseconds, {interface} interface", COLUMNS[column].0);
        let _ = writeln!(text, "\n{}\n", table::heading(&heading, style));
        let header: Vec<String> = std::iter::once("row, call")
            .chain(field.names.iter().map(|(name, _)| *name))
            .map(String::from)
            .collect();
        let rows = field.lines.iter().map(|(name, line)| {
            let least = line.iter().flatten().map(|all| all[column]).fold(f64::INFINITY, f64::min);
            let cells = line.iter().map(|all| match all.as_ref().map(|all| all[column]) {
                Some(value) if value <= least => emphasise(&format!("{value:.0}"), style),
                Some(value) => format!("{value:.0}"),
                None => "–".into(),
            });
            std::iter::once(name.clone()).chain(cells).collect()
        });
        *text += &written(&header, &rows.collect::<Vec<Vec<String>>>(), style);
    }
}

fn written(header: &[String], lines: &[Vec<String>], style: Style) -> String {
    match style {
        Style::Markdown => markdown(header, lines),
        _ => {
            let (above, below) = folded(header);
            aligned(&[above, below], lines, 0)
        }
    }
}

fn write_one(results: &Results, row: &Row, kind: &str, text: &mut String) {
    let contestants = results.shown(row.interface);
    let figures: Vec<(&str, Role, Vec<f64>)> = contestants
        .iter()
        .filter_map(|one| {
            let cell = row.cells.get(&one.name)?;
            let all: Option<Vec<f64>> =
                COLUMNS.iter().map(|(_, part)| percentile(cell, kind, *part)).collect();
            Some((one.name.as_str(), one.role, all?))
        })
        .collect();
    let Some(count) = row.cells.values().find_map(|cell| cell.latency.get(kind)?.first()) else { return };
    let _ = writeln!(
        text,
        "\n{}, {kind}, {} interface: nanoseconds ({} calls timed; reading the clock, {:.0} ns, is contained)",
        row.name, row.interface, count.count, count.clock
    );
    let _ = write!(text, "{:<18}", "");
    for (heading, _) in COLUMNS {
        let _ = write!(text, "{heading:>11}");
    }
    text.push('\n');
    let best = |column: usize, wanted: Option<Role>| {
        let of_role = figures.iter().filter(|(_, role, _)| wanted.is_none_or(|wanted| wanted == *role));
        of_role.map(|(_, _, all)| all[column]).fold(f64::INFINITY, f64::min)
    };
    for (name, _, all) in &figures {
        let _ = write!(text, "  {name:<16}");
        for (column, value) in all.iter().enumerate() {
            let mark = if *value <= best(column, None) { "*" } else { "" };
            let _ = write!(text, "{:>11}", format!("{mark}{value:.0}"));
        }
        text.push('\n');
    }
    for (name, _, all) in figures.iter().filter(|(_, role, _)| *role == Role::Subject) {
        let against = |column: usize| all[column] / best(column, Some(Role::Peer));
        let (rare, worst) = (against(2), against(4));
        if rare.is_finite() && worst.is_finite() {
            let _ = writeln!(text, "  {name}: p99.9 {rare:.2}, worst {worst:.2} times the best peer's");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn histogram() -> Histogram {
        // Units are eighths of a nanosecond: 990 calls of 1 ns, 9 of 2 ns, one of 3 ns.
        let mut counts = [0; 32];
        (counts[8], counts[16], counts[24]) = (990, 9, 1);
        Histogram::from_counts(counts.into_iter(), 24)
    }

    #[test]
    fn a_curve_keeps_what_the_histogram_says() {
        let latency = Latency::of(&histogram(), 20.0);
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|part| latency.at(part)), [1.0, 1.0, 2.0, 3.0]);
        assert_eq!((latency.count, latency.worst), (1000, 3.0));
        assert!(latency.curve.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        // Nothing is claimed about one call of 10,000 among 1,000.
        assert_eq!(latency.at(0.9999), 3.0);
    }

    #[test]
    fn the_table_names_every_contestant_and_compares_with_the_best_peer() {
        let mut results = example(1, 1);
        for (name, cell) in &mut results.rows[0].cells {
            let mut latency = Latency::of(&histogram(), 20.0);
            if name == "freestone" {
                latency.curve.iter_mut().for_each(|(_, value)| *value *= 2.0);
            }
            cell.latency.insert("free".into(), vec![latency]);
        }
        let text = write(&results, Style::Plain);
        assert!(text.contains("row-0, free, C interface"), "{text}");
        assert!(text.contains("freestone: p99.9 2.00, worst 2.00 times"), "{text}");
        assert!(!text.contains("again"), "{text}");
        assert!(is_about(&results) && !is_about(&example(1, 1)));
        let text = write(&results, Style::Markdown);
        assert!(text.contains("| freestone | 2.00 (0) | 2.00 (0) | 2.00 (0) |"), "{text}");
        assert!(text.contains("| glibc | 1.00 (1) |") && text.contains("| row-0, free | **2** |"), "{text}");
    }
}
