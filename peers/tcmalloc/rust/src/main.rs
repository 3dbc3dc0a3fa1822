//! The workloads with Google's TCMalloc as the global allocator.

use std::process::ExitCode;

use freestone_bench::memory::RustMemory;

#[global_allocator]
static GLOBAL: tcmalloc_better::TCMalloc = tcmalloc_better::TCMalloc;

fn main() -> ExitCode {
    freestone_bench::child::main::<RustMemory>()
}
