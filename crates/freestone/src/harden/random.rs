//! Random numbers for places: fast, a state a thread, seeded from the kernel's.
//!
//! A linear congruential generator of 64 bits of which only the upper half is used (D. Knuth, TAOCP vol. 2, 3.3.4; the
//! multiplier is his MMIX's). Whoever sees many of its numbers can work out the next ones; nobody sees any, only the
//! places that they led to.

use freestone_sys::linux;

use crate::sync::atomic::Ordering;
use crate::tls;

/// 32 random bits.
#[inline]
pub(crate) fn next() -> u32 {
    let state = &tls::current().chance;
    let mut bits = state.load(Ordering::Relaxed);
    if bits == 0 {
        bits = seed();
    }
    // A signal handler in between draws the same number again, which hurts nobody.
    bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    state.store(bits, Ordering::Relaxed);
    (bits >> 32) as u32
}

#[cold]
fn seed() -> u64 {
    linux::random_bits() | 1
}

/// A random number below `end`, which is neither 0 nor above 2^31. O(1).
#[inline]
pub(crate) fn below(end: usize) -> usize {
    // Scaled: no division, and a bias that is smaller than end in 2^32.
    ((u64::from(next()) * end as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_below_the_end_come_and_no_other() {
        for end in [1, 2, 3, 7, 64, 4096] {
            let mut seen = vec![0; end];
            (0..end * 50).for_each(|_| seen[below(end)] += 1);
            assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
        }
        assert!((0..32).all(|bit| (0..200).any(|_| next() >> bit & 1 != 0)));
    }
}
