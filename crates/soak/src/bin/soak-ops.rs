//! Random operations on many threads, judged by a shadow heap, on the global allocator.

use freestone_soak::watch::Tally;
use freestone_soak::{Args, Watch, heap};
use freestone_testkit::{Global, Mix, StressConfig, stress};
use std::time::Instant;

fn main() {
    let args = Args::from_command_line();
    let subject = Global::new(heap::HEAP).verified_by(heap::verify);
    let (watch, deadline, tally) = (Watch::start("soak-ops"), args.deadline(), Tally::new());
    let mut seed = args.seed;
    while Instant::now() < deadline {
        let config = StressConfig {
            threads: args.threads,
            seed,
            mix: Mix::ALL[seed as usize % Mix::ALL.len()],
            ops_per_thread: 10_000,
            rounds: 2,
            // Without the registry the threads meet in the allocator alone: more races.
            registry: seed.is_multiple_of(2),
            live_bytes: 8 << 20,
            ..StressConfig::default()
        };
        match stress(&subject, &config) {
            Ok(outcome) => tally.add(outcome.ops),
            Err(violation) => {
                eprintln!("soak-ops: seed {seed}, {:?}: {violation}", config.mix);
                std::process::exit(1);
            }
        }
        seed += 1;
    }
    watch.finish(&tally);
}
