//! The workloads with rpmalloc as the global allocator.

use std::process::ExitCode;

use freestone_bench::memory::RustMemory;

#[global_allocator]
static GLOBAL: rpmalloc::RpMalloc = rpmalloc::RpMalloc;

fn main() -> ExitCode {
    freestone_bench::child::main::<RustMemory>()
}
