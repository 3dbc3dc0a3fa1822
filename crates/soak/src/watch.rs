//! The thread that walks through the allocator while a program works.

use crate::heap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two walks.
const PERIOD: Duration = Duration::from_millis(100);

/// Operations that the program has done; every worker adds its own now and then.
#[derive(Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// No operations yet.
    pub const fn new() -> Tally {
        Tally(AtomicU64::new(0))
    }

    /// Adds operations.
    pub fn add(&self, operations: u64) {
        // Relaxed: a count for the report; nothing is published through it.
        self.0.fetch_add(operations, Relaxed);
    }
}

/// A running watch.
pub struct Watch {
    name: &'static str,
    started: Instant,
    /// Dropped to end the thread.
    end: Sender<()>,
    thread: JoinHandle<Walks>,
}

struct Walks {
    count: u64,
    longest: Duration,
}

/// Walks once; a fault ends the process at once, before it can spread.
fn walk() -> Duration {
    let start = Instant::now();
    if let Err(fault) = heap::verify() {
        eprintln!("the walk found a fault: {fault}");
        std::process::abort();
    }
    start.elapsed()
}

impl Watch {
    /// Starts to walk every 100 ms.
    pub fn start(name: &'static str) -> Watch {
        let (end, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut walks = Walks { count: 0, longest: Duration::ZERO };
            loop {
                let last = ended.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
                walks.longest = walks.longest.max(walk());
                walks.count += 1;
                if last {
                    return walks;
                }
            }
        });
        Watch { name, started: Instant::now(), end, thread }
    }

    /// Walks a last time and prints what was done.
    pub fn finish(self, tally: &Tally) {
        drop(self.end);
        let walks = self.thread.join().expect("the walking thread panicked");
        println!(
            "{}: {} operations in {:.1} s, {} walks (longest {:.1} ms), ok",
            self.name,
            tally.0.load(Relaxed),
            self.started.elapsed().as_secs_f64(),
            walks.count,
            walks.longest.as_secs_f64() * 1e3,
        );
    }
}
