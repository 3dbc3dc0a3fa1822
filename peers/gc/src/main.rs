//! The collectors and counted handles beside the crates that people use for the same: every run in a process of its own, rounds
//! interleaved, medians; time is the CPU's.
//!
//! `cargo run --release --manifest-path peers/gc/Cargo.toml -- [ROUNDS [WORK]]` prints the tables of docs/gc-counted.md, or those of
//! one work. `-- large [SYSTEM…]` runs a heap of about 1 GB on those that can run in small pieces.

mod measure;
mod program;
mod systems;
mod works;

use std::process::Command;

use measure::Figures;
use program::Program;
use systems::{OURS, PEERS};

/// Name, and what it does.
const WORKS: &[(&str, &str)] = &[
    ("trees", "binary trees: 131,071 objects live, 4,000 trees of 1,023"),
    ("gcbench", "GCBench: 131,071 objects live, trees of 31 to 131,071, both ways"),
    ("graph", "1,048,575 objects live, 400,000 parts of 15 replaced"),
    ("list", "a list of 1,000,000, gone through and dropped, three times"),
    ("lru", "an LRU cache of 5,000 of 65,536 keys, 2,000,000 uses"),
];

/// Those that are asked for a heap of 1 GB.
const LARGE: &[&str] = &["incremental", "generational", "mark-sweep", "gc-arena", "Rc", "Cc", "std Rc"];

/// Lists of a million are dropped by recursion in most.
const STACK: usize = 2 << 30;

fn work(system: &str, work: &str) -> Option<Figures> {
    fn on<P: Program>(system: &str, program: P) -> Option<Figures> {
        let run = systems::find::<P>(system).unwrap_or_else(|| {
            eprintln!("peer-gc: no system {system}; there are: {}", [OURS, PEERS].concat().join(", "));
            std::process::exit(2);
        });
        run(program)
    }
    match work {
        "trees" => on(system, works::Trees { left: 4000 }),
        "gcbench" => on(system, works::GcBench { depth: 4, left: 1 << 14 }),
        "graph" => on(system, works::Graph::new(19, 8000)),
        "list" => on(system, works::List::new(1_000_000, 3)),
        "lru" => on(system, works::Lru::new(5000, 20_000)),
        "large" => on(system, works::Graph::new(23, 60_000)),
        _ => {
            let names: Vec<&str> = WORKS.iter().map(|(name, _)| *name).chain(["large"]).collect();
            eprintln!("peer-gc: no work {work}; there are: {}", names.join(", "));
            std::process::exit(2);
        }
    }
}

/// A run in a process of its own.
fn one(system: &str, work: &str) -> Option<Figures> {
    let program = std::env::current_exe().expect("this program's name");
    let output = Command::new(program).args(["one", system, work]).output().expect("this program again");
    if !output.status.success() {
        eprintln!("{system}, {work}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Figures::parse(&String::from_utf8_lossy(&output.stdout))
}

fn table(name: &str, says: &str, systems: &[&str], rounds: usize) {
    let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); systems.len()];
    for round in 0..rounds {
        for turn in 0..systems.len() {
            let at = (round + turn) % systems.len();
            runs[at].extend(one(systems[at], name));
        }
    }
    let mut rows: Vec<(&str, Figures)> = systems
        .iter()
        .zip(&runs)
        .filter(|(_, runs)| !runs.is_empty())
        .map(|(system, runs)| (*system, Figures::middle(runs)))
        .collect();
    rows.sort_by(|one, other| one.1.milliseconds.total_cmp(&other.1.milliseconds));
    // Without a peer, of the fastest's.
    let Some(best) = rows.iter().find(|row| PEERS.contains(&row.0)).or(rows.first()) else { return };
    let best = best.1.milliseconds;
    println!("\n**{says}**\n");
    println!(
        "| | CPU time, ms | of the best peer's | step, µs: median | 99 % | 99.9 % | longest | peak, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (system, figures) in rows {
        let Figures { milliseconds, median, p99, p999, longest, mebibytes } = figures;
        let name = if OURS.contains(&system) { format!("**{system}**") } else { system.into() };
        println!(
            "| {name} | {milliseconds:.0} | {:.2} | {median:.0} | {p99:.0} | {p999:.0} | {longest:.0} | {mebibytes:.0} |",
            milliseconds / best
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["one", system, name] => {
            let (system, name) = (system.to_owned(), name.to_owned());
            let run = move || work(&system, &name);
            let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).expect("a thread");
            if let Some(figures) = thread.join().expect("the run") {
                println!("{}", figures.line());
            }
        }
        ["large", ref systems @ ..] => {
            let systems = if systems.is_empty() { LARGE } else { systems };
            table("large", "16,777,215 objects live, 3,000,000 parts of 15 replaced", systems, 1);
        }
        [ref rest @ ..] => {
            let rounds = rest.first().map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
            let all = [OURS, PEERS].concat();
            for (name, says) in WORKS.iter().filter(|(name, _)| rest.get(1).is_none_or(|only| only == name)) {
                table(name, says, &all, rounds);
            }
        }
    }
}
