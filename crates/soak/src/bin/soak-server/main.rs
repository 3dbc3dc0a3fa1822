//! A key-value server on tokio and its clients, all in one process, on the global allocator.
//!
//! Every client knows what it stored and compares every answer; at the end it deletes its keys,
//! and the store must be empty.

mod client;
mod protocol;
mod server;

use freestone_soak::watch::Tally;
use freestone_soak::{Args, Watch};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Descriptors beside those of the connections.
const SPARE_FILES: u64 = 64;

/// Descriptors of a connection: both ends are ours, and its predecessor may still be closing.
const FILES_EACH: u64 = 3;

/// As many connections as the limit of open files allows, once it is raised for `wanted`.
fn most_connections(wanted: usize) -> usize {
    let files = wanted as u64 * FILES_EACH + SPARE_FILES;
    let granted = rlimit::increase_nofile_limit(files).expect("the limit of open files can be read");
    if granted < files {
        eprintln!("soak-server: only {granted} open files, so fewer connections");
    }
    (granted.saturating_sub(SPARE_FILES) / FILES_EACH).max(1) as usize
}

fn main() {
    let mut args = Args::from_command_line();
    args.connections = args.connections.min(most_connections(args.connections));
    let watch = Watch::start("soak-server");
    let tally = Arc::new(Tally::new());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads)
        // Short, so that threads come and go.
        .thread_keep_alive(Duration::from_millis(200))
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .expect("the runtime starts");
    runtime.block_on(work(args, tally.clone()));
    drop(runtime);
    watch.finish(&tally);
}

async fn work(args: Args, tally: Arc<Tally>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let store = Arc::new(server::Store::new());
    let serving = tokio::spawn(server::serve(listener, store.clone()));
    let deadline = args.deadline();
    let clients: Vec<_> = (0..args.connections as u32)
        .map(|id| {
            let client = client::Client::new(id, args.seed, address);
            tokio::spawn(client.run(deadline, tally.clone()))
        })
        .collect();
    for client in clients {
        client.await.expect("a client panicked").expect("a connection failed");
    }
    serving.abort();
    assert!(store.is_empty(), "the clients deleted all that they stored");
}
