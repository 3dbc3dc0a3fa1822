//! Two results against each other: what became faster or leaner, what became worse, and how sure that is.

use std::fmt::Write;

use super::score::{Metric, Score, Scores};
use super::{Interface, Results};

/// Differences below this are not called significant, however small the errors seem.
const LEAST: f64 = 1.02;

/// As many standard errors must a difference have.
const CERTAIN: f64 = 2.5;

/// A row of one contestant in both results.
#[derive(Clone, Debug)]
pub struct Change {
    /// The workload.
    pub row: String,
    /// The interface.
    pub interface: Interface,
    /// What is compared.
    pub metric: Metric,
    /// The second result over the first.
    pub ratio: f64,
    /// What the ratio may be off by without anything having changed, as a factor above 1.
    pub bound: f64,
}

impl Change {
    /// Whether it is more than noise.
    pub fn significant(&self) -> bool {
        self.ratio.max(1.0 / self.ratio) > self.bound
    }

    /// Whether it is more than noise, and to the worse by more than `percent`.
    pub fn fails(&self, percent: f64) -> bool {
        self.significant() && self.ratio > 1.0 + percent / 100.0
    }
}

/// The changes of the contestant `name` from `before` to `after`, in the rows that both have.
///
/// With `reference`, the name of a contestant in both, figures are taken in terms of that one's, which clears them of
/// a machine that is faster or slower than it was.
pub fn changes(before: &Results, after: &Results, name: &str, reference: Option<&str>) -> Vec<Change> {
    let mut all = Vec::new();
    for interface in after.interfaces() {
        for metric in super::table::USUAL {
            let one = Scores::new(before, interface, metric);
            let other = Scores::new(after, interface, metric);
            // What the same allocator differs by from itself in the middle row is a floor for every row.
            let noise = |scores: &Scores| scores.noise().map_or(1.0, |noise| noise.typical).ln();
            let floor = LEAST.ln().max((noise(&one).powi(2) + noise(&other).powi(2)).sqrt() * CERTAIN / 2.0);
            for row in &other.rows {
                let figures = |scores: &Scores| figures(scores, &row.name, name, reference);
                let (Some((old, old_error)), Some((new, new_error))) = (figures(&one), figures(&other))
                else {
                    continue;
                };
                let error = (old_error.powi(2) + new_error.powi(2)).sqrt();
                let bound = (error * CERTAIN).max(floor).exp();
                all.push(Change { row: row.name.clone(), interface, metric, ratio: new / old, bound });
            }
        }
    }
    all
}

/// The value of `name` in a row, in terms of the reference's if there is one, and its error as a part of it.
fn figures(scores: &Scores, row: &str, name: &str, reference: Option<&str>) -> Option<(f64, f64)> {
    let row = scores.rows.iter().find(|one| one.name == row)?;
    let score = |name: &str| -> Option<Score> {
        row.scores[scores.names.iter().position(|(known, _)| known == name)?]
    };
    let own = score(name)?;
    match reference {
        None => Some((own.median, own.error)),
        Some(reference) => {
            let reference = score(reference)?;
            let error = (own.error.powi(2) + reference.error.powi(2)).sqrt();
            Some((own.median / reference.median, error))
        }
    }
}

/// The changes as a text; significant ones are marked.
pub fn write(changes: &[Change]) -> String {
    let mut text = String::new();
    let mut group = None;
    for change in changes {
        if group != Some((change.interface, change.metric)) {
            group = Some((change.interface, change.metric));
            let title = change.metric.title();
            let _ = writeln!(
                text,
                "\n{title}, {} interface: B over A, and the noise it may hide in",
                change.interface
            );
        }
        let verdict = match (change.significant(), change.ratio > 1.0) {
            (false, _) => "",
            (true, true) => "WORSE",
            (true, false) => "better",
        };
        let noise = (change.bound - 1.0) * 100.0;
        let line = format!("  {:<24} {:6.3}  ±{noise:5.1} %  {verdict}", change.row, change.ratio);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn slower(results: &Results, factor: f64, names: &[&str]) -> Results {
        let mut results = results.clone();
        for row in &mut results.rows {
            for name in names {
                for sample in &mut row.cells.get_mut(*name).unwrap().samples {
                    sample.wall *= factor;
                }
            }
        }
        results
    }

    fn times(changes: Vec<Change>) -> Vec<Change> {
        changes.into_iter().filter(|change| change.metric == Metric::Time).collect()
    }

    #[test]
    fn a_regression_is_found() {
        let before = example(3, 5);
        let after = slower(&before, 1.2, &["freestone"]);
        let all = changes(&before, &after, "freestone", Some("glibc"));
        assert_eq!(all.len(), 6);
        assert!(all.iter().filter(|change| change.fails(5.0)).count() == 3, "{all:?}");
        assert!(all.iter().all(|change| !change.fails(25.0)));
        assert!(write(&all).contains("WORSE"));
        let back = changes(&after, &before, "freestone", Some("glibc"));
        assert!(times(back).iter().all(|change| change.significant() && !change.fails(0.0)));
    }

    #[test]
    fn a_slower_machine_is_none() {
        let before = example(3, 5);
        let after = slower(&before, 1.3, &["freestone", "glibc", "glibc again", "alpha", "beta"]);
        let relative = times(changes(&before, &after, "freestone", Some("glibc")));
        assert!(relative.iter().all(|change| !change.significant()), "{relative:?}");
        assert!(times(changes(&before, &after, "freestone", None)).iter().all(|change| change.fails(5.0)));
    }

    #[test]
    fn rows_that_one_lacks_are_left_out() {
        let after = example(3, 5);
        assert_eq!(changes(&example(1, 5), &after, "freestone", None).len(), 2);
        assert!(changes(&after, &after, "nobody", None).is_empty());
    }
}
