//! Compilers. Only the compiler proper is run, not the driver that starts it.

use freestone_programs::fail;
use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::compilers::c_program;
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[
    Program {
        name: "gcc",
        about: "gcc's compiler at -O2 on a large generated C program",
        source: "GCC: a collector over pages of its own, and many small and large blocks from malloc beside it",
        needs: &[Need::command("gcc", "gcc")],
        prepare: Some(gcc_source),
        command: gcc,
        results: &["program.s"],
    },
    Program {
        name: "clang",
        about: "clang at -O1 on a large generated C program",
        source: "LLVM: syntax trees in slabs; values, uses and analyses as blocks of their own by operator new",
        needs: &[Need::command("clang", "clang"), Need::command("gcc", "gcc")],
        prepare: Some(clang_source),
        command: clang,
        results: &["program.s"],
    },
];

fn source(place: &mut Place, functions: u64) -> Outcome {
    place.write("program.c", c_program(functions))?;
    Ok(())
}

fn gcc_source(place: &mut Place, scale: f64) -> Outcome {
    source(place, scaled(150, scale, 2))?;
    // What the driver would do first, and where it would find the compiler.
    let preprocess = place.tool("gcc").args(["-E", "-P", "program.c", "-o", "program.i"]);
    place.run(preprocess)?;
    let ask = place.tool("gcc").arg("-print-prog-name=cc1");
    let compiler = place.run(ask)?.stdout()?;
    let Err(error) = std::os::unix::fs::symlink(compiler.trim_end(), place.path("cc1")) else {
        return Ok(());
    };
    fail!("gcc's compiler {}: {error}", compiler.trim_end())
}

fn gcc(place: &Place, _: f64) -> Step {
    let compiler = place.inputs().join("cc1");
    let step = place.subject(&compiler.to_string_lossy()).args(["-quiet", "-fpreprocessed", "-O2"]);
    step.arg("program.i").args(["-o"]).arg(place.path("program.s")).within(place.inputs())
}

fn clang_source(place: &mut Place, scale: f64) -> Outcome {
    source(place, scaled(300, scale, 2))
}

fn clang(place: &Place, _: f64) -> Step {
    let step = place.subject("clang").args(["-w", "-O1", "-S", "program.c", "-o"]);
    step.arg(place.path("program.s")).within(place.inputs())
}
