//! The workloads with snmalloc as the global allocator.

use std::process::ExitCode;

use freestone_bench::memory::RustMemory;

#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> ExitCode {
    freestone_bench::child::main::<RustMemory>()
}
