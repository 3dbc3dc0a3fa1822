//! Which regions may be written to, and how caches are stopped.
//!
//! # Safety
//!
//! A block is freed by whom it was handed to.
#![allow(unsafe_code)]

use std::time::Duration;

use super::*;
use crate::slow::Haul;
use crate::start::{self, Mode};

/// Whether there are caches of CPUs, one of them in use.
fn are_there() -> bool {
    // SAFETY: a block of ours.
    unsafe { crate::front::free(crate::front::malloc(1)) };
    if start::mode() != Mode::Cpu {
        freestone_testkit::skipped(format_args!("no restartable sequences"));
    }
    start::mode() == Mode::Cpu
}

#[test]
fn a_long_stop_is_followed_by_a_long_time_at_work() {
    if !are_there() {
        return;
    }
    let pause = Duration::from_millis(2);
    if with_stopped(|| std::thread::sleep(pause)).is_none() {
        return freestone_testkit::skipped(format_args!("caches cannot be stopped"));
    }
    assert!(!may_stop());
    // Those of other tests last, too.
    while !may_stop() {
        std::thread::sleep(pause);
    }
}

#[test]
fn what_a_haul_has_no_room_for_stays_in_its_cache() {
    if !are_there() {
        return;
    }
    let class = freestone_base::class_of(200).unwrap();
    let blocks: Vec<_> = (0..200).map(|_| crate::front::malloc(200)).collect();
    // SAFETY: blocks of ours.
    blocks.into_iter().for_each(|block| unsafe { crate::front::free(block) });
    let mut haul = Haul::with_room(4);
    let checked = with_stopped(|| {
        let held = |region: Region| region.header(class).len(class);
        let Some(region) = active_regions().find(|&region| held(region) > 7) else { return false };
        let before = held(region);
        assert!(!haul.take(region, class) && held(region) == before - 3);
        assert!(!haul.take(region, class) && held(region) == before - 3);
        haul.give_back();
        haul = Haul::with_room(1 << 13);
        let all = haul.take(region, class);
        assert_eq!((all, held(region)), (true, 0));
        true
    });
    haul.give_back();
    if checked != Some(true) {
        freestone_testkit::skipped(format_args!("caches cannot be stopped, or other tests emptied them"));
    }
}

#[test]
fn only_what_was_used_is_writable() {
    if !are_there() {
        return;
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
