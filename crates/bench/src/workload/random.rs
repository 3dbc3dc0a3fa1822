//! Random numbers that cost next to nothing beside a call of malloc.

/// A sequence fixed by its seed: a 64-bit xorshift, multiplied (Marsaglia 2003, Vigna 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence number `stream` of a seed.
    pub fn new(seed: u64, stream: usize) -> Random {
        let mut random = Random((seed ^ (stream as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1);
        // Seeds that differ little give like numbers at first.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// 64 random bits, the upper ones the best.
    #[inline(always)]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`, without division.
    #[inline(always)]
    pub fn below(&mut self, end: usize) -> usize {
        (((self.next() >> 32) * end as u64) >> 32) as usize
    }

    /// A number from `low` to `high`, both included.
    #[inline(always)]
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// A size of 2^`low` to 2^`high` bytes whose logarithm is spread evenly (within each doubling: the size is).
    #[inline(always)]
    pub fn log_size(&mut self, low: u32, high: u32) -> usize {
        let bits = self.next();
        let doubling = low + (((bits >> 32) * u64::from(high - low)) >> 32) as u32;
        let base = 1usize << doubling;
        base + (bits as usize & (base - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept_and_reached() {
        let mut random = Random::new(1, 0);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[random.below(7)] = true;
            assert!((3..=9).contains(&random.between(3, 9)));
            assert!((8..8192).contains(&random.log_size(3, 13)));
        }
        assert!(seen.iter().all(|&s| s));
    }

    #[test]
    fn streams_differ_and_repeat() {
        assert_ne!(Random::new(1, 0).next(), Random::new(1, 1).next());
        assert_eq!(Random::new(1, 1).next(), Random::new(1, 1).next());
    }
}
