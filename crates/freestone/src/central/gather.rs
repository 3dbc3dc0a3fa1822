//! Bits out of bytes, for [`slab`](super::slab).
//!
//! # Safety
//!
//! What is used of SSE2 works on registers alone, and every x86-64 processor has it.
#![allow(unsafe_code)]

/// The highest bits of bytes that are each all ones or all zeros, side by side, the first byte's lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn gather(bytes: &[u8; 64]) -> u64 {
    use core::arch::x86_64::{_mm_movemask_epi8, _mm_set_epi64x};
    let words = bytes.as_chunks::<8>().0.as_chunks::<2>().0;
    words.iter().rev().fold(0, |bits, &[low, high]| {
        let [low, high] = [low, high].map(i64::from_le_bytes);
        // SAFETY: on registers alone.
        let both = unsafe { _mm_set_epi64x(high, low) };
        // SAFETY: as above.
        let sixteen = unsafe { _mm_movemask_epi8(both) };
        bits << 16 | sixteen as u64
    })
}

/// The highest bits of bytes that are each all ones or all zeros, side by side, the first byte's lowest.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn gather(bytes: &[u8; 64]) -> u64 {
    /// The lowest bit of each byte.
    const LOWEST: u64 = u64::MAX / 0xff;
    // Of the product, bit `56 + n` is that of byte `n`, moved by `56 - 7 * n`. No two bits of the sum meet, so nothing is carried.
    let eight =
        |&bytes: &[u8; 8]| (u64::from_le_bytes(bytes) & LOWEST).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    bytes.as_chunks::<8>().0.iter().rev().fold(0, |bits, bytes| bits << 8 | eight(bytes))
}

#[cfg(test)]
mod tests {
    use super::gather;

    #[test]
    fn each_byte_has_its_bit() {
        for at in 0..64 {
            let mut bytes = [0; 64];
            bytes[at] = u8::MAX;
            assert_eq!(gather(&bytes), 1 << at);
            let others = bytes.map(|byte| !byte);
            assert_eq!(gather(&others), !(1 << at));
        }
    }
}
