//! Whether the allocator's code lies in an object of its own, whose frames nobody wants to see at the beginning of a stack. A file
//! can be called anything, so the linker says it: the library defines a symbol (`crates/malloc/build.rs`), a program that the allocator
//! is a part of does not.
//!
//! # Safety
//!
//! The symbol is only looked for, not read.
#![allow(unsafe_code)]

/// Whether `range` holds the allocator's code, and nobody else's. O(1).
pub(crate) fn is_range(range: core::ops::Range<usize>) -> bool {
    range.contains(&(is_range as *const () as usize)) && is_apart()
}

/// Whether the object that the allocator's code lies in is the library.
pub(crate) fn is_apart() -> bool {
    let at: usize;
    // SAFETY: a weak symbol's address, null where nobody defines it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(".weak freestone_library", "mov {0}, qword ptr [rip + freestone_library@GOTPCREL]",
                         out(reg) at, options(nostack, preserves_flags, pure, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(".weak freestone_library", "adrp {0}, :got:freestone_library",
                         "ldr {0}, [{0}, :got_lo12:freestone_library]",
                         out(reg) at, options(nostack, preserves_flags, pure, readonly));
    }
    at != 0
}
