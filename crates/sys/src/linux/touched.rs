//! How far a range of memory was touched, and where.
//!
//! # Safety
//!
//! `mincore` gets a range of whole OS pages, of which it only tells, and a local buffer with a byte for each.
#![allow(unsafe_code)]

use super::call::syscall;
use super::control::{self, may_ask_what_is_resident};
use super::errno::PreservedErrno;

/// Pages asked about at once.
const AT_ONCE: usize = 1024;

/// `mincore`; false where the system does not tell, or a filter might kill for the question.
///
/// # Safety
/// `into` has a byte for each OS page of the range.
pub(super) unsafe fn mincore(addr: usize, len: usize, into: *mut u8) -> bool {
    // SAFETY: the caller's promise.
    !control::may_kill_a_service() && unsafe { syscall!(libc::SYS_mincore, addr, len, into) } == 0
}

/// The end of the last OS page between `start` and `end` that is resident; `start` where none is. `page` is the size of an OS
/// page. Where the system does not tell, or may not be asked, `end`. O(pages behind it).
pub fn touched_end(start: usize, end: usize, page: usize) -> usize {
    if !may_ask_what_is_resident() {
        return end;
    }
    let _preserved = PreservedErrno::new();
    let first = start / page * page;
    let mut until = end.next_multiple_of(page);
    let mut resident = [0u8; AT_ONCE];
    while until > first {
        let from = until.saturating_sub(AT_ONCE * page).max(first);
        let pages = (until - from) / page;
        // SAFETY: whole pages, and a byte for each of them.
        let told = unsafe { mincore(from, until - from, resident.as_mut_ptr()) };
        if !told {
            return end;
        }
        if let Some(last) = resident.iter().take(pages).rposition(|&byte| byte & 1 != 0) {
            return (from + (last + 1) * page).clamp(start, end);
        }
        until = from;
    }
    start
}

/// Calls `visit` for each run of OS pages between `start` and `end`, both multiples of `page`, that are all resident or all
/// not, in order, with its start, its end and which. Where the system does not tell, or may not be asked, all are. What is not resident may lie in
/// swap space. O(pages).
pub fn each_run(start: usize, end: usize, page: usize, mut visit: impl FnMut(usize, usize, bool)) {
    if !may_ask_what_is_resident() {
        let whole = (end - start) / page * page;
        if whole > 0 {
            visit(start, start + whole, true);
        }
        return;
    }
    let _preserved = PreservedErrno::new();
    let mut resident = [0u8; AT_ONCE];
    let mut from = start;
    while from + page <= end {
        let pages = ((end - from) / page).min(AT_ONCE);
        // SAFETY: whole pages, and a byte for each of them.
        let told = unsafe { mincore(from, pages * page, resident.as_mut_ptr()) };
        if !told {
            resident.fill(1);
        }
        for run in resident[..pages].chunk_by(|one, next| one & 1 == next & 1) {
            let to = from + run.len() * page;
            visit(from, to, run[0] & 1 != 0);
            from = to;
        }
    }
}

/// Whether a mapped range of whole OS pages seems to have been touched all over: whether the pages are resident that one looks at, evenly
/// spread. Where the system does not tell, or may not be asked, no. O(1).
pub fn seems_touched(start: usize, len: usize, page: usize) -> bool {
    const LOOKS: usize = 8;
    if !may_ask_what_is_resident() {
        return false;
    }
    let _preserved = PreservedErrno::new();
    let step = len / LOOKS;
    (0..LOOKS).all(|look| {
        let mut resident = 0u8;
        let at = (start + look * step + step / 2) / page * page;
        // SAFETY: one whole page, and a byte for it.
        let told = unsafe { mincore(at, page, &raw mut resident) };
        told && resident & 1 != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::System;

    #[test]
    fn what_was_touched_is_found() {
        let system = crate::Linux::new();
        let len = 9 << 20;
        let at = system.map(len).unwrap();
        system.ask_for_huge_pages(at, len, false);
        assert_eq!(touched_end(at + 64, at + len, 4096), at + 64);
        let byte = |place: usize| core::ptr::with_exposed_provenance_mut::<u8>(at + place);
        // SAFETY: mapped above.
        unsafe { byte(3 << 20).write(1) };
        assert_eq!(touched_end(at + 64, at + len - 100, 4096), at + (3 << 20) + 4096);
        // SAFETY: as above.
        unsafe { byte(len - 1).write(1) };
        assert_eq!(touched_end(at + 64, at + len - 100, 4096), at + len - 100);
        // Not mapped: nothing is told.
        assert_eq!(touched_end(4096, 8192, 4096), 8192);
    }

    #[test]
    fn resident_bytes_are_those_of_the_touched_pages() {
        let system = crate::Linux::new();
        let len = 4 << 20;
        let at = system.map(len).unwrap();
        system.ask_for_huge_pages(at, len, false);
        assert_eq!(system.resident_bytes(at, len), 0);
        for place in [0, 1 << 20, len - 1] {
            let byte = core::ptr::with_exposed_provenance_mut::<u8>(at + place);
            // SAFETY: mapped above.
            unsafe { byte.write(1) };
        }
        assert_eq!(system.resident_bytes(at, len), 3 * system.os_page_size());
        // SAFETY: mapped above, used by nobody else.
        unsafe { system.release(at, len) }.unwrap();
    }

    #[test]
    fn clearing_leaves_zeros_and_drops_what_is_hardly_resident() {
        let system = crate::Linux::new();
        let (len, page) = (4 << 20, system.os_page_size());
        let at = system.map(len).unwrap();
        system.ask_for_huge_pages(at, len, false);
        let byte = |place: usize| core::ptr::with_exposed_provenance_mut::<u8>(at + place);
        // SAFETY: mapped above.
        let touch = |place: usize| unsafe { byte(place).write(1) };
        // SAFETY: as above.
        let is_zero = || (0..len).step_by(page / 2).all(|place| unsafe { byte(place).read() } == 0);

        [0, page, 3 << 20, len - 1].into_iter().for_each(touch);
        // SAFETY: mapped above, and nobody relies on it, here and below.
        assert_eq!(unsafe { system.clear(at, len) }, 4 * page);
        // What the last block used of its beginning, the next will.
        assert_eq!(
            (system.resident_bytes(at, len), system.resident_bytes(at, 2 * page)),
            (2 * page, 2 * page)
        );
        [page, 3 << 20, len - 1].into_iter().for_each(touch);
        // Only what is not at the beginning.
        // SAFETY: as above.
        assert_eq!(unsafe { system.clear(at + 2 * page, len - 2 * page) }, 2 * page);
        assert_eq!(system.resident_bytes(at + 2 * page, len - 2 * page), 0);
        // SAFETY: as above.
        unsafe { system.clear(at, 2 * page) };
        // Reading makes pages resident, too.
        assert!(is_zero() && system.resident_bytes(at, len) == len);
        // SAFETY: as above.
        unsafe { system.purge(at, len) }.unwrap();
        // A part that is not of whole pages is written, and nothing beside it is.
        [0, page / 2, page].into_iter().for_each(touch);
        // SAFETY: as above.
        assert_eq!(unsafe { system.clear(at + page / 2, page / 2) }, page / 2);
        // SAFETY: as above.
        assert_eq!([0, page / 2, page].map(|place| unsafe { byte(place).read() }), [1, 0, 1]);
        // Mostly resident: written, and stays.
        (0..len / 2).step_by(page).for_each(touch);
        // SAFETY: as above.
        assert_eq!(unsafe { system.clear(at, len) }, len / 2);
        assert_eq!(system.resident_bytes(at, len), len);
        assert!(is_zero());
        // Locked: nothing is dropped.
        // SAFETY: as above.
        unsafe { system.purge(at, len) }.unwrap();
        [0, len - 1].into_iter().for_each(touch);
        // SAFETY: the range is mapped.
        if unsafe { libc::mlock(byte(0).cast(), len) } == 0 {
            // SAFETY: as above.
            unsafe { system.clear(at, len) };
            assert!(is_zero());
        }
        // SAFETY: mapped above, used by nobody else.
        unsafe { system.release(at, len) }.unwrap();
    }

    #[test]
    fn a_range_seems_touched_when_it_was_all_over() {
        let system = crate::Linux::new();
        let len = 2 << 20;
        let at = system.map(len).unwrap();
        system.ask_for_huge_pages(at, len, false);
        let touch = |place: usize| {
            let byte = core::ptr::with_exposed_provenance_mut::<u8>(at + place);
            // SAFETY: mapped above.
            unsafe { byte.write(1) };
        };
        touch(0);
        touch(len - 1);
        assert!(!seems_touched(at, len, 4096));
        (0..len).step_by(4096).for_each(touch);
        assert!(seems_touched(at, len, 4096));
        // Not mapped: nothing is told.
        assert!(!seems_touched(4096, 65536, 4096));
    }

    #[test]
    fn runs_tell_what_is_resident() {
        let system = crate::Linux::new();
        let len = 9 << 20;
        let at = system.map(len).unwrap();
        system.ask_for_huge_pages(at, len, false);
        let runs = || {
            let mut runs = Vec::new();
            each_run(at, at + len, 4096, |from, to, resident| runs.push((from - at, to - at, resident)));
            runs
        };
        assert!(runs().iter().all(|run| !run.2));
        for place in [0, 4096, 5 << 20, len - 1] {
            // SAFETY: mapped above.
            unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at + place).write(1) };
        }
        let resident: Vec<_> = runs().into_iter().filter(|run| run.2).collect();
        let expected = [(0, 8192), (5 << 20, (5 << 20) + 4096), (len - 4096, len)];
        assert_eq!(resident, expected.map(|(from, to)| (from, to, true)));
        assert!(runs().windows(2).all(|pair| pair[0].1 == pair[1].0));
        let mut told = Vec::new();
        each_run(4096, 8192, 4096, |from, to, resident| told.push((from, to, resident)));
        assert_eq!(told, [(4096, 8192, true)]);
    }
}
