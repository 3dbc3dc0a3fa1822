//! Whether the library is really in the processes: a preload that is silently ignored would pass
//! every other job.

use crate::job::{Failure, Job, Need, Outcome};
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "loaded",
    about: "programs, and programs started by programs, have the library mapped and its options set",
    needs: &[
        Need::command("cat", "coreutils"),
        Need::command("bash", "bash"),
        Need::command("perl", "perl"),
        Need::command("python3", "python3"),
    ],
    limit: 60,
    prepare: None,
    run,
}];

fn run(place: &mut Place) -> Outcome {
    let read = "open(\"/proc/self/maps\").read()";
    let ways = [
        place.subject("cat").arg("/proc/self/maps"),
        place.subject("bash").args(["-c", "cat /proc/self/maps; :"]),
        place.subject("bash").args(["-c", "(while read -r line; do echo \"$line\"; done) </proc/self/maps"]),
        place.subject("python3").args(["-c", &format!("print({read})")]),
        place.subject("perl").args(["-e", "open(M, '/proc/self/maps'); print <M>"]),
        place.subject("sh").args(["-c", "perl -e 'print qx(cat /proc/self/maps)'"]),
    ];
    for step in ways {
        let finished = place.run(step)?;
        let check = place.setting().check_maps(&finished.stdout()?);
        check.map_err(|error| Failure(finished.report(&error)))?;
        place.note_errors("reading maps", &finished)?;
    }
    let show = "printf '%s' \"${FREESTONE_CONF-}\"";
    let step = place.subject("bash").args(["-c", show]);
    let seen = place.run(step)?.stdout()?;
    let expected = place.setting().options.unwrap_or_default();
    if seen != expected {
        crate::fail!("FREESTONE_CONF is {seen:?} in the program; it should be {expected:?}");
    }
    Ok(())
}
