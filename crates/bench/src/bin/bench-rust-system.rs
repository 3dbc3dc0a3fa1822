//! The workloads through Rust's interface on the system's allocator.

use std::alloc::System;
use std::process::ExitCode;

use freestone_bench::{RustMemory, child};

#[global_allocator]
static ALLOCATOR: System = System;

fn main() -> ExitCode {
    child::main::<RustMemory>()
}
