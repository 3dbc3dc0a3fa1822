//! Operation sequences, a shadow heap as oracle, and fault injection, for any allocator.
//!
//! * [`Subject`]: what is tested. [`Global`] adapts any `GlobalAlloc`.
//! * [`Op`]: one operation as data; [`strategy::ops`] makes sequences that proptest can shrink.
//! * [`ShadowHeap`]: knows every live block and its contents, and names what was violated.
//! * [`Hunt`]: random sequences, and the shortest that fails.
//! * [`run_sequence`]: one thread, one sequence. [`stress()`]: many threads that hand blocks over.
//! * [`soon`]: waits for what comes about in the background. [`skipped`]: says what a test leaves out, so that it is counted.
//! * [`fail_each`]: the same work again and again, with one system call more granted each time.
//!
//! ```
//! use freestone_testkit::{Global, Op, run_sequence};
//! let ops = [
//!     Op::AllocZeroed { size: 100, align: 64 },
//!     Op::Realloc { victim: 0, new_size: 5000 },
//!     Op::Free { victim: 0 },
//! ];
//! let outcome = run_sequence(&Global::new(std::alloc::System), &ops).unwrap();
//! assert_eq!((outcome.allocs, outcome.reallocs, outcome.frees), (1, 1, 1));
//! ```
//!
//! The layers, each importing only those before it: `rng`, `mix`, `op`, `strategy`; `pattern`,
//! `block`, `registry`, `shadow`; `subject`, `drive`, `hunt`, `stress`. `refuse`, `skip` and `wait` stand alone.

pub mod block;
pub mod drive;
pub mod hunt;
pub mod mix;
pub mod op;
mod pattern;
pub mod refuse;
pub mod registry;
pub mod rng;
pub mod shadow;
mod skip;
pub mod strategy;
pub mod stress;
pub mod subject;
mod wait;

pub use block::{Block, BlockInfo, Fault, Violation};
pub use drive::{Outcome, run_sequence};
pub use hunt::{Counterexample, Hunt};
pub use mix::{Draw, Mix, Shape};
pub use op::Op;
pub use refuse::{Refusal, Refuser, fail_each};
pub use registry::Registry;
pub use rng::Rng;
pub use shadow::{Served, ShadowHeap};
pub use skip::skipped;
pub use stress::{StressConfig, stress};
pub use subject::{Global, Subject};
pub use wait::soon;
