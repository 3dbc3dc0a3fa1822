//! Tables of ratios: for the terminal, and as Markdown for documents.

use std::fmt::Write;
use std::io::{IsTerminal, stdout};

use super::score::{Metric, Scores, Summary};
use super::{Results, memory};

/// The metrics that a run shows unless told otherwise.
pub const USUAL: [Metric; 2] = [Metric::Time, Metric::Peak];

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns.
    Plain,
    /// Aligned columns, the best of each row in bold.
    Coloured,
    /// For documents.
    Markdown,
}

impl Style {
    /// What suits standard output.
    pub fn of_stdout() -> Style {
        if stdout().is_terminal() { Style::Coloured } else { Style::Plain }
    }
}

/// Everything about `results` that the metrics ask for.
pub fn write(results: &Results, metrics: &[Metric], style: Style) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", head(results));
    for interface in results.interfaces() {
        for metric in metrics {
            let scores = Scores::new(results, interface, *metric);
            if !scores.rows.is_empty() {
                let _ = write!(text, "\n{}", one_table(&scores, style));
            }
        }
    }
    text.push_str(&memory::write(results, style));
    text.push_str(&failures(results, style));
    text.push_str(&versions(results, style));
    text
}

pub(super) fn head(results: &Results) -> String {
    let Results { parameters, machine, date, revision, .. } = results;
    let scale = if parameters.scale == 1.0 { String::new() } else { format!(", scale {}", parameters.scale) };
    let revision = if revision.is_empty() { String::new() } else { format!(", revision {revision}") };
    let rounds = match results.rounds() {
        1 => "One round".to_owned(),
        rounds => format!("Medians of {rounds} interleaved rounds"),
    };
    format!("{rounds}{scale}; {}; {}{revision}", machine.line(), &date[..date.len().min(10)])
}

/// The cells of a table, without regard to how they are written.
fn one_table(scores: &Scores, style: Style) -> String {
    let best = scores.metric.best();
    let mut header = vec!["row".to_string(), format!("{best} peer")];
    header.extend(scores.names.iter().map(|(name, _)| name.clone()));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in &scores.rows {
        let value = row.scores[row.best_peer].map_or(f64::NAN, |score| score.median);
        let mut cells = vec![row.name.clone(), scores.metric.show(value)];
        cells.extend(row.scores.iter().map(|score| match score {
            Some(score) if score.to_best <= 1.0 => emphasise(&ratio(score.to_peer), style),
            Some(score) => ratio(score.to_peer),
            None => "–".into(),
        }));
        rows.push(cells);
    }
    let summaries: Vec<Option<Summary>> =
        (0..scores.names.len()).map(|place| scores.summary(place)).collect();
    let mut line = |name: &str, of: &dyn Fn(&Summary) -> String| {
        let mut cells = vec![name.to_string(), String::new()];
        cells.extend(summaries.iter().map(|one| one.as_ref().map_or("–".into(), of)));
        rows.push(cells);
    };
    line(&format!("mean to {best} peer"), &|one| format!("{:.3}", one.to_peer));
    line(&format!("mean to {best} of all"), &|one| format!("{:.3}", one.to_best));
    line("rows won", &|one| format!("{}/{}", one.won, one.rows));
    line("first or within 3 %", &|one| format!("{}/{}", one.near, one.rows));
    line("worst row", &|one| ratio(one.worst.0));
    let mut text = match style {
        Style::Markdown => markdown(&header, &rows),
        _ => {
            let (above, below) = folded(&header);
            aligned(&[above, below], &rows, 5)
        }
    };
    let title = format!(
        "{}, {} interface, in terms of the {best} peer of each row",
        capital(scores.metric.title()),
        scores.interface
    );
    text = match style {
        Style::Markdown => format!("**{title}**\n\n{text}"),
        _ => format!("{title}\n{text}"),
    };
    text.push_str(&remarks(scores));
    text
}

/// What is said below a table: the noise, the worst row, the rows that are lost.
fn remarks(scores: &Scores) -> String {
    let mut text = String::new();
    if let Some(noise) = scores.noise() {
        let percent = |factor: f64| (factor - 1.0) * 100.0;
        let _ = writeln!(
            text,
            "\nNoise: glibc against itself differs by {:.1} % in the middle row, {:.1} % in the worst, {:+.1} % in the mean.",
            percent(noise.typical),
            percent(noise.worst),
            percent(noise.mean)
        );
    }
    for place in scores.subjects() {
        let name = &scores.names[place].0;
        let lost: Vec<String> =
            scores.lost(place).iter().map(|(row, by, to)| format!("{row} {} to {to}", ratio(*by))).collect();
        let _ = match lost.len() {
            0 => writeln!(text, "\n{name} loses no row (by more than 3 %)."),
            count => {
                writeln!(text, "\n{name} loses {count} of {} rows: {}.", scores.rows.len(), lost.join(", "))
            }
        };
    }
    text
}

pub(super) fn failures(results: &Results, style: Style) -> String {
    let mut text = String::new();
    for row in &results.rows {
        for (name, cell) in &row.cells {
            if let Some(failure) = &cell.failure {
                let mark = if style == Style::Markdown { "- " } else { "  " };
                let _ =
                    writeln!(text, "{mark}{}, {} interface, {name}: {failure}", row.label(), row.interface);
            }
        }
    }
    if text.is_empty() { text } else { format!("\nWithout figures:\n\n{text}") }
}

pub(super) fn versions(results: &Results, style: Style) -> String {
    let shown = results.contestants.iter().filter(|one| one.role != super::Role::Control);
    let rows: Vec<Vec<String>> = shown.map(|one| vec![one.name.clone(), one.version.clone()]).collect();
    let header = ["allocator".to_string(), "version".to_string()];
    let table = match style {
        Style::Markdown => markdown(&header, &rows).replacen("--:", "---", 1),
        _ => rows.iter().map(|row| format!("  {:<16} {}\n", row[0], row[1])).collect(),
    };
    format!("\n{table}")
}

pub(super) fn ratio(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Terminals are told by these to switch to bold and back.
const BOLD: (&str, &str) = ("\x1b[1m", "\x1b[0m");

pub(super) fn emphasise(text: &str, style: Style) -> String {
    match style {
        Style::Plain => format!("*{text}"),
        Style::Coloured => format!("{}{text}{}", BOLD.0, BOLD.1),
        Style::Markdown => format!("**{text}**"),
    }
}

/// The line above a table.
pub(super) fn heading(text: &str, style: Style) -> String {
    if style == Style::Markdown { emphasise(text, style) } else { text.to_string() }
}

/// The columns a text takes in a terminal.
fn width(text: &str) -> usize {
    text.replace(BOLD.0, "").replace(BOLD.1, "").chars().count()
}

/// A heading in two lines, long names broken at their dash, so that more columns fit on a screen.
pub(super) fn folded(header: &[String]) -> (Vec<String>, Vec<String>) {
    let fold = |name: &String| match name.split_once(['-', ' ']) {
        Some((above, below)) if name.len() > 9 => (above.to_string(), below.to_string()),
        _ => (String::new(), name.clone()),
    };
    header.iter().map(fold).unzip()
}

/// Columns padded to their widest cell, the first to the left, with a line before the last `footer` rows.
pub(super) fn aligned(headers: &[Vec<String>; 2], rows: &[Vec<String>], footer: usize) -> String {
    let header = &headers[1];
    // The upper line is left out where it has nothing to say.
    let upper = headers[0].iter().any(|name| !name.is_empty());
    let headers = &headers[if upper { 0 } else { 1 }..];
    let all = || headers.iter().chain(rows).map(Vec::as_slice);
    let widths: Vec<usize> =
        (0..header.len()).map(|column| all().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in all().enumerate() {
        if number == headers.len() || number + footer == rows.len() + headers.len() {
            let _ = writeln!(text, "{}", "─".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
        }
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let space = " ".repeat(widths[column] - width(cell));
            let gap = if column == 0 { "" } else { "  " };
            line.push_str(gap);
            line.push_str(&if column == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") });
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

pub(super) fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---|{}\n", "--:|".repeat(header.len() - 1));
    line(header) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_terminals_table_is_aligned_and_says_who_won_and_what_was_lost() {
        let text = write(&example(2, 3), &USUAL, Style::Plain);
        let lines: Vec<&str> = text.lines().collect();
        let header = lines.iter().position(|line| line.starts_with("row")).unwrap();
        let names: Vec<&str> = lines[header].split_whitespace().collect();
        assert_eq!(names, ["row", "peer", "glibc", "alpha", "beta", "freestone"]);
        assert_eq!(lines[header - 1].trim(), "fastest");
        let length = lines[header].chars().count();
        assert_eq!(lines[header + 1].chars().count(), length);
        assert_eq!(lines[header + 2].chars().count(), length);
        assert!(lines[header + 2].ends_with("*0.95"), "{text}");
        assert!(text.contains("freestone loses no row"), "{text}");
        assert!(text.contains("freestone loses 2 of 2 rows: row-0 1.28 to glibc"), "{text}");
        assert!(text.contains("glibc against itself differs by 0.7 %"), "{text}");
    }

    #[test]
    fn bold_takes_no_columns() {
        assert_eq!(width(&emphasise("1.00", Style::Coloured)), 4);
    }

    #[test]
    fn markdown_has_a_cell_for_every_column() {
        let text = write(&example(2, 3), &USUAL, Style::Markdown);
        let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| row")).collect();
        assert!(table.iter().all(|line| line.matches('|').count() == 7), "{text}");
        assert!(text.contains("**0.95**"), "{text}");
    }

    #[test]
    fn failures_are_told() {
        let mut results = example(1, 3);
        results.rows[0].cells.get_mut("beta").unwrap().failure = Some("killed".into());
        let text = write(&results, &USUAL, Style::Plain);
        assert!(text.contains("row-0, C interface, beta: killed"), "{text}");
    }
}
