//! A small Lisp on every collector: `cargo run --release -p freestone-gc --example lisp`.
//!
//! The interpreter is generic over the collector. Its programs run with the heap as it is, and with one that collects behind
//! every step, so that a pointer that was not traced would not be there long.

mod interpreter;

use freestone_gc::{Collector, GcConfig, Generational, Incremental, MarkCompact, MarkSweep, SemiSpace};
use interpreter::{PROGRAMS, run};

fn on<C: Collector<Parent: Default>>() -> Result<(), String> {
    println!("{}{}", C::NAME, if C::MOVES { " (objects move)" } else { "" });
    for (name, source, expected) in PROGRAMS {
        for stress in [false, true] {
            let (output, stats) = run::<C>(GcConfig { stress, ..GcConfig::default() }, source)?;
            if output != *expected {
                return Err(format!("{name}: {output:?} instead of {expected:?}"));
            }
            if stress {
                println!("  {name}: {} after {} collections", output.join(", "), stats.collections);
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), String> {
    on::<MarkSweep>()?;
    on::<SemiSpace>()?;
    on::<MarkCompact>()?;
    on::<Generational>()?;
    on::<Incremental>()
}
