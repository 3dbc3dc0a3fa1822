//! JSON documents.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Random, Work, single, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// Documents parsed, changed and written.
pub const JSON: Workload = single(
    "serde-json",
    "documents of 1 to 100 items: parsed as values and as structs, changed, written, the last 300 kept",
    "serde_json",
);

#[derive(Serialize, Deserialize)]
struct Item {
    id: u64,
    name: String,
    tags: Vec<String>,
    place: Option<Place>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    x: f64,
    y: f64,
    label: String,
}

fn item(random: &mut Random) -> Item {
    let tags = (0..random.below(8)).map(|_| word(random)).collect();
    let place = (random.below(3) > 0).then(|| Place {
        x: random.below(1000) as f64 / 8.0,
        y: random.below(1000) as f64 / 4.0,
        label: word(random),
    });
    Item { id: random.below(1_000_000) as u64, name: word(random) + " " + &word(random), tags, place }
}

/// The documents that live at the same time.
const KEPT: usize = 300;

/// Runs [`JSON`].
pub fn json(params: &Params) -> Outcome {
    let documents = params.times(8000);
    let mut random = Random::new(params.seed, 0);
    let texts: Vec<String> = (0..50)
        .map(|_| {
            let items: Vec<Item> = (0..random.between(1, 100)).map(|_| item(&mut random)).collect();
            serde_json::to_string(&items).expect("plain data")
        })
        .collect();
    timed(|| {
        let mut work = Work::default();
        let mut kept = VecDeque::new();
        for number in 0..documents {
            let text = &texts[random.below(texts.len())];
            let mut items: Vec<Item> = serde_json::from_str(text).expect("what was written");
            items.retain(|item| item.tags.len() != 3);
            items.push(item(&mut random));
            let mut value = serde_json::to_value(&items).expect("plain data");
            for item in value.as_array_mut().into_iter().flatten() {
                item["seen"] = Value::from(number);
                if let Some(fields) = item.as_object_mut() {
                    fields.remove("tags");
                }
            }
            let again: Value = serde_json::from_str(&value.to_string()).expect("what was written");
            work.done(again.to_string().len() as u64);
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(again);
        }
        work
    })
}
