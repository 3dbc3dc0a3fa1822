//! Databases in memory.

use std::fmt::Write;

use freestone_programs::job::{Need, Outcome};
use freestone_programs::jobs::text::Numbers;
use freestone_programs::library::find_library;
use freestone_programs::place::Place;
use freestone_programs::step::Step;

use super::super::{Program, scaled};

/// The family's rows.
pub const ROWS: &[Program] = &[
    Program {
        name: "redis",
        about: "redis-server: strings that are set, grow, are replaced and expire; lists, maps, sets",
        source: "Redis: each key, value and node is a block; strings grow by realloc; the client is not preloaded",
        needs: &[Need::command("redis-server", "redis-server"), Need::command("redis-cli", "redis-tools")],
        prepare: Some(redis_commands),
        command: redis,
        results: &[],
    },
    Program {
        name: "sqlite",
        about: "sqlite3 on a database in memory: rows made, two indices, joins, groups, updates",
        source: "SQLite: pages of 4 KiB that stay, and many small blocks for each statement and record",
        needs: &[Need::command("sqlite3", "sqlite3")],
        prepare: Some(sqlite_script),
        command: sqlite,
        results: &[],
    },
];

/// Adds one command in the protocol that clients speak.
pub(super) fn say(text: &mut String, words: &[&str]) {
    let _ = write!(text, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(text, "${}\r\n{word}\r\n", word.len());
    }
}

/// Asks for the length of every string.
fn ask(text: &mut String, keys: u64) {
    for key in 0..keys {
        say(text, &["STRLEN", &format!("text:{key}")]);
    }
}

fn redis_commands(place: &mut Place, scale: f64) -> Outcome {
    let mut numbers = Numbers(41);
    let keys = scaled(50_000, scale, 100);
    let filler: String = (0..60).map(|_| numbers.line(3) + " ").collect();
    let mut text = String::new();
    // Every other key is gone a millisecond later; most of them are freed when they are asked for.
    for round in 0..3 {
        for key in 0..keys {
            let length = 20 + numbers.below(20 + 180 * (round + 1)) as usize;
            let name = format!("text:{key}");
            match key % 4 {
                0 | 2 => say(&mut text, &["SET", &name, &filler[..length], "PX", "1"]),
                1 => say(&mut text, &["SET", &name, &filler[..length]]),
                _ => say(&mut text, &["APPEND", &name, &filler[..length]]),
            }
            let (field, short) = (numbers.below(40).to_string(), &filler[..length / 4]);
            match key % 5 {
                0 => say(&mut text, &["RPUSH", &format!("list:{}", key % 997), short]),
                1 => say(&mut text, &["LPOP", &format!("list:{}", numbers.below(997))]),
                2 => say(&mut text, &["HSET", &format!("map:{}", key % 1999), &field, short]),
                3 => say(&mut text, &["SADD", &format!("set:{}", key % 499), short]),
                _ => say(&mut text, &["ZADD", &format!("order:{}", key % 499), &field, short]),
            }
        }
        if round < 2 {
            ask(&mut text, keys);
        }
    }
    place.write("commands", text)?;
    let mut text = String::new();
    ask(&mut text, keys);
    place.write("questions", text)?;
    Ok(())
}

/// The server alone is preloaded. It is asked for what it holds in the end, and told to go.
const REDIS: &str = r#"
LD_PRELOAD=$PRELOAD redis-server --port 0 --unixsocket s --save '' --appendonly no --enable-debug-command yes \
    --daemonize no --loglevel warning --dir . >log 2>&1 &
tries=0
until [ -S s ] && redis-cli -s s PING >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 2000 ] || ! kill -0 "$!"; then cat log >&2; exit 1; fi
    sleep 0.002
done
redis-cli -s s --pipe <"$1/commands"
# By now the last ones are too old as well, however few there are.
sleep 0.002
redis-cli -s s --pipe <"$1/questions"
redis-cli -s s DBSIZE
redis-cli -s s DEBUG DIGEST
redis-cli -s s SHUTDOWN NOSAVE
wait "$!"
"#;

fn redis(place: &Place, _: f64) -> Step {
    // Debian's server is linked against jemalloc: to have the C library's malloc in it, that has to come first.
    let setting = place.setting().library.clone();
    let library = setting.or_else(|| find_library("libc.so.6")).unwrap_or_default();
    place.tool("sh").args(["-c", REDIS, "sh"]).arg(place.inputs()).env("PRELOAD", library)
}

fn sqlite_script(place: &mut Place, scale: f64) -> Outcome {
    let rows = scaled(170_000, scale, 1000).to_string();
    place.write("script.sql", include_str!("files/script.sql").replace("ROWS", &rows))?;
    Ok(())
}

fn sqlite(place: &Place, _: f64) -> Step {
    place.subject("sqlite3").args(["-batch", ":memory:"]).input(&place.inputs().join("script.sql"))
}
