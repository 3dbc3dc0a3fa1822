//! B6: a real program's trace through first, next, best, worst and segregated fit, beside the buddy system, slabs and
//! bins.
//!
//! With the argument `--time` the replays are timed, too; with `--curve` the state over time is printed, for drawing.
//! Another argument is the path of a trace.

use freestone_kit::trace::{CompareConfig, Trace, compare};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut config = CompareConfig::DEFAULT;
    let mut curve = false;
    let mut bytes = include_bytes!("../traces/perl.trace").to_vec();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--time" => config = config.timed_runs(10),
            "--curve" => curve = true,
            path => bytes = std::fs::read(path)?,
        }
    }
    let comparison = compare(&Trace::parse(&bytes)?, config)?;
    print!("{comparison}");
    if curve {
        for row in &comparison.rows {
            println!("\n{}: calls, bytes asked, taken, held", row.name);
            for sample in &row.replayed.samples {
                println!("{} {} {} {}", sample.calls, sample.asked, sample.taken, sample.held);
            }
        }
    }
    Ok(())
}
