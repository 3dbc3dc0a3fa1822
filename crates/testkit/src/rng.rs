//! A small deterministic generator: the same seed gives the same run on every machine.

/// A splitmix64 generator. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

/// The odd constant by which the state advances: 2^64 over the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Spreads every bit of `x` over the whole word.
const fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Rng {
    /// A generator for `seed`.
    pub const fn new(seed: u64) -> Rng {
        Rng { state: scramble(seed ^ STEP) }
    }

    /// The generator of one of many parts (threads, rounds) of a run with one seed.
    pub const fn stream(seed: u64, part: u64) -> Rng {
        Rng { state: scramble(seed ^ STEP) ^ scramble(part.wrapping_add(1).wrapping_mul(STEP)) }
    }

    /// The next 64 bits.
    #[inline]
    pub const fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        scramble(self.state)
    }

    /// A number below `bound`, which is not zero.
    #[inline]
    pub const fn below(&mut self, bound: usize) -> usize {
        ((self.word() as u128 * bound as u128) >> 64) as usize
    }

    /// True `times` times in `of`.
    #[inline]
    pub const fn chance(&mut self, times: usize, of: usize) -> bool {
        self.below(of) < times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let first: Vec<u64> = (0..100).map(|part| Rng::stream(7, part).word()).collect();
        let again: Vec<u64> = (0..100).map(|part| Rng::stream(7, part).word()).collect();
        assert_eq!(first, again);
        let distinct: std::collections::BTreeSet<u64> = first.iter().copied().collect();
        assert_eq!(distinct.len(), first.len());
    }

    #[test]
    fn below_reaches_every_value_and_no_other() {
        let mut rng = Rng::new(1);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[rng.below(10)] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }
}
