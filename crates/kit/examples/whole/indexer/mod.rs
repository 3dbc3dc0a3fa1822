//! An indexer of source trees: reads every file below some folders on several threads, finds words, functions, what
//! calls what and what was copied from where, answers questions, and writes its index out and reads it back.
//!
//! A program of the usual kind, which knows nothing of the kit: maps and sets of both sorts, strings, vectors that grow
//! to megabytes, boxes, reference counts, channels, and memory that one thread takes and another frees. Its
//! output depends on the files alone, so it must be the same whatever allocator is below.

mod calls;
mod index;
mod lex;
mod query;
mod written;

use index::{Index, Place};
use std::fmt::Write;
use std::path::PathBuf;

const THREADS: usize = 4;

const QUESTIONS: [&str; 6] = [
    "allocate & deallocate",
    "allocate & !deallocate",
    "(buddy | slab | bins) & fragmentation",
    "\"free list\" | \"best fit\"",
    "!(unsafe | safety | the)",
    "shrink & \"in place\" & !mremap",
];

/// The whole program: from the folders on the command line to a report on standard output.
pub fn run() {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let index = Index::of(index::files_below(&folders), THREADS);
    print!("{}", report(&index).expect("a string takes all that is written"));
}

fn report(index: &Index) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let lines: usize = index.files.iter().map(|file| file.lines).sum();
    let functions: usize = index.files.iter().map(|file| file.functions.len()).sum();
    writeln!(out, "files {}, lines {lines}, functions {functions}", index.files.len())?;
    frequent_words(index, &mut out)?;
    calls::report(index, &mut out)?;
    copies(index, &mut out)?;
    for question in QUESTIONS {
        match query::parse(question) {
            Ok(query) => {
                let found = query.answer(index);
                let names: Vec<&str> = found.iter().take(5).map(|&file| index.files[file].name()).collect();
                writeln!(out, "{question}: {} files: {}", found.len(), names.join(", "))?;
            }
            Err(error) => writeln!(out, "{question}: {error}")?,
        }
    }
    let text = written::write(index);
    let again = written::read(&text);
    writeln!(out, "written in {} bytes, sum {:016x}", text.len(), sum(text.as_bytes()))?;
    writeln!(out, "read back the same: {}", again.as_ref() == Ok(&index.words))?;
    Ok(out)
}

fn frequent_words(index: &Index, out: &mut String) -> std::fmt::Result {
    let mut words: Vec<(&str, usize)> =
        index.words.iter().map(|(word, places)| (word.as_str(), places.len())).collect();
    words.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    writeln!(out, "words {}, of which", words.len())?;
    words.iter().take(12).try_for_each(|(word, count)| writeln!(out, "  {word:<12} {count}"))
}

/// Pairs of files that have the most runs of tokens in common.
fn copies(index: &Index, out: &mut String) -> std::fmt::Result {
    let mut pairs = std::collections::BTreeMap::<(usize, usize), usize>::new();
    for places in index.runs.values() {
        let mut files: Vec<usize> = places.iter().map(|&Place { file, .. }| file).collect();
        files.sort_unstable();
        files.dedup();
        // What is everywhere is a habit, not a copy.
        if !(2..=4).contains(&files.len()) {
            continue;
        }
        for (at, &one) in files.iter().enumerate() {
            files[at + 1..].iter().for_each(|&other| *pairs.entry((one, other)).or_default() += 1);
        }
    }
    let mut pairs: Vec<_> = pairs.into_iter().map(|(pair, common)| (common, pair)).collect();
    pairs.sort_by(|one, other| other.cmp(one));
    writeln!(out, "alike {} pairs, of which", pairs.len())?;
    pairs.iter().take(5).try_for_each(|&(common, (one, other))| {
        writeln!(out, "  {common} {} {}", index.files[one].name(), index.files[other].name())
    })
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
