//! The sized calls of C23.
//!
//! C's `realloc` may leave a block in a larger class than its size says, so these look the block up, as `free` does;
//! the size is the caller's promise, not ours to rely on; hardened mode checks it.
//!
//! # Safety
//!
//! As `c.rs`.
#![allow(unsafe_code)]

use freestone::raw::{self, Call};

freestone::define_free! {
    /// C23 `free_sized`; the size is looked at in hardened mode.
    ///
    /// # Safety
    /// `block` is null or a live block of `size` bytes.
    free_sized, "free_sized", raw::free_sized_slow, size
}

/// C23 `free_aligned_sized`.
///
/// # Safety
/// `block` is null or a live block of `size` bytes aligned to `align`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(block: *mut u8, align: usize, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { raw::free_by(block, Call::Malloc, Some(size), Some(align)) }
}
