//! The process's end: the report, when `report:DIR` asks for it, the heap profile, when `heap_profile:DIR` does, and the
//! control's files, which go.
//!
//! Both are seen to by the library's finaliser and, because many programs leave without running finalisers, by `_exit`
//! and `_Exit` too, which are wrapped for this.
//!
//! # Safety
//!
//! The finaliser has the type that the dynamic loader calls; the system call that ends the process does not return.
#![allow(unsafe_code)]

use core::ffi::c_int;

extern "C" fn at_end() {
    freestone::raw::debug_at_end();
    last_things();
}

fn last_things() {
    if !freestone::raw::may_write_at_end() {
        return;
    }
    freestone::raw::write_report();
    freestone::raw::write_heap_profile();
    freestone::control::at_exit();
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_END: extern "C" fn() = at_end;

/// `_exit`: ends the process at once, after the report.
#[unsafe(no_mangle)]
pub extern "C" fn _exit(status: c_int) -> ! {
    last_things();
    freestone_sys::linux::control::exit_now(status)
}

/// `_Exit`, the same by another name.
#[unsafe(no_mangle)]
pub extern "C" fn _Exit(status: c_int) -> ! {
    _exit(status)
}
