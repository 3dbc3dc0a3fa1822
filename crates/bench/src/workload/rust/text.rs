//! Strings: built, split, replaced, sorted, joined.

use std::fmt::Write;

use super::{Random, Work, single, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// Lines of words.
pub const TEXT: Workload = single(
    "text",
    "lines built word by word, split, changed case, replaced, sorted, joined, formatted",
    "std's String, growing by realloc",
);

/// Runs [`TEXT`].
pub fn text(params: &Params) -> Outcome {
    let rounds = params.times(200);
    let mut random = Random::new(params.seed, 0);
    timed(|| {
        let mut work = Work::default();
        for round in 0..rounds {
            let mut page = String::new();
            for number in 0..2000 {
                let mut line = String::new();
                for _ in 0..random.between(2, 20) {
                    line += &word(&mut random);
                    line.push(' ');
                }
                let _ = writeln!(page, "{number}: {}", line.trim_end());
            }
            let mut words: Vec<String> = page
                .lines()
                .filter_map(|line| line.split_once(": "))
                .flat_map(|(_, words)| words.split(' '))
                .map(
                    |word| if word.len() % 2 == 0 { word.to_uppercase() } else { word.replace("ra", "arra") },
                )
                .collect();
            words.sort();
            words.dedup();
            let initials: Vec<String> = words.chunks(7).map(|words| words.join("-")).collect();
            let letters: Vec<char> = initials.concat().chars().rev().collect();
            let backwards: String = letters.into_iter().collect();
            work.done((backwards.len() as u64) << (round % 8));
        }
        work
    })
}
