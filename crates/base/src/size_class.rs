//! Size classes: every small request is served from a block of one of these sizes.
//!
//! Up to 64 bytes the classes are 8 bytes apart, up to 256 bytes 16, above that eight to a
//! doubling, so that a block is never more than 12.5 % larger than the request (25 % below 64
//! bytes), once the request is rounded to the 8-byte granule that alignment forces anyway. From 1 to 8 KiB, where most bytes
//! of most programs are, there are sixteen: half the waste.
//!
//! The classes 24, 40 and 56 are aligned to 8 bytes only. C promises 16, so [`class_of`] skips
//! them; [`class_of_word`] uses them where the caller states that 8 is enough (Rust layouts do).
//!
//! Powers of two from 1 KiB on are *coloured*: their slabs start at varying distances from a page, so that the
//! first lines of blocks do not all fall into the same few sets of a cache (Bonwick 1994). They are aligned to 64
//! bytes only; requests for more go to *aligned twins* of these classes, whose slabs are not coloured.
//!
//! Above 32 KiB, up to 256 KiB, follow the *medium* classes, whole pages each: a slab of one block, which caches hold
//! like any other. Nobody may conclude from such a size that a block belongs to a class: a cleared or resized
//! one of that size, or one aligned to more than a page, comes from the page heap.
//!
//! Neighbouring classes above 1 KiB can be [merged](MERGED_CLASSES): then the largest of a group serves the sizes of all of it.
//!
//! Blocks below a cache line in size have line-mates. So that no two CPUs get such mates, these classes exist in
//! [`VARIANTS`] *variants* with slabs of their own, and each cache hands out blocks of one variant only; which one follows
//! from its number. The functions here name the first; [`ClassId::variant`] leads to the others.
//!
//! All look-ups are O(1): one table read. The tables are built and proved at compile time.

use crate::units::PAGE_SIZE;

/// The largest request, in bytes, of a small block: its size class follows from size and alignment alone.
pub const MAX_SMALL: usize = 32 << 10;
/// The largest request, in bytes, that a size class serves; above it the page heap does.
pub const MAX_MEDIUM: usize = 256 << 10;

/// The largest size, in bytes, whose class follows from it: beyond, classes may be [merged](MERGED_CLASSES).
pub const TELLING_MAX: usize = 1 << 10;
/// Classes that serve a doubling beyond [`TELLING_MAX`] while they are merged: the others, between two of these, have
/// their blocks from the larger one.
pub const MERGED_CLASSES: usize = 4;
/// Number of groups of classes that can be merged.
pub const MERGED_GROUPS: usize = MERGED_CLASSES * (MAX_SMALL / TELLING_MAX).trailing_zeros() as usize;

/// Number of classes, the unused class 0 included.
pub const CLASS_COUNT: usize = FIRST_VARIANT + (VARIANTS - 1) * SHARING;
/// The first class that is an aligned twin.
const FIRST_TWIN: usize = 1 + SIZES.len();
/// The first medium class.
const FIRST_MEDIUM: usize = FIRST_TWIN + TWINS.len();
/// The first class that is a further variant.
const FIRST_VARIANT: usize = FIRST_MEDIUM + MEDIUM.len();
/// Classes, from the first on, whose blocks share cache lines.
const SHARING: usize = 7;
/// Classes, from the first on, of which programs hold many: up to 512 bytes.
const MANY: usize = {
    let mut count = 0;
    while SIZES[count] < 512 {
        count += 1;
    }
    count + 1
};
/// Number of classes of which programs hold many, all variants of them.
pub const MANY_COUNT: usize = MANY + (VARIANTS - 1) * SHARING;
/// The largest size, in bytes, of a block that shares its cache line.
pub const MAX_SHARING: usize = 8 * SHARING;
/// The most blocks of a slab.
pub const MAX_BLOCKS: usize = 2048;
/// Variants of each class whose blocks share cache lines.
pub const VARIANTS: usize = 4;

/// The alignment, in bytes, that malloc promises for every block of at least this size.
pub const MALLOC_ALIGN: usize = 16;

/// Identifies a size class. Zero means "no class": not a small block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct ClassId(pub u8);

impl ClassId {
    /// "No class": the page does not belong to a slab.
    pub const NONE: ClassId = ClassId(0);

    /// The class as an index into a table of [`CLASS_COUNT`] entries.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The variant of the class that the cache of this number hands out; the class itself where it has none. O(1).
    ///
    /// ```
    /// use freestone_base::class_of;
    /// let class = class_of(32).unwrap();
    /// assert!(class.variant(0) == class && class.variant(1) != class && class.variant(1).first() == class);
    /// ```
    #[inline]
    pub const fn variant(self, cache: usize) -> ClassId {
        let number = cache % VARIANTS;
        if number == 0 || self.0 == 0 || self.index() > SHARING {
            return self;
        }
        ClassId((FIRST_VARIANT + (number - 1) * SHARING + self.index() - 1) as u8)
    }

    /// The place of the class among those of which programs hold many, all variants of them, of which there are
    /// [`MANY_COUNT`]. O(1).
    #[inline]
    pub const fn among_many(self) -> Option<usize> {
        match self.index() {
            0 => None,
            1..=MANY => Some(self.index() - 1),
            FIRST_VARIANT..CLASS_COUNT => Some(self.index() - FIRST_VARIANT + MANY),
            _ => None,
        }
    }

    /// The first variant of the class, which stands for all of them in figures. O(1).
    #[inline]
    pub const fn first(self) -> ClassId {
        if self.index() < FIRST_VARIANT {
            return self;
        }
        ClassId(((self.index() - FIRST_VARIANT) % SHARING + 1) as u8)
    }

    /// Whether blocks of the class come to the cache of this number only by being freed there.
    #[inline]
    pub const fn is_foreign_to(self, cache: usize) -> bool {
        self.first().variant(cache).0 != self.0
    }

    /// All classes but further variants, in the order of their numbers.
    pub fn firsts() -> impl Iterator<Item = ClassId> {
        (1..FIRST_VARIANT).map(|index| ClassId(index as u8))
    }

    /// The medium classes, in the order of their numbers.
    pub fn medium() -> impl Iterator<Item = ClassId> {
        (FIRST_MEDIUM..FIRST_VARIANT).map(|index| ClassId(index as u8))
    }

    /// All real classes, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = ClassId> {
        (1..CLASS_COUNT).map(|index| ClassId(index as u8))
    }
}

/// All that is fixed about a size class.
#[derive(Clone, Copy, Debug)]
pub struct ClassInfo {
    /// Bytes in a block.
    pub size: u32,
    /// Pages in a slab of this class.
    pub slab_pages: u16,
    /// Blocks in a slab.
    pub blocks: u16,
    /// Blocks moved between a cache and the central list at a time.
    pub batch: u16,
    /// Most blocks of this class that one cache may hold.
    pub cache_max: u16,
    /// The alignment, in bytes, that every block of the class has.
    pub align: u16,
    /// Distances from the start of a slab at which its first block may lie, `align` (at least 64) bytes apart.
    pub colours: u16,
    /// `ceil(2^64 / size)`: the upper half of offset × this is the exact block number inside a slab, and the lower half is
    /// less than this where the offset is a block's first byte.
    reciprocal: u64,
    /// `2^16 × 8 / blocks`, for [`ClassInfo::eighths`].
    eighths: u32,
}

impl ClassInfo {
    const fn new(size: usize, twin: bool) -> ClassInfo {
        let coloured = is_coloured(size) && !twin;
        let area = if coloured { clamp(size, 0, COLOUR_SPAN) } else { 0 };
        let slab_pages = slab_pages(size, area);
        let blocks = (slab_pages * PAGE_SIZE - area) / size;
        let natural = clamp(1 << size.trailing_zeros(), 8, PAGE_SIZE);
        let align = if coloured { COLOUR_STEP } else { natural };
        let step = clamp(align, COLOUR_STEP, PAGE_SIZE);
        let tail = slab_pages * PAGE_SIZE - blocks * size;
        ClassInfo {
            size: size as u32,
            align: align as u16,
            colours: clamp(tail / step + 1, 1, clamp(COLOUR_SPAN / step, 1, COLOUR_SPAN)) as u16,
            slab_pages: slab_pages as u16,
            blocks: blocks as u16,
            batch: if size > MAX_SMALL { 1 } else { clamp((32 << 10) / size, 2, 256) as u16 },
            cache_max: if size > MAX_SMALL {
                clamp((512 << 10) / size, 4, 8) as u16
            } else if size <= MAX_SHARING {
                768 // of each variant
            } else {
                clamp((256 << 10) / size, 4, 2048) as u16
            },
            reciprocal: (u64::MAX / size as u64) + 1,
            eighths: (8 << 16) / blocks as u32,
        }
    }

    /// The number of the block that contains byte `offset` of a slab; for an offset behind it, any number. O(1), no division.
    #[inline]
    pub const fn block_at(&self, offset: usize) -> usize {
        (self.quotient(offset) >> 64) as usize
    }

    /// The number of the block that begins at byte `offset` of a slab, `None` where none does; for an offset behind it, any
    /// number or none. O(1), no division, one multiplication: after Lemire, Kaser & Kurz, Faster Remainder by Direct Computation, 2019.
    #[inline]
    pub const fn block_starting_at(&self, offset: usize) -> Option<usize> {
        let (block, begins) = self.block_around(offset);
        if begins { Some(block) } else { None }
    }

    /// The number of the block that contains byte `offset` of a slab, and whether it begins there. For an offset behind the blocks the
    /// number is too large for a block's. O(1), no division, one multiplication.
    #[inline]
    pub const fn block_around(&self, offset: usize) -> (usize, bool) {
        let quotient = self.quotient(offset);
        ((quotient >> 64) as usize, (quotient as u64) < self.reciprocal)
    }

    /// The number of blocks before `offset`, as a fraction with 64 bits behind the point.
    #[inline]
    const fn quotient(&self, offset: usize) -> u128 {
        offset as u128 * self.reciprocal as u128
    }

    /// How many eighths of a slab `blocks` are, rounded down (at a border perhaps one less). O(1), no division.
    #[inline]
    pub const fn eighths(&self, blocks: usize) -> usize {
        (blocks * self.eighths as usize) >> 16
    }

    /// The fewest blocks that are so many [`eighths`](ClassInfo::eighths) of a slab. O(1).
    #[inline]
    pub const fn least_with_eighths(&self, eighths: usize) -> usize {
        (eighths << 16).div_ceil(self.eighths as usize)
    }

    /// Where the first block lies in the `n`-th slab, in bytes from its start. O(1).
    #[inline]
    pub const fn colour(&self, n: usize) -> usize {
        let step = if (self.align as usize) < COLOUR_STEP { COLOUR_STEP } else { self.align as usize };
        n % self.colours as usize * step
    }

    /// Bytes of a slab that no block covers.
    #[inline]
    pub const fn tail(&self) -> usize {
        self.slab_pages as usize * PAGE_SIZE - self.blocks as usize * self.size as usize
    }
}

const fn clamp(value: usize, low: usize, high: usize) -> usize {
    if value < low {
        low
    } else if value > high {
        high
    } else {
        value
    }
}

/// A cache line: colours lie so far apart.
const COLOUR_STEP: usize = 64;
/// After so many bytes the sets of a first-level cache repeat (64 sets of 64 bytes).
const COLOUR_SPAN: usize = 4096;

const fn is_coloured(size: usize) -> bool {
    size.is_power_of_two() && size >= 1024 && size <= MAX_SMALL
}

/// Aligned twins of the coloured classes.
const TWINS: [u32; 6] = [1024, 2048, 4096, 8192, 16384, 32768];

/// The medium classes: four from 32 to 64 KiB, eight to each doubling above.
const MEDIUM: [u32; 20] = {
    let mut sizes = [0; 20];
    let mut n = 0;
    let mut size = MAX_SMALL;
    while n < sizes.len() {
        size += if size < 128 << 10 { PAGE_SIZE } else { 2 * PAGE_SIZE };
        sizes[n] = size as u32;
        n += 1;
    }
    assert!(size == MAX_MEDIUM);
    sizes
};

/// Class for each number of pages up to [`MAX_MEDIUM`], from [`MAX_SMALL`] on.
static MEDIUM_TABLE: [u8; MAX_MEDIUM / PAGE_SIZE + 1] = {
    let mut table = [0; MAX_MEDIUM / PAGE_SIZE + 1];
    let mut class = FIRST_MEDIUM;
    let mut pages = MAX_SMALL / PAGE_SIZE + 1;
    while pages < table.len() {
        while (CLASSES[class].size as usize) < pages * PAGE_SIZE {
            class += 1;
        }
        table[pages] = class as u8;
        pages += 1;
    }
    table
};

/// Classes to each doubling, from 64 B to 32 KiB.
const STEPS: [usize; 9] = [4, 8, 8, 8, 16, 16, 16, 8, 8];
const SIZES: [u32; SIZE_COUNT] = sizes();
const SIZE_COUNT: usize = {
    let mut count = 8;
    let mut doubling = 0;
    while doubling < STEPS.len() {
        count += STEPS[doubling];
        doubling += 1;
    }
    count
};

const fn sizes() -> [u32; SIZE_COUNT] {
    let mut sizes = [0; SIZE_COUNT];
    let mut n = 0;
    while n < 8 {
        sizes[n] = 8 * (n as u32 + 1);
        n += 1;
    }
    let mut doubling = 0;
    while doubling < STEPS.len() {
        let low = 64usize << doubling;
        let mut step = 1;
        while step <= STEPS[doubling] {
            sizes[n] = (low + low / STEPS[doubling] * step) as u32;
            n += 1;
            step += 1;
        }
        doubling += 1;
    }
    assert!(n == sizes.len() && sizes[n - 1] as usize == MAX_SMALL);
    sizes
}

/// The largest size, in bytes, whose slabs are half as long as others' at least: beyond, taking slabs would cost more for each block.
const SHORT_SLAB_MAX: usize = 128;

/// The fewest pages that hold enough blocks to be worth a slab, and `area` bytes, and leave at most 1/32 unused.
const fn slab_pages(size: usize, area: usize) -> usize {
    if size > MAX_SMALL {
        return size / PAGE_SIZE;
    }
    let least_blocks = if size <= 1024 {
        31
    } else if size <= 8192 {
        8
    } else {
        4
    };
    // Many blocks even so: a class of which few are live holds less, and a batch still fills a slab or two.
    let mut pages = if size <= SHORT_SLAB_MAX { 2 } else { 4 };
    loop {
        let bytes = pages * PAGE_SIZE;
        let blocks = (bytes - area) / size;
        if blocks >= least_blocks && (bytes - blocks * size) * 32 <= bytes {
            return pages;
        }
        pages += 1;
    }
}

const NO_CLASS: ClassInfo = ClassInfo {
    size: 0,
    slab_pages: 0,
    blocks: 0,
    batch: 0,
    cache_max: 0,
    align: 0,
    colours: 0,
    reciprocal: 0,
    eighths: 0,
};

/// The same as a constant, for tables built at compile time.
pub const CLASSES: [ClassInfo; CLASS_COUNT] = {
    let mut classes = [NO_CLASS; CLASS_COUNT];
    let mut n = 1;
    while n < CLASS_COUNT {
        let twin = n >= FIRST_TWIN && n < FIRST_MEDIUM;
        let size = if n >= FIRST_VARIANT {
            SIZES[(n - FIRST_VARIANT) % SHARING]
        } else if n >= FIRST_MEDIUM {
            MEDIUM[n - FIRST_MEDIUM]
        } else if twin {
            TWINS[n - FIRST_TWIN]
        } else {
            SIZES[n - 1]
        };
        classes[n] = ClassInfo::new(size as usize, twin);
        n += 1;
    }
    classes
};

static CLASS_INFO: [ClassInfo; CLASS_COUNT] = CLASSES;

/// For each class that can be merged, its group, and the largest class of the group; both 0 for the others.
static MERGED: [(u8, u8); CLASS_COUNT] = {
    let mut merged = [(0, 0); CLASS_COUNT];
    let mut class = 1;
    let mut group = 0;
    while group < MERGED_GROUPS {
        let low = TELLING_MAX << (group / MERGED_CLASSES);
        let largest = low + low / MERGED_CLASSES * (group % MERGED_CLASSES + 1);
        let mut last = class;
        while (SIZES[last - 1] as usize) < largest {
            last += 1;
        }
        while class <= last {
            if SIZES[class - 1] as usize > TELLING_MAX {
                merged[class] = (group as u8, last as u8);
            }
            class += 1;
        }
        group += 1;
    }
    merged
};

/// The group of classes with which `class` can be merged, and the largest class of it. O(1).
///
/// ```
/// use freestone_base::size_class::{MERGED_GROUPS, merged_group};
/// use freestone_base::{class_info, class_of};
/// let (group, largest) = merged_group(class_of(2100).unwrap()).unwrap();
/// assert!(group < MERGED_GROUPS && class_info(largest).size == 2560);
/// assert_eq!(merged_group(class_of(1024).unwrap()), None);
/// ```
#[inline]
pub fn merged_group(class: ClassId) -> Option<(usize, ClassId)> {
    let (group, largest) = MERGED[class.index()];
    (largest != 0).then_some((group as usize, ClassId(largest)))
}

const TABLE_LEN: usize = MAX_SMALL / 8 + 1;

const fn table(least_align: usize) -> [u8; TABLE_LEN] {
    let mut table = [0; TABLE_LEN];
    let mut class = 1;
    let mut slot = 0;
    while slot < TABLE_LEN {
        while (CLASSES[class].size as usize) < slot * 8
            || (slot > 1 && !(CLASSES[class].size as usize).is_multiple_of(least_align))
        {
            class += 1;
        }
        table[slot] = class as u8;
        slot += 1;
    }
    table
}

/// Class for each size in units of 8 bytes, blocks of 16 bytes and more aligned to 16.
pub static CLASS_TABLE: [u8; TABLE_LEN] = table(MALLOC_ALIGN);
/// The same where 8 bytes of alignment are enough.
pub static WORD_CLASS_TABLE: [u8; TABLE_LEN] = table(8);

/// As [`CLASS_TABLE`], all groups merged.
pub static MERGED_CLASS_TABLE: [u8; TABLE_LEN] = {
    let mut table = CLASS_TABLE;
    let mut slot = 0;
    while slot < TABLE_LEN {
        let (_, largest) = MERGED[table[slot] as usize];
        if largest != 0 {
            table[slot] = largest;
        }
        slot += 1;
    }
    table
};

const _: () = {
    // The reciprocal is exact while offset × size < 2^64, and a class fits a byte.
    assert!(CLASS_COUNT <= 256);
    let mut n = 1;
    while n < CLASS_COUNT {
        let info = CLASSES[n];
        assert!((info.slab_pages as u128 * PAGE_SIZE as u128 * info.size as u128) < 1 << 64 && info.size > 1);
        assert!(info.batch <= info.cache_max && info.blocks as usize <= MAX_BLOCKS);
        n += 1;
    }
};

/// What is fixed about `class`. O(1).
#[inline]
pub fn class_info(class: ClassId) -> &'static ClassInfo {
    &CLASS_INFO[class.index()]
}

/// Block sizes by class, for every value of a byte: no bound to check.
static BLOCK_SIZES: [u32; 256] = {
    let mut sizes = [0; 256];
    let mut class = 0;
    while class < CLASS_COUNT {
        sizes[class] = CLASSES[class].size;
        class += 1;
    }
    sizes
};

/// The bytes of a block of `class`; 0 for [`ClassId::NONE`]. O(1).
///
/// ```
/// use freestone_base::{ClassId, block_size, class_of};
/// assert_eq!((block_size(class_of(100).unwrap()), block_size(ClassId::NONE)), (112, 0));
/// ```
#[inline]
pub fn block_size(class: ClassId) -> usize {
    BLOCK_SIZES[class.index()] as usize
}

/// The class that serves a malloc of `size` bytes, or `None` above [`MAX_MEDIUM`]. O(1).
///
/// ```
/// use freestone_base::{class_info, class_of};
/// let class = class_of(100).unwrap();
/// assert_eq!(class_info(class).size, 112);
/// assert_eq!(class_of(300_000), None);
/// ```
#[inline]
pub fn class_of(size: usize) -> Option<ClassId> {
    if size > MAX_SMALL {
        return class_of_medium(size);
    }
    Some(ClassId(CLASS_TABLE[size.div_ceil(8)]))
}

/// The class that serves a malloc of more than [`MAX_SMALL`] bytes, or `None` above [`MAX_MEDIUM`]. O(1).
#[inline]
pub fn class_of_medium(size: usize) -> Option<ClassId> {
    if size > MAX_MEDIUM {
        return None;
    }
    Some(ClassId(MEDIUM_TABLE[size.div_ceil(PAGE_SIZE)]))
}

/// Like [`class_of`], for a caller content with 8 bytes of alignment. O(1).
///
/// ```
/// use freestone_base::{class_info, size_class::class_of_word};
/// assert_eq!(class_info(class_of_word(24).unwrap()).size, 24);
/// ```
#[inline]
pub fn class_of_word(size: usize) -> Option<ClassId> {
    if size > MAX_SMALL {
        return class_of_medium(size);
    }
    Some(ClassId(WORD_CLASS_TABLE[size.div_ceil(8)]))
}

/// The smallest class whose blocks hold `size` bytes at `align`, or `None` when none does.
/// `align` is a power of two. Deterministic in both arguments, so that a sized deallocation of a small block finds
/// the class of its allocation again. O(1).
#[inline]
pub fn class_of_aligned(size: usize, align: usize) -> Option<ClassId> {
    if align <= 8 {
        return class_of_word(size);
    }
    if align <= MALLOC_ALIGN {
        return class_of(if size < align { align } else { size });
    }
    class_of_over_aligned(size, align)
}

/// The largest alignment that a class has, a page, and the least that is more than malloc's; as logarithms.
const LAST_ALIGN_SHIFT: u32 = PAGE_SIZE.trailing_zeros();
const FIRST_ALIGN_SHIFT: u32 = MALLOC_ALIGN.trailing_zeros() + 1;

/// Where the part of [`ALIGNED_TABLE`] for one alignment begins: each part is half as long as the one before.
const fn aligned_part(shift: u32) -> usize {
    2 * (MAX_SMALL >> FIRST_ALIGN_SHIFT) - 2 * (MAX_SMALL >> shift)
}

const ALIGNED_LEN: usize = aligned_part(LAST_ALIGN_SHIFT + 1);

/// For each alignment above malloc's, the smallest class of that alignment for each multiple of it, from once on.
static ALIGNED_TABLE: [u8; ALIGNED_LEN] = {
    let mut table = [0; ALIGNED_LEN];
    let mut shift = FIRST_ALIGN_SHIFT;
    while shift <= LAST_ALIGN_SHIFT {
        let mut multiple = 1;
        while multiple <= MAX_SMALL >> shift {
            let mut best = 0;
            let mut class = 1;
            while class < FIRST_MEDIUM {
                let info = CLASSES[class];
                let fits = info.size as usize >= multiple << shift && info.align as usize >= 1 << shift;
                if fits && (best == 0 || info.size < CLASSES[best].size) {
                    best = class;
                }
                class += 1;
            }
            assert!(best != 0);
            table[aligned_part(shift) + multiple - 1] = best as u8;
            multiple += 1;
        }
        shift += 1;
    }
    table
};

fn class_of_over_aligned(size: usize, align: usize) -> Option<ClassId> {
    if align > PAGE_SIZE || size > MAX_SMALL {
        return None;
    }
    let shift = align.trailing_zeros();
    let multiple = size.saturating_sub(1) >> shift;
    Some(ClassId(ALIGNED_TABLE[aligned_part(shift) + multiple]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=MAX_SMALL {
            let class = class_of(size).unwrap();
            let info = class_info(class);
            assert!(info.size as usize >= size);
            assert!(size <= 8 || info.size.is_multiple_of(16), "{size}");
            assert!(class.index() < FIRST_TWIN);
            let smaller =
                ClassId::all().filter(|&c| class_info(c).size.is_multiple_of(16) && c < class).last();
            if let Some(smaller) = smaller {
                assert!((class_info(smaller).size as usize) < size.max(9), "{size}");
            }
            let word = class_info(class_of_word(size).unwrap());
            assert!(word.size as usize >= size && word.size <= info.size);
        }
        assert_eq!(class_of(MAX_MEDIUM + 1), None);
        assert_eq!(class_of(usize::MAX), None);
    }

    #[test]
    fn the_least_with_so_many_eighths_is_the_first_that_has_them() {
        for info in (1..CLASS_COUNT).map(|class| class_info(ClassId(class as u8))) {
            for eighths in 1..8 {
                let least = info.least_with_eighths(eighths);
                assert!(info.eighths(least) >= eighths && info.eighths(least - 1) < eighths, "{info:?}");
            }
        }
    }

    #[test]
    fn medium_sizes_get_whole_pages_and_waste_at_most_an_eighth_and_a_page() {
        let mut last = 0;
        for size in (MAX_SMALL + 1..=MAX_MEDIUM).step_by(61).chain([MAX_MEDIUM]) {
            let class = class_of(size).unwrap();
            let info = class_info(class);
            assert!(class.index() >= FIRST_MEDIUM && class.index() >= last && info.blocks == 1);
            assert!(info.size as usize >= size && (info.size as usize) < size + size / 8 + PAGE_SIZE);
            assert_eq!(info.size as usize, info.slab_pages as usize * PAGE_SIZE);
            last = class.index();
        }
        assert_eq!(last, FIRST_VARIANT - 1);
    }

    #[test]
    fn variants_are_apart_and_lead_back_to_their_class() {
        let mut seen = std::collections::HashSet::new();
        for class in ClassId::firsts() {
            for cache in 0..VARIANTS {
                let variant = class.variant(cache);
                let shares = class_info(class).size as usize <= MAX_SHARING;
                assert_eq!(seen.insert(variant), shares || cache == 0);
                assert_eq!(variant.first(), class);
                assert_eq!(class_info(variant).size, class_info(class).size);
                assert!(!shares || variant.among_many().is_some());
                assert!(!variant.is_foreign_to(cache) && variant.is_foreign_to(cache + 1) == shares);
                assert_eq!(class.variant(cache + VARIANTS), variant);
            }
        }
        assert_eq!(seen.len(), ClassId::all().count());
        let places: Vec<_> = ClassId::all().filter_map(ClassId::among_many).collect();
        assert!(places == (0..MANY_COUNT).collect::<Vec<_>>() && ClassId::NONE.among_many().is_none());
        assert!(
            class_of(512).unwrap().among_many().is_some() && class_of(513).unwrap().among_many().is_none()
        );
        assert_eq!(ClassId::NONE.variant(1), ClassId::NONE);
    }

    #[test]
    fn internal_waste_stays_within_the_bound() {
        for size in 1..=MAX_SMALL {
            let granules = size.next_multiple_of(8);
            for class in [class_of(size), class_of_word(size)] {
                let block = class_info(class.unwrap()).size as usize;
                let bound = if size <= 64 { 0.25 } else { 0.125 };
                let waste = (block - granules) as f64 / block as f64;
                assert!(waste <= bound, "{size} in {block}: {waste}");
            }
        }
    }

    #[test]
    fn each_class_that_can_be_merged_has_a_larger_one_of_its_group_or_is_it() {
        let mut groups = std::collections::HashSet::new();
        for size in 0..=MAX_SMALL {
            let class = class_of(size).unwrap();
            let Some((group, largest)) = merged_group(class) else {
                assert!(size <= TELLING_MAX);
                continue;
            };
            groups.insert(group);
            assert!(
                size > TELLING_MAX && largest >= class && merged_group(largest) == Some((group, largest))
            );
            assert!((class_info(largest).size as usize) < size + size / MERGED_CLASSES, "{size}");
        }
        assert_eq!(groups.len(), MERGED_GROUPS);
        let others = ClassId::all().filter(|&class| class.index() >= FIRST_TWIN);
        assert!(others.into_iter().all(|class| merged_group(class).is_none()));
    }

    #[test]
    fn slabs_waste_at_most_one_part_in_32() {
        for class in ClassId::all() {
            let info = class_info(class);
            assert!(info.tail() * 32 <= info.slab_pages as usize * PAGE_SIZE, "{info:?}");
        }
    }

    #[test]
    fn coloured_slabs_spread_the_first_lines_of_their_blocks_over_all_cache_sets() {
        for class in ClassId::all() {
            let info = class_info(class);
            let mut sets = std::collections::HashSet::new();
            for slab in 0..info.colours as usize {
                let colour = info.colour(slab);
                assert!(
                    colour + info.blocks as usize * info.size as usize
                        <= info.slab_pages as usize * PAGE_SIZE
                );
                assert!(colour.is_multiple_of(info.align as usize));
                sets.extend((0..info.blocks as usize).map(|n| (colour + n * info.size as usize) / 64 % 64));
            }
            if is_coloured(info.size as usize) && class.index() < FIRST_TWIN {
                assert_eq!(sets.len(), 64, "{info:?}");
            }
        }
    }

    #[test]
    fn block_numbers_are_exact_at_every_offset() {
        for class in ClassId::all() {
            let info = class_info(class);
            for offset in 0..info.slab_pages as usize * PAGE_SIZE {
                let size = info.size as usize;
                assert_eq!(info.block_at(offset), offset / size);
                let begins = offset.is_multiple_of(size).then_some(offset / size);
                assert_eq!(info.block_starting_at(offset), begins);
            }
        }
    }

    #[test]
    fn aligned_requests_get_blocks_that_are_aligned() {
        for shift in 0..=13 {
            let align = 1usize << shift;
            for size in (0..=MAX_SMALL).step_by(7) {
                if let Some(class) = class_of_aligned(size, align) {
                    let info = class_info(class);
                    assert!(info.size as usize >= size && info.align as usize >= align, "{size} {align}");
                }
            }
            assert!(class_of_aligned(align, align).is_some());
        }
        assert_eq!(class_of_aligned(1, PAGE_SIZE * 2), None);
    }
}
