//! What it costs that a process starts and ends.

use freestone_programs::job::Need;
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[Program {
    name: "nothing",
    about: "a process that does nothing, 1,000 times in a row",
    source: "coreutils: loading the library, its start, and the first few calls",
    needs: &[Need::command("sh", "dash"), Need::command("true", "coreutils")],
    prepare: None,
    command: nothing,
    results: &[],
}];

/// The shell that starts the processes is not preloaded itself: its forks are no part of the row.
const NOTHING: &str = r#"
i=0
while [ "$i" -lt "$1" ]; do
    LD_PRELOAD=$PRELOAD /bin/true || exit 1
    i=$((i + 1))
done
echo "$i"
"#;

fn nothing(place: &Place, scale: f64) -> Step {
    let times = scaled(1000, scale, 3).to_string();
    let library = place.setting().library.clone().unwrap_or_default();
    place.tool("sh").args(["-c", NOTHING, "sh", &times]).env("PRELOAD", library)
}
