//! Whether pages are read or written, as the kernel's page tables know.
//!
//! The kernel tells so of mappings only, not of single pages. But a page whose advice differs from its neighbours' is a mapping of its
//! own: so pages are *set apart*, and `Referenced` of [`mappings`](super::mappings) is then each one's.
//!
//! A processor that has a page's translation at hand does not look at the page table, and notes nothing there; nor does the kernel make it
//! forget translations when it clears the notes. So all are dropped then, as the kernel does where more pages than a
//! few lose a permission.
//!
//! # Safety
//!
//! - Each call passes terminated strings, bytes of its own frame, or a mapping made here, which nobody else knows.
//! - The advice given concerns reading ahead and the order in which pages are swapped out; it changes no contents.
#![allow(unsafe_code)]

use super::call::syscall;
use super::errno::PreservedErrno;
use super::shared::{Descriptor, outcome};

/// What a page is told from its neighbours by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Apart {
    /// As everybody is.
    Not,
    /// One kind.
    Even,
    /// Another, for the page next to it.
    Odd,
}

/// Sets a range of whole OS pages apart, or has it be as all others again. Harmless where nothing is mapped.
pub fn set_apart(addr: usize, len: usize, apart: Apart) {
    let _preserved = PreservedErrno::new();
    let advice = match apart {
        Apart::Not => libc::MADV_NORMAL,
        Apart::Even => libc::MADV_RANDOM,
        Apart::Odd => libc::MADV_SEQUENTIAL,
    };
    // SAFETY: see above.
    unsafe { syscall!(libc::SYS_madvise, addr, len, advice) };
}

/// Has the kernel forget which pages of this process were referenced; false where it does not know such things. O(page tables), and the
/// processor's notes of them are dropped.
pub fn forget_references() -> bool {
    let _preserved = PreservedErrno::new();
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: a terminated string.
    let file =
        unsafe { syscall!(libc::SYS_openat, libc::AT_FDCWD, c"/proc/self/clear_refs".as_ptr(), flags, 0) };
    let Ok(file) = Descriptor::from(file) else { return false };
    // SAFETY: one byte of a constant.
    let written = outcome(unsafe { syscall!(libc::SYS_write, file.0, c"1".as_ptr(), 1) });
    written.is_ok() && drop_translations()
}

/// Has every processor forget the translations of this process's addresses.
fn drop_translations() -> bool {
    /// More than any kernel drops one by one.
    const PAGES: usize = 1040;
    let page = super::process::auxiliary_value(libc::AT_PAGESZ).max(4096);
    let len = PAGES * page;
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let none: libc::c_long = -1;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapped = unsafe { syscall!(libc::SYS_mmap, 0usize, len, access, flags, none, 0usize) };
    let Ok(at) = outcome(mapped) else { return false };
    // In huge pages it would be few.
    // SAFETY: the mapping made above.
    unsafe { syscall!(libc::SYS_madvise, at, len, libc::MADV_NOHUGEPAGE) };
    for place in (at..at + len).step_by(page) {
        // SAFETY: within the mapping made above.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(place).write_volatile(1) };
    }
    // SAFETY: the mapping made above, which is only given back from now on.
    let dropped = unsafe { syscall!(libc::SYS_mprotect, at, len, libc::PROT_READ) };
    // SAFETY: the mapping made above.
    unsafe { syscall!(libc::SYS_munmap, at, len) };
    outcome(dropped).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::mappings::{Detail, mappings};
    use super::*;
    use crate::System;

    #[test]
    fn pages_set_apart_tell_of_themselves() {
        const PAGE: usize = 4096;
        let system = crate::Linux::new();
        let len = 4 << 20;
        let at = system.map(len).unwrap();
        system.ask_for_huge_pages(at, len, false);
        let byte = |page: usize| core::ptr::with_exposed_provenance_mut::<u8>(at + page * PAGE);
        // SAFETY: mapped above.
        (0..64).for_each(|page| unsafe { byte(page).write(1) });
        for page in 8..16 {
            set_apart(at + page * PAGE, PAGE, if page % 2 == 0 { Apart::Even } else { Apart::Odd });
        }
        if !forget_references() {
            freestone_testkit::skipped(format_args!("this kernel does not tell"));
            return;
        }
        // SAFETY: as above.
        unsafe { byte(9).write(2) };
        // SAFETY: as above.
        unsafe { byte(12).read_volatile() };
        let (mut buffer, mut seen) = ([0; 4096], [None; 64]);
        assert!(mappings(&mut buffer, Detail::Sizes, |mapping| {
            let page = mapping.start.wrapping_sub(at) / PAGE;
            if mapping.end - mapping.start == PAGE && page < 64 {
                seen[page] = Some(mapping.referenced > 0);
            }
        }));
        for (page, seen) in seen.iter().enumerate().take(16).skip(8) {
            assert_eq!(*seen, Some(page == 9 || page == 12), "{page}");
        }
        set_apart(at + 8 * PAGE, 8 * PAGE, Apart::Not);
    }
}
