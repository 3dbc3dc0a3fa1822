//! Logic: an optimiser of circuits, and solvers.

use std::fmt::Write;

use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::text::Numbers;
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[
    Program {
        name: "abc",
        about: "abc rewriting, mapping and re-synthesising a generated multiplier",
        source: "Berkeley's ABC: vectors that grow by realloc, truth tables, managers that come and go",
        needs: &[Need::command("berkeley-abc", "berkeley-abc")],
        prepare: None,
        command: abc,
        results: &[],
    },
    Program {
        name: "z3",
        about: "z3 solving sudokus as linear arithmetic, one after the other in one session",
        source: "Z3: terms and clauses in pools and blocks, vectors that grow, all of it undone at each pop",
        needs: &[Need::command("z3", "z3")],
        prepare: Some(sudokus),
        command: |place, _| place.subject("z3").arg(place.inputs().join("sudokus.smt2")),
        results: &[],
    },
];

fn abc(place: &Place, scale: f64) -> Step {
    let width = (26.0 * scale.sqrt()).max(4.0) as u64;
    let script = format!(
        "gen -N {width} -m circuit.blif; read circuit.blif; strash; balance; rewrite; refactor; balance; \
         rewrite -z; refactor -z; resub; dc2; if -K 6; mfs2; lutpack; print_stats; print_fanio"
    );
    place.subject("berkeley-abc").args(["-q", &script])
}

fn sudokus(place: &mut Place, scale: f64) -> Outcome {
    let mut numbers = Numbers(3);
    let mut text = String::from("(set-logic QF_LIA)\n");
    for cell in 0..81 {
        let _ = writeln!(text, "(declare-fun c{cell} () Int)(assert (and (> c{cell} 0) (< c{cell} 10)))");
    }
    for unit in 0..9 {
        let cells: [fn(usize, usize) -> usize; 3] = [
            |row, place| 9 * row + place,
            |column, place| 9 * place + column,
            |square, place| 9 * (square / 3 * 3 + place / 3) + square % 3 * 3 + place % 3,
        ];
        for cell in cells {
            let names: Vec<String> = (0..9).map(|place| format!("c{}", cell(unit, place))).collect();
            let _ = writeln!(text, "(assert (distinct {}))", names.join(" "));
        }
    }
    for _ in 0..scaled(10, scale, 1) {
        text.push_str("(push)\n");
        let shift = numbers.below(9) as usize;
        for cell in (0..81).filter(|_| numbers.below(81) < 30) {
            // A solution to begin with, of which some cells are told.
            let (row, column) = (cell / 9, cell % 9);
            let digit = (3 * row + row / 3 + column + shift) % 9 + 1;
            let _ = writeln!(text, "(assert (= c{cell} {digit}))");
        }
        text.push_str("(check-sat)\n(pop)\n");
    }
    place.write("sudokus.smt2", text)?;
    Ok(())
}
