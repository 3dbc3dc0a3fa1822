//! A database that loses most of what it holds.

use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::text::Numbers;
use freestone_programs::library::find_library;
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::Program;
use super::databases::say;

/// No row of the table: memory over time is what it shows.
pub const EMPTIED: Program = Program {
    name: "redis-emptied",
    about: "redis-server: 400,000 strings of 32 to 1,500 bytes, of which a random 90 % are deleted one by one",
    source: "Redis, used as a cache whose contents go out of date",
    needs: &[Need::command("redis-server", "redis-server"), Need::command("redis-cli", "redis-tools")],
    prepare: Some(commands),
    command,
    results: &[],
};

const KEYS: usize = 400_000;
/// Below this scale the work is that of a test.
const TEST: f64 = 0.02;

fn commands(place: &mut Place, scale: f64) -> Outcome {
    let keys = if scale < TEST { KEYS / 200 } else { KEYS };
    let mut numbers = Numbers(43);
    let filler: String = (0..400).map(|_| numbers.line(3) + " ").collect();
    let mut text = String::new();
    for key in 0..keys {
        let length = 32 + numbers.below(1469) as usize;
        say(&mut text, &["SET", &format!("text:{key}"), &filler[..length]]);
    }
    place.write("fill", &text)?;
    text.clear();
    let mut order: Vec<usize> = (0..keys).collect();
    for left in (1..keys).rev() {
        order.swap(left, numbers.below(left as u64 + 1) as usize);
    }
    for key in &order[..keys * 9 / 10] {
        say(&mut text, &["DEL", &format!("text:{key}")]);
    }
    place.write("delete", &text)?;
    Ok(())
}

/// The shell becomes the server, so that whoever started it can follow its memory alone; what asks it stays behind beside it. The
/// moments are lines of a name and KiB.
const SCRIPT: &str = r#"
moment() {
    sed -n "s/^Rss: *\([0-9]*\) kB/$1 \1/p" "/proc/$$/smaps_rollup" >>moments
}
use() {
    tries=0
    until [ -S s ] && redis-cli -s s PING >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 5000 ]; then kill -9 "$$"; exit 1; fi
        sleep 0.002
    done
    moment start
    redis-cli -s s --pipe <"$1/fill"
    moment filled
    redis-cli -s s --pipe <"$1/delete"
    moment at_once
    sleep "$2"
    moment after_1s
    sleep "$2"
    sleep "$2"
    moment after_3s
    redis-cli -s s DBSIZE
    redis-cli -s s DEBUG DIGEST
    redis-cli -s s SHUTDOWN NOSAVE
}
use "$1" "$2" &
exec env LD_PRELOAD="$PRELOAD" redis-server --port 0 --unixsocket s --save '' --appendonly no \
    --enable-debug-command yes --daemonize no --loglevel warning --dir . >log
"#;

fn command(place: &Place, scale: f64) -> Step {
    // Debian's server is linked against jemalloc: to have the C library's malloc in it, that has to come first.
    let setting = place.setting().library.clone();
    let library = setting.or_else(|| find_library("libc.so.6")).unwrap_or_default();
    let second = if scale < TEST { "0.05" } else { "1" };
    let step = place.tool("sh").args(["-c", SCRIPT, "sh"]).arg(place.inputs()).arg(second);
    step.env("PRELOAD", library)
}
