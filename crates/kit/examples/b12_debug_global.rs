//! B12: the debug allocator under a whole program: it finds that a list of jobs was never freed, and where it was made.

use freestone_kit::debug::{Debug, DebugConfig, Fault, Report, Response};
use freestone_kit::global::AsGlobal;
use freestone_kit::page::Page;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

// A global allocator must not unwind, hence the abort.
const CONFIG: DebugConfig = DebugConfig::new().response(Response::Abort).sink(tell);

#[global_allocator]
static GLOBAL: AsGlobal<Debug<Page>> = AsGlobal::new(Debug::with(Page, CONFIG));

/// Leaked blocks and bytes that were allocated somewhere within `make_jobs`.
static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn tell(report: &Report) {
    let own = |name: &String| name.starts_with("b12_debug_global::make_jobs");
    match report.fault() {
        Fault::Leak { blocks, bytes } if report.allocated().functions().iter().any(own) => {
            BLOCKS.fetch_add(blocks, Relaxed);
            BYTES.fetch_add(bytes, Relaxed);
        }
        // The runtime keeps some blocks to the end.
        Fault::Leak { .. } => {}
        _ => println!("{}", report.summary()),
    }
}

struct Job {
    name: String,
    input: Vec<u32>,
}

#[inline(never)]
fn make_jobs() -> Vec<Job> {
    (0..5).map(|at| Job { name: format!("job number {at}"), input: vec![at; 100] }).collect()
}

#[inline(never)]
fn forget(jobs: Vec<Job>) {
    // A cycle of reference counts would do the same, less plainly.
    std::mem::forget(jobs);
}

fn main() {
    let jobs = make_jobs();
    let sums: BTreeMap<String, u32> =
        jobs.iter().map(|job| (job.name.clone(), job.input.iter().sum())).collect();
    println!("{sums:?}");
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            thread::spawn(move || (0..250).map(|at| vec![at; 10].len() as u32).sum::<u32>() + thread)
        })
        .collect();
    let total: u32 = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
    println!("work done: {total}");

    drop(sums);
    forget(jobs);
    println!("faults found: {}", GLOBAL.get().check());
    GLOBAL.get().report_leaks();
    println!("leaked from make_jobs: {} blocks, {} bytes", BLOCKS.load(Relaxed), BYTES.load(Relaxed));
}
