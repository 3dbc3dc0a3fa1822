//! Interpreters, whose every string, table and object comes from malloc.

use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::{python, scripts};
use freestone_programs::place::Place;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[
    Program {
        name: "python",
        about: "python3 with every object from malloc: records, JSON, counting, sorting, pickling",
        source: "CPython with PYTHONMALLOC=malloc: millions of objects of 30 to 100 bytes, lists that grow",
        needs: &[Need::command("python3", "python3")],
        prepare: Some(|place, _| script(place, python::SCRIPT)),
        command: |place, scale| {
            let step = place.subject("python3").env("PYTHONMALLOC", "malloc").env("PYTHONHASHSEED", "0");
            step.arg(place.inputs().join(SCRIPT)).arg(rounds(9, scale)).arg("0")
        },
        results: &[],
    },
    Program {
        name: "perl",
        about: "perl: hashes, regular expressions, growing strings, interpreter threads",
        source: "Perl 5: scalars in arenas of its own; their strings, hashes and arrays from malloc",
        needs: &[Need::command("perl", "perl")],
        prepare: Some(|place, _| script(place, scripts::PERL)),
        command: |place, scale| {
            let step = place.subject("perl").env("PERL_HASH_SEED", "0");
            step.arg(place.inputs().join(SCRIPT)).arg(rounds(1, scale))
        },
        results: &[],
    },
    Program {
        name: "lua",
        about: "lua: tables, strings, coroutines, both kinds of collection",
        source: "Lua 5.4: every object by one call to realloc, mostly under 100 bytes",
        needs: &[Need::command("lua5.4", "lua5.4")],
        prepare: Some(|place, _| script(place, scripts::LUA)),
        command: |place, scale| {
            place.subject("lua5.4").arg(place.inputs().join(SCRIPT)).arg(rounds(7, scale))
        },
        results: &[],
    },
    Program {
        name: "ruby",
        about: "ruby: objects, strings, the compacting collector, threads, fibers, fork",
        source: "CRuby: object slots in pages of its own; what does not fit into a slot from malloc and calloc",
        needs: &[Need::command("ruby", "ruby")],
        prepare: Some(|place, _| script(place, scripts::RUBY)),
        command: |place, scale| place.subject("ruby").arg(place.inputs().join(SCRIPT)).arg(rounds(1, scale)),
        results: &[],
    },
];

const SCRIPT: &str = "script";

fn script(place: &mut Place, text: &str) -> Outcome {
    place.write(SCRIPT, text)?;
    Ok(())
}

fn rounds(most: u64, scale: f64) -> String {
    scaled(most, scale, 1).to_string()
}
