//! Chance for sampling: a small generator per thread, and exponentially distributed distances, without `std`'s floating point.

use crate::sync::atomic::{AtomicU64, Ordering};

/// A generator of random numbers: SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014).
pub(crate) struct Chance(u64);

/// What the generator's state grows by at each number.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether a generator that stood at `earlier` may stand at `now`: some billions of numbers later at most, which a generator with
/// another beginning does as good as never.
pub(crate) fn is_later(earlier: u64, now: u64) -> bool {
    const MOST: u64 = 1 << 32;
    now.wrapping_sub(earlier).wrapping_mul(INVERSE) < MOST
}

/// What `STEP` is to be multiplied by to give one.
const INVERSE: u64 = 0xf1de_83e1_9937_733d;
const _: () = assert!(STEP.wrapping_mul(INVERSE) == 1);

/// The thread's generator, continued from where `place` has it; begun with `seed` where that is 0.
pub(crate) fn of_thread(place: &AtomicU64, seed: impl Fn() -> u64) -> Chance {
    match place.load(Ordering::Relaxed) {
        0 => Chance(seed() | 1),
        state => Chance(state),
    }
}

impl Chance {
    /// Notes where to go on.
    pub(crate) fn keep(&self, place: &AtomicU64) {
        place.store(self.0.max(1), Ordering::Relaxed);
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number above 0, at most 1, evenly distributed.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// The exponential distribution of this mean.
pub(crate) struct Exponential(pub(crate) f64);

impl Exponential {
    /// A distance, at least 1.
    pub(crate) fn draw(&self, chance: &mut Chance) -> u64 {
        // A fraction of a byte counts as one: of the distances between bytes, the geometric distribution.
        (-ln(chance.unit()) * self.0) as u64 + 1
    }
}

/// 1, 1/3, 1/5 and so on.
const ODD_PARTS: [f64; 9] =
    [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0, 1.0 / 17.0];

/// The natural logarithm of a positive, normal number; to about 1e-9.
pub(crate) fn ln(x: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff;
    let bits = x.to_bits();
    let power = (bits >> 52 & EXPONENT) as i64 - 1023;
    let mantissa = f64::from_bits(bits & !(EXPONENT << 52) | 1023 << 52);
    // ln m = 2 artanh((m - 1) / (m + 1)), whose series converges fast between 1 and 2.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    // By Horner's rule: one division in all.
    let sum = ODD_PARTS.iter().rev().fold(0.0, |sum, part| sum * square + part) * s;
    power as f64 * core::f64::consts::LN_2 + 2.0 * sum
}

/// `exp(x) - 1` for an `x` that is not above zero; to about 1e-14 of itself.
pub(crate) fn exp_less_one(x: f64) -> f64 {
    const BITS: f64 = core::f64::consts::LN_2;
    if x < -700.0 {
        return -1.0;
    }
    // x = halvings of itself, then the series, then (1 + e)^2 - 1 = e (e + 2) as often.
    let halvings = if x < -BITS { 10 } else { 0 };
    let small = x / (1u32 << halvings) as f64;
    let (mut sum, mut term) = (small, small);
    for n in 2..20 {
        term *= small / n as f64;
        sum += term;
        // Of an x near zero, as most are, the rest of the series is nothing to the first term.
        if term.abs() < small.abs() * 1e-17 {
            break;
        }
    }
    (0..halvings).fold(sum, |less_one, _| less_one * (less_one + 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for x in [1e-16, 1e-9, 0.1, 0.25, 0.3, 0.5, 0.75, 0.999_999, 1.0, 1.5, 2.0, 10.0, 1e9] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-8, "{x}");
        }
    }

    #[test]
    fn the_exponential_is_one() {
        for x in [-1e-12, -1e-6, -0.1, -0.5, -0.7, -1.0, -3.0, -20.0, -300.0, -1e4] {
            let (ours, theirs) = (exp_less_one(x), f64::exp_m1(x));
            assert!((ours / theirs - 1.0).abs() < 1e-12, "{x}: {ours} {theirs}");
        }
    }

    #[test]
    fn distances_have_their_mean_and_spread() {
        let (place, mean) = (AtomicU64::new(0), 1000.0);
        let mut chance = of_thread(&place, || 7);
        let n = 200_000;
        let draws: Vec<f64> = (0..n).map(|_| Exponential(mean).draw(&mut chance) as f64).collect();
        let average = draws.iter().sum::<f64>() / n as f64;
        // The standard deviation of the average is 1000 / sqrt(200,000), that is 2.2.
        assert!((average - mean).abs() < 15.0, "{average}");
        let above = draws.iter().filter(|&&draw| draw > 2.0 * mean).count() as f64 / n as f64;
        assert!((above - (-2.0f64).exp()).abs() < 0.005, "{above}");
        chance.keep(&place);
        assert_ne!(place.load(Ordering::Relaxed), 0);
    }
}
