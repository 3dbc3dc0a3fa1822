//! Registering the area for restartable sequences, where libc has not done so.
//!
//! # Safety
//!
//! The kernel writes to a registered area for as long as its thread lives: both functions are
//! unsafe and leave that to the caller.
#![allow(unsafe_code)]

use super::call::syscall;
use super::errno::{Errno, PreservedErrno};

const UNREGISTER: i32 = 1;

/// # Safety
/// As for the public functions.
unsafe fn rseq(area: *mut u8, len: u32, flags: i32, signature: u32) -> Result<(), Errno> {
    let _preserved = PreservedErrno::new();
    // SAFETY: the caller's promise about the area.
    let returned = unsafe { syscall!(libc::SYS_rseq, area, len, flags, signature) };
    if returned == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// Where the program asked for a filter, which might kill for the call: a thread does without, and one that ends takes its area with it.
fn allowed() -> Result<(), Errno> {
    if super::control::filter_was_asked_for() { Err(Errno(libc::EPERM)) } else { Ok(()) }
}

/// Registers `area` of `len` bytes for the calling thread. `EBUSY` when one is registered already, `EPERM` when the program asked for a filter.
///
/// # Safety
/// `area` is a `struct rseq` of `len` bytes, aligned to 32 bytes (more where the kernel's
/// auxiliary vector says so), used for nothing else, and stays valid until it is unregistered or
/// the thread has ended. `signature` precedes the abort handler of every sequence that the thread
/// will run.
pub unsafe fn rseq_register(area: *mut u8, len: u32, signature: u32) -> Result<(), Errno> {
    allowed()?;
    // SAFETY: the caller's promise.
    unsafe { rseq(area, len, 0, signature) }
}

/// The same for an area that was unregistered a moment ago, whoever asked for a filter meanwhile: a child of `vfork` may have done so for itself.
///
/// # Safety
/// As for [`rseq_register`].
pub unsafe fn rseq_register_again(area: *mut u8, len: u32, signature: u32) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { rseq(area, len, 0, signature) }
}

/// Undoes [`rseq_register`] for the calling thread. `EPERM` when the program asked for a filter.
///
/// # Safety
/// The arguments are those of the registration, and the thread is in no restartable sequence.
pub unsafe fn rseq_unregister(area: *mut u8, len: u32, signature: u32) -> Result<(), Errno> {
    allowed()?;
    // SAFETY: the caller's promise.
    unsafe { rseq(area, len, UNREGISTER, signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Area([u8; 64]);

    #[test]
    fn a_second_registration_is_refused_or_the_first_can_be_undone() {
        let mut area = Area([0; 64]);
        let at = area.0.as_mut_ptr();
        // SAFETY: the area outlives its registration below and is large enough for the first ABI.
        let registered = unsafe { rseq_register(at, 32, 0x5305_3053) };
        if registered.is_ok() {
            // SAFETY: the arguments of the registration.
            assert!(unsafe { rseq_unregister(at, 32, 0x5305_3053) }.is_ok());
        }
    }
}
