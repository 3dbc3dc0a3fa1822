//! What is written into a block: a pattern that only this block has.
//!
//! Blocks up to [`FULL`] bytes are filled whole. Of larger ones both ends are filled and one word
//! at the start of every OS page, which is enough to see a page lost, moved or shared.
//!
//! # Safety
//!
//! Every function here takes an address and a length, and touches only `addr..addr + len`. The
//! caller owns that memory and it is readable and writable (the *owned range*).
#![allow(unsafe_code)]

/// Up to this many bytes a block is filled whole.
const FULL: usize = 8 << 10;
/// Bytes filled at either end of a larger block.
const END: usize = 512;
/// Distance, in bytes, of the words between the ends.
const STRIDE: usize = 4 << 10;
/// Bytes in a word.
const WORD: usize = 8;

/// A byte that differs from what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    pub offset: usize,
    pub expected: u8,
    pub found: u8,
}

/// The word of block `id` at `offset`, a multiple of [`WORD`].
fn word(id: u64, offset: usize) -> u64 {
    let mixed = id
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((offset as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93));
    mixed ^ (mixed >> 32)
}

/// The parts of a block of `len` bytes that carry the pattern; each starts at a multiple of [`WORD`].
fn parts(len: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = len <= FULL;
    let head = (0, if whole { len } else { END });
    let tail = if whole { len } else { (len - END) & !(WORD - 1) };
    let middle = (STRIDE..tail).step_by(STRIDE).map(|start| (start, start + WORD));
    let middle = middle.take_while(move |&(_, end)| !whole && end <= tail);
    std::iter::once(head).chain(middle).chain((!whole).then_some((tail, len)))
}

/// Writes the pattern of block `id`.
///
/// # Safety
///
/// `addr` and `len` are an owned range.
pub(crate) unsafe fn fill(addr: *mut u8, len: usize, id: u64) {
    for (start, end) in parts(len) {
        let mut at = start;
        while at + WORD <= end {
            let place = addr.wrapping_add(at).cast::<u64>();
            // SAFETY: owned range: at + WORD <= end <= len.
            unsafe { place.write_unaligned(word(id, at)) };
            at += WORD;
        }
        for (n, byte) in word(id, at).to_ne_bytes().into_iter().take(end - at).enumerate() {
            // SAFETY: owned range: at + n < end <= len.
            unsafe { addr.wrapping_add(at + n).write(byte) };
        }
    }
}

/// Looks for the first byte below `limit` that is not as [`fill`] left it in `len` bytes.
///
/// # Safety
///
/// `addr` and `min(len, limit)` are an owned range.
pub(crate) unsafe fn difference(addr: *mut u8, len: usize, id: u64, limit: usize) -> Option<Difference> {
    for (start, end) in parts(len) {
        let end = end.min(limit);
        let mut at = start;
        while at < end {
            let step = WORD.min(end - at);
            let mut found = [0; WORD];
            if step == WORD {
                let place = addr.wrapping_add(at).cast::<[u8; WORD]>();
                // SAFETY: owned range: at + WORD <= end <= min(len, limit).
                found = unsafe { place.read() };
            } else {
                for (n, byte) in found.iter_mut().enumerate().take(step) {
                    // SAFETY: owned range: at + n < end <= min(len, limit).
                    *byte = unsafe { addr.wrapping_add(at + n).read() };
                }
            }
            let expected = word(id, at).to_ne_bytes();
            if found[..step] != expected[..step] {
                let n = (0..step).find(|&n| found[n] != expected[n])?;
                return Some(Difference { offset: at + n, expected: expected[n], found: found[n] });
            }
            at += step;
        }
    }
    None
}

/// Looks for the first byte that is not zero; reads them all.
///
/// # Safety
///
/// `addr` and `len` are an owned range.
pub(crate) unsafe fn nonzero(addr: *mut u8, len: usize) -> Option<Difference> {
    // SAFETY: owned range; nobody writes to it while the slice lives, since the caller owns it.
    let bytes = unsafe { std::slice::from_raw_parts(addr, len) };
    let dirty = bytes.chunks(256).position(|chunk| chunk.iter().fold(0, |all, &byte| all | byte) != 0)?;
    let offset = (dirty * 256..len).find(|&offset| bytes[offset] != 0)?;
    Some(Difference { offset, expected: 0, found: bytes[offset] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 14] =
        [0, 1, 7, 8, 9, 511, 4095, 8191, 8192, 8193, 8199, 12_288 + 511, 100_001, 1 << 20];

    #[test]
    fn a_filled_block_is_whole_also_when_cut() {
        for size in SIZES {
            let mut bytes = vec![0u8; size];
            // SAFETY: the vector owns the range.
            unsafe { fill(bytes.as_mut_ptr(), size, 42) };
            for limit in [0, 1, size / 3, size.saturating_sub(1), size, usize::MAX] {
                // SAFETY: the vector owns the range.
                let found = unsafe { difference(bytes.as_mut_ptr(), size, 42, limit) };
                assert_eq!(found, None, "{size} {limit}");
            }
        }
    }

    #[test]
    fn parts_are_in_order_inside_and_hold_both_ends() {
        for size in SIZES {
            let parts: Vec<(usize, usize)> = parts(size).collect();
            assert!(parts.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{size} {parts:?}");
            assert!(parts.iter().all(|part| part.0 <= part.1 && part.0 % WORD == 0), "{size} {parts:?}");
            assert_eq!((parts[0].0, parts[parts.len() - 1].1), (0, size));
            let pages = size / STRIDE;
            assert!(size <= FULL || parts.len() >= pages, "{size}: {} parts", parts.len());
        }
    }

    #[test]
    fn a_changed_byte_is_found_where_it_is() {
        for size in SIZES.into_iter().filter(|&size| size > 0) {
            let mut bytes = vec![0u8; size];
            // SAFETY: the vector owns the range.
            unsafe { fill(bytes.as_mut_ptr(), size, 42) };
            for offset in [0, size - 1, (size - 1).min(STRIDE)] {
                bytes[offset] ^= 0x10;
                // SAFETY: the vector owns the range.
                let found = unsafe { difference(bytes.as_mut_ptr(), size, 42, size) }.unwrap();
                assert_eq!(found.offset, offset);
                assert_eq!(found.expected ^ found.found, 0x10);
                bytes[offset] ^= 0x10;
            }
        }
    }

    #[test]
    fn a_byte_that_is_not_zero_is_found() {
        for size in SIZES.into_iter().filter(|&size| size > 0) {
            let mut bytes = vec![0u8; size];
            // SAFETY: the vector owns the range.
            assert_eq!(unsafe { nonzero(bytes.as_mut_ptr(), size) }, None);
            bytes[size * 2 / 3] = 9;
            // SAFETY: the vector owns the range.
            let found = unsafe { nonzero(bytes.as_mut_ptr(), size) }.unwrap();
            assert_eq!((found.offset, found.found), (size * 2 / 3, 9));
        }
    }
}
