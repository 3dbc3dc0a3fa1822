//! The signals that the calling thread blocks.
//!
//! # Safety
//!
//! Raw calls with words of this frame.
#![allow(unsafe_code)]

use super::call::syscall;
use super::errno::PreservedErrno;

/// Bytes in a set of signals, to the kernel.
const BYTES: usize = 8;

fn set(signals: u64) -> u64 {
    let _preserved = PreservedErrno::new();
    let mut before = 0u64;
    // SAFETY: two words of that length.
    unsafe {
        syscall!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const signals, &raw mut before, BYTES)
    };
    before
}

/// Blocks all signals, also those of libc's own, and tells which were blocked before.
pub fn block_all_signals() -> u64 {
    set(u64::MAX)
}

/// Blocks just these.
pub fn block_signals(signals: u64) {
    set(signals);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_blocked_is_so_again() {
        let before = block_all_signals();
        // SIGKILL and SIGSTOP, numbers 9 and 19, cannot be blocked.
        assert_eq!(block_all_signals() | 1 << 8 | 1 << 18, u64::MAX);
        block_signals(before);
        assert_eq!(block_all_signals(), before);
        block_signals(before);
    }
}
