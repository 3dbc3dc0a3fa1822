//! Text that looks random, is the same on every machine, and compresses about as well as prose.

/// A small generator of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A made-up word; small numbers are drawn more often, so that words repeat as in prose.
    pub fn word(&mut self) -> String {
        const SOUNDS: [&str; 16] = [
            "ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu", "fan", "del", "gir", "hop", "jun",
            "wex",
        ];
        let range = 1 + self.below(4000);
        let mut rest = self.below(range);
        let mut word = String::new();
        loop {
            word.push_str(SOUNDS[rest as usize % SOUNDS.len()]);
            rest /= SOUNDS.len() as u64;
            if rest == 0 {
                return word;
            }
        }
    }

    /// A line of `words` words.
    pub fn line(&mut self, words: u64) -> String {
        let words: Vec<String> = (0..words).map(|_| self.word()).collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_text() {
        assert_eq!(Numbers(5).line(50), Numbers(5).line(50));
        assert_ne!(Numbers(5).line(50), Numbers(6).line(50));
    }
}
