//! Jobs on rayon's work-stealing threads, on the global allocator.
//!
//! Every job checks its own result. The pool is taken down and built anew now and then, with
//! another number of threads.

mod jobs;

use freestone_soak::watch::Tally;
use freestone_soak::{Args, Watch};
use freestone_testkit::Rng;
use rayon::ThreadPoolBuilder;
use std::time::Instant;

/// Jobs done by one pool.
const JOBS_A_POOL: usize = 24;

fn main() {
    let args = Args::from_command_line();
    let (watch, deadline, tally) = (Watch::start("soak-rayon"), args.deadline(), Tally::new());
    let mut rng = Rng::new(args.seed);
    while Instant::now() < deadline {
        let threads = 1 + rng.below(args.threads * 2);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("the pool starts");
        for job in 0..JOBS_A_POOL {
            if Instant::now() < deadline {
                let seed = rng.word();
                pool.install(|| jobs::JOBS[job % jobs::JOBS.len()](seed));
                tally.add(1);
            }
        }
    }
    watch.finish(&tally);
}
