//! Every file with unsafe code says on what it relies; those of the allocator stand in the table of `docs/safety.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 4] = ["base", "sys", "freestone", "malloc"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// The files below `folder`, as the table names them, with what they hold.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(crates()).unwrap().to_str().unwrap().into();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The files that rows of the table name. Behind the first of a row stand others by their paths from its folder.
fn listed(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let names = rows.flat_map(|(files, _)| {
        let folder =
            files.split_once('`').and_then(|(first, _)| first.rsplit_once('/')).map_or("", |at| at.0);
        files.split('`').step_by(2).enumerate().map(move |(place, name)| match place {
            0 => name.to_string(),
            _ => format!("{folder}/{name}"),
        })
    });
    names.filter(|name| name.ends_with(".rs")).collect()
}

#[test]
fn files_with_unsafe_code_say_why_and_are_listed() {
    let listed = listed(&fs::read_to_string(crates().join("../docs/safety.md")).unwrap());
    let mut all = Vec::new();
    CRATES.iter().for_each(|name| sources(&crates().join(name).join("src"), &mut all));
    let is_test = |name: &str| name.ends_with("tests.rs") || name.ends_with("/storm.rs");
    let with_unsafe = all.iter().filter(|(name, text)| text.contains("allow(unsafe_code") && !is_test(name));
    let (named, others): (Vec<_>, Vec<_>) =
        with_unsafe.partition(|(_, text)| text.contains("//! # Safety\n"));
    let names = |files: &[&(String, String)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert!(others.is_empty(), "they do not say on what they rely: {:?}", names(&others));
    let unlisted: Vec<_> = names(&named).into_iter().filter(|name| !listed.contains(name)).collect();
    assert!(unlisted.is_empty() && named.len() > 80, "in no row of docs/safety.md: {unlisted:?}");
    let known: BTreeSet<&String> = all.iter().map(|(name, _)| name).collect();
    let ours = |name: &&String| CRATES.iter().any(|one| name.starts_with(&format!("{one}/src/")));
    let gone: Vec<_> = listed.iter().filter(ours).filter(|name| !known.contains(name)).collect();
    assert!(gone.is_empty(), "docs/safety.md speaks of files that are not there: {gone:?}");
}

/// Tests, examples, and the crates beside the allocator. Single functions that allow it say it there.
#[test]
fn files_outside_the_allocator_say_it_too() {
    let mut all = Vec::new();
    sources(&crates(), &mut all);
    let allows =
        |text: &str| text.lines().any(|line| line.starts_with("#![allow(") && line.contains("unsafe_code"));
    let with_unsafe: Vec<_> = all.iter().filter(|(_, text)| allows(text)).collect();
    let silent: Vec<_> = with_unsafe.iter().filter(|(_, text)| !text.contains("//! # Safety\n")).collect();
    let names: Vec<_> = silent.iter().map(|(name, _)| name).collect();
    assert!(silent.is_empty() && with_unsafe.len() > 200, "they do not say on what they rely: {names:?}");
}
