//! Growth: the cost of a call against what else there is.

use std::fmt::Write;

use super::stats::median;
use super::table::{self, Style, aligned, markdown};
use super::{Cell, Interface, Results, Role, Row};

/// The curves of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// The workload.
    pub name: String,
    /// What it does.
    pub about: String,
    /// The interface.
    pub interface: Interface,
    /// What grows.
    pub axis: String,
    /// Who takes part.
    pub lines: Vec<Line>,
}

/// A contestant's curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The contestant.
    pub name: String,
    /// What it is in the run for.
    pub role: Role,
    /// What there is, and the nanoseconds of a call then.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// How many times the cheapest point the dearest is.
    pub fn rise(&self) -> Option<f64> {
        let costs = || self.points.iter().map(|(_, cost)| *cost);
        let least = costs().fold(f64::INFINITY, f64::min);
        (!self.points.is_empty()).then(|| costs().fold(0.0, f64::max) / least)
    }
}

/// All curves of a result.
pub fn curves(results: &Results) -> Vec<Growth> {
    let mut all: Vec<Growth> = Vec::new();
    for row in &results.rows {
        let Some(point) = &row.point else { continue };
        let same = |growth: &&mut Growth| growth.name == row.name && growth.interface == row.interface;
        if all.iter_mut().find(same).is_none() {
            let shown = results.shown(row.interface);
            let line = |one: &&super::Contestant| Line {
                name: one.name.clone(),
                role: one.role,
                points: Vec::new(),
            };
            all.push(Growth {
                name: row.name.clone(),
                about: row.about.clone(),
                interface: row.interface,
                axis: point.axis.clone(),
                lines: shown.iter().map(line).collect(),
            });
        }
        if let Some(growth) = all.iter_mut().find(same) {
            for line in &mut growth.lines {
                if let Some(cost) = row.cells.get(&line.name).and_then(cost) {
                    line.points.push((point.value, cost));
                }
            }
        }
    }
    all.iter_mut().for_each(|growth| growth.lines.retain(|line| !line.points.is_empty()));
    all
}

/// Nanoseconds of a call in the timed part.
fn cost(cell: &Cell) -> Option<f64> {
    let each = cell.samples.iter().map(|sample| Some(sample.inner? * 1e9 / sample.operations? as f64));
    median(&each.collect::<Option<Vec<f64>>>().filter(|_| cell.failure.is_none())?)
}

/// Whether the result is one of `growth`.
pub fn is_about(results: &Results) -> bool {
    results.rows.iter().any(|row| row.point.is_some())
}

/// The curves as tables.
pub fn write(results: &Results, style: Style) -> String {
    let mut text = format!("{}\n", table::head(results));
    for growth in curves(results) {
        let heading = format!("{}, {} interface: nanoseconds of a call", growth.name, growth.interface);
        let _ = writeln!(text, "\n{}\n{}\n", table::heading(&heading, style), growth.about);
        let names = growth.lines.iter().map(|line| line.name.clone());
        let header: Vec<String> = std::iter::once(growth.axis.clone()).chain(names).collect();
        let mut lines: Vec<Vec<String>> = Vec::new();
        for value in values(results, &growth) {
            let cost = |line: &Line| line.points.iter().find(|(at, _)| *at == value).map(|(_, cost)| *cost);
            let cells =
                growth.lines.iter().map(|line| cost(line).map_or("–".into(), |cost| format!("{cost:.1}")));
            lines.push(std::iter::once(short(value)).chain(cells).collect());
        }
        let rises =
            growth.lines.iter().map(|line| line.rise().map_or("–".into(), |rise| format!("{rise:.2}")));
        lines.push(std::iter::once("most/least".into()).chain(rises).collect());
        text += &match style {
            Style::Markdown => markdown(&header, &lines),
            _ => aligned(&[vec![String::new(); header.len()], header], &lines, 1),
        };
    }
    text += &table::failures(results, style);
    text + &table::versions(results, style)
}

fn values(results: &Results, growth: &Growth) -> Vec<f64> {
    let same = |row: &&Row| row.name == growth.name && row.interface == growth.interface;
    results.rows.iter().filter(same).filter_map(|row| Some(row.point.as_ref()?.value)).collect()
}

/// A large number with a letter for its unit.
pub fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    if value >= 10.0 || value.fract() < 0.05 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

/// Results of a growth run to test with: two workloads, five points each.
#[cfg(test)]
pub fn example() -> Results {
    let mut results = super::example(10, 3);
    for (number, row) in results.rows.iter_mut().enumerate() {
        let (name, axis) = if number < 5 { ("heap", "live bytes") } else { ("parked", "threads") };
        row.name = name.into();
        let value = 10f64.powi(number as i32 % 5) * if number < 5 { 1e6 } else { 1.0 };
        row.point = Some(super::Point { axis: axis.into(), value });
        for cell in row.cells.values_mut() {
            for sample in &mut cell.samples {
                (sample.inner, sample.operations) = (Some(sample.wall), Some(50_000_000));
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_gathered_from_rows() {
        let curves = curves(&example());
        assert_eq!(curves.len(), 2);
        assert_eq!((curves[0].axis.as_str(), curves[1].axis.as_str()), ("live bytes", "threads"));
        assert_eq!(curves[0].lines.len(), 4);
        assert!(curves.iter().all(|one| one.lines.iter().all(|line| line.points.len() == 5)));
        let line = &curves[0].lines[1];
        assert!((line.points[0].1 - 20.2).abs() < 1e-9, "{line:?}");
        assert!((line.rise().unwrap() - 1.4).abs() < 1e-9);
    }

    #[test]
    fn the_table_has_a_line_for_each_point() {
        let text = write(&example(), Style::Plain);
        assert!(text.contains("\n10G "), "{text}");
        assert_eq!(text.matches("most/least").count(), 2);
        let text = write(&example(), Style::Markdown);
        assert!(text.contains("\n| 10G | ") && text.contains("\n| most/least | "), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [1.0, 300.0, 3160.0, 1e4, 3.16e7, 1e10].map(short),
            ["1", "300", "3.2k", "10k", "32M", "10G"]
        );
    }
}
