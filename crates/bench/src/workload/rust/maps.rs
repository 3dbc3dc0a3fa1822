//! Hash maps of strings.

use hashbrown::HashMap;

use super::{Random, Work, single, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// Keys and values come, are replaced, and go.
pub const MAPS: Workload = single(
    "hashbrown-strings",
    "a map of strings to strings: insert, replace, extend, remove, iterate, shrink",
    "hashbrown, the table behind std's HashMap",
);

/// Runs [`MAPS`].
pub fn maps(params: &Params) -> Outcome {
    let keys = params.times(110_000) as usize;
    let mut random = Random::new(params.seed, 0);
    timed(|| {
        let mut work = Work::default();
        let mut map: HashMap<String, String> = HashMap::new();
        for step in 0..20 * keys {
            let key = format!("{}-{}", random.below(keys), step % 3);
            match random.below(8) {
                0..4 => {
                    let old = map.insert(key, word(&mut random));
                    work.done(old.map_or(1, |old| old.len() as u64));
                }
                4 => {
                    let value = map.entry(key).or_default();
                    value.push_str(&word(&mut random));
                    work.done(value.len() as u64);
                }
                5 => work.done(map.get(&key).map_or(2, |value| value.len() as u64)),
                _ => work.done(map.remove(&key).map_or(3, |value| value.len() as u64)),
            }
            if step % (5 * keys) == 0 {
                // An index of the map by value, then everything that is short thrown out.
                let mut index: HashMap<&str, Vec<&str>> = HashMap::new();
                for (key, value) in &map {
                    index.entry(value).or_default().push(key);
                }
                work.done(index.values().map(|keys| keys.len().pow(2) as u64).sum());
                drop(index);
                map.retain(|_, value| value.len() > 6);
                map.shrink_to_fit();
                work.done(map.len() as u64);
            }
        }
        work
    })
}
