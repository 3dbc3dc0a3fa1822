//! The size classes of spans.
//!
//! Multiples of 8 up to 128 bytes, then eight to a doubling up to [`LARGE`]: at most 12.5 % are lost by rounding up.

use super::LARGE;

/// How many classes there are, without that of cells.
pub(crate) const CLASSES: usize = 15 + 8 * (LARGE.ilog2() as usize - 7);
/// The class of cells: blocks of 16 bytes for tiny objects, which have neither pointers nor a header.
pub(crate) const CELLS: usize = CLASSES;
/// Log2 of a span's bytes, and of its alignment.
pub(crate) const SPAN_SHIFT: u32 = 16;
/// Bytes of a span.
pub(crate) const SPAN: usize = 1 << SPAN_SHIFT;
/// Bytes of a span's record before its bits.
pub(crate) const RECORD: usize = 64;

/// What the class is of a block of `size` bytes, at most [`LARGE`]; `aligned` if the block is to begin at a multiple of 16.
#[inline]
pub(crate) const fn class_of(size: usize, aligned: bool) -> usize {
    let mut class = if size <= 16 {
        0
    } else if size <= 128 {
        size.div_ceil(8) - 2
    } else {
        let doubling = (size - 1).ilog2();
        let step = (size - 1) >> (doubling - 3);
        15 + 8 * (doubling as usize - 7) + (step - 8)
    };
    while aligned && !CLASS_TABLE[class].size.is_multiple_of(16) {
        class += 1;
    }
    class
}

const fn size_of_class(class: usize) -> usize {
    if class < 15 {
        16 + 8 * class
    } else {
        (128 << ((class - 15) / 8)) + (16 << ((class - 15) / 8)) * ((class - 15) % 8 + 1)
    }
}

/// What there is to know about a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    /// Bytes of a block.
    pub(crate) size: u32,
    /// Blocks in a span.
    pub(crate) blocks: u32,
    /// Words of each of the two bit maps.
    pub(crate) words: u32,
    /// Where the first block begins, from the span's beginning.
    pub(crate) first: u32,
    /// 2^32 / size, rounded up: turns a distance into a number of blocks.
    pub(crate) reciprocal: u32,
}

const fn describe(class: usize) -> Class {
    let size = size_of_class(class);
    // So many at most; the maps take the place of some, so a span may end with a block less than would fit. First the maps
    // for as many as there could be, then as many as fit behind them.
    let words = (SPAN / size).div_ceil(64);
    let first = (RECORD + 2 * 8 * words).next_multiple_of(16);
    let blocks = (SPAN - first) / size;
    let reciprocal = (1_u64 << 32).div_ceil(size as u64);
    Class {
        size: size as u32,
        blocks: blocks as u32,
        words: words as u32,
        first: first as u32,
        reciprocal: reciprocal as u32,
    }
}

/// All classes, that of cells last.
pub(crate) static CLASS: [Class; CLASSES + 1] = CLASS_TABLE;

/// The same, for constants.
pub(crate) const CLASS_TABLE: [Class; CLASSES + 1] = {
    let mut table = [Class { size: 0, blocks: 0, words: 0, first: 0, reciprocal: 0 }; CLASSES + 1];
    let mut class = 0;
    while class < CLASSES {
        table[class] = describe(class);
        class += 1;
    }
    table[CELLS] = describe(0);
    table
};

const _: () = assert!(size_of_class(CLASSES - 1) == LARGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_fits_its_class_and_wastes_little() {
        for size in 1..=LARGE {
            let class = class_of(size, false);
            let block = CLASS[class].size as usize;
            assert!(block >= size);
            assert!(
                class == 0 || (CLASS[class - 1].size as usize) < size,
                "{size} would fit a smaller class"
            );
            assert!(size <= 16 || block - size < 8.max(size / 8), "{size} takes {block}");
            assert_eq!(CLASS[class_of(size, true)].size % 16, 0);
        }
    }

    #[test]
    fn the_reciprocal_numbers_every_block() {
        for class in &CLASS {
            for block in 0..class.blocks {
                let distance = u64::from(block * class.size);
                assert_eq!((distance * u64::from(class.reciprocal)) >> 32, u64::from(block));
            }
            assert!(class.first as usize + (class.blocks * class.size) as usize <= SPAN);
            assert!(class.blocks <= class.words * 64);
        }
    }
}
