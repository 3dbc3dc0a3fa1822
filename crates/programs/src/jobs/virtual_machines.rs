//! Java and JavaScript: machines that compile, collect and thread beside malloc.

use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "java",
        about: "javac, then java: threads, direct buffers, zlib, collection, parallel streams",
        needs: &[
            Need::command("javac", "default-jdk-headless"),
            Need::command("java", "default-jdk-headless"),
        ],
        limit: 180,
        prepare: None,
        run: java,
    },
    Job {
        name: "node",
        about: "node: JSON, buffers, zlib, crypto, worker threads",
        needs: &[Need::command("node", "nodejs")],
        limit: 180,
        prepare: None,
        run: node,
    },
];

fn java(place: &mut Place) -> Outcome {
    place.write("Work.java", include_str!("scripts/Work.java"))?;
    // The machine's own files in the shared temporary folder are not wanted.
    let step = place.subject("javac").args(["-J-XX:-UsePerfData", "-d", ".", "Work.java"]);
    place.run_and_note("javac", step)?;
    place.note_file("Work.class")?;
    let rounds = place.scale().pick("12", "1000");
    let step = place.subject("java").args(["-XX:-UsePerfData", "-Xmx512m", "-cp", ".", "Work", rounds]);
    place.run_and_note("java", step)?;
    Ok(())
}

fn node(place: &mut Place) -> Outcome {
    let script = place.write("work.js", include_str!("scripts/work.js"))?;
    let step = place.subject("node").arg(script).arg(place.scale().pick("4", "300"));
    place.run_and_note("node", step)?;
    Ok(())
}
