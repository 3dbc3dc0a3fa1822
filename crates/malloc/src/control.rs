//! The control, opened by a call: `docs/control.md`.
//!
//! # Safety
//!
//! The names are ours alone, and the functions take no pointers.
#![allow(unsafe_code)]

use core::ffi::c_int;

use freestone_sys::linux::Errno;

/// Opens the control of this process: a shared page of figures and a socket for commands, private to the user. 0 when it is
/// open, else -1 with `errno`. As with `getenv`, no other thread may change the environment meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_control_open() -> c_int {
    match freestone::control::open() {
        Ok(()) => 0,
        Err(reason) => {
            Errno(reason.errno()).set();
            -1
        }
    }
}

/// Closes it and removes its files. Harmless when it is not open.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_control_close() {
    freestone::control::close();
}
