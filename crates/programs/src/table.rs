//! The comparison: the same jobs under several allocators in one interleaved run.
//!
//! Round by round, every job runs under every allocator, and each round starts with another
//! allocator, so that what the machine does meanwhile (heat, neighbours, caches) falls on all of them alike.
//! Medians over the rounds are compared, never single runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::evidence::Evidence;
use crate::job::{Failure, Job, Outcome, Scale};
use crate::machine;
use crate::peers::Peer;
use crate::place::Meter;
use crate::session::{Bench, Session};
use crate::setting::Setting;

/// What to compare.
#[derive(Debug)]
pub struct Plan {
    /// The jobs, one group of rows each.
    pub jobs: Vec<&'static Job>,
    /// The allocators; the first is the one that ratios "to glibc" refer to.
    pub peers: Vec<Peer>,
    /// How often everything runs.
    pub rounds: usize,
    /// How much work a job does.
    pub scale: Scale,
}

/// The figures of one job under one allocator.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// Wall seconds, a round each.
    pub seconds: Vec<f64>,
    /// Peak resident KiB, a round each.
    pub peaks: Vec<f64>,
    /// Why there are no more figures, if a run failed or its results differed.
    pub failure: Option<String>,
}

/// A finished comparison: a row of cells for each job of the plan.
#[derive(Debug)]
pub struct Table {
    plan: Plan,
    cells: Vec<Vec<Cell>>,
}

/// Runs `plan`; `progress` is told what is going on.
pub fn measure(plan: Plan, mut progress: impl FnMut(&str)) -> Outcome<Table> {
    let session = Session::new(plan.scale)?;
    let mut settings = Vec::new();
    for peer in &plan.peers {
        // The C library stays where it is: a copy of it would be a second C library in the process.
        let library =
            if peer.name == "glibc" { peer.library.clone() } else { session.adopt(&peer.library)? };
        settings.push(Setting::preload(&peer.name, &library));
    }
    let benches: Vec<Bench> = plan.jobs.iter().map(|job| session.bench(job)).collect();
    let mut cells = vec![vec![Cell::default(); settings.len()]; benches.len()];
    let mut references: Vec<Option<Evidence>> = vec![None; benches.len()];
    for round in 0..plan.rounds {
        for (row, bench) in benches.iter().enumerate() {
            for turn in 0..settings.len() {
                let column = (turn + round) % settings.len();
                let cell = &mut cells[row][column];
                if cell.failure.is_some() {
                    continue;
                }
                let run = bench.run(&settings[column], true).and_then(|run| {
                    let reference = references[row].get_or_insert_with(|| run.evidence.clone());
                    match run.evidence.difference(reference) {
                        None => Ok(run.meter),
                        Some(difference) => Err(Failure(format!("not the same as before: {difference}"))),
                    }
                });
                let told = cell.add(run);
                let (round, rounds, name) = (round + 1, plan.rounds, &settings[column].name);
                progress(&format!("round {round}/{rounds}  {:<16} {name:<22} {told}", bench.job().name));
            }
        }
    }
    Ok(Table { plan, cells })
}

impl Cell {
    fn add(&mut self, run: Outcome<Meter>) -> String {
        match run {
            Ok(Meter { wall, peak_kib }) => {
                self.seconds.push(wall.as_secs_f64());
                self.peaks.push(peak_kib as f64);
                format!("{:7.3} s {:8.1} MiB", wall.as_secs_f64(), peak_kib as f64 / 1024.0)
            }
            Err(failure) => {
                self.failure = Some(failure.to_string());
                format!("FAILED: {failure}")
            }
        }
    }

    fn ok(&self) -> bool {
        self.failure.is_none() && !self.seconds.is_empty()
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Half the range from the smallest to the largest value, as a part of the median.
pub fn spread(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (most - least) / 2.0 / median(values)
}

fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// One measure of all cells of a row, and what is best in it.
fn medians(row: &[Cell], measure: fn(&Cell) -> &[f64]) -> (Vec<Option<f64>>, f64) {
    let values: Vec<_> = row.iter().map(|cell| cell.ok().then(|| median(measure(cell)))).collect();
    let best = values.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    (values, best)
}

fn seconds(cell: &Cell) -> &[f64] {
    &cell.seconds
}

fn peaks(cell: &Cell) -> &[f64] {
    &cell.peaks
}

impl Table {
    /// Whether every run of every allocator succeeded with the same results.
    pub fn complete(&self) -> bool {
        self.cells.iter().flatten().all(Cell::ok)
    }

    /// The table as markdown: a group of rows for each job, then the geometric means.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "Medians of {} interleaved rounds; ± is half the range. {}\n\n",
            self.plan.rounds,
            machine::in_a_line(&machine::describe())
        );
        text.push_str("| program | allocator | time, s | ± | to fastest | to glibc | peak, MiB | ± | to leanest | to glibc |\n");
        text.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
        for (job, row) in self.plan.jobs.iter().zip(&self.cells) {
            let (times, fastest) = medians(row, seconds);
            let (memory, leanest) = medians(row, peaks);
            for (column, cell) in row.iter().enumerate() {
                let name = &self.plan.peers[column].name;
                let (Some(time), Some(peak)) = (times[column], memory[column]) else {
                    text.push_str(&format!("| {} | {name} | failed | | | | | | | |\n", job.name));
                    continue;
                };
                text.push_str(&format!(
                    "| {} | {name} | {time:.3} | {:.0} % | {:.2} | {} | {:.1} | {:.0} % | {:.2} | {} |\n",
                    job.name,
                    100.0 * spread(&cell.seconds),
                    time / fastest,
                    ratio(time, times[0]),
                    peak / 1024.0,
                    100.0 * spread(&cell.peaks),
                    peak / leanest,
                    ratio(peak, memory[0]),
                ));
            }
        }
        text.push_str("\nGeometric means over the programs that ran under every allocator:\n\n");
        text.push_str(
            "| allocator | time to fastest | time to glibc | peak to leanest | peak to glibc | version |\n",
        );
        text.push_str("|---|--:|--:|--:|--:|---|\n");
        for (column, peer) in self.plan.peers.iter().enumerate() {
            let means = self.means(column).map(|mean| format!("{mean:.3}")).join(" | ");
            text.push_str(&format!("| {} | {means} | {} |\n", peer.name, peer.origin));
        }
        text
    }

    /// Time to the fastest, time to glibc, peak to the leanest, peak to glibc.
    fn means(&self, column: usize) -> [f64; 4] {
        let mut ratios: [Vec<f64>; 4] = Default::default();
        for row in self.cells.iter().filter(|row| row.iter().all(Cell::ok)) {
            for (first, measure) in [(0, seconds as fn(&Cell) -> &[f64]), (2, peaks)] {
                let (values, best) = medians(row, measure);
                let values: Vec<f64> = values.into_iter().flatten().collect();
                ratios[first].push(values[column] / best);
                ratios[first + 1].push(values[column] / values[0]);
            }
        }
        ratios.map(|ratios| geometric_mean(&ratios))
    }

    /// Everything as JSON, with every single sample and the machine.
    pub fn json(&self, taken: Duration) -> Value {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let rows: Vec<Value> =
            self.plan.jobs.iter().zip(&self.cells).map(|(job, row)| self.row(job, row)).collect();
        let peers = self.plan.peers.iter().enumerate().map(|(column, peer)| {
            let [time, time_to_glibc, peak, peak_to_glibc] = self.means(column);
            json!({
                "name": peer.name, "origin": peer.origin,
                "time_to_fastest": time, "time_to_glibc": time_to_glibc,
                "peak_to_leanest": peak, "peak_to_glibc": peak_to_glibc,
            })
        });
        json!({
            "unix_time": now.as_secs(), "seconds_taken": taken.as_secs(), "machine": machine::describe(),
            "rounds": self.plan.rounds, "scale": self.plan.scale.pick("small", "full"),
            "allocators": peers.collect::<Vec<_>>(), "programs": rows,
        })
    }

    fn row(&self, job: &Job, row: &[Cell]) -> Value {
        let cells = row.iter().zip(&self.plan.peers).map(|(cell, peer)| {
            json!({
                "allocator": peer.name, "failure": cell.failure,
                "seconds": cell.seconds, "peak_kib": cell.peaks,
                "median_seconds": median(&cell.seconds), "median_peak_kib": median(&cell.peaks),
            })
        });
        json!({ "name": job.name, "about": job.about, "results": cells.collect::<Vec<_>>() })
    }
}

fn ratio(value: f64, base: Option<f64>) -> String {
    base.map_or(String::new(), |base| format!("{:.2}", value / base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(spread(&[1.0, 2.0, 3.0]), 0.5);
        assert!((geometric_mean(&[1.0, 4.0]) - 2.0).abs() < 1e-9);
    }

    fn table(failure: Option<&str>) -> Table {
        let cell = |seconds: f64, peak: f64, failure: Option<&str>| Cell {
            seconds: vec![seconds; 3],
            peaks: vec![peak; 3],
            failure: failure.map(String::from),
        };
        let peers = ["glibc", "other"].map(|name| Peer::new(name, Path::new("/none")));
        let jobs = crate::jobs::all().into_iter().take(1).collect();
        let plan = Plan { jobs, peers: peers.to_vec(), rounds: 3, scale: Scale::Small };
        Table { plan, cells: vec![vec![cell(2.0, 1024.0, None), cell(1.0, 2048.0, failure)]] }
    }

    #[test]
    fn ratios_refer_to_the_best_and_to_glibc() {
        let text = table(None).markdown();
        assert!(text.contains("| glibc | 2.000 | 0 % | 2.00 | 1.00 | 1.0 | 0 % | 1.00 | 1.00 |"), "{text}");
        assert!(text.contains("| other | 1.000 | 0 % | 1.00 | 0.50 | 2.0 | 0 % | 2.00 | 2.00 |"), "{text}");
        assert!(table(None).complete());
    }

    #[test]
    fn a_failure_is_shown_and_left_out_of_the_means() {
        let failed = table(Some("crashed"));
        assert!(failed.markdown().contains("| other | failed |"));
        assert!(!failed.complete());
        let json = failed.json(Duration::ZERO);
        assert_eq!(json["programs"][0]["results"][1]["failure"], "crashed");
    }
}
