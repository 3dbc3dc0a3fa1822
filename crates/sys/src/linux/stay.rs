//! Staying loaded.
//!
//! A library that an allocator is a part of must not be unloaded: libc would call its fork handlers, threads its destructors, and the
//! allocator's own thread runs its code. The C library is linked so (`-z nodelete`); one that a Rust program's author makes
//! of a crate is not, so it opens itself once more.
//!
//! # Safety
//!
//! S1: `dladdr` and `dlopen` are weak symbols with the types of POSIX, null where libc has none, as in a static program.
#![allow(unsafe_code)]

use core::ffi::{c_char, c_int, c_void};
use core::mem::MaybeUninit;

use super::{PreservedErrno, control};

/// The address of a weak symbol, as an optional function. Not by `.weak`: the C library defines its own `dlopen` in the unit that this
/// becomes a part of.
macro_rules! weak {
    ($name:literal as $type:ty) => {{
        let address: *const c_void;
        // SAFETY: reads a weak symbol's address.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            core::arch::asm!(concat!(".weakref freestone_", $name, "_if_any, ", $name),
                 concat!("mov {0}, qword ptr [rip + freestone_", $name, "_if_any@GOTPCREL]"),
                 out(reg) address, options(nostack, preserves_flags));
        }
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            core::arch::asm!(concat!(".weakref freestone_", $name, "_if_any, ", $name),
                 concat!("adrp {0}, :got:freestone_", $name, "_if_any"),
                 concat!("ldr {0}, [{0}, :got_lo12:freestone_", $name, "_if_any]"),
                 out(reg) address, options(nostack, preserves_flags));
        }
        // SAFETY: S1: null is `None`, any other value a function of this type.
        unsafe { core::mem::transmute::<*const c_void, Option<$type>>(address) }
    }};
}

type Describe = unsafe extern "C" fn(*const c_void, *mut libc::Dl_info) -> c_int;
type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;

/// Has the library that this code is a part of stay loaded to the end, if it is one. Waits for libraries that are being loaded, and may
/// allocate: to be called while no lock is held.
#[cold]
#[inline(never)]
pub fn stay_loaded() {
    let own = stay_loaded as *const c_void;
    if control::is_in_program(own.addr()) {
        return;
    }
    let _preserved = PreservedErrno::new();
    let describe = weak!("dladdr" as Describe);
    let open = weak!("dlopen" as Open);
    let (Some(describe), Some(open)) = (describe, open) else { return };
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: S1: an address of ours and a place for the answer.
    if unsafe { describe(own, found.as_mut_ptr()) } == 0 {
        return;
    }
    // SAFETY: zeros are a value of it, and the call has filled it in.
    let name = unsafe { found.assume_init() }.dli_fname;
    // SAFETY: S1: the loader's own name of a library that is loaded: nothing of it is run.
    unsafe { open(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
}
