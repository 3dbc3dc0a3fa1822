//! Other preloaded libraries beside ours: they define libc's functions anew, and ours lies behind them or before them.

use super::text::Numbers;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[
    Job {
        name: "faketime",
        about: "sort and awk under libfaketime, whose clock_gettime has thread-local storage and may allocate",
        needs: &[Need::command("faketime", "faketime"), Need::command("gawk", "gawk")],
        limit: 60,
        prepare: Some(lines),
        run: |place| under(place, "faketime", &["2020-02-02 02:02:02"]),
    },
    Job {
        name: "torsocks",
        about: "the same under torsocks, whose syscall waits for a lock and refuses what it does not know",
        needs: &[Need::command("torsocks", "torsocks"), Need::command("gawk", "gawk")],
        limit: 60,
        prepare: Some(lines),
        run: |place| under(place, "torsocks", &[]),
    },
    Job {
        name: "fakeroot",
        about: "the same under fakeroot, by which a file gets another owner",
        needs: &[Need::command("fakeroot", "fakeroot"), Need::command("gawk", "gawk")],
        limit: 60,
        prepare: Some(lines),
        run: |place| under(place, "fakeroot", &[]),
    },
];

fn lines(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(7);
    let lines: String = (0..place.scale().pick(200_000, 4_000_000))
        .map(|line| format!("{} line {line}\n", numbers.below(1_000_000)))
        .collect();
    place.write("lines", lines)?;
    Ok(())
}

/// Sorts in threads and counts in a table: enough that the allocator's own thread has something to do.
fn under(place: &mut Place, wrapper: &str, options: &[&str]) -> Outcome {
    let script = r#"sort -n --parallel=2 "$1" | tail -n 3; gawk '{ seen[$1] = seen[$1] $3 } END { print length(seen) }' "$1"; sleep 0.3; date +%Y | wc -c"#;
    let lines = place.inputs().join("lines");
    let step = place.subject(wrapper).args(options).args(["bash", "-c", script, "bash"]).arg(lines);
    place.run_and_note(wrapper, step)?;
    Ok(())
}
