//! Golden instruction counts of the fast paths.
//!
//! [`table`] says how many instructions each fast path may take. The test `budgets` counts them and fails where there
//! is one more; `freestone-budgets list` shows them.
//!
//! Counted is what the processor executes, one instruction after the other: a *subject* (a program of [`subject`]'s
//! cases) stops at a breakpoint just before a call, and [`trace`] single-steps it until the call returns. A thread that is
//! interrupted in a restartable sequence begins it anew, so under single steps none would ever end; hence the subject
//! first takes its thread's area back from the kernel, and the fast path runs on it as on plain memory. What it
//! executes is the same.
//!
//! x86-64 only, like the fast paths.

#[cfg(target_arch = "x86_64")]
pub mod count;
#[cfg(target_arch = "x86_64")]
pub mod listing;
#[cfg(target_arch = "x86_64")]
pub mod programs;
#[cfg(target_arch = "x86_64")]
pub mod subject;
pub mod table;
#[cfg(target_arch = "x86_64")]
pub mod trace;
