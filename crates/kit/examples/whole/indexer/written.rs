//! The index as a text and back: one string of megabytes that grows as it is written.

use super::index::{Index, Place};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A line a word: `word file:line,line file:line`.
pub fn write(index: &Index) -> String {
    let mut text = String::new();
    for (word, places) in &index.words {
        text.push_str(word);
        for of_file in places.chunk_by(|one, other| one.file == other.file) {
            let lines: Vec<String> = of_file.iter().map(|place| place.line.to_string()).collect();
            write!(text, " {}:{}", of_file[0].file, lines.join(","))
                .expect("a string takes all that is written");
        }
        text.push('\n');
    }
    text
}

/// What [`write`] wrote.
pub fn read(text: &str) -> Result<BTreeMap<String, Vec<Place>>, std::num::ParseIntError> {
    let mut words = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.split(' ');
        let word = parts.next().unwrap_or_default();
        let mut places = Vec::new();
        for (file, lines) in parts.filter_map(|part| part.split_once(':')) {
            let file = file.parse()?;
            for line in lines.split(',') {
                places.push(Place { file, line: line.parse()? });
            }
        }
        words.insert(word.to_owned(), places);
    }
    Ok(words)
}
