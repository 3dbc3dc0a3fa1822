//! SQLite: loading a table, indexing, querying, rewriting, checking. RocksDB: writing, compacting by threads, reading back.

use std::io::{BufWriter, Write};

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "sqlite",
        about: "sqlite3 loading 50 MB (full: 1 GB), then joins, windows, indices, updates, vacuum",
        needs: &[Need::command("sqlite3", "sqlite3")],
        limit: 180,
        prepare: Some(make_tables),
        run,
    },
    Job {
        name: "rocksdb",
        about: "ldb of RocksDB: pairs loaded in no order, compacted, read in order and checked",
        needs: &[Need::command("ldb", "rocksdb-tools")],
        limit: 180,
        prepare: Some(make_pairs),
        run: store,
    },
];

fn make_tables(place: &mut Place) -> Outcome {
    let bytes: u64 = place.scale().pick(50 << 20, 1 << 30);
    let mut numbers = Numbers(17);
    let mut file = BufWriter::new(std::fs::File::create(place.path("sale.csv"))?);
    let regions = ["north", "east", "south", "west", "middle"];
    let (mut written, mut id) = (0, 0);
    while written < bytes {
        id += 1;
        let name = numbers.word();
        let (region, product) = (regions[numbers.below(5) as usize], numbers.below(1000));
        let words = 5 + numbers.below(30);
        let note = numbers.line(words);
        let line = format!("{id},{name},{region},{product},{},{note}\n", numbers.below(100_000));
        written += line.len() as u64;
        file.write_all(line.as_bytes())?;
    }
    file.flush()?;
    let products: String =
        (0..1000).map(|id| format!("{id},kind {},{}\n", id % 37, 1 + id * 7 % 100)).collect();
    place.write("product.csv", products)?;
    Ok(())
}

const LOAD: &str = "\
PRAGMA synchronous = OFF;
PRAGMA journal_mode = MEMORY;
PRAGMA cache_size = -40000;
CREATE TABLE sale(id INTEGER PRIMARY KEY, name TEXT, region TEXT, product INTEGER, amount INTEGER, note TEXT);
CREATE TABLE product(id INTEGER PRIMARY KEY, kind TEXT, price INTEGER);
.mode csv
";

fn run(place: &mut Place) -> Outcome {
    let imports =
        format!(".import {0}/sale.csv sale\n.import {0}/product.csv product\n", place.inputs().display());
    let script = format!("{LOAD}{imports}{}", include_str!("scripts/query.sql"));
    let script = place.write("script.sql", script)?;
    let step = place.subject("sqlite3").args(["-batch", "work.db"]).input(&script);
    place.run_and_note("queries", step)?;
    place.note_file("work.db")?;
    let dump =
        place.subject("sqlite3").args(["work.db", "SELECT * FROM sale ORDER BY amount, id LIMIT 100000"]);
    place.run_and_note("sorted rows", dump)?;
    Ok(())
}

fn make_pairs(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(97);
    let pairs = place.scale().pick(60_000, 2_000_000);
    let pair = |_| format!("key{:08} ==> {}\n", numbers.below(pairs), numbers.line(12));
    let pairs: String = (0..pairs).map(pair).collect();
    place.write("pairs", pairs)?;
    Ok(())
}

fn store(place: &mut Place) -> Outcome {
    let pairs = place.inputs().join("pairs");
    let small = ["--write_buffer_size=1048576", "--file_size=1048576", "--db=store"];
    let step = place.subject("ldb").args(["load", "--create_if_missing", "--disable_wal"]).args(small);
    place.run_and_note("load", step.input(&pairs))?;
    for command in
        [&["scan"][..], &["compact"], &["checkconsistency"], &["scan", "--from=key00001", "--to=key00002"]]
    {
        let step = place.subject("ldb").args(command).arg("--db=store");
        place.run_and_note(command[0], step)?;
    }
    Ok(())
}
