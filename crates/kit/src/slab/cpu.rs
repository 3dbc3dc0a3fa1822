//! On which processor a thread runs: a hint, which may be outdated at once.
//!
//! # Safety
//!
//! The one unsafe operation is a call into the C library that takes nothing and touches nothing.
#![allow(unsafe_code)]

/// The number of a processor.
#[cfg(feature = "system")]
#[inline]
pub fn current() -> usize {
    // SAFETY: takes nothing, touches nothing.
    let cpu = unsafe { libc::sched_getcpu() };
    // Where the kernel cannot tell, all threads use the first.
    usize::try_from(cpu).unwrap_or(0)
}

/// Without the system, a thread is told by where its stack lies.
#[cfg(not(feature = "system"))]
#[inline]
pub fn current() -> usize {
    let here = core::cell::Cell::new(0_u8);
    (core::ptr::from_ref(&here).addr() >> 16).wrapping_mul(0x9e37_79b9) >> 16
}
