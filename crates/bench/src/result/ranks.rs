//! The order of allocators in a program's own runs and in replays of its trace.
//!
//! Two allocators are *told apart* where the median of their ratios, round by round, differs from 1 by more than two standard errors
//! and by more than what is of interest; else they are tied. Kendall's tau-b (M. G. Kendall, *Rank Correlation Methods*, 1948)
//! counts the pairs that both orders tell apart, alike or otherwise, in terms of those that each tells apart: 1 is the
//! same order, 0 none, -1 the opposite.

use std::cmp::Ordering;
use std::fmt::Write;

use super::score::Metric;
use super::stats::{median, median_error};
use super::table::{Style, aligned, head, markdown};
use super::{Cell, Contestant, Interface, Results, Row};

/// What a cell has of the replay, by the name of the figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Wall time of each round.
    Time,
    /// Processor time of each round.
    Processor,
    /// The largest resident set, of one exact run.
    Peak,
    /// What of the time is the player's own; the same under every allocator.
    PlayerTime,
    /// The same of the processor time.
    PlayerProcessor,
}

impl Figure {
    /// As results name it.
    pub fn name(self) -> &'static str {
        match self {
            Figure::Time => "replay_time",
            Figure::Processor => "replay_processor",
            Figure::Peak => "replay_peak",
            Figure::PlayerTime => "player_time",
            Figure::PlayerProcessor => "player_processor",
        }
    }
}

/// What is ranked: in the program's runs, in the replay, the player's part of it, and the least difference of interest.
const RANKED: [(Metric, Figure, Option<Figure>, f64); 3] = [
    (Metric::Time, Figure::Time, Some(Figure::PlayerTime), 0.01),
    (Metric::Cpu, Figure::Processor, Some(Figure::PlayerProcessor), 0.01),
    (Metric::Peak, Figure::Peak, None, 0.02),
];

/// Whether the results are those of replays beside the programs.
pub fn is_about(results: &Results) -> bool {
    let replayed = |cell: &Cell| cell.figures.contains_key(Figure::Time.name());
    results.rows.iter().flat_map(|row| row.cells.values()).any(replayed)
}

/// Whether the first is less than the second, or more, or neither for sure.
fn order(one: &[f64], other: &[f64], least: f64) -> Ordering {
    let ratios: Vec<f64> =
        one.iter().zip(other).filter(|(_, other)| **other > 0.0).map(|(one, other)| one / other).collect();
    let Some(middle) = median(&ratios) else { return Ordering::Equal };
    let bound = if ratios.len() > 1 { (2.0 * median_error(&ratios)).max(least) } else { least };
    match middle {
        ratio if ratio < 1.0 - bound => Ordering::Less,
        ratio if ratio > 1.0 + bound => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// How two orders of the same allocators compare, pair by pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Agreement {
    /// Pairs that both tell apart in the same way, and in opposite ways.
    alike: usize,
    opposed: usize,
    /// Pairs that only the program's runs tell apart, and only the replay.
    only_real: usize,
    only_replay: usize,
}

impl Agreement {
    fn of(real: &[Vec<f64>], replay: &[Vec<f64>], least: f64) -> Agreement {
        let mut agreement = Agreement::default();
        for one in 0..real.len() {
            for other in one + 1..real.len() {
                let orders =
                    [order(&real[one], &real[other], least), order(&replay[one], &replay[other], least)];
                match orders {
                    [Ordering::Equal, Ordering::Equal] => {}
                    [Ordering::Equal, _] => agreement.only_replay += 1,
                    [_, Ordering::Equal] => agreement.only_real += 1,
                    [real, replay] if real == replay => agreement.alike += 1,
                    _ => agreement.opposed += 1,
                }
            }
        }
        agreement
    }

    /// Pairs that the program's runs tell apart.
    fn apart(&self) -> usize {
        self.alike + self.opposed + self.only_real
    }

    /// Kendall's tau-b; nothing where one side tells none apart.
    fn tau(&self) -> Option<f64> {
        let both = self.alike + self.opposed;
        let product = (self.apart() * (both + self.only_replay)) as f64;
        (product > 0.0).then(|| (self.alike as f64 - self.opposed as f64) / product.sqrt())
    }
}

/// The tables: a row for each program and metric.
pub fn write(results: &Results, style: Style) -> String {
    let shown = results.shown(Interface::C);
    let mut text = format!("{}\n", head(results));
    let mut sums = [Agreement::default(); RANKED.len()];
    for (place, (metric, figure, player, least)) in RANKED.into_iter().enumerate() {
        let mut header: Vec<String> = vec!["program, replay".into()];
        header.extend(shown.iter().map(|one| one.name.clone()));
        header.extend(["tau", "told apart", "alike", "opposed"].map(String::from));
        let mut lines = Vec::new();
        for row in &results.rows {
            let Some((real, replay)) = columns(row, &shown, metric, figure) else { continue };
            let agreement = Agreement::of(&real, &replay, least);
            let sum = &mut sums[place];
            sum.alike += agreement.alike;
            sum.opposed += agreement.opposed;
            sum.only_real += agreement.only_real;
            sum.only_replay += agreement.only_replay;
            let mut line = vec![row.name.clone()];
            line.extend(cells(metric, &real));
            line.extend([
                agreement.tau().map_or("–".into(), |tau| format!("{tau:.2}")),
                agreement.apart().to_string(),
                agreement.alike.to_string(),
                agreement.opposed.to_string(),
            ]);
            lines.push(line);
            let own = player.and_then(|player| figures(row, &shown, player));
            let mut line = vec![match &own {
                Some(own) => format!("  replay, {} the player's", metric.show(*own)),
                None => "  replay".into(),
            }];
            line.extend(cells(metric, &replay));
            line.extend(std::iter::repeat_n(String::new(), 4));
            lines.push(line);
        }
        let title = metric.title();
        let title = format!(
            "{}{}: the program's own runs, and replays of its trace",
            title[..1].to_uppercase(),
            &title[1..]
        );
        text.push_str(&match style {
            Style::Markdown => format!("\n**{title}**\n\n{}", markdown(&header, &lines)),
            _ => format!("\n{title}\n{}", aligned(&[vec![String::new(); header.len()], header], &lines, 0)),
        });
    }
    text.push('\n');
    for ((metric, ..), sum) in RANKED.into_iter().zip(sums) {
        let tau = sum.tau().map_or("none".into(), |tau| format!("{tau:.2}"));
        let _ = writeln!(
            text,
            "{}{}: of {} pairs that the programs' runs tell apart, replays order {} alike, {} the other way and tie {}; \
             tau over all {tau}.",
            if style == Style::Markdown { "- " } else { "" },
            metric.title(),
            sum.apart(),
            sum.alike,
            sum.opposed,
            sum.only_real,
        );
    }
    let versions: Vec<String> = shown.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
    let _ = writeln!(text, "\nThe allocators: {}.", versions.join("; "));
    text
}

/// Of each allocator, the figures of its rounds.
type Columns = Vec<Vec<f64>>;

/// The program's runs, and the replays; nothing where an allocator has none.
fn columns(row: &Row, shown: &[&Contestant], metric: Metric, figure: Figure) -> Option<(Columns, Columns)> {
    let cells: Vec<&Cell> = shown.iter().map(|one| row.cells.get(&one.name)).collect::<Option<_>>()?;
    let real = cells.iter().map(|cell| metric.values(cell)).collect::<Option<_>>()?;
    let replay = cells.iter().map(|cell| cell.figures.get(figure.name()).cloned()).collect::<Option<_>>()?;
    Some((real, replay))
}

/// The median of a figure that is the same under every allocator.
fn figures(row: &Row, shown: &[&Contestant], figure: Figure) -> Option<f64> {
    median(row.cells.get(&shown.first()?.name)?.figures.get(figure.name())?)
}

/// The median of each, the last one with its unit as all of them.
fn cells(metric: Metric, columns: &[Vec<f64>]) -> Vec<String> {
    columns.iter().map(|values| median(values).map_or("–".into(), |value| metric.show(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rounds that differ by so little that they say much.
    fn rounds(value: f64) -> Vec<f64> {
        vec![value, value * 1.001, value * 0.999]
    }

    #[test]
    fn the_same_order_is_one_and_the_opposite_minus_one() {
        let rising: Vec<Vec<f64>> = [1.0, 1.1, 1.2, 1.3].map(rounds).to_vec();
        let falling: Vec<Vec<f64>> = rising.iter().rev().cloned().collect();
        let steeper: Vec<Vec<f64>> = [5.0, 7.0, 9.0, 20.0].map(rounds).to_vec();
        assert_eq!(Agreement::of(&rising, &steeper, 0.01).tau(), Some(1.0));
        assert_eq!(Agreement::of(&rising, &falling, 0.01).tau(), Some(-1.0));
        let flat: Vec<Vec<f64>> = [1.0, 1.001, 0.999, 1.0].map(rounds).to_vec();
        assert_eq!(Agreement::of(&flat, &rising, 0.01).tau(), None);
    }

    #[test]
    fn ties_are_told_from_disagreement() {
        let real: Vec<Vec<f64>> = [1.0, 1.0, 1.2].map(rounds).to_vec();
        let replay: Vec<Vec<f64>> = [1.0, 1.1, 1.2].map(rounds).to_vec();
        let agreement = Agreement::of(&real, &replay, 0.01);
        assert_eq!(agreement, Agreement { alike: 2, opposed: 0, only_real: 0, only_replay: 1 });
        // By the definition: 2 over the root of 2 times 3.
        assert!((agreement.tau().unwrap() - 2.0 / 6.0f64.sqrt()).abs() < 1e-12);
        // Noise of a tenth hides a difference of a twentieth; a single exact run has none.
        let noisy = |value: f64| vec![value, value * 1.1, value * 0.9];
        assert_eq!(order(&noisy(1.05), &rounds(1.0), 0.01), Ordering::Equal);
        assert_eq!(order(&[1.05], &[1.0], 0.02), Ordering::Greater);
    }

    #[test]
    fn the_table_says_how_many_pairs_agree() {
        let mut results = super::super::example(2, 3);
        for cell in results.rows.iter_mut().flat_map(|row| row.cells.values_mut()) {
            let (time, peak) = (cell.samples[0].wall, cell.samples[0].peak);
            for (figure, value) in [(Figure::Time, time), (Figure::Processor, time), (Figure::Peak, peak)] {
                cell.figures.insert(figure.name().into(), vec![value]);
            }
        }
        assert!(is_about(&results) && !is_about(&super::super::example(1, 1)));
        let text = write(&results, Style::Markdown);
        assert!(
            text.contains(
                "wall time: of 12 pairs that the programs' runs tell apart, replays order 12 alike"
            ),
            "{text}"
        );
    }
}
