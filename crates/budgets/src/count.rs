//! From a trace to a count.

use crate::programs::Programs;
use crate::table::{Budget, Subject};
use crate::trace::{self, Run};

/// The instructions of one fast path.
pub struct Count {
    /// The file in which they are.
    pub file: String,
    /// Their addresses, as that file states them, in the order of execution. Those of other files (libc's memset, which
    /// differs from processor to processor) are not among them.
    pub steps: Vec<u64>,
    /// Instructions executed in other files.
    pub elsewhere: usize,
}

/// Counts, or says why that cannot be done on this machine.
pub fn count(programs: &Programs, budget: &Budget) -> Result<Result<Count, String>, String> {
    let mut command = programs.command(budget.subject);
    command.arg(budget.name);
    let (calls, modules) = match trace::follow(command)? {
        Run::Counted(calls, modules) => (calls, modules),
        Run::Cannot(reason) => return Ok(Err(reason)),
    };
    // All are equal, unless a fast path depends on what was called before: then the worst counts.
    let all = calls.into_iter().max_by_key(Vec::len).ok_or("the subject counted nothing")?;
    let first = all.first().ok_or("a call without an instruction")?;
    let module = modules.iter().find(|module| module.holds(first)).ok_or("a call to nowhere")?;
    let mut steps: Vec<u64> =
        all.iter().filter(|step| module.holds(step)).map(|step| step - module.base).collect();
    let elsewhere = all.len() - steps.len();
    if budget.subject == Subject::Rust {
        // The `ret` of the function around the fast path.
        steps.pop();
    }
    Ok(Ok(Count { file: module.path.clone(), steps, elsewhere }))
}
