//! The memory of one cache, and plain operations on it.
//!
//! A region is [`REGION_SIZE`] bytes of zeroed addresses, touched only as it is used:
//!
//! | byte | content |
//! |---|---|
//! | 0 | slot 0, always zero |
//! | [`HEADERS_OFFSET`] | a [`Header`] a class: `current` in the low 32 bits, `end` in the high 32 |
//! | [`STATE_OFFSET`] | a [`RegionState`] |
//! | [`CLASSES_OFFSET`] | a copy of the table of classes, so that malloc reaches it from the register that leads to the headers |
//! | [`WORDS_OFFSET`] | the same of the table for whom 8 bytes of alignment are enough, which is what Rust's requests go by |
//! | [`SLOTS_OFFSET`] | for each class a sentinel slot that holds zero, then up to [`NEAR`] slots: its *near* array |
//! | [`FAR`] × 8 | for each class that may hold more, a sentinel slot that holds zero, then `cache_max` slots: its *far* array |
//!
//! In both tables of classes stand the variants that this cache hands out.
//!
//! A class uses one of its arrays at a time: the near one until its capacity goes beyond that. The near arrays lie side by
//! side, so that a program which uses many classes a little touches few pages.
//!
//! `current` and `end` are slot numbers counted from the start of the region. The topmost cached block of a
//! class lies in slot `current`; when the class is empty that is its sentinel, so a pop that reads zero has
//! missed. A push misses when `current == end`. A region of zeros is a valid cache, empty and full at once:
//! every header points at slot 0, which is itself zero.
//!
//! # Safety
//!
//! - R1: a region is touched by the operations here by one at a time: whom its custody lets in (per-thread mode, see `thread.rs`), or
//!   while all caches are stopped (per-CPU mode, see `cpu.rs`).
//! - R2: for every class, `begin <= current <= end`, within one of its arrays that begins at `begin`, or the header is
//!   zero; the slots `begin + 1 ..= current` hold addresses of blocks of that class which nobody else holds.
//! - R3: regions are never unmapped.
#![allow(unsafe_code)]

use core::ptr::NonNull;

use freestone_base::size_class::{
    CLASS_TABLE, MERGED_CLASS_TABLE, TELLING_MAX, WORD_CLASS_TABLE, merged_group,
};
use freestone_base::{CLASS_COUNT, ClassId, MAX_SHARING, class_info};
use freestone_sys::System;

use super::custody::Custody;
use crate::merged;
use crate::pageheap::Span;
use crate::sync::atomic::{
    AtomicIsize, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// Base-two logarithm of [`REGION_SIZE`].
pub(crate) const REGION_SHIFT: u32 = 19;
/// Bytes of address space in a region.
pub(crate) const REGION_SIZE: usize = 1 << REGION_SHIFT;

/// Where the header table starts.
pub(crate) const HEADERS_OFFSET: usize = 8;
const STATE_OFFSET: usize = (HEADERS_OFFSET + CLASS_COUNT * size_of::<Header>()).next_multiple_of(64);
/// Where the class of each small size lies, in units of 8 bytes.
pub(crate) const CLASSES_OFFSET: usize = STATE_OFFSET + size_of::<RegionState>();
/// The same for callers content with 8 bytes of alignment.
pub(crate) const WORDS_OFFSET: usize = (CLASSES_OFFSET + CLASS_TABLE.len()).next_multiple_of(64);
/// What leads from the second table to the first, added with a wrap.
pub(crate) const TO_CLASSES: usize = CLASSES_OFFSET.wrapping_sub(WORDS_OFFSET);
/// Sizes in both tables whose class has variants.
const SHARING_SIZES: usize = MAX_SHARING / 8 + 1;
const _: () = {
    let mut size = SHARING_SIZES;
    while size < CLASS_TABLE.len() {
        assert!(
            CLASS_TABLE[size] == WORD_CLASS_TABLE[size],
            "the tables differ only where classes have variants"
        );
        size += 1;
    }
};
const SLOTS_OFFSET: usize = (WORDS_OFFSET + WORD_CLASS_TABLE.len()).next_multiple_of(64);

/// Slots left out behind each far array: three cache lines. Many arrays are multiples of 4 KiB long, after which the sets of a
/// first-level cache repeat, and the tops of all of them would share one.
const SLOTS_APART: usize = 24;

/// Blocks in a near array. With its sentinel it fills two cache lines.
pub(crate) const NEAR: usize = 15;

/// The sentinels of each class's near and far array, the near one's in the low half. A class that needs no far array has none.
const BEGIN: [u32; CLASS_COUNT] = {
    let mut begin = [0u32; CLASS_COUNT];
    let mut near = SLOTS_OFFSET / 8;
    let mut far = FAR as usize;
    let mut class = 1;
    while class < CLASS_COUNT {
        begin[class] = near as u32;
        near += 1 + near_max(class);
        if cache_max(class) > NEAR {
            begin[class] |= (far as u32) << 16;
            far += 1 + cache_max(class) + SLOTS_APART;
        }
        class += 1;
    }
    assert!(near <= FAR as usize && far * 8 <= REGION_SIZE && far <= u16::MAX as usize);
    begin
};

/// The first slot of the first far array: every far array lies above every near one.
pub(crate) const FAR: u16 = {
    let mut near = SLOTS_OFFSET / 8;
    let mut class = 1;
    while class < CLASS_COUNT {
        near += 1 + near_max(class);
        class += 1;
    }
    near.next_multiple_of(8) as u16
};

const fn cache_max(class: usize) -> usize {
    freestone_base::size_class::CLASSES[class].cache_max as usize
}

const fn near_max(class: usize) -> usize {
    if cache_max(class) < NEAR { cache_max(class) } else { NEAR }
}

/// The sentinel slots of both arrays of `class`: the near one's in the low 16 bits, the far one's in the high.
#[inline]
pub(crate) fn begin(class: ClassId) -> u32 {
    BEGIN[class.index()]
}

/// `current` and `end` of one class, as read at one moment. Each has 32 bits, though 16 would do: the fast paths load `current` as they
/// store it, which processors forward sooner than a part of what was stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header(pub(crate) u64);

impl Header {
    pub(crate) const fn new(current: u16, end: u16) -> Header {
        Header(current as u64 | (end as u64) << 32)
    }

    pub(crate) const fn current(self) -> u16 {
        self.0 as u16
    }

    pub(crate) const fn end(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// Both, in the halves of a word.
    fn in_short(self) -> u32 {
        self.current() as u32 | (self.end() as u32) << 16
    }

    /// The sentinel of the array that the class uses.
    pub(crate) fn begin(self, class: ClassId) -> u16 {
        if self.current() >= FAR { (begin(class) >> 16) as u16 } else { begin(class) as u16 }
    }

    /// Blocks that the class may hold at present.
    pub(crate) fn capacity(self, class: ClassId) -> usize {
        if self.0 == 0 { 0 } else { (self.end() - self.begin(class)) as usize }
    }

    /// Blocks that the class holds.
    pub(crate) fn len(self, class: ClassId) -> usize {
        if self.0 == 0 { 0 } else { (self.current() - self.begin(class)) as usize }
    }

    /// Whether the blocks must leave their array before the class can have capacity for so many.
    pub(crate) fn is_cramped(self, class: ClassId, capacity: usize) -> bool {
        capacity > near_max(class.index()) && self.current() < FAR && self.len(class) > 0
    }

    /// The header with capacity for `capacity` blocks, which is at least `len`, and for which it is not
    /// [cramped](Header::is_cramped). An empty class uses the array that is just long enough.
    pub(crate) fn with_capacity(self, class: ClassId, capacity: usize) -> Header {
        debug_assert!(!self.is_cramped(class, capacity) && capacity >= self.len(class));
        let begins = begin(class);
        let begin = match self.len(class) {
            0 if capacity <= near_max(class.index()) => begins as u16,
            0 => (begins >> 16) as u16,
            _ => self.begin(class),
        };
        Header::new(begin + self.len(class) as u16, begin + capacity as u16)
    }
}

/// The life of a region, in [`RegionState::active`]: zeros, never written to; in use; given up, and empty.
pub(super) const NEVER: u32 = 0;
pub(super) const ACTIVE: u32 = 1;
const RETIRED: u32 = 2;

/// What a region keeps beside its blocks.
#[repr(C, align(64))]
pub(crate) struct RegionState {
    /// The slab from which this cache is being filled, for each class. Guarded by the class's central lock.
    pub(crate) filling: [AtomicPtr<Span>; CLASS_COUNT],
    /// Bytes by which capacities may still grow.
    pub(crate) spare: AtomicIsize,
    /// Bytes that the region has of the common budget.
    pub(crate) granted: AtomicIsize,
    /// [`NEVER`], [`ACTIVE`] or [`RETIRED`].
    pub(crate) active: AtomicU32,
    /// Who may touch the region (per-thread mode).
    pub(crate) custody: Custody,
    /// The class from which capacity is taken next.
    pub(crate) victim: AtomicU16,
    /// Refills and flushes, for the report.
    pub(crate) refills: AtomicUsize,
    pub(crate) flushes: AtomicUsize,
    /// Refills and flushes when the scavenger looked last, and when it emptied the region.
    pub(crate) seen: AtomicUsize,
    pub(crate) emptied: AtomicUsize,
    /// The headers as the scavenger saw them last.
    pub(crate) headers_seen: [AtomicU32; CLASS_COUNT],
    /// For each class when its blocks are put in order next (`order.rs`).
    pub(crate) turns: [AtomicU8; CLASS_COUNT],
    /// Free list of regions of threads that have ended (per-thread mode).
    pub(crate) next: AtomicPtr<u8>,
    /// The region that was made before this one (per-thread mode).
    pub(crate) older: AtomicPtr<u8>,
}

/// A region. Copying the reference does not copy the right to use it (R1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region(NonNull<u8>);

// SAFETY: a region is plain memory; R1 says who may touch it.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Bytes of the header table, slot 0 included.
    pub(crate) const HEADER_BYTES: usize = STATE_OFFSET;

    /// # Safety
    /// `base` starts [`REGION_SIZE`] bytes that were zero when mapped and are never unmapped (R3).
    pub(crate) const unsafe fn new(base: NonNull<u8>) -> Region {
        Region(base)
    }

    pub(crate) fn base(self) -> *mut u8 {
        self.0.as_ptr()
    }

    fn word(self, class: ClassId) -> &'static AtomicU64 {
        let table = self.base().wrapping_add(HEADERS_OFFSET).cast::<AtomicU64>();
        // SAFETY: the header table lies inside the region (R3), 8-byte aligned.
        unsafe { &*table.wrapping_add(class.index()) }
    }

    fn slot(self, slot: u16) -> &'static AtomicUsize {
        let slots = self.base().cast::<AtomicUsize>();
        // SAFETY: slot numbers stay within the arrays (R2), inside the region (R3).
        unsafe { &*slots.wrapping_add(slot as usize) }
    }

    pub(crate) fn state(self) -> &'static RegionState {
        let state = self.base().wrapping_add(STATE_OFFSET).cast::<RegionState>();
        // SAFETY: the state lies inside the region (R3), is aligned to 64, and all zeros are a valid value.
        unsafe { &*state }
    }

    /// Makes the region the cache of this number, by which it gets its variants. Whoever reads the tables before that finds
    /// class 0, which always misses.
    pub(crate) fn write_classes(self, number: usize) {
        merged::with_parted(|parted| {
            let from = if parted == merged::ALL { &CLASS_TABLE } else { &MERGED_CLASS_TABLE };
            for offset in [CLASSES_OFFSET, WORDS_OFFSET] {
                // The first entries follow below, and are those of no other cache meanwhile.
                let (to, from) = (self.base().wrapping_add(offset + SHARING_SIZES), &from[SHARING_SIZES..]);
                // SAFETY: the table lies inside the region (R3); it holds a class for each size at any time once it is written.
                unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
            }
            if !matches!(parted, 0 | merged::ALL) {
                self.part_classes(parted);
            }
        });
        for (table, offset) in [(&CLASS_TABLE, CLASSES_OFFSET), (&WORD_CLASS_TABLE, WORDS_OFFSET)] {
            for (size, &class) in table[..SHARING_SIZES].iter().enumerate() {
                let to = self.base().wrapping_add(offset + size);
                // SAFETY: as above.
                unsafe { to.write(ClassId(class).variant(number).0) };
            }
        }
    }

    /// Has the sizes of these groups, a bit each, served by classes of their own.
    pub(crate) fn part_classes(self, groups: u32) {
        let first = TELLING_MAX / 8 + 1;
        for (slot, &class) in CLASS_TABLE.iter().enumerate().skip(first) {
            if merged_group(ClassId(class)).is_none_or(|(group, _)| groups >> group & 1 == 0) {
                continue;
            }
            for offset in [CLASSES_OFFSET, WORDS_OFFSET] {
                let entry = self.base().wrapping_add(offset + slot).cast::<AtomicU8>();
                // SAFETY: in the table, which lies inside the region (R3). Fast paths read bytes of it meanwhile.
                unsafe { &*entry }.store(class, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn header(self, class: ClassId) -> Header {
        Header(self.word(class).load(Ordering::Relaxed))
    }

    /// What lies in a slot of the class's present array, counted from its bottom: a block, if the class holds as many and nobody else is at it.
    pub(crate) fn peek(self, class: ClassId, at: usize) -> usize {
        let slot = self.header(class).begin(class) as usize + 1 + at;
        if slot < REGION_SIZE / 8 { self.slot(slot as u16).load(Ordering::Relaxed) } else { 0 }
    }

    /// Whether the class's blocks are as many as when [`note_header`](Region::note_header) was called last, and some.
    pub(crate) fn is_at_rest(self, class: ClassId) -> bool {
        self.header(class).len(class) > 0 && self.is_unchanged(class)
    }

    /// Whether the class's header is what was kept in mind.
    pub(crate) fn is_unchanged(self, class: ClassId) -> bool {
        self.state().headers_seen[class.index()].load(Ordering::Relaxed) == self.header(class).in_short()
    }

    /// Keeps in mind how many blocks of the class there are.
    pub(crate) fn note_header(self, class: ClassId) {
        self.state().headers_seen[class.index()].store(self.header(class).in_short(), Ordering::Relaxed);
    }

    /// Lets the whole OS pages go that hold nothing but slots: the region is given up. No class has capacity. Requires R1.
    pub(crate) fn retire(self, system: &impl System) {
        let base = self.base().expose_provenance();
        let start = (base + SLOTS_OFFSET).next_multiple_of(system.os_page_size());
        // SAFETY: slots of classes without capacity, inside the region (R3); zeros are as good as what they hold.
        let _ = unsafe { system.purge(start, base + REGION_SIZE - start) };
        self.state().active.store(RETIRED, Ordering::Relaxed);
    }

    /// Has every class begin anew with its capacity, whose bytes are spare again; the region holds nothing. Requires R1.
    pub(crate) fn forget_capacities(self) {
        ClassId::all().for_each(|class| self.forget_capacity(class));
    }

    /// The same of one class, which holds nothing. Requires R1.
    pub(crate) fn forget_capacity(self, class: ClassId) {
        let header = self.header(class);
        debug_assert_eq!(header.len(class), 0);
        let bytes = header.capacity(class) * class_info(class).size as usize;
        if bytes > 0 {
            self.word(class).store(0, Ordering::Relaxed);
            self.state().spare.fetch_add(bytes as isize, Ordering::Relaxed);
        }
    }

    /// Takes the topmost block, or 0 when the class is empty. O(1). Requires R1.
    #[inline(always)]
    pub(crate) fn pop(self, class: ClassId) -> usize {
        let header = self.header(class);
        let block = self.slot(header.current()).load(Ordering::Relaxed);
        if block != 0 {
            // `current` is the lower half, and not the sentinel.
            self.set_header(class, Header(header.0 - 1));
        }
        block
    }

    /// Puts a block on top; false when the class is full. O(1). Requires R1.
    #[inline(always)]
    pub(crate) fn push(self, class: ClassId, block: usize) -> bool {
        let header = self.header(class);
        if header.current() >= header.end() {
            return false;
        }
        self.slot(header.current() + 1).store(block, Ordering::Relaxed);
        self.set_header(class, Header(header.0 + 1));
        true
    }

    /// Takes the topmost blocks, up to `out.len()`, in the order in which they lie, the topmost last; returns how
    /// many. Requires R1.
    pub(crate) fn pop_batch(self, class: ClassId, out: &mut [usize]) -> usize {
        let header = self.header(class);
        let taken = header.len(class).min(out.len());
        if taken == 0 {
            return 0;
        }
        let left = header.current() - taken as u16;
        for (index, place) in out[..taken].iter_mut().enumerate() {
            *place = self.slot(left + 1 + index as u16).load(Ordering::Relaxed);
        }
        self.word(class).store(Header::new(left, header.end()).0, Ordering::Relaxed);
        taken
    }

    /// Puts blocks, `blocks[0]` first; returns how many found room. Requires R1.
    pub(crate) fn push_batch(self, class: ClassId, blocks: &[usize]) -> usize {
        let header = self.header(class);
        let put = blocks.len().min((header.end() - header.current()) as usize);
        for (index, &block) in blocks[..put].iter().enumerate() {
            self.slot(header.current() + 1 + index as u16).store(block, Ordering::Relaxed);
        }
        let top = header.current() + put as u16;
        self.word(class).store(Header::new(top, header.end()).0, Ordering::Relaxed);
        put
    }

    /// Replaces the header. Requires R1 and keeps R2.
    pub(crate) fn set_header(self, class: ClassId, header: Header) {
        self.word(class).store(header.0, Ordering::Relaxed);
    }

    /// Takes cached blocks of `class` whose addresses are below `floor`, as many as there is room for; returns how many. The others
    /// stay in their order. Requires R1.
    pub(crate) fn take_below(self, class: ClassId, floor: usize, out: &mut [usize]) -> usize {
        let header = self.header(class);
        let block_in = |slot: u16| self.slot(slot).load(Ordering::Relaxed);
        // There is none, as a rule; no slot at all in a header of zeros.
        let mut slots = header.begin(class) + 1..=header.current();
        let Some(first) = slots.find(|&slot| block_in(slot) < floor) else { return 0 };
        let (mut taken, mut top) = (0, first - 1);
        for slot in first..=header.current() {
            let block = block_in(slot);
            if block < floor && taken < out.len() {
                out[taken] = block;
                taken += 1;
            } else {
                top += 1;
                self.slot(top).store(block, Ordering::Relaxed);
            }
        }
        self.word(class).store(Header::new(top, header.end()).0, Ordering::Relaxed);
        taken
    }

    /// Calls `visit` for every cached block of `class`. Requires R1 (the owner may not change it meanwhile).
    pub(crate) fn for_each_block(self, class: ClassId, mut visit: impl FnMut(usize)) {
        let header = self.header(class);
        if header.0 != 0 {
            for slot in header.begin(class) + 1..=header.current() {
                visit(self.slot(slot).load(Ordering::Relaxed));
            }
        }
    }
}

/// The capacity, in blocks, beyond which a class never grows.
pub(crate) fn capacity_limit(class: ClassId) -> usize {
    class_info(class).cache_max as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::class_of;
    use freestone_base::size_class::{MALLOC_ALIGN, class_of_word};

    #[test]
    fn arrays_lie_apart_and_begin_with_zero() {
        let mut arrays: Vec<_> = ClassId::all()
            .flat_map(|class| {
                let (near, far) = (begin(class) as u16, (begin(class) >> 16) as u16);
                let most = capacity_limit(class) as u16;
                let near_end = near + 1 + most.min(NEAR as u16);
                assert!(near_end <= FAR && (far == 0) == (most <= NEAR as u16));
                [(near, near_end), (far, if far == 0 { 0 } else { far + 1 + most })]
            })
            .filter(|&(begin, _)| begin > 0)
            .collect();
        arrays.sort();
        assert!(arrays.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(arrays[0].0 as usize * 8 >= SLOTS_OFFSET);
    }

    #[test]
    fn a_header_changes_its_array_only_when_empty() {
        let class = class_of(64).unwrap();
        let few = Header(0).with_capacity(class, 4);
        assert_eq!((few.begin(class), few.capacity(class)), (begin(class) as u16, 4));
        let held = Header::new(few.current() + 3, few.end());
        assert!(!held.is_cramped(class, NEAR) && held.is_cramped(class, NEAR + 1));
        assert_eq!(held.with_capacity(class, NEAR).len(class), 3);
        let many = few.with_capacity(class, 100);
        assert_eq!((many.begin(class), many.capacity(class)), ((begin(class) >> 16) as u16, 100));
        let held = Header::new(many.current() + 3, many.end());
        assert_eq!(
            (held.with_capacity(class, 3).len(class), many.with_capacity(class, 3).capacity(class)),
            (3, 3)
        );
        assert_eq!(held.with_capacity(class, 3).begin(class), many.begin(class));
        assert_eq!(many.with_capacity(class, 3).begin(class), few.begin(class));
    }

    #[test]
    fn each_cache_names_its_own_variants_and_no_others() {
        let memory = vec![0u64; REGION_SIZE / 8].leak();
        for number in [0, 1, 3, 6] {
            // SAFETY: REGION_SIZE zeroed bytes, leaked, so never unmapped.
            let region = unsafe { Region::new(NonNull::from(&mut *memory).cast()) };
            region.write_classes(number);
            let named = |offset: usize, size: usize| {
                let at = region.base().wrapping_add(offset + size.div_ceil(8));
                // SAFETY: in the table just written.
                ClassId(unsafe { at.read() })
            };
            for size in 0..=freestone_base::MAX_SMALL {
                let class = named(CLASSES_OFFSET, size);
                let own = class_of(size).unwrap();
                assert!(size <= MAX_SHARING || named(WORDS_OFFSET, size) == class, "{size}");
                // Another test may have started the allocator, which merges classes.
                let merged = merged_group(own).is_some_and(|(_, largest)| class == largest);
                assert!(!class.is_foreign_to(number) && (class.first() == own || merged), "{size}");
                if size <= MAX_SHARING {
                    let class = named(WORDS_OFFSET, size);
                    assert!(!class.is_foreign_to(number) && Some(class.first()) == class_of_word(size));
                }
            }
            assert!(
                number % freestone_base::size_class::VARIANTS == 0
                    || named(CLASSES_OFFSET, MALLOC_ALIGN).is_foreign_to(0)
            );
        }
    }

    #[test]
    fn groups_part_alone() {
        let memory = vec![0u64; REGION_SIZE / 8].leak();
        // SAFETY: REGION_SIZE zeroed bytes, leaked, so never unmapped.
        let region = unsafe { Region::new(NonNull::from(&mut *memory).cast()) };
        let parted = 1 << 3 | 1 << 17;
        region.part_classes(parted);
        for size in (0..=freestone_base::MAX_SMALL).step_by(8) {
            let own = class_of(size).unwrap();
            let is_parted = merged_group(own).is_some_and(|(group, _)| parted >> group & 1 != 0);
            for offset in [CLASSES_OFFSET, WORDS_OFFSET] {
                let at = region.base().wrapping_add(offset + size / 8);
                // SAFETY: in the table.
                let named = ClassId(unsafe { at.read() });
                assert_eq!(named, if is_parted { own } else { ClassId::NONE }, "{size}");
            }
        }
    }
}
