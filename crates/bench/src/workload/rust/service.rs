//! A service on tokio: many connections, small requests, tasks that move between workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::runtime::Builder;

use super::{Random, Work, threaded, timed, word};
use crate::workload::Workload;
use crate::{Outcome, Params};

/// A store of texts behind a line protocol.
pub const SERVICE: Workload = threaded(
    "tokio-service",
    "64 connections to a store of texts; each request parsed, answered by a task of its own",
    "a service on tokio's runtime, as many as there are workers",
);

const CONNECTIONS: usize = 64;
const KEYS: usize = 200;

type Store = Arc<Mutex<HashMap<String, Arc<str>>>>;

/// Runs [`SERVICE`].
pub fn service(params: &Params) -> Outcome {
    let requests = params.times(10_000);
    let seed = params.seed;
    let runtime = Builder::new_multi_thread().worker_threads(params.threads).build().expect("threads");
    timed(|| {
        let mut work = Work::default();
        runtime.block_on(async {
            let store = Store::default();
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|number| {
                    let (near, far) = tokio::io::duplex(2048);
                    tokio::spawn(serve(far, Arc::clone(&store)));
                    tokio::spawn(ask(near, Random::new(seed, number), number, requests))
                })
                .collect();
            for client in clients {
                work.add(client.await.expect("a panic aborts"));
            }
        });
        drop(runtime);
        work
    })
}

/// A client: each key of its own is set and read in a random order.
async fn ask(stream: DuplexStream, mut random: Random, number: usize, requests: u64) -> Work {
    let mut work = Work::default();
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    for _ in 0..requests {
        let key = format!("client-{number}/key-{}", random.below(KEYS));
        let request = match random.below(3) {
            0 => {
                let words: Vec<String> = (0..random.between(1, 40)).map(|_| word(&mut random)).collect();
                format!("set key={key} lifetime=60 agent=bench value={}\n", words.join("+"))
            }
            _ => format!("get key={key} agent=bench accept=text\n"),
        };
        writer.write_all(request.as_bytes()).await.expect("an open stream");
        let answer = lines.next_line().await.expect("an open stream").expect("an answer to each request");
        work.done(answer.len() as u64);
    }
    work
}

/// The other end of a connection.
async fn serve(stream: DuplexStream, store: Store) {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // The task may run on another worker, and frees there what was allocated here.
        let answer = tokio::spawn(answer(line, Arc::clone(&store))).await.expect("a panic aborts");
        if writer.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
}

async fn answer(line: String, store: Store) -> String {
    let mut words = line.split(' ');
    let verb = words.next().unwrap_or_default();
    let fields: HashMap<String, String> = words
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let (Some(key), value) = (fields.get("key"), fields.get("value")) else { return "no key\n".to_string() };
    let mut store = store.lock().expect("a panic aborts");
    match (verb, value) {
        ("set", Some(value)) => {
            let old = store.insert(key.clone(), value.replace('+', " ").into());
            format!("set {key}, was {} bytes\n", old.map_or(0, |old| old.len()))
        }
        _ => match store.get(key) {
            Some(text) => format!("{key}: {text}\n"),
            None => format!("{key} is not set\n"),
        },
    }
}
