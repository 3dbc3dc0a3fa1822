//! Which CPU this is.
//!
//! # Safety
//!
//! One call into libc without conditions.
#![allow(unsafe_code)]

/// The CPU that the thread runs on at this moment; 0 where the system does not say.
#[inline]
pub(super) fn current_cpu() -> usize {
    // SAFETY: no conditions.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).unwrap_or(0)
}
