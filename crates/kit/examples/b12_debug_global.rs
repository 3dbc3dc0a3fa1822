//! B12: the debug allocator under a whole program: it finds that a list of jobs was never freed, and where it was made.

use freestone_kit::debug::{Debug, DebugConfig, Report, Response};
use freestone_kit::global::AsGlobal;
use freestone_kit::page::Page;
use std::collections::BTreeMap;
use std::thread;

// A global allocator must not unwind, hence the abort.
const CONFIG: DebugConfig = DebugConfig::new().response(Response::Abort).sink(print).check_every(1000);

#[global_allocator]
static GLOBAL: AsGlobal<Debug<Page>> = AsGlobal::new(Debug::with(Page, CONFIG));

/// Prints leaks of this program's own functions, without paths and addresses.
fn print(report: &Report) {
    let functions = report.allocated().functions();
    if let Some(own) = functions.iter().find(|name| name.starts_with("b12_debug_global::")) {
        println!("{}, allocated in {own}", report.summary());
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
    let before = GLOBAL.get().report_leaks();
    println!("at the start, no leaks of ours; the runtime has some: {}", before.is_some());

    let jobs = make_jobs();
    let sums: BTreeMap<String, u32> =
        jobs.iter().map(|job| (job.name.clone(), job.input.iter().sum())).collect();
    println!("{sums:?}");
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| thread::spawn(move || (0..1000).map(|at| vec![at; 10].len() as u32).sum::<u32>() + thread))
        .collect();
    let total: u32 = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
    println!("work done: {total}");

    println!("freed in time: no leaks but the runtime's");
    drop(sums);
    forget(jobs);
    println!("faults found: {}", GLOBAL.get().check());
    GLOBAL.get().report_leaks();
}
