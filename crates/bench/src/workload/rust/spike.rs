//! A service on tokio that is calm, has very much to do for a while, and is calm again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio::time::sleep;

use super::{Random, Work, threaded, word};
use crate::workload::peak_resident;
use crate::workload::resident::{Resident, is_test};
use crate::workload::{Kind, Timer, Workload};
use crate::{Outcome, Params};

/// What a spike leaves behind.
pub const SPIKE: Workload = threaded(
    "tokio-spike",
    "a service with 32 clients; 4,000 others come at once, each with a document of 20 KB that is parsed, and go",
    "a service on tokio's runtime; the 32 stay and change what the service remembers",
)
.kind(Kind::Memory);

/// What the service remembers: the last texts of each client, some of them from the spike.
type Memory = Arc<Mutex<HashMap<String, String>>>;

/// How large the parts are.
#[derive(Clone, Copy)]
struct Size {
    clients: usize,
    visitors: usize,
    fields: usize,
    /// Requests of a client in a tenth of a second.
    pace: usize,
    tick: Duration,
}

const FULL: Size =
    Size { clients: 32, visitors: 4_000, fields: 700, pace: 20, tick: Duration::from_millis(100) };
const TEST: Size = Size { clients: 2, visitors: 10, fields: 10, pace: 1, tick: Duration::from_micros(500) };

/// Ticks of calm before, and after the last visitor has gone; the spike itself lasts as long as it takes.
const BEFORE: usize = 10;
const AFTER: usize = 30;
/// Ticks after which it is looked at once before the end.
const SOON: usize = 10;

/// What was resident when.
#[derive(Default)]
struct Seen {
    before: Resident,
    soon: Resident,
    later: Resident,
}

/// Runs [`SPIKE`].
pub fn spike(params: &Params) -> Outcome {
    let size = if is_test(params) { TEST } else { FULL };
    let seed = params.seed;
    let runtime =
        Builder::new_multi_thread().worker_threads(params.threads).enable_time().build().expect("threads");
    let timer = Timer::new();
    let (work, seen) = runtime.block_on(async {
        let memory = Memory::default();
        let mut work = calm(BEFORE, seed, size, &memory).await;
        let before = Resident::now();
        let visits = tokio::spawn(spiking(seed, size));
        work.add(calm(BEFORE, seed + 1, size, &memory).await);
        work.add(visits.await.expect("a panic aborts"));
        work.add(calm(SOON, seed + 2, size, &memory).await);
        let soon = Resident::now();
        work.add(calm(AFTER - SOON, seed + 3, size, &memory).await);
        (work, Seen { before, soon, later: Resident::now() })
    });
    let seconds = timer.seconds();
    drop(runtime);
    let peak = peak_resident().unwrap_or_default() as f64;
    Outcome::new(work.operations, seconds)
        .note("checksum", (work.checksum >> 12) as f64)
        .note("before", seen.before.bytes)
        .note("peak", peak)
        .note("after_1s", seen.soon.above(seen.before))
        .note("after_3s", seen.later.above(seen.before))
}

/// The clients that are always there, for some ticks.
async fn calm(ticks: usize, seed: u64, size: Size, memory: &Memory) -> Work {
    let clients: Vec<_> = (0..size.clients)
        .map(|number| {
            tokio::spawn(client(ticks, number, Random::new(seed, number), size, Arc::clone(memory)))
        })
        .collect();
    let mut work = Work::default();
    for client in clients {
        work.add(client.await.expect("a panic aborts"));
    }
    work
}

async fn client(ticks: usize, number: usize, mut random: Random, size: Size, memory: Memory) -> Work {
    let mut work = Work::default();
    for _ in 0..ticks {
        for _ in 0..size.pace {
            let key = format!("client-{number}/key-{}", random.below(100));
            let words: Vec<String> = (0..random.between(1, 40)).map(|_| word(&mut random)).collect();
            let text = words.join(" ");
            work.done(text.len() as u64);
            memory.lock().expect("a panic aborts").insert(key, text);
        }
        sleep(size.tick).await;
    }
    work
}

/// All visitors at once.
async fn spiking(seed: u64, size: Size) -> Work {
    let parsed = Arc::new(Barrier::new(size.visitors));
    let visits: Vec<_> = (0..size.visitors)
        .map(|number| {
            let (near, far) = tokio::io::duplex(4096);
            tokio::spawn(serve(far, Arc::clone(&parsed)));
            tokio::spawn(visit(near, Random::new(seed, 1000 + number), size))
        })
        .collect();
    let mut work = Work::default();
    for visit in visits {
        work.add(visit.await.expect("a panic aborts"));
    }
    work
}

/// A visitor sends a document and reads the answer.
async fn visit(mut stream: DuplexStream, mut random: Random, size: Size) -> Work {
    for field in 0..size.fields {
        let line = format!("{field}-{}={} {}\n", word(&mut random), word(&mut random), word(&mut random));
        stream.write_all(line.as_bytes()).await.expect("an open stream");
    }
    stream.write_all(b"\n").await.expect("an open stream");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an open stream");
    let mut work = Work::default();
    work.done(answer.len() as u64);
    work
}

/// The other end. It answers when all documents are there, as if all waited for one slow database.
async fn serve(stream: DuplexStream, parsed: Arc<Barrier>) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    let mut document: HashMap<String, Vec<String>> = HashMap::new();
    while let Some(line) = lines.next_line().await.expect("an open stream").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').unwrap_or((&line, ""));
        document.insert(name.to_string(), value.split(' ').map(String::from).collect());
    }
    parsed.wait().await;
    let words: usize = document.values().map(Vec::len).sum();
    let answer = format!("{} fields, {words} words\n", document.len());
    writer.write_all(answer.as_bytes()).await.expect("an open stream");
}
