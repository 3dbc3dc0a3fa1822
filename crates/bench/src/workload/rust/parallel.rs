//! Strings made, sorted and grouped by several threads.

use std::collections::HashMap;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use super::{Random, Work, threaded, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// A pipeline of parallel iterators.
pub const PARALLEL: Workload = threaded(
    "rayon-strings",
    "strings collected in parallel, sorted, folded into maps that are merged, and dropped in parallel",
    "rayon's parallel iterators on a pool of threads",
);

const STRINGS: usize = 40_000;

/// Runs [`PARALLEL`].
pub fn parallel(params: &Params) -> Outcome {
    let rounds = params.times(40) as usize;
    let pool = ThreadPoolBuilder::new().num_threads(params.threads).build().expect("threads");
    timed(|| {
        let mut work = Work::default();
        for round in 0..rounds {
            pool.install(|| {
                let mut strings: Vec<String> = (0..STRINGS)
                    .into_par_iter()
                    .map(|number| {
                        let mut random = Random::new(params.seed, round * STRINGS + number);
                        format!("{} {} {}", word(&mut random), word(&mut random), number % 1000)
                    })
                    .collect();
                strings.par_sort();
                let counts: HashMap<String, u64> = strings
                    .par_iter()
                    .fold(HashMap::new, |mut counts: HashMap<String, u64>, string| {
                        let first = string.split(' ').next().unwrap_or_default();
                        *counts.entry(first.to_string()).or_default() += string.len() as u64;
                        counts
                    })
                    .reduce(HashMap::new, |mut all, some| {
                        some.into_iter().for_each(|(key, count)| *all.entry(key).or_default() += count);
                        all
                    });
                work.done(counts.iter().map(|(key, count)| key.len() as u64 * count).sum());
                work.done(strings[STRINGS / 2].len() as u64);
                strings.into_par_iter().for_each(drop);
            });
        }
        work
    })
}
