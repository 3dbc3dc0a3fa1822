//! Which regions may be written to.
//!
//! # Safety
//!
//! A block is freed by whom it was handed to.
#![allow(unsafe_code)]

use super::*;
use crate::start::{self, Mode};

#[test]
fn only_what_was_used_is_writable() {
    // SAFETY: a block of ours.
    unsafe { crate::front::free(crate::front::malloc(1)) };
    if start::mode() != Mode::Cpu {
        return freestone_testkit::skipped(format_args!("no restartable sequences"));
    }
    let (first, end) = memory();
    let real = REAL.load(Ordering::Relaxed).addr();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let writable: Vec<_> = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).unwrap().starts_with("rw"))
        .map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap())
        .map(|(from, to)| {
            let number = |digits| usize::from_str_radix(digits, 16).unwrap();
            (number(from).max(first), number(to).min(end))
        })
        .filter(|(from, to)| from < to)
        .collect();
    let bytes: usize = writable.iter().map(|(from, to)| to - from).sum();
    // Other tests use caches meanwhile.
    assert!(bytes >= REGION_SIZE && bytes <= regions().count() * REGION_SIZE, "{writable:x?}");
    let zeros = real + count() * REGION_SIZE;
    assert!(writable.iter().all(|&(from, to)| from >= real && to <= zeros), "{writable:x?}");
}
