//! The workloads through the C interface: of glibc, or of the library preloaded under this program.

use std::process::ExitCode;

use freestone_bench::{CMemory, child};

fn main() -> ExitCode {
    child::main::<CMemory>()
}
