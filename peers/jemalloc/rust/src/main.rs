//! The workloads with jemalloc as the global allocator.

use std::process::ExitCode;

use freestone_bench::memory::RustMemory;

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    freestone_bench::child::main::<RustMemory>()
}
