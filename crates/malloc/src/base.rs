//! Whether the program has replaced one of the four operators that the others are made of.
//!
//! The dynamic linker tells: it resolves a symbol to the program's definition, if there is one, else to ours. The answer
//! is kept in a byte each, so that the operators pay for one comparison. (A statically linked program that
//! replaces an operator does not link with ours at all.)
//!
//! # Safety
//!
//! The assembly reads addresses that the linkers put in place.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// What loads the address that the dynamic linker has for a symbol.
#[cfg(target_arch = "x86_64")]
macro_rules! load_address {
    ($name:literal) => {
        concat!("mov {0}, qword ptr [rip + ", $name, "@GOTPCREL]")
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! load_address {
    ($name:literal) => {
        concat!("adrp {0}, :got:", $name, "\nldr {0}, [{0}, :got_lo12:", $name, "]")
    };
}
pub(crate) use load_address;

/// The address that the dynamic linker has for a symbol, as a function pointer.
macro_rules! address {
    ($name:literal as $type:ty) => {{
        let address: *const core::ffi::c_void;
        // SAFETY: reads the linker's table.
        unsafe {
            core::arch::asm!($crate::base::load_address!($name), out(reg) address,
                 options(nostack, preserves_flags, pure, readonly));
        }
        // SAFETY: the operator of that name has this type.
        unsafe { core::mem::transmute::<*const core::ffi::c_void, $type>(address) }
    }};
}
pub(crate) use address;

const UNKNOWN: u8 = 0;
pub(crate) const OWN: u8 = 1;
const REPLACED: u8 = 2;

/// One of the four operators.
#[repr(C)]
pub(crate) struct Base {
    answer: AtomicU8,
    resolve: fn() -> usize,
}

/// `operator new(size_t)`.
pub(crate) static NEW: Base = Base::new(|| address!("_Znwm" as *const u8).addr());
/// `operator new(size_t, align_val_t)`.
pub(crate) static NEW_ALIGNED: Base = Base::new(|| address!("_ZnwmSt11align_val_t" as *const u8).addr());
/// `operator delete(void*)`.
pub(crate) static DELETE: Base = Base::new(|| address!("_ZdlPv" as *const u8).addr());
/// `operator delete(void*, align_val_t)`.
pub(crate) static DELETE_ALIGNED: Base = Base::new(|| address!("_ZdlPvSt11align_val_t" as *const u8).addr());

impl Base {
    /// Where the answer lies, in bytes, for assembly.
    pub(crate) const ANSWER: usize = core::mem::offset_of!(Base, answer);

    const fn new(resolve: fn() -> usize) -> Base {
        Base { answer: AtomicU8::new(UNKNOWN), resolve }
    }

    /// Whether the operator is ours.
    #[inline(always)]
    pub(crate) fn is_own(&self) -> bool {
        self.answer.load(Relaxed) == OWN || self.find_out()
    }

    #[cold]
    fn find_out(&self) -> bool {
        if self.answer.load(Relaxed) == UNKNOWN {
            let own = image().contains(&(self.resolve)());
            self.answer.store(if own { OWN } else { REPLACED }, Relaxed);
        }
        self.answer.load(Relaxed) == OWN
    }
}

/// What takes the address of a symbol of this library.
#[cfg(target_arch = "x86_64")]
macro_rules! at {
    ($register:literal, $name:literal) => {
        concat!("lea ", $register, ", [rip + ", $name, "]")
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! at {
    ($register:literal, $name:literal) => {
        concat!("adrp ", $register, ", ", $name, "\nadd ", $register, ", ", $register, ", :lo12:", $name)
    };
}

/// The addresses of this library, or of the static program that it is part of.
fn image() -> core::ops::Range<usize> {
    let start: usize;
    let end: usize;
    // SAFETY: takes the addresses of two symbols that every linker defines.
    unsafe {
        core::arch::asm!(
            ".hidden __ehdr_start",
            ".hidden _end",
            at!("{0}", "__ehdr_start"),
            at!("{1}", "_end"),
            out(reg) start, out(reg) end, options(nostack, preserves_flags, pure, nomem)
        );
    }
    start..end
}
