//! The workloads with mimalloc 2 as the global allocator.

use std::process::ExitCode;

use freestone_bench::memory::RustMemory;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    freestone_bench::child::main::<RustMemory>()
}
