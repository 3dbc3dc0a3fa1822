//! Big numbers.

use freestone_programs::job::{Need, Outcome};
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[
    Program {
        name: "pi",
        about: "200,000 digits of pi from GMP by Chudnovsky's series, several times over",
        source: "GMP: numbers of 8 bytes to 100 KB, each grown by realloc as it needs; temporaries of the same sizes",
        needs: &[Need::command("gcc", "gcc"), Need::header("gmp.h", "libgmp-dev")],
        prepare: Some(build_pi),
        command: pi,
        results: &[],
    },
    Program {
        name: "bc",
        about: "bc computing pi to 1,900 places by the arc tangent",
        source: "GNU bc: a block for each intermediate number, freed at once",
        needs: &[Need::command("bc", "bc")],
        prepare: Some(bc_script),
        command: |place, _| {
            place.subject("bc").arg("-l").input(&place.inputs().join("script")).env("BC_LINE_LENGTH", "0")
        },
        results: &[],
    },
];

fn build_pi(place: &mut Place, _: f64) -> Outcome {
    place.write("pi.c", include_str!("files/pi.c"))?;
    let step = place.tool("gcc").args(["-O2", "pi.c", "-o", "pi", "-lgmp"]);
    place.run(step)?;
    Ok(())
}

fn pi(place: &Place, scale: f64) -> Step {
    let program = place.inputs().join("pi");
    let times = scaled(24, scale, 1).to_string();
    place.subject(&program.to_string_lossy()).args(["200000", &times])
}

fn bc_script(place: &mut Place, scale: f64) -> Outcome {
    // The time grows with the cube of the number of places.
    let places = (1900.0 * scale.cbrt()) as u64;
    place.write("script", format!("scale={places}; 4*a(1)\n"))?;
    Ok(())
}
