//! How many CPU numbers there can be.
//!
//! # Safety
//!
//! Raw file calls on a buffer of this frame, and the affinity mask of this thread into a set of
//! this frame.
#![allow(unsafe_code)]

use core::mem::{size_of, zeroed};

use super::process::read_file;

/// One more than the largest CPU number this machine can ever have; at least 1.
///
/// From the list of possible CPUs where `/sys` is mounted, else from the thread's affinity.
pub fn possible_cpus() -> usize {
    let mut buffer = [0u8; 256];
    read_file(c"/sys/devices/system/cpu/possible", &mut buffer)
        .and_then(end_of_cpu_list)
        .or_else(end_of_affinity)
        .unwrap_or(1)
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

fn end_of_affinity() -> Option<usize> {
    // SAFETY: a CPU set is an array of integers; all zero is a valid one.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    let _preserved = super::PreservedErrno::new();
    // SAFETY: the set is ours and as long as stated.
    let returned = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if returned != 0 {
        return None;
    }
    // SAFETY: CPU_ISSET reads within the set for every number below CPU_SETSIZE.
    let is_set = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    (0..libc::CPU_SETSIZE as usize).rev().find(is_set).map(|cpu| cpu + 1)
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
    fn both_sources_know_at_least_the_cpu_we_run_on() {
        assert!(
            possible_cpus()
                >= end_of_affinity().unwrap().min(std::thread::available_parallelism().unwrap().get())
        );
    }
}
