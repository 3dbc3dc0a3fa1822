use super::super::scratch::Scratch;
use super::*;

struct Asked(Residency);

// SAFETY: numbers only.
unsafe impl Zeroed for Asked {}

const PAGE: usize = 4096;

/// A mapping of so many pages, of which those that `touched` names are written to.
fn mapped(pages: usize, touched: impl Fn(usize) -> bool) -> &'static mut [u8] {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: just mapped, that long, and never unmapped.
    unsafe { libc::madvise(at, pages * PAGE, libc::MADV_NOHUGEPAGE) };
    // SAFETY: as above.
    let bytes = unsafe { core::slice::from_raw_parts_mut(at.cast::<u8>(), pages * PAGE) };
    (0..pages).filter(|&page| touched(page)).for_each(|page| bytes[page * PAGE] = 1);
    bytes
}

fn asked(scan: bool) -> Scratch<Asked> {
    let mut asked = Scratch::<Asked>::map().unwrap();
    asked.0.begin();
    if !scan {
        asked.0.end();
    }
    asked
}

#[test]
fn resident_parts_are_found_either_way() {
    let memory = mapped(2000, |page| page % 7 < 2);
    let start = memory.as_ptr().addr();
    for scan in [true, false] {
        let mut asked = asked(scan);
        let expected = (0..2000).filter(|page| page % 7 < 2).count() * PAGE;
        if scan {
            assert_eq!(asked.0.bytes(start, start + 2000 * PAGE), expected);
        }
        for page in (0..1500).step_by(13) {
            let expected = if page % 7 < 2 { PAGE - 100 } else { 0 };
            let at = start + page * PAGE;
            assert_eq!(asked.0.bytes(at + 100, at + PAGE), expected, "{scan} {page}");
        }
        asked.0.end();
    }
}

#[test]
fn runs_are_clipped_to_the_question_and_come_in_order() {
    let memory = mapped(64, |page| (8..24).contains(&page) || page == 40);
    let start = memory.as_ptr().addr();
    for scan in [true, false] {
        let mut asked = asked(scan);
        let mut runs = Vec::new();
        asked.0.each(start + 10, start + 50 * PAGE, |from, to| runs.push((from - start, to - start)));
        assert_eq!(runs, [(8 * PAGE, 24 * PAGE), (40 * PAGE, 41 * PAGE)], "{scan}");
        asked.0.end();
    }
}

#[test]
fn what_is_only_read_is_not_resident_where_the_kernel_can_tell() {
    let memory = mapped(16, |_| false);
    assert!(memory.iter().all(|&byte| byte == 0));
    let start = memory.as_ptr().addr();
    let mut asked = asked(true);
    if asked.0.file != 0 {
        assert_eq!(asked.0.bytes(start, start + 16 * PAGE), 0);
    }
    asked.0.end();
}

#[test]
fn addresses_that_are_not_mapped_are_not_resident() {
    for scan in [true, false] {
        // Another test may map into the hole meanwhile, and even write to all of it.
        let found = (0..20).map(|_| with_a_hole(scan)).find(|bytes| (6 * PAGE..8 * PAGE).contains(bytes));
        assert!(found.is_some(), "{scan}");
    }
}

/// What is found resident of eight pages of which two were given up.
fn with_a_hole(scan: bool) -> usize {
    let memory = mapped(8, |_| true);
    let start = memory.as_ptr().addr();
    // SAFETY: a part of the test's own mapping, not used again.
    unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(start + 2 * PAGE), 2 * PAGE) };
    let mut asked = asked(scan);
    let bytes = asked.0.bytes(start, start + 8 * PAGE);
    asked.0.end();
    bytes
}
