//! What is in a trace: `cargo run -p freestone-trace --example look -- FILE`.

use freestone_trace::{Trace, TraceError};

fn main() -> Result<(), TraceError> {
    for path in std::env::args().skip(1) {
        let trace = Trace::open(path.as_ref())?;
        for (place, process) in trace.processes().iter().enumerate() {
            let mut calls = trace.calls(place)?;
            let inherited = calls.inherited().len();
            let (mut count, mut last) = (0u64, 0);
            let mut threads = std::collections::BTreeSet::new();
            for timed in calls.by_ref() {
                count += 1;
                last = timed.ns;
                threads.insert(timed.thread);
            }
            let blocks = calls.blocks();
            println!("process {} ({}): {}", process.pid, process.name(), calls.ending());
            println!("  {count} calls of {} threads in {} ms", threads.len(), last / 1_000_000);
            println!("  {inherited} blocks at its beginning, {} at its end", blocks.live_count());
            println!("  at most {} bytes live, at event {}", blocks.peak_bytes(), blocks.peak_at());
            println!(
                "  {} frees of unknown blocks, {} places given twice",
                blocks.unknown(),
                blocks.doubled()
            );
        }
    }
    Ok(())
}
