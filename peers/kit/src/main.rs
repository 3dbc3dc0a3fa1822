//! The kit's allocators beside the crates that people use for the same: one program, all rows, interleaved rounds.
//!
//! `cargo run --release --manifest-path peers/kit/Cargo.toml -- [ROUNDS [GROUND [CONTESTANT]]]` prints the table of
//! docs/kit.md, or the rows of one ground or of one work, or lets one contestant alone do that, for a profiler.

mod heaps;
mod measure;
mod pools;
mod random;
mod regions;

use measure::Row;

/// Below this, neither is ahead.
const TIE: f64 = 0.05;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().map_or(31, |rounds| rounds.parse().expect("a number of rounds"));
    let ground = arguments.next();
    let mut rows: Vec<Row> = [regions::rows(), pools::rows(), heaps::rows()].into_iter().flatten().collect();
    rows.retain(|row| ground.as_ref().is_none_or(|ground| row.ground == ground || row.work == ground));
    if let Some(name) = arguments.next() {
        rows.iter_mut().for_each(|row| row.contestants.retain(|contestant| contestant.name == name));
        for row in &mut rows {
            (0..=rounds).for_each(|round| row.round(round));
            let alone = row.contestants.first();
            println!("{}: {:.1?} ns", row.work, alone.map(|alone| row.nanoseconds(alone)));
        }
        return;
    }
    // Round by round through all rows, so that what happens on the machine meanwhile falls on all alike.
    for round in 0..=rounds {
        rows.iter_mut().for_each(|row| row.round(round));
    }
    println!("| ground | work | ours, ns | best peer, ns | ratio | all, ns |");
    println!("|---|---|---|---|---|---|");
    let mut product = 0.0;
    for row in &rows {
        let (ours, peer) = (row.best(true), row.best(false));
        let ratio = row.nanoseconds(ours) / row.nanoseconds(peer);
        product += ratio.ln();
        let mark = if ratio > 1.0 + TIE { " behind" } else { "" };
        let all: Vec<String> = row
            .contestants
            .iter()
            .map(|contestant| format!("{} {:.1}", contestant.name, row.nanoseconds(contestant)))
            .collect();
        println!(
            "| {} | {} | {} {:.1} | {} {:.1} | {ratio:.2}{mark} | {} |",
            row.ground,
            row.work,
            ours.name,
            row.nanoseconds(ours),
            peer.name,
            row.nanoseconds(peer),
            all.join(", ")
        );
    }
    println!("\nGeometric mean of the ratios: {:.2}", (product / rows.len() as f64).exp());
}
