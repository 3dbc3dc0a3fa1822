//! How many CPU numbers there can be.
//!
//! # Safety
//!
//! Raw file calls and the affinity mask of this thread, both into buffers of this frame.
#![allow(unsafe_code)]

use super::call::syscall;
use super::read_file::beginning;

/// One more than the largest CPU number this machine can ever have; at least 1.
///
/// From the list of possible CPUs where `/sys` is mounted, else from the length of the kernel's CPU masks, which is at
/// least as large. Never from a mask itself: affinity may change.
pub fn possible_cpus() -> usize {
    let mut buffer = [0u8; 256];
    beginning(c"/sys/devices/system/cpu/possible", &mut buffer)
        .filter(|list| list.len() < 256)
        .and_then(end_of_cpu_list)
        .or_else(bits_of_cpu_mask)
        .unwrap_or(MASK_BYTES * 8)
}

/// One more than the largest number in a list like `0-3,8,10-11`.
fn end_of_cpu_list(list: &[u8]) -> Option<usize> {
    let mut largest = None;
    for range in list.trim_ascii().split(|&byte| byte == b',') {
        let last = range.rsplit(|&byte| byte == b'-').next()?;
        let number: usize = core::str::from_utf8(last).ok()?.parse().ok()?;
        largest = largest.max(Some(number));
    }
    largest?.checked_add(1)
}

/// Longer than the masks of any kernel there is.
const MASK_BYTES: usize = 1024;

/// The system call, unlike libc's function, returns how many bytes the kernel's mask has.
fn bits_of_cpu_mask() -> Option<usize> {
    let mut mask = [0u8; MASK_BYTES];
    let _preserved = super::PreservedErrno::new();
    // SAFETY: the mask is ours and as long as stated.
    let returned = unsafe { syscall!(libc::SYS_sched_getaffinity, 0, MASK_BYTES, mask.as_mut_ptr()) };
    usize::try_from(returned).ok().filter(|&bytes| bytes > 0).map(|bytes| bytes * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_to_their_largest_number() {
        assert_eq!(end_of_cpu_list(b"0\n"), Some(1));
        assert_eq!(end_of_cpu_list(b"0-3\n"), Some(4));
        assert_eq!(end_of_cpu_list(b"0-3,8,10-11"), Some(12));
        assert_eq!(end_of_cpu_list(b""), None);
        assert_eq!(end_of_cpu_list(b"0-x"), None);
    }

    #[test]
    fn the_mask_is_no_shorter_than_the_list() {
        let cpus = std::thread::available_parallelism().unwrap().get();
        assert!(bits_of_cpu_mask().unwrap() >= possible_cpus() && possible_cpus() >= cpus);
    }
}
