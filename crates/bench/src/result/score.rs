//! From runs to ratios: who is fastest in a row, who stands where over all rows.
//!
//! The *fastest peer* of a row is the one to beat: Freestone itself does not count there, so its own ratio can lie below
//! one. *Best of all* is the usual figure, with Freestone among the rest. For memory the leanest takes that place.

use super::stats::{geometric_mean, level_medians, median};
use super::{Cell, Interface, Results, Role, Row};
use crate::measure::Sample;

/// Rows within this factor of the first count as near it.
pub const NEAR: f64 = 1.03;

/// What of a run is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Wall time.
    Time,
    /// Processor time, of the program and the kernel together.
    Cpu,
    /// Wall time of the part that the workload itself timed.
    Inner,
    /// Peak resident set.
    Peak,
    /// Resident set averaged over time.
    Average,
    /// Page faults.
    Faults,
    /// Context switches of both kinds.
    Switches,
    /// System calls.
    Calls,
    /// Instructions of the program's own.
    Instructions,
}

impl Metric {
    /// All, with the names that the command line knows.
    pub const ALL: [(&str, Metric); 9] = [
        ("time", Metric::Time),
        ("cpu", Metric::Cpu),
        ("inner", Metric::Inner),
        ("peak", Metric::Peak),
        ("average", Metric::Average),
        ("faults", Metric::Faults),
        ("switches", Metric::Switches),
        ("calls", Metric::Calls),
        ("instructions", Metric::Instructions),
    ];

    /// The metric called `name`.
    pub fn named(name: &str) -> Result<Metric, String> {
        let found = Metric::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, metric)| *metric).ok_or_else(|| {
            let known: Vec<&str> = Metric::ALL.iter().map(|(name, _)| *name).collect();
            format!("there is no metric {name:?}; there are: {}", known.join(", "))
        })
    }

    /// What a heading calls it.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Time => "wall time",
            Metric::Cpu => "processor time",
            Metric::Inner => "wall time of the timed part",
            Metric::Peak => "peak resident set",
            Metric::Average => "average resident set",
            Metric::Faults => "page faults",
            Metric::Switches => "context switches",
            Metric::Calls => "system calls",
            Metric::Instructions => "instructions",
        }
    }

    /// What the best of a row is called.
    pub fn best(self) -> &'static str {
        match self {
            Metric::Time | Metric::Cpu | Metric::Inner => "fastest",
            Metric::Peak | Metric::Average => "leanest",
            Metric::Faults | Metric::Switches | Metric::Calls | Metric::Instructions => "lowest",
        }
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::Time | Metric::Cpu | Metric::Inner if value < 0.1 => format!("{:.2} ms", value * 1e3),
            Metric::Time | Metric::Cpu | Metric::Inner => format!("{value:.3} s"),
            Metric::Peak | Metric::Average => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Metric::Faults | Metric::Switches | Metric::Calls => format!("{value:.0}"),
            Metric::Instructions => format!("{:.1} million", value / 1e6),
        }
    }

    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Metric::Time => Some(sample.wall),
            Metric::Cpu => Some(sample.user + sample.system),
            Metric::Inner => sample.inner,
            Metric::Peak => Some(sample.peak),
            Metric::Average => Some(sample.average),
            Metric::Faults => Some(sample.faults as f64),
            Metric::Switches => Some((sample.voluntary_switches + sample.involuntary_switches) as f64),
            Metric::Calls => sample.calls.map(|count| count as f64),
            Metric::Instructions => sample.instructions.map(|count| count as f64),
        }
    }

    /// One value for each round; none where there is no figure.
    pub fn values(self, cell: &Cell) -> Option<Vec<f64>> {
        if cell.failure.is_some() {
            return None;
        }
        if self == Metric::Calls {
            return cell.calls.map(|count| vec![count as f64]);
        }
        let values: Option<Vec<f64>> = cell.samples.iter().map(|sample| self.of(sample)).collect();
        values.filter(|values| !values.is_empty())
    }
}

/// A contestant's place in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The median of its rounds.
    pub median: f64,
    /// One standard error of it, as a part of it.
    pub error: f64,
    /// Times the best peer's.
    pub to_peer: f64,
    /// Times the best of all.
    pub to_best: f64,
}

/// A row with everybody's place in it.
#[derive(Clone, Debug)]
pub struct ScoredRow {
    /// The workload.
    pub name: String,
    /// In the order of [`Scores::names`]; nothing for one without figures.
    pub scores: Vec<Option<Score>>,
    /// The place of the best peer.
    pub best_peer: usize,
    /// The control's median over that of the one it controls.
    pub noise: Option<f64>,
}

/// All rows of an interface under one metric.
#[derive(Clone, Debug)]
pub struct Scores {
    /// What is compared.
    pub metric: Metric,
    /// The interface.
    pub interface: Interface,
    /// The contestants that are shown.
    pub names: Vec<(String, Role)>,
    /// The rows in which at least one peer has figures.
    pub rows: Vec<ScoredRow>,
}

/// A contestant over all rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Rows in which it has figures.
    pub rows: usize,
    /// Geometric mean of its ratio to the best peer of each row.
    pub to_peer: f64,
    /// Geometric mean of its ratio to the best of all.
    pub to_best: f64,
    /// Rows in which it is first of all.
    pub won: usize,
    /// Rows in which it is first or within 3 % of the first.
    pub near: usize,
    /// Its worst ratio to the best peer, and where.
    pub worst: (f64, String),
}

/// How far apart the same allocator lies from itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// The median over the rows of the distance from 1, as a factor above 1.
    pub typical: f64,
    /// The largest distance.
    pub worst: f64,
    /// The geometric mean of the ratios themselves.
    pub mean: f64,
}

impl Scores {
    /// The scores of `results`. Rows of curves are left out, and those where single calls were timed, which costs time itself.
    pub fn new(results: &Results, interface: Interface, metric: Metric) -> Scores {
        let shown = results.shown(interface);
        let names: Vec<(String, Role)> = shown.iter().map(|one| (one.name.clone(), one.role)).collect();
        let control = results.contestants.iter().find(|one| one.role == Role::Control);
        let control = control.map(|one| one.name.as_str());
        let of_interface = results.rows.iter().filter(|row| row.interface == interface);
        let of_interface = of_interface
            .filter(|row| row.point.is_none() && row.cells.values().all(|cell| cell.latency.is_empty()));
        let rows = of_interface.filter_map(|row| score_row(row, &names, control, metric)).collect();
        Scores { metric, interface, names, rows }
    }

    /// The contestant at `place` over all rows; nothing if it has figures in none.
    pub fn summary(&self, place: usize) -> Option<Summary> {
        let scores: Vec<(&ScoredRow, Score)> =
            self.rows.iter().filter_map(|row| Some((row, row.scores[place]?))).collect();
        let ratios = |which: fn(&Score) -> f64| {
            geometric_mean(&scores.iter().map(|(_, score)| which(score)).collect::<Vec<_>>())
        };
        let worst = scores.iter().max_by(|one, other| one.1.to_peer.total_cmp(&other.1.to_peer))?;
        Some(Summary {
            rows: scores.len(),
            to_peer: ratios(|score| score.to_peer)?,
            to_best: ratios(|score| score.to_best)?,
            won: scores.iter().filter(|(_, score)| score.to_best <= 1.0).count(),
            near: scores.iter().filter(|(_, score)| score.to_best <= NEAR).count(),
            worst: (worst.1.to_peer, worst.0.name.clone()),
        })
    }

    /// The noise, where a control took part.
    pub fn noise(&self) -> Option<Noise> {
        let ratios: Vec<f64> = self.rows.iter().filter_map(|row| row.noise).collect();
        let distances: Vec<f64> = ratios.iter().map(|ratio| ratio.max(1.0 / ratio)).collect();
        Some(Noise {
            typical: median(&distances)?,
            worst: distances.iter().copied().fold(1.0, f64::max),
            mean: geometric_mean(&ratios)?,
        })
    }

    /// The rows that the contestant at `place` loses: where a peer is better by more than 3 %. Worst first; with the ratio and
    /// the peer's name.
    pub fn lost(&self, place: usize) -> Vec<(&str, f64, &str)> {
        let mut lost: Vec<(&str, f64, &str)> = self
            .rows
            .iter()
            .filter_map(|row| {
                let ratio = row.scores[place]?.to_peer;
                (ratio > NEAR).then_some((&*row.name, ratio, &*self.names[row.best_peer].0))
            })
            .collect();
        lost.sort_by(|one, other| other.1.total_cmp(&one.1));
        lost
    }

    /// The places of the libraries under test.
    pub fn subjects(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.names.len()).filter(|place| self.names[*place].1 == Role::Subject)
    }
}

/// The name of the control's original: the control's without its last word.
fn original(control: &str) -> &str {
    control.rsplit_once(' ').map_or(control, |(name, _)| name)
}

fn score_row(
    row: &Row,
    names: &[(String, Role)],
    control: Option<&str>,
    metric: Metric,
) -> Option<ScoredRow> {
    let values = |name: &str| row.cells.get(name).and_then(|cell| metric.values(cell));
    let columns: Vec<Option<Vec<f64>>> = names.iter().map(|(name, _)| values(name)).collect();
    let control_column = control.and_then(values);
    let all: Vec<&[f64]> = columns.iter().flatten().chain(&control_column).map(Vec::as_slice).collect();
    // Rounds are complete unless the run was interrupted; counts may be zero, which has no logarithm.
    let mut medians = match level_medians(&all) {
        Some(medians) => medians.into_iter(),
        None => all.iter().map(|values| (median(values).unwrap_or(0.0), 0.0)).collect::<Vec<_>>().into_iter(),
    };
    let of_columns: Vec<Option<(f64, f64)>> =
        columns.iter().map(|column| column.as_ref().and_then(|_| medians.next())).collect();
    let of_control = medians.next();
    let usable = |place: &usize| of_columns[*place].is_some_and(|(value, _)| value > 0.0);
    let lowest = |places: &mut dyn Iterator<Item = usize>| {
        places.filter(usable).min_by(|one, other| {
            let value = |place: usize| of_columns[place].map_or(f64::INFINITY, |(value, _)| value);
            value(*one).total_cmp(&value(*other))
        })
    };
    let best_peer = lowest(&mut (0..names.len()).filter(|place| names[*place].1 == Role::Peer))?;
    let best = lowest(&mut (0..names.len()))?;
    let value = |place: usize| of_columns[place].map_or(f64::NAN, |(value, _)| value);
    let scores = of_columns.iter().map(|column| {
        let (median, error) = (*column).filter(|(value, _)| *value > 0.0)?;
        Some(Score { median, error, to_peer: median / value(best_peer), to_best: median / value(best) })
    });
    let scores = scores.collect();
    let noise = control.zip(of_control).and_then(|(control, (again, _))| {
        let place = names.iter().position(|(name, _)| name == original(control))?;
        Some(again / of_columns[place]?.0).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
    });
    Some(ScoredRow { name: row.name.clone(), scores, best_peer, noise })
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn close(value: f64, wanted: f64) -> bool {
        (value / wanted - 1.0).abs() < 1e-9
    }

    #[test]
    fn the_library_under_test_is_measured_by_the_best_peer() {
        let scores = Scores::new(&example(4, 5), Interface::C, Metric::Time);
        let names: Vec<&str> = scores.names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["glibc", "alpha", "beta", "freestone"]);
        let summary = scores.summary(3).unwrap();
        assert!(close(summary.to_peer, 0.95) && close(summary.to_best, 1.0), "{summary:?}");
        assert_eq!((summary.won, summary.near, summary.rows), (4, 4, 4));
        let alpha = scores.summary(1).unwrap();
        assert!(close(alpha.to_peer, 1.0) && close(alpha.to_best, 1.0 / 0.95), "{alpha:?}");
        assert_eq!((alpha.won, alpha.near), (0, 0));
        assert_eq!(scores.subjects().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn noise_is_the_distance_of_the_control() {
        let noise = Scores::new(&example(4, 5), Interface::C, Metric::Time).noise().unwrap();
        assert!(close(noise.typical, 1.41 / 1.4) && close(noise.worst, 1.41 / 1.4), "{noise:?}");
    }

    #[test]
    fn lost_rows_are_named_with_the_winner() {
        let scores = Scores::new(&example(2, 3), Interface::C, Metric::Peak);
        // In memory the example turns round: glibc is the leanest.
        let lost = scores.lost(3);
        assert_eq!(lost.len(), 2);
        assert_eq!((lost[0].0, lost[0].2), ("row-0", "glibc"));
        assert!(close(lost[0].1, 2.05 / 1.6), "{lost:?}");
    }

    #[test]
    fn who_failed_has_no_place_and_hinders_nobody() {
        let mut results = example(2, 3);
        let cell = results.rows[0].cells.get_mut("alpha").unwrap();
        cell.samples.pop();
        cell.failure = Some("exit code 1".into());
        let scores = Scores::new(&results, Interface::C, Metric::Time);
        assert!(scores.rows[0].scores[1].is_none());
        assert_eq!(scores.rows[0].best_peer, 2);
        assert!(close(scores.rows[0].scores[3].unwrap().to_peer, 0.95 / 1.1));
        assert_eq!(scores.summary(1).unwrap().rows, 1);
    }

    #[test]
    fn counts_that_were_not_taken_make_no_rows() {
        assert!(Scores::new(&example(2, 3), Interface::C, Metric::Calls).rows.is_empty());
        assert!(Scores::new(&example(2, 3), Interface::Rust, Metric::Time).rows.is_empty());
        assert!(Metric::named("tim").unwrap_err().contains("average"));
    }
}
