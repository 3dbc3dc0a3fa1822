//! Ordered maps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Random, Work, single, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// Maps of maps, by ranges.
pub const ORDERED: Workload = single(
    "btree",
    "a BTreeMap of strings to sets of numbers: insert, ranges read, split off and joined, remove",
    "std's BTreeMap: nodes of a few hundred bytes that split and merge",
);

/// Runs [`ORDERED`].
pub fn ordered(params: &Params) -> Outcome {
    let steps = params.times(2_200_000);
    let mut random = Random::new(params.seed, 0);
    timed(|| {
        let mut work = Work::default();
        let mut map: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for step in 0..steps {
            let key = word(&mut random);
            match random.below(6) {
                0..3 => {
                    let set = map.entry(key).or_default();
                    set.insert(random.below(1000) as u32);
                    work.done(set.len() as u64);
                }
                3 => {
                    let set = map.get_mut(&key);
                    work.done(set.and_then(BTreeSet::pop_first).map_or(1, u64::from));
                }
                4 => work
                    .done(map.range(key..).take(10).map(|(key, set)| (key.len() + set.len()) as u64).sum()),
                _ => work.done(map.remove(&key).map_or(2, |set| set.len() as u64)),
            }
            if step % 100_000 == 99_999 {
                let mut upper = map.split_off("m");
                upper.retain(|_, set| set.len() > 1);
                map.append(&mut upper);
                work.done(map.len() as u64);
            }
        }
        work
    })
}
