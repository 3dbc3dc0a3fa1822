//! What modes cost: everybody in terms of Freestone as it is by default, and of the C library.

use freestone_bench::program;

use super::score::{Metric, Scores};
use super::stats::geometric_mean;
use super::table::{self, Style, aligned, folded, markdown, ratio};
use super::{Interface, Results};

/// Whom the others are measured by.
const BASE: &str = "freestone";
const LIBC: &str = "glibc";

/// One contestant's figures of one metric.
struct Cost {
    /// Geometric means of the ratio to [`BASE`]: over workloads, over programs, over both.
    workloads: Option<f64>,
    programs: Option<f64>,
    all: Option<f64>,
    /// The worst of those ratios and its row.
    worst: Option<(f64, String)>,
    /// The geometric mean of the ratio to [`LIBC`].
    to_libc: Option<f64>,
}

/// Whether the result is one of `modes`.
pub fn is_about(results: &Results) -> bool {
    results.arguments.first().is_some_and(|command| command == "modes")
}

/// The table of `results`; who failed in a row is named below it, and does not count there.
pub fn write(results: &Results, style: Style) -> String {
    let scores = [Metric::Time, Metric::Peak].map(|metric| Scores::new(results, Interface::C, metric));
    let header = [
        "allocator or mode",
        "time: workloads",
        "programs",
        "all",
        "worst",
        "memory: workloads",
        "programs",
        "all",
        "worst",
        "time/glibc",
        "memory/glibc",
    ];
    let header: Vec<String> = header.map(String::from).into();
    let names = scores[0].names.iter().enumerate();
    let lines: Vec<Vec<String>> = names.map(|(place, (name, _))| line(&scores, place, name)).collect();
    let body = match style {
        Style::Markdown => markdown(&header, &lines),
        _ => {
            let (above, below) = folded(&header);
            aligned(&[above, below], &lines, 0)
        }
    };
    let mut text = format!("{}\n\n", table::head(results));
    text +=
        "Geometric means, in terms of Freestone's default mode; the last two columns in terms of glibc\n\n";
    text += &body;
    text += &remarks(results, &scores);
    text += &table::failures(results, style);
    text + &table::versions(results, style)
}

fn line(scores: &[Scores; 2], place: usize, name: &str) -> Vec<String> {
    let show = |value: Option<f64>| value.map_or("–".into(), ratio);
    let mut cells = vec![name.to_string()];
    let costs = [cost(&scores[0], place), cost(&scores[1], place)];
    for cost in &costs {
        cells.extend([cost.workloads, cost.programs, cost.all].map(show));
        cells.push(cost.worst.as_ref().map_or("–".into(), |(value, row)| format!("{} {row}", ratio(*value))));
    }
    cells.extend(costs.map(|cost| show(cost.to_libc)));
    cells
}

fn cost(scores: &Scores, place: usize) -> Cost {
    let ratios = |base: &str| -> Vec<(f64, &str)> {
        let Some(base) = scores.names.iter().position(|(name, _)| name == base) else { return Vec::new() };
        let of_row = |row| -> Option<(f64, &str)> {
            let row: &super::score::ScoredRow = row;
            Some((row.scores[place]?.median / row.scores[base]?.median, &row.name))
        };
        scores.rows.iter().filter_map(of_row).collect()
    };
    let to_base = ratios(BASE);
    let mean = |chosen: &dyn Fn(&str) -> bool| {
        let values = to_base.iter().filter(|(_, row)| chosen(row)).map(|(value, _)| *value);
        geometric_mean(&values.collect::<Vec<_>>())
    };
    let is_program = |row: &str| program::find(row).is_some();
    let worst = to_base.iter().max_by(|one, other| one.0.total_cmp(&other.0));
    Cost {
        workloads: mean(&|row| !is_program(row)),
        programs: mean(&is_program),
        all: mean(&|_| true),
        worst: worst.map(|(value, row)| (*value, row.to_string())),
        to_libc: geometric_mean(&ratios(LIBC).iter().map(|(value, _)| *value).collect::<Vec<_>>()),
    }
}

/// The rows, and the noise.
fn remarks(results: &Results, scores: &[Scores; 2]) -> String {
    let (programs, workloads): (Vec<&str>, Vec<&str>) =
        results.rows.iter().map(|row| row.name.as_str()).partition(|row| program::find(row).is_some());
    let mut text = format!("\nWorkloads: {}. Programs: {}.\n", workloads.join(", "), programs.join(", "));
    if let Some(noise) = scores[0].noise() {
        let percent = |factor: f64| (factor - 1.0) * 100.0;
        text += &format!(
            "\nNoise: glibc against itself differs by {:.1} % of time in the middle row, {:.1} % in the worst, {:+.1} % in the mean.\n",
            percent(noise.typical),
            percent(noise.worst),
            percent(noise.mean)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn everybody_is_measured_by_the_default_mode() {
        let mut results = example(3, 3);
        results.rows[2].name = "python".into();
        let text = write(&results, Style::Plain);
        let of = |name: &str| {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.unwrap_or_default().split_whitespace().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(of("freestone")[1..4], ["1.00", "1.00", "1.00"]);
        // 1.1 against 0.95, and 1.9 MB against 2.05.
        assert_eq!(of("beta")[1..4], ["1.16", "1.16", "1.16"]);
        assert_eq!(of("beta")[6..9], ["0.93", "0.93", "0.93"]);
        assert_eq!(of("beta").last().map(String::as_str), Some("1.19"));
        assert!(text.contains("Workloads: row-0, row-1. Programs: python."), "{text}");
        assert!(text.contains("Noise: glibc"), "{text}");
    }

    #[test]
    fn a_row_that_failed_does_not_count() {
        let mut results = example(2, 3);
        let cell = results.rows[0].cells.get_mut("beta").unwrap();
        cell.failure = Some("killed".into());
        let text = write(&results, Style::Markdown);
        assert!(text.contains("row-0, C interface, beta: killed"), "{text}");
        assert!(text.contains("| beta | 1.16 | – | 1.16 |"), "{text}");
    }
}
