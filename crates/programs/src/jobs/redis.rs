//! Redis: its own benchmark with pipelining and I/O threads, then known contents, saved and reloaded.

use std::os::unix::net::UnixStream;

use super::text::Numbers;
use crate::fail;
use crate::job::{Job, Need, Outcome};
use crate::place::Place;
use crate::server::Server;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "redis",
    about: "redis-server under redis-benchmark, then known contents, snapshot, reload, digest",
    needs: &[Need::command("redis-server", "redis-server"), Need::command("redis-benchmark", "redis-tools")],
    limit: 180,
    prepare: Some(make_commands),
    run,
}];

/// Commands in the protocol's inline form, for `redis-cli --pipe`.
fn make_commands(place: &mut Place) -> Outcome {
    let mut numbers = Numbers(41);
    let mut text = String::new();
    for number in 0..place.scale().pick(60_000, 2_000_000) {
        let key = numbers.below(20_000);
        let word = numbers.word();
        let size = numbers.below(200) as usize;
        let fill = "v".repeat(size);
        text.push_str(&match number % 9 {
            0 | 1 => format!("SET text:{key} {word}{fill}"),
            2 => format!("APPEND text:{key} {fill}."),
            3 => format!("HSET map:{} {word} {key}", key % 500),
            4 => format!("RPUSH list:{} {word}{fill}", key % 300),
            5 => format!("ZADD order:{} {key} {word}", key % 200),
            6 => format!("SADD set:{} {word}", key % 400),
            7 => format!("XADD stream:{} {}-1 field {word}{fill}", key % 50, number + 1),
            _ => format!("DEL text:{} list:{}", key / 2, key % 600),
        });
        text.push_str("\r\n");
    }
    place.write("commands", text)?;
    Ok(())
}

fn run(place: &mut Place) -> Outcome {
    let socket = place.path("s");
    let server = place.subject("redis-server").args(["--port", "0", "--unixsocket"]).arg(&socket).args([
        "--save",
        "",
        "--appendonly",
        "no",
        "--enable-debug-command",
        "yes",
        "--io-threads",
        "2",
        "--daemonize",
        "no",
        "--loglevel",
        "warning",
        "--dir",
    ]);
    let server = server.arg(place.folder());
    let server = place.serve(server, || UnixStream::connect(&socket).is_ok())?;
    benchmark(place)?;
    contents(place)?;
    stop(place, server)
}

fn benchmark(place: &mut Place) -> Outcome {
    let requests = place.scale().pick("120000", "5000000");
    let tests = "set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset";
    let step = place.client("redis-benchmark").args(["-s", "s", "-n", requests, "-r", "100000", "-P", "32"]);
    let step = step.args(["-c", "20", "-d", "100", "-q", "-t", tests]);
    let finished = place.run(step)?;
    place.note_errors("redis-benchmark", &finished)?;
    let output = finished.stdout()?;
    if !output.contains("requests per second") || output.contains("rror") {
        fail!("{}", finished.report("told of errors"));
    }
    Ok(())
}

fn contents(place: &mut Place) -> Outcome {
    ask(place, &["FLUSHALL", "ASYNC"])?;
    let commands = place.inputs().join("commands");
    let step = place.client("redis-cli").args(["-s", "s", "--pipe"]).input(&commands);
    place.run_and_note("loading", step)?;
    let script = "local n = 0; for i, key in ipairs(redis.call('KEYS', 'map:*')) do \
                  local all = redis.call('HGETALL', key); n = n + #all; \
                  redis.call('SET', 'copy:' .. key, table.concat(redis.call('HKEYS', key), ','):len()) end; return n";
    ask(place, &["EVAL", script, "0"])?;
    ask(place, &["DBSIZE"])?;
    ask(place, &["DEBUG", "DIGEST"])?;
    // SAVE in this process, the same in a forked child, and everything read back.
    ask(place, &["SAVE"])?;
    ask(place, &["BGSAVE"])?;
    for _ in 0..2000 {
        let step = place.tool("redis-cli").args(["-s", "s", "INFO", "persistence"]);
        if place.run(step)?.stdout()?.contains("rdb_bgsave_in_progress:0") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    ask(place, &["DEBUG", "RELOAD"])?;
    ask(place, &["DEBUG", "DIGEST"])?;
    ask(place, &["LRANGE", "list:7", "0", "-1"])?;
    ask(place, &["SORT", "set:3", "ALPHA"])?;
    ask(place, &["UNLINK", "list:7", "set:3", "order:5"])?;
    ask(place, &["DEBUG", "DIGEST"])
}

fn ask(place: &mut Place, question: &[&str]) -> Outcome {
    let step = place.client("redis-cli").args(["-s", "s"]).args(question);
    place.run_and_note(question[0], step)?;
    Ok(())
}

fn stop(place: &mut Place, server: Server) -> Outcome {
    let finished = place.stop("redis-server", server, libc::SIGTERM)?;
    place.note_errors("redis-server", &finished)
}
