//! Bytes that follow from a seed, so that whoever reads them back can tell whether they are right.

use freestone_testkit::Rng;

/// `len` bytes that follow from `seed`.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(len);
    while len - bytes.len() >= 8 {
        bytes.extend_from_slice(&rng.word().to_le_bytes());
    }
    let rest = len - bytes.len();
    bytes.extend_from_slice(&rng.word().to_le_bytes()[..rest]);
    bytes
}

/// A number that changes with every byte and its place (64-bit FNV-1a over words).
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xCBF2_9CE4_8422_2325 ^ bytes.len() as u64;
    let words = bytes.chunks_exact(8);
    let rest = words.remainder();
    let words = words.map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8")));
    for word in words.chain(rest.iter().map(|&byte| u64::from(byte))) {
        sum = (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
    }
    sum
}

/// A size from 1 to 2^`doublings` bytes, every doubling equally likely.
pub fn random_size(rng: &mut Rng, doublings: usize) -> usize {
    let low = 1 << rng.below(doublings);
    low + rng.below(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_follows_from_the_seed_and_its_checksum_sees_every_byte() {
        for len in [0, 1, 7, 8, 9, 100] {
            let mut bytes = content(5, len);
            assert_eq!((bytes.len(), &bytes), (len, &content(5, len)));
            let sum = checksum(&bytes);
            for n in 0..len {
                bytes[n] ^= 1;
                assert_ne!(checksum(&bytes), sum);
                bytes[n] ^= 1;
            }
        }
    }
}
