//! What a library without `std` has to bring: the end of a panic, and a name for the unwinder.
//!
//! # Safety
//!
//! The assembly defines one function that returns a constant, and two constants.
#![allow(unsafe_code)]

use freestone_sys::linux::{control, write_all};

// The precompiled `core` and `C-unwind` functions name the unwinder's personality routine, which belongs to `std`. No
// frame of ours has anything to do when a C++ exception passes: the answer is _URC_CONTINUE_UNWIND. Hidden, so
// that it stands in for no other library's; weak, beside a `std` in a static program.
core::arch::global_asm!(
    ".pushsection .text.rust_eh_personality, \"ax\", @progbits",
    ".weak rust_eh_personality",
    ".hidden rust_eh_personality",
    ".type rust_eh_personality, @function",
    "rust_eh_personality:",
    #[cfg(target_arch = "x86_64")]
    "mov eax, 8",
    #[cfg(target_arch = "aarch64")]
    "mov w0, #8",
    "ret",
    ".popsection",
    // Compilers reach the routine through a word in `.data`. This one lies among the constants that need relocating; the
    // build script puts it in the other's place.
    ".pushsection .data.rel.ro.freestone_personality, \"aw\", @progbits",
    ".p2align 3",
    ".hidden freestone_personality",
    ".globl freestone_personality",
    "freestone_personality:",
    ".quad rust_eh_personality",
    ".popsection",
    // What libc knows the library by, where the C compiler's start code does not bring it: only its address counts.
    ".weak __dso_handle",
    ".hidden __dso_handle",
    ".pushsection .rodata.freestone_dso_handle, \"a\", @progbits",
    "__dso_handle:",
    ".byte 0",
    ".popsection",
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    write_all(2, b"freestone: internal error\n");
    control::abort()
}
