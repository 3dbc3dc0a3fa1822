//! Barriers in other threads, and making them leave their restartable sequences.
//!
//! # Safety
//!
//! The calls take no addresses; they only order and restart.
#![allow(unsafe_code)]

use libc::{c_int, c_long};

use super::call::syscall;
use super::control;
use super::errno::PreservedErrno;

const REGISTER_PRIVATE_EXPEDITED: c_int = 1 << 4;
const PRIVATE_EXPEDITED: c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED_RSEQ: c_int = 1 << 8;
const PRIVATE_EXPEDITED_RSEQ: c_int = 1 << 7;
const FLAG_CPU: c_int = 1;

/// False where the kernel refuses, and where the program asked for a filter, which might kill for the call.
fn membarrier(command: c_int, flags: c_int, cpu: c_int) -> bool {
    if control::filter_was_asked_for() {
        return false;
    }
    let _preserved = PreservedErrno::new();
    // SAFETY: takes no addresses.
    let returned: c_long = unsafe { syscall!(libc::SYS_membarrier, command, flags, cpu) };
    returned == 0
}

/// Declares that this process will use [`membarrier_private`]. Once per process (and again in a forked child). False
/// where the kernel (before 4.14) cannot.
pub fn membarrier_register_private() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED, 0, 0)
}

/// A full memory barrier between some two instructions of every other running thread of this process.
pub fn membarrier_private() -> bool {
    membarrier(PRIVATE_EXPEDITED, 0, 0)
}

/// Declares that this process will use [`membarrier_private_rseq`]. Once per process (and again in
/// a forked child). False where the kernel (before 5.10) cannot.
pub fn membarrier_register_rseq() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0)
}

/// Restarts every restartable sequence of this process that is under way, on `cpu` or everywhere,
/// and orders memory with it: what this thread wrote before is seen by any sequence that starts
/// afterwards, what a sequence committed before is seen by this thread.
pub fn membarrier_private_rseq(cpu: Option<u32>) -> bool {
    match cpu {
        Some(cpu) => membarrier(PRIVATE_EXPEDITED_RSEQ, FLAG_CPU, cpu as c_int),
        None => membarrier(PRIVATE_EXPEDITED_RSEQ, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_process_may_ask_for_barriers() {
        if membarrier_register_private() {
            assert!(membarrier_private());
        }
    }

    #[test]
    fn a_registered_process_may_restart_sequences() {
        if membarrier_register_rseq() {
            assert!(membarrier_private_rseq(None));
            assert!(membarrier_private_rseq(Some(0)));
        }
    }
}
