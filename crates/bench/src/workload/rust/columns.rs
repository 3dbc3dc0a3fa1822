//! Tables by columns: filter, group, join and sort, each step making new columns.

use std::collections::HashMap;

use super::{Random, Work, single, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// A query on two tables.
pub const COLUMNS: Workload = single(
    "columns",
    "two tables by columns: filter, group by a string, join, sort, each step into new columns",
    "data frames as in polars and Arrow, on plain vectors",
);

/// The columns of a table of sales.
struct Sales {
    product: Vec<u32>,
    region: Vec<String>,
    amount: Vec<f64>,
}

impl Sales {
    fn new(rows: usize, products: usize, random: &mut Random) -> Sales {
        let regions: Vec<String> = (0..300).map(|_| word(random)).collect();
        Sales {
            product: (0..rows).map(|_| random.below(products) as u32).collect(),
            region: (0..rows).map(|_| regions[random.below(regions.len())].clone()).collect(),
            amount: (0..rows).map(|_| random.below(10_000) as f64).collect(),
        }
    }

    /// The rows named, as columns of their own.
    fn take(&self, rows: &[usize]) -> Sales {
        Sales {
            product: rows.iter().map(|&row| self.product[row]).collect(),
            region: rows.iter().map(|&row| self.region[row].clone()).collect(),
            amount: rows.iter().map(|&row| self.amount[row]).collect(),
        }
    }

    /// The rows of each region.
    fn groups(&self) -> HashMap<&str, Vec<usize>> {
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        for (row, region) in self.region.iter().enumerate() {
            groups.entry(region).or_default().push(row);
        }
        groups
    }
}

/// Runs [`COLUMNS`].
pub fn columns(params: &Params) -> Outcome {
    let (queries, rows, products) = (params.times(90), 60_000, 2000);
    let mut random = Random::new(params.seed, 0);
    let sales = Sales::new(rows, products, &mut random);
    let names: Vec<String> = (0..products).map(|_| word(&mut random)).collect();
    timed(|| {
        let mut work = Work::default();
        for _ in 0..queries {
            let least = random.below(6000) as f64;
            let rows: Vec<usize> = (0..rows).filter(|&row| sales.amount[row] >= least).collect();
            let chosen = sales.take(&rows);
            let mut totals: Vec<(String, f64)> = chosen
                .groups()
                .into_iter()
                .map(|(region, rows)| {
                    let amounts: Vec<f64> = rows.iter().map(|&row| chosen.amount[row]).collect();
                    (region.to_string(), amounts.iter().sum())
                })
                .collect();
            totals.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            work.done(
                totals.iter().take(20).map(|(region, total)| region.len() as u64 + *total as u64).sum(),
            );
            let mut joined: Vec<(String, f64)> = chosen
                .product
                .iter()
                .zip(&chosen.region)
                .zip(&chosen.amount)
                .map(|((&product, region), &amount)| {
                    (format!("{region}/{}", names[product as usize]), amount)
                })
                .collect();
            joined.sort_by(|a, b| a.0.cmp(&b.0));
            joined.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.1 += if same { next.1 } else { 0.0 };
                same
            });
            work.done(joined.len() as u64 + joined[joined.len() / 2].1 as u64);
        }
        work
    })
}
