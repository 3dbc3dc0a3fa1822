//! The workloads through Rust's interface on Freestone.

use std::process::ExitCode;

use freestone::Freestone;
use freestone_bench::{RustMemory, child};

#[global_allocator]
static ALLOCATOR: Freestone = Freestone;

fn main() -> ExitCode {
    child::main::<RustMemory>()
}
