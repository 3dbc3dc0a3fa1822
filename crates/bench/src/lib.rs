//! The bench: workloads for any allocator, and the means to run them.
//!
//! A *workload* ([`workload`]) is generic over [`Memory`]: the C interface of whatever library is preloaded, or the
//! global allocator of the program. [`child`] is the `main` of a program that runs one workload and prints its
//! outcome as a line of JSON; `freestone-bench` starts such programs, in turn, under every allocator compared.

pub mod child;
pub mod histogram;
pub mod memory;
pub mod params;
pub mod peers;
pub mod program;
pub mod workload;

pub use histogram::Histogram;
pub use memory::{CMemory, Memory, RustMemory};
pub use params::{Latencies, Outcome, Params};
pub use workload::{Kind, Workload};
