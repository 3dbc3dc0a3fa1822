//! Compilers: the object files must be the same to the byte; the programs made are run as well.

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

const GXX: Need = Need::command("g++", "g++");

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "gcc",
        about: "gcc compiling, assembling and linking a large generated C program, which is run",
        needs: &[Need::command("gcc", "gcc")],
        limit: 180,
        prepare: Some(generate),
        run: gcc,
    },
    Job {
        name: "gxx",
        about: "g++ compiling much of the standard library",
        needs: &[GXX],
        limit: 180,
        prepare: None,
        run: gxx,
    },
    Job {
        name: "cpp-program",
        about: "a C++ program: containers, alignments, futures, blocks freed by other threads",
        needs: &[GXX],
        limit: 120,
        prepare: Some(build_program),
        run: program,
    },
    Job {
        name: "cpp-refusal",
        about: "a C++ program that asks for too much: bad_alloc is thrown, nothrow new returns null",
        needs: &[GXX],
        limit: 60,
        prepare: Some(build_program),
        run: refusal,
    },
    Job {
        name: "cpp-replaced",
        about: "a C++ program that replaces operator new and delete, and relies on the others calling them",
        needs: &[GXX],
        limit: 60,
        prepare: Some(build_replaced),
        run: replaced,
    },
    Job {
        name: "clang",
        about: "clang++ compiling much of the standard library",
        needs: &[Need::command("clang++", "clang"), GXX],
        limit: 180,
        prepare: None,
        run: clang,
    },
];

fn generate(place: &mut Place) -> Outcome {
    let functions = place.scale().pick(900, 12_000);
    place.write("program.c", c_program(functions))?;
    Ok(())
}

/// A C program of many functions that call each other, with loops, switches and tables.
pub fn c_program(functions: u64) -> String {
    let mut numbers = Numbers(3);
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
    for number in 0..functions {
        let table: Vec<String> = (0..16).map(|_| numbers.below(1000).to_string()).collect();
        let cases: Vec<String> = (0..10)
            .map(|case| format!("    case {case}: sum = sum * {} + i; break;\n", numbers.below(99)))
            .collect();
        let callee = match number {
            0 => "n".to_string(),
            _ => format!("f{}(n >> 1)", numbers.below(number)),
        };
        text.push_str(&format!(
            "static const unsigned t{number}[] = {{{}}};\n\
             unsigned f{number}(unsigned n) {{\n  unsigned sum = {number};\n  if (n < 2) return n + {number};\n\
             \x20 for (unsigned i = 0; i < n % 9; i++) {{\n    switch ((i + sum) % 11) {{\n{}    \
             default: sum ^= t{number}[i & 15];\n    }}\n  }}\n  return sum + {callee};\n}}\n",
            table.join(","),
            cases.concat(),
        ));
    }
    text.push_str("int main(void) {\n  unsigned sum = 0;\n  for (unsigned n = 0; n < 2000; n++) {\n");
    text.push_str("    char *text = malloc(n + 20);\n    memset(text, 'a' + n % 26, n + 20);\n");
    text.push_str(&format!("    sum += f{}(n) + text[n / 2];\n    free(text);\n  }}\n", functions - 1));
    text.push_str("  printf(\"%u\\n\", sum);\n}\n");
    text
}

fn gcc(place: &mut Place) -> Outcome {
    std::fs::copy(place.inputs().join("program.c"), place.path("program.c"))?;
    // Debug information names the folder, which is another one in each run.
    let anywhere = format!("-ffile-prefix-map={}=.", place.folder().display());
    let step = place.subject("gcc").args(["-O2", "-g", &anywhere, "-c", "program.c", "-o", "program.o"]);
    place.run_and_note("compiling", step)?;
    place.note_file("program.o")?;
    let step = place.subject("gcc").args(["program.o", "-o", "program"]);
    place.run_and_note("linking", step)?;
    place.note_file("program")?;
    let program = place.path("program");
    let step = place.subject(&program.to_string_lossy());
    place.run_and_note("the program", step)?;
    Ok(())
}

/// A C++ program that includes much of the standard library.
pub const SOURCE: &str = include_str!("scripts/work.cpp");

fn gxx(place: &mut Place) -> Outcome {
    compile_cpp(place, "g++")
}

fn clang(place: &mut Place) -> Outcome {
    compile_cpp(place, "clang++")
}

fn compile_cpp(place: &mut Place, compiler: &str) -> Outcome {
    place.write("work.cpp", SOURCE)?;
    for variant in 0..place.scale().pick(1, 12) {
        let variant = format!("-DVARIANT={variant}");
        let step = place.subject(compiler);
        let step = step.args(["-std=c++17", "-O2", &variant, "-pthread", "-c", "work.cpp", "-o", "work.o"]);
        place.run_and_note("compiling", step)?;
        place.note_file("work.o")?;
    }
    Ok(())
}

fn build_program(place: &mut Place) -> Outcome {
    place.write("work.cpp", SOURCE)?;
    let step = place.tool("g++").args(["-std=c++17", "-O2", "-pthread", "work.cpp", "-o", "work"]);
    place.run(step)?;
    Ok(())
}

fn program(place: &mut Place) -> Outcome {
    let program = place.inputs().join("work");
    for _ in 0..place.scale().pick(4, 100) {
        let step = place.subject(&program.to_string_lossy());
        place.run_and_note("program", step)?;
    }
    Ok(())
}

fn build_replaced(place: &mut Place) -> Outcome {
    place.write("replaced.cc", include_str!("scripts/replaced.cc"))?;
    let flags = ["-O1", "-std=c++20", "-fsized-deallocation", "-w"];
    let step = place.tool("g++").args(flags).args(["replaced.cc", "-o", "replaced"]);
    place.run(step)?;
    Ok(())
}

fn replaced(place: &mut Place) -> Outcome {
    let program = place.inputs().join("replaced");
    let step = place.subject(&program.to_string_lossy());
    place.run_and_note("program", step)?;
    Ok(())
}

fn refusal(place: &mut Place) -> Outcome {
    let program = place.inputs().join("work");
    let step = place.subject(&program.to_string_lossy()).arg("refusal");
    place.run_and_note("program", step)?;
    Ok(())
}
