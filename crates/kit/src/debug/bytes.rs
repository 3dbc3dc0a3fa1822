//! The bytes that tell a misuse: canaries around a block, a pattern in a freed one.
//!
//! # Safety
//!
//! *Mine*: every range passed in lies in a region of the allocator, on pages that are not closed, and is no part of a live
//! block but its guarded bytes.
#![allow(unsafe_code)]

/// What fresh blocks hold.
pub(super) const FRESH: u8 = 0xaa;
/// What freed blocks hold.
pub(super) const FREED: u8 = 0xdd;

/// The byte of the canary at an address.
fn canary_at(canary: u64, address: usize) -> u8 {
    canary.to_ne_bytes()[address % 8]
}

/// Writes the canary.
///
/// # Safety
///
/// *Mine*; nobody else uses the bytes.
pub(super) unsafe fn write_canary(start: *mut u8, len: usize, canary: u64) {
    for at in 0..len {
        // SAFETY: *mine*.
        let byte = unsafe { start.add(at) };
        // SAFETY: *mine*.
        unsafe { byte.write(canary_at(canary, byte.addr())) };
    }
}

/// The first byte, or the last, that is not the canary's.
///
/// # Safety
///
/// *Mine*, written by [`write_canary`].
pub(super) unsafe fn damaged_canary(start: *mut u8, len: usize, canary: u64, last: bool) -> Option<usize> {
    let damaged = |at: &usize| {
        // SAFETY: *mine*.
        let byte = unsafe { start.add(*at) };
        // Volatile: whoever damaged it did so behind the compiler's back.
        // SAFETY: *mine*.
        unsafe { byte.read_volatile() != canary_at(canary, byte.addr()) }
    };
    if last { (0..len).rev().find(damaged) } else { (0..len).find(damaged) }
}

/// Fills bytes.
///
/// # Safety
///
/// *Mine*, or a block that nobody uses yet or any more.
pub(super) unsafe fn fill(start: *mut u8, len: usize, with: u8) {
    // SAFETY: *mine*.
    unsafe { start.write_bytes(with, len) };
}

/// The first byte that is not what freed blocks hold.
///
/// # Safety
///
/// *Mine*, filled so.
pub(super) unsafe fn changed(start: *mut u8, len: usize) -> Option<usize> {
    (0..len).find(|&at| {
        // SAFETY: *mine*.
        let byte = unsafe { start.add(at) };
        // Volatile: as above.
        // SAFETY: *mine*.
        unsafe { byte.read_volatile() != FREED }
    })
}
