//! What a library without `std` has to bring: the end of a panic, and a name for the unwinder.
//!
//! # Safety
//!
//! The assembly defines one symbol whose code is never run.
#![allow(unsafe_code)]

use freestone_sys::linux::{control, write_all};

// The precompiled `core` names the unwinder's personality routine, which belongs to `std`. Nothing of ours unwinds, so
// it is never called. Hidden, so that it stands in for no other library's; weak, beside a `std` in a static program.
core::arch::global_asm!(
    ".pushsection .text.rust_eh_personality, \"ax\", @progbits",
    ".weak rust_eh_personality",
    ".hidden rust_eh_personality",
    ".type rust_eh_personality, @function",
    "rust_eh_personality:",
    "ud2",
    ".popsection",
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    write_all(2, b"freestone: internal error\n");
    control::abort()
}
