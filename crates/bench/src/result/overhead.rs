//! What instruments cost: each in terms of the same library without any, round by round.

use std::fmt::Write;

use super::score::Metric;
use super::stats::{median, median_error};
use super::table::{Style, aligned, folded, head, markdown};
use super::{Cell, Contestant, Interface, Results, Role, Row};

/// The figure of a cell that tells the bytes which an instrument wrote.
pub const WRITTEN: &str = "written";

/// The metrics that are shown unless told otherwise.
pub const USUAL: [Metric; 2] = [Metric::Cpu, Metric::Time];

const MIB: f64 = (1 << 20) as f64;

/// Whether the results are those of instruments.
pub fn is_about(results: &Results) -> bool {
    results.contestants.iter().any(|one| one.role == Role::Instrument)
}

/// Whether they count instructions.
pub fn counts_instructions(results: &Results) -> bool {
    let cells = results.rows.iter().flat_map(|row| row.cells.values());
    cells.flat_map(|cell| &cell.samples).any(|sample| sample.instructions.is_some())
}

/// The tables of the metrics, then what was written. `only` names the instruments to show, all if it names none.
pub fn write(results: &Results, metrics: &[Metric], only: &[String], style: Style) -> Result<String, String> {
    let instruments: Vec<&Contestant> =
        results.contestants.iter().filter(|one| one.role == Role::Instrument).collect();
    let known: Vec<&str> = instruments.iter().map(|one| one.name.as_str()).collect();
    if let Some(name) = only.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no instrument {name:?} in it; there are: {}", known.join(", ")));
    }
    let shown: Vec<&Contestant> =
        instruments.into_iter().filter(|one| only.is_empty() || only.contains(&one.name)).collect();
    let mut text = format!("{}\n", head(results));
    for metric in metrics {
        text.push_str(&one_table(results, *metric, &shown, style));
    }
    if metrics != [Metric::Instructions] {
        text.push_str(&written(results, &shown, style));
    }
    for row in &results.rows {
        for (name, cell) in &row.cells {
            if let Some(failure) = &cell.failure {
                let _ = writeln!(text, "\nWithout figures: {}, {name}: {failure}", label(row));
            }
        }
    }
    let conf: Vec<String> = shown.iter().map(|one| format!("{} `{}`", one.name, one.version)).collect();
    let _ = writeln!(text, "\nThe options: {}.", conf.join("; "));
    Ok(text)
}

/// The ratio of one cell to another, round by round, with two standard errors of their median.
fn ratio(metric: Metric, cell: &Cell, base: &Cell) -> Option<(f64, f64)> {
    let (values, bases) = (metric.values(cell)?, metric.values(base)?);
    let pairs = values.iter().zip(&bases).filter(|(_, base)| **base > 0.0);
    let ratios: Vec<f64> = pairs.map(|(value, base)| value / base).collect();
    Some((median(&ratios)?, 2.0 * median_error(&ratios)))
}

fn with_role(results: &Results, role: Role) -> Option<&str> {
    results.contestants.iter().find(|one| one.role == role).map(|one| one.name.as_str())
}

fn label(row: &Row) -> String {
    match row.interface {
        Interface::C => row.name.clone(),
        Interface::Rust => format!("{} (Rust)", row.name),
    }
}

fn one_table(results: &Results, metric: Metric, shown: &[&Contestant], style: Style) -> String {
    let base = with_role(results, Role::Subject).unwrap_or_default();
    let control = with_role(results, Role::Control).unwrap_or_default();
    let mut header = vec!["row".to_string(), "nothing".to_string(), "nothing again".to_string()];
    header.extend(shown.iter().map(|one| one.name.clone()));
    let names: Vec<&str> =
        std::iter::once(control).chain(shown.iter().map(|one| one.name.as_str())).collect();
    let mut lines = Vec::new();
    for row in &results.rows {
        let Some(cell) = row.cells.get(base) else { continue };
        let Some(value) = metric.values(cell).and_then(|values| median(&values)) else { continue };
        let mut line = vec![label(row), metric.show(value)];
        line.extend(names.iter().map(|name| {
            let found = row.cells.get(*name).and_then(|other| ratio(metric, other, cell));
            found.map_or("–".into(), |(ratio, error)| match metric {
                Metric::Instructions => format!("{ratio:.4}"),
                _ => format!("{ratio:.2} ± {error:.2}"),
            })
        }));
        lines.push(line);
    }
    let title = metric.title();
    let title = format!(
        "{}{}, in terms of the same program with nothing at work",
        title[..1].to_uppercase(),
        &title[1..]
    );
    table(&title, &header, &lines, style)
}

/// What the instruments wrote, in MiB.
fn written(results: &Results, shown: &[&Contestant], style: Style) -> String {
    let mut header = vec!["row".to_string()];
    header.extend(shown.iter().map(|one| one.name.clone()));
    let lines: Vec<Vec<String>> = results
        .rows
        .iter()
        .map(|row| {
            let bytes = |one: &&Contestant| {
                let figures = row.cells.get(&one.name).and_then(|cell| cell.figures.get(WRITTEN));
                figures
                    .and_then(|values| median(values))
                    .map_or("–".into(), |bytes| format!("{:.1}", bytes / MIB))
            };
            std::iter::once(label(row)).chain(shown.iter().map(bytes)).collect()
        })
        .collect();
    table("MiB that were written", &header, &lines, style)
}

fn table(title: &str, header: &[String], lines: &[Vec<String>], style: Style) -> String {
    match style {
        Style::Markdown => format!("\n**{title}**\n\n{}", markdown(header, lines)),
        _ => {
            let (above, below) = folded(header);
            format!("\n{title}\n{}", aligned(&[above, below], lines, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the example's contestants one is taken for the library, two for it with instruments.
    fn example() -> Results {
        let mut results = super::super::example(2, 5);
        results.contestants.retain(|one| one.name != "freestone");
        for (one, role) in results.contestants.iter_mut().zip([
            Role::Subject,
            Role::Control,
            Role::Instrument,
            Role::Instrument,
        ]) {
            one.role = role;
        }
        for cell in results.rows.iter_mut().flat_map(|row| row.cells.values_mut()) {
            cell.figures.insert(WRITTEN.into(), vec![MIB, 3.0 * MIB, 2.0 * MIB]);
        }
        results
    }

    #[test]
    fn ratios_are_those_of_the_rounds() {
        let results = example();
        assert!(is_about(&results) && !is_about(&super::super::example(1, 2)));
        let text = write(&results, &[Metric::Time], &[], Style::Plain).unwrap();
        let line = text.lines().find(|line| line.starts_with("row-0")).unwrap();
        // 1.0 and 1.1 to 1.4; the rounds grow slower for all alike, which takes nothing from the certainty.
        assert!(
            line.contains("1.01 ± 0.00") && line.contains("0.71 ± 0.00") && line.contains("0.79 ± 0.00"),
            "{text}"
        );
        assert!(text.lines().any(|line| line.split_whitespace().eq(["row-1", "2.0", "2.0"])), "{text}");
    }

    #[test]
    fn single_instruments_can_be_shown() {
        let results = example();
        let text = write(&results, &USUAL, &["beta".into()], Style::Markdown).unwrap();
        assert!(text.contains("| row | nothing | nothing again | beta |"), "{text}");
        assert!(
            write(&results, &USUAL, &["gamma".into()], Style::Plain).unwrap_err().contains("alpha, beta")
        );
    }

    #[test]
    fn who_failed_has_no_ratio() {
        let mut results = example();
        results.rows[0].cells.get_mut("alpha").unwrap().failure = Some("killed".into());
        let text = write(&results, &[Metric::Time], &[], Style::Plain).unwrap();
        assert!(text.contains("Without figures: row-0, alpha: killed"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("row-0") && line.contains('–')), "{text}");
    }
}
