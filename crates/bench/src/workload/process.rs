//! Starting a process.

use std::process::Command;

use super::{Kind, Timer, Workload};
use crate::{Memory, Outcome, Params};

/// Starting and ending of a process that does nothing.
pub const NOTHING: Workload = Workload::single(
    "nothing",
    "this program started again and again, to do nothing (each with the option --once)",
    "own: what an allocator adds to the start of every command",
)
.kind(Kind::Processes);

/// Runs [`NOTHING`]. The operations are processes. Generic as its kin are, for the table.
#[allow(clippy::extra_unused_type_parameters)]
pub fn nothing<M: Memory>(params: &Params) -> Outcome {
    let rounds = params.times(600);
    let timer = Timer::new();
    for _ in 0..rounds {
        let status = Command::new("/proc/self/exe").arg("nothing").arg("--once").status();
        assert!(status.is_ok_and(|status| status.success()), "the program could not be started again");
    }
    Outcome::new(rounds, timer.seconds())
}
