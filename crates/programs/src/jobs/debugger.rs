//! The debugger and the tools for object files: large symbol tables, demangling, embedded Python.

use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "gdb",
    about: "gdb in batch mode, objdump, readelf and nm on a C++ program with debug information",
    needs: &[Need::command("gdb", "gdb"), Need::command("objdump", "binutils"), Need::command("g++", "g++")],
    limit: 120,
    prepare: Some(build),
    run,
}];

fn build(place: &mut Place) -> Outcome {
    place.write("work.cpp", include_str!("scripts/work.cpp"))?;
    let step = place.tool("g++").args(["-std=c++17", "-O1", "-g", "-pthread", "work.cpp", "-o", "work"]);
    place.run(step)?;
    Ok(())
}

fn run(place: &mut Place) -> Outcome {
    let program = place.inputs().join("work");
    let questions = [
        "info functions work|grow|Nested",
        "info types Node|Leaf|Branch",
        "ptype Branch",
        "info line grow",
        "disassemble work",
        "list main",
        "python print(sum(len(str(gdb.lookup_type(name).fields())) > 0 for name in ('Leaf', 'Branch', 'Line')))",
        "maint info sections",
    ];
    let mut step = place.subject("gdb").args(["-nx", "-batch"]);
    for question in questions {
        step = step.args(["-ex", question]);
    }
    place.run_and_note("gdb", step.arg(&program))?;
    let tools: [(&str, &[&str]); 3] = [
        ("objdump", &["-d", "-C", "--no-show-raw-insn"]),
        ("readelf", &["-W", "-a"]),
        ("nm", &["-C", "-S", "--size-sort"]),
    ];
    for (tool, options) in tools {
        let step = place.subject(tool).args(options).arg(&program);
        place.run_and_note(tool, step)?;
    }
    Ok(())
}
