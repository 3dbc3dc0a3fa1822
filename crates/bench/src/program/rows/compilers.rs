//! Compilers. Only the compiler proper is run, not the driver that starts it.

use freestone_programs::fail;
use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::compilers::{SOURCE, c_program};
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

/// No row of the table, which has two compilers; one of those on which the instruments are measured.
pub const GXX: Program = Program {
    name: "g++",
    about: "g++'s compiler at -O1 on a C++ program that includes much of the standard library",
    source: "GCC: a collector over pages of its own; hash tables, bit maps and passes' data from malloc",
    needs: &[Need::command("g++", "g++")],
    prepare: Some(gxx_source),
    command: gxx,
    results: &["program.s"],
};

fn source(place: &mut Place, functions: u64) -> Outcome {
    place.write("program.c", c_program(functions))?;
    Ok(())
}

fn gcc_source(place: &mut Place, scale: f64) -> Outcome {
    source(place, scaled(150, scale, 2))?;
    drive(place, "gcc", "cc1", ["program.c", "program.i"])
}

/// What the driver would do first, and where it would find the compiler.
fn drive(place: &mut Place, driver: &str, compiler: &str, [from, to]: [&str; 2]) -> Outcome {
    let preprocess = place.tool(driver).args(["-E", "-P", from, "-o", to]);
    place.run(preprocess)?;
    let ask = place.tool(driver).arg(format!("-print-prog-name={compiler}"));
    let path = place.run(ask)?.stdout()?;
    let Err(error) = std::os::unix::fs::symlink(path.trim_end(), place.path(compiler)) else {
        return Ok(());
    };
    fail!("{driver}'s compiler {}: {error}", path.trim_end())
}

fn gxx_source(place: &mut Place, scale: f64) -> Outcome {
    // The program cannot be cut; where only a test is wanted, it is one that includes less.
    let source = if scale < 0.05 { "#include <vector>\nstd::vector<int> numbers(3);\n" } else { SOURCE };
    place.write("program.cpp", source)?;
    drive(place, "g++", "cc1plus", ["program.cpp", "program.ii"])
}

fn gxx(place: &Place, _: f64) -> Step {
    let compiler = place.inputs().join("cc1plus");
    let step = place.subject(&compiler.to_string_lossy()).args(["-quiet", "-fpreprocessed", "-std=c++17"]);
    step.args(["-O1", "program.ii", "-o"]).arg(place.path("program.s")).within(place.inputs())
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
