//! Blocks cleared and looked at 64 bytes at a time, by AVX-512, where the processor has it.
//!
//! Only the registers from `zmm16` on are used: after them, instructions that know no wide ones are as fast as ever.
//!
//! # Safety
//!
//! G1 of `marks.rs`. V1: whoever calls one of the unsafe functions has seen [`SETTINGS`](super::settings::SETTINGS)`.wide()`, which
//! is [`is_here`].
#![allow(unsafe_code)]

use core::arch::asm;

/// What the processor says of itself: `eax`, `ebx` and `ecx` of a leaf, the first of its parts.
fn cpuid(leaf: u32) -> (u32, u32, u32) {
    let (eax, ebx, ecx): (u32, u64, u32);
    // SAFETY: every x86-64 processor has the instruction. The compiler keeps `rbx` for itself, so it is put back.
    unsafe {
        asm!(
            "mov {rbx:r}, rbx",
            "cpuid",
            "xchg {rbx:r}, rbx",
            rbx = out(reg) ebx,
            inout("eax") leaf => eax,
            inout("ecx") 0 => ecx,
            out("edx") _,
            options(nomem, nostack, preserves_flags)
        );
    }
    (eax, ebx as u32, ecx)
}

/// Whether the processor has what is used here, and the system saves its registers.
pub(super) fn is_here() -> bool {
    /// Leaf 1, `ecx`: the system has said what it saves.
    const SAYS: u32 = 1 << 27;
    /// What it has to save: `xmm`, `ymm`, the masks, and both parts of `zmm`.
    const SAVED: u32 = 0xe6;
    /// Leaf 7, `ebx`: BMI2, AVX-512 F, DQ, BW and VL.
    const NEEDED: u32 = 1 << 8 | 1 << 16 | 1 << 17 | 1 << 30 | 1 << 31;
    /// Leaf 7, `ecx`: VBMI2. The processors before it become slower all over for a while after such instructions.
    const YOUNG: u32 = 1 << 6;
    if cpuid(0).0 < 7 || cpuid(1).2 & SAYS == 0 {
        return false;
    }
    let saved: u32;
    // SAFETY: the register is there where the bit is set.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    let (_, has, more) = cpuid(7);
    saved & SAVED == SAVED && has & NEEDED == NEEDED && more & YOUNG != 0
}

/// Has what lies from `first` to 64 bytes behind `last`, which is above, read as zeros. O(bytes).
///
/// # Safety
/// G1 of those bytes, V1.
#[inline(always)]
pub(super) unsafe fn clear_lines(first: usize, last: usize) {
    // SAFETY: G1.
    unsafe {
        asm!(
            "vpxord xmm16, xmm16, xmm16",
            "2:",
            "vmovdqu64 zmmword ptr [{at}], zmm16",
            "add {at}, 64",
            "cmp {at}, {last}",
            "jb 2b",
            "vmovdqu64 zmmword ptr [{last}], zmm16",
            at = inout(reg) first => _,
            last = in(reg) last,
            out("zmm16") _,
            options(nostack)
        );
    }
}

/// Whether what lies from `first` to 64 bytes behind `last`, which is above, reads as zeros. O(bytes).
///
/// # Safety
/// G1 of those bytes, V1.
#[inline(always)]
pub(super) unsafe fn is_zero_lines(first: usize, last: usize) -> bool {
    let found: u32;
    // SAFETY: G1.
    unsafe {
        asm!(
            "vmovdqu64 zmm16, zmmword ptr [{last}]",
            "2:",
            "vporq zmm16, zmm16, zmmword ptr [{at}]",
            "add {at}, 64",
            "cmp {at}, {last}",
            "jb 2b",
            "vptestmq k1, zmm16, zmm16",
            "kmovb {found:e}, k1",
            at = inout(reg) first => _,
            last = in(reg) last,
            found = out(reg) found,
            out("zmm16") _, out("k1") _,
            options(nostack, readonly)
        );
    }
    found == 0
}

/// Has `len` bytes from `first` on, both multiples of 64, read as zeros, past the processor's caches. O(bytes).
///
/// # Safety
/// G1 of those bytes, V1.
pub(super) unsafe fn clear_apart(first: usize, len: usize) {
    // SAFETY: G1. The fence orders what the caches do not.
    unsafe {
        asm!(
            "vpxord xmm16, xmm16, xmm16",
            "2:",
            "cmp {at}, {end}",
            "jae 3f",
            "vmovntdq zmmword ptr [{at}], zmm16",
            "add {at}, 64",
            "jmp 2b",
            "3:",
            "sfence",
            at = inout(reg) first => _,
            end = in(reg) first + len,
            out("zmm16") _,
            options(nostack)
        );
    }
}

/// A number that is zero if the 64 bytes at `at` are. O(1).
///
/// # Safety
/// G1 of those bytes, V1.
#[inline(always)]
pub(super) unsafe fn line(at: usize) -> u32 {
    let found: u32;
    // SAFETY: G1.
    unsafe {
        asm!(
            "vmovdqu64 zmm16, zmmword ptr [{at}]",
            "vptestmq k1, zmm16, zmm16",
            "kmovb {found:e}, k1",
            at = in(reg) at,
            found = lateout(reg) found,
            out("zmm16") _, out("k1") _,
            options(nostack, readonly, preserves_flags)
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cleared_past_the_caches_is_all_that_is_meant() {
        if !is_here() {
            return;
        }
        let mut memory = vec![u64::MAX; 600];
        let first = memory.as_mut_ptr().expose_provenance().next_multiple_of(64);
        let before = (first - memory.as_ptr().addr()) / 8;
        // SAFETY: lies in `memory`, V1.
        unsafe { clear_apart(first, 4096) };
        for (at, &word) in memory.iter().enumerate() {
            assert_eq!(word == 0, (before..before + 512).contains(&at), "{at}");
        }
    }

    #[test]
    fn what_is_meant_is_cleared_and_looked_at_and_nothing_beside_it() {
        if !is_here() {
            return;
        }
        for bytes in (80..=1296).step_by(16) {
            let mut memory = vec![u64::MAX; bytes / 8 + 4];
            let first = memory[2..].as_mut_ptr().expose_provenance();
            let last = first + bytes - 64;
            // SAFETY: all of it lies in `memory`, V1.
            unsafe { clear_lines(first, last) };
            let end = memory.len() - 2;
            assert!(memory[2..end].iter().all(|&word| word == 0));
            assert!([0, 1, end, end + 1].iter().all(|&beside| memory[beside] == u64::MAX));
            // SAFETY: as above.
            let is_zero = || unsafe { is_zero_lines(first, last) };
            assert!(is_zero());
            (2..end).for_each(|word| {
                memory[word] = 1 << (word % 64);
                // SAFETY: as above.
                let found = unsafe { line(last) } != 0;
                assert!(!is_zero() && found == (word >= end - 8));
                memory[word] = 0;
            });
        }
    }
}
