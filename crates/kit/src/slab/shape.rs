//! How a slab is cut: how long it is, how many objects it has, where its record lies, how many colours there are.

use core::alloc::Layout;

use super::record::{ENTRY, MOST, RECORD, RECORD_ALIGN};
use crate::AllocError;

/// Bytes of the shortest slab, unless said otherwise: an OS page.
pub const PAGE: usize = 4096;
/// Objects below this part of a page always have their record in the slab.
const SMALL_PART: usize = 8;
/// At most this part of a slab may be lost.
const WASTE_PART: usize = 8;
/// The least objects of a slab with its record off it.
const LEAST_OBJECTS: usize = 2;
/// First objects are so many bytes apart from slab to slab: a cache line.
const COLOUR_STEP: usize = 64;

/// How the slabs of a cache are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// Bytes from one object to the next.
    pub stride: usize,
    /// Bytes of a slab: a power of two, to which it is also aligned.
    pub slab_bytes: usize,
    /// Objects of a slab.
    pub objects: usize,
    /// Whether records lie at the ends of their slabs, and not elsewhere.
    pub on_slab: bool,
    /// Different distances at which the first object may lie.
    pub colours: usize,
    /// Bytes from one colour to the next.
    pub colour_step: usize,
    /// The least alignment of the objects.
    pub align: usize,
}

impl Shape {
    /// The shape for objects of `layout`, slabs being `page` bytes at least, a power of two.
    ///
    /// # Errors
    ///
    /// When no slab can be that long.
    pub(super) fn new(layout: Layout, page: usize) -> Result<Shape, AllocError> {
        let align = layout.align();
        let stride = layout.size().max(1).checked_next_multiple_of(align).ok_or(AllocError)?;
        if stride > isize::MAX as usize / 64 {
            return Err(AllocError);
        }
        let page = page.checked_next_power_of_two().ok_or(AllocError)?.max(align).max(RECORD_ALIGN * 4);
        let small = stride <= page / SMALL_PART;
        let mut slab_bytes = page;
        loop {
            // The record is aligned downwards, for which it may need a few bytes.
            let record = RECORD + RECORD_ALIGN - 1;
            let objects = if small {
                slab_bytes.saturating_sub(record) / (stride + ENTRY)
            } else {
                slab_bytes / stride
            };
            let objects = objects.min(MOST);
            let spare = slab_bytes - objects * stride;
            // Large objects have it in the slab, too, where it costs no object.
            let on_slab = spare >= record + objects * ENTRY;
            let spare = if on_slab { spare - record - objects * ENTRY } else { spare };
            let enough = objects >= if small { 1 } else { LEAST_OBJECTS };
            if enough && (spare <= slab_bytes / WASTE_PART || objects == MOST) {
                let colour_step = align.max(COLOUR_STEP);
                let colours = spare / colour_step + 1;
                return Ok(Shape { stride, slab_bytes, objects, on_slab, colours, colour_step, align });
            }
            slab_bytes = slab_bytes.checked_mul(2).ok_or(AllocError)?;
        }
    }

    /// Where the record lies in a slab, in bytes; for those that have it.
    pub(super) fn record_offset(&self) -> usize {
        (self.slab_bytes - RECORD - self.objects * ENTRY) / RECORD_ALIGN * RECORD_ALIGN
    }

    /// The layout of a slab.
    pub(super) fn slab(&self) -> Result<Layout, AllocError> {
        Layout::from_size_align(self.slab_bytes, self.slab_bytes).map_err(|_| AllocError)
    }

    /// Bytes of a record with its entries.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD + self.objects * ENTRY
    }

    /// Where the first object of the `n`-th slab lies.
    pub(super) fn colour(&self, n: usize) -> usize {
        n % self.colours * self.colour_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_any_length_gives_slabs_that_hold_their_objects() {
        for page in (0..200).chain([256, 1000, 1 << 16, 1 << 20, 1 << 40, 1 << 62, 1 << 63]) {
            for (size, align) in [(0, 1), (1, 1), (3, 1), (8, 8), (24, 8), (500, 4), (64, 64), (5000, 4096)] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let Ok(shape) = Shape::new(layout, page) else { continue };
                let end = if shape.on_slab { shape.record_offset() } else { shape.slab_bytes };
                let last = shape.colour(shape.colours - 1);
                assert!((1..=MOST).contains(&shape.objects), "{shape:?}");
                assert!(last + shape.objects * shape.stride <= end && shape.slab_bytes >= page, "{shape:?}");
            }
        }
        assert_eq!(Shape::new(Layout::new::<u8>(), usize::MAX), Err(AllocError));
    }

    #[test]
    fn objects_of_every_colour_lie_before_the_record_and_little_is_lost() {
        for size in (0..2000).chain((2000..40_000).step_by(97)).chain([1 << 16, 1 << 20, (1 << 20) + 1]) {
            for align in [1, 8, 64, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let shape = Shape::new(layout, PAGE).unwrap();
                let end = if shape.on_slab { shape.record_offset() } else { shape.slab_bytes };
                let last = shape.colour(shape.colours - 1);
                assert!(last + shape.objects * shape.stride <= end, "{shape:?}");
                assert!(shape.slab_bytes.is_power_of_two() && shape.colour_step.is_multiple_of(align));
                assert!(shape.objects > 0 && shape.objects <= MOST);
                assert!(shape.on_slab || shape.record_bytes() <= super::super::pieces::MOST);
                assert!(
                    shape.objects * (shape.stride + ENTRY) * 8 >= (shape.slab_bytes - RECORD) * 7 - 64 * 8
                );
            }
        }
    }
}
