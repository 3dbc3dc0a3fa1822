//! A block with its boundary tags, and the region in which blocks lie.
//!
//! # Safety
//!
//! *Tagged*: a [`Block`] designates a header inside a live region of one heap. The blocks of a region tile it, from the
//! front block to the end mark; each has a header and (but for the end mark) a footer, and at least 16 bytes between
//! them. Nobody but the heap writes tags; the bytes between them are the heap's while the block is free, and those of
//! a front block always.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// Payloads are aligned to this, and sizes of blocks are multiples of it.
pub const UNIT: usize = 16;
/// Bytes of a header and a footer.
pub const TAGS: usize = 16;
/// The smallest block: tags, and room for the two links of a free one.
pub const LEAST: usize = 32;
const TAG: usize = 8;

const USED: u64 = 1;
const EDGE: u64 = 2;
const SIZE_BITS: u32 = 48;
const SIZE: u64 = (1 << SIZE_BITS) - UNIT as u64;
/// The largest size of a block.
pub const MOST: usize = SIZE as usize;

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// In a list of the policy.
    Free,
    /// The caller's.
    Live,
    /// The first or the last of a region: never free, never live.
    Edge,
}

/// Size and kind of a block, as its tags hold them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(u64);

impl Tag {
    #[inline]
    fn new(size: usize, kind: Kind) -> Tag {
        let flags = match kind {
            Kind::Free => 0,
            Kind::Live => USED,
            Kind::Edge => USED | EDGE,
        };
        Tag(size as u64 | flags)
    }

    #[inline]
    pub fn size(self) -> usize {
        (self.0 & SIZE) as usize
    }

    #[inline]
    pub fn kind(self) -> Kind {
        match (self.0 & USED, self.0 & EDGE) {
            (0, _) => Kind::Free,
            (_, 0) => Kind::Live,
            _ => Kind::Edge,
        }
    }
}

/// The guard mark of a tag: sixteen bits that depend on its address, never zero.
fn mark(address: usize) -> u64 {
    ((address as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SIZE_BITS | 1) << SIZE_BITS
}

/// A block, by its header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Block(NonNull<u8>);

impl Block {
    /// The block with this payload.
    ///
    /// # Safety
    ///
    /// `payload` lies behind a header of a live region of the heap, or where one is about to be written.
    #[inline]
    pub unsafe fn with_payload(payload: NonNull<u8>) -> Block {
        // SAFETY: the caller's promise: there is a header before it.
        Block(unsafe { payload.sub(TAG) })
    }

    /// What lies between the tags.
    #[inline]
    pub fn payload(self) -> NonNull<u8> {
        // SAFETY: tagged: a block is longer than its header.
        unsafe { self.0.add(TAG) }
    }

    #[inline]
    pub fn address(self) -> usize {
        self.0.addr().get()
    }

    /// The place so many bytes further up as a block.
    ///
    /// # Safety
    ///
    /// A header is there, or is about to be written, in the same region.
    #[inline]
    pub unsafe fn offset(self, bytes: usize) -> Block {
        // SAFETY: the caller's promise.
        Block(unsafe { self.0.add(bytes) })
    }

    /// The tag at this place if its mark is right.
    #[inline]
    fn read(place: NonNull<u8>) -> Option<Tag> {
        // SAFETY: tagged: both kinds of tag are words at multiples of eight.
        let word = unsafe { place.cast::<u64>().read() };
        let bare = word ^ mark(place.addr().get());
        (bare >> SIZE_BITS == 0).then_some(Tag(bare))
    }

    #[inline]
    fn write(place: NonNull<u8>, tag: Tag) {
        // SAFETY: as in `read`; the heap alone writes tags.
        unsafe { place.cast::<u64>().write(tag.0 ^ mark(place.addr().get())) };
    }

    #[inline]
    fn footer(self, size: usize) -> NonNull<u8> {
        // SAFETY: tagged: the footer is the last word of the block.
        unsafe { self.0.add(size - TAG) }
    }

    /// The header.
    ///
    /// # Panics
    ///
    /// When its mark is gone: somebody wrote over it.
    #[inline]
    pub fn tag(self) -> Tag {
        Self::read(self.0).unwrap_or_else(|| damaged(self.0, "the header of a block"))
    }

    #[inline]
    pub fn size(self) -> usize {
        self.tag().size()
    }

    #[inline]
    pub fn is_free(self) -> bool {
        self.tag().kind() == Kind::Free
    }

    /// Writes header and footer.
    #[inline]
    pub fn set(self, size: usize, kind: Kind) {
        let tag = Tag::new(size, kind);
        Self::write(self.0, tag);
        Self::write(self.footer(size), tag);
    }

    /// Writes the end mark of a region here: a header alone.
    #[inline]
    pub fn set_end(self) {
        Self::write(self.0, Tag::new(0, Kind::Edge));
    }

    /// The block behind this one.
    #[inline]
    pub fn next(self) -> Block {
        // SAFETY: tagged: blocks tile the region, and this is not the end mark, whose next nobody asks for.
        unsafe { self.offset(self.size()) }
    }

    /// The tag of the block before this one, from its footer.
    #[inline]
    pub fn tag_before(self) -> Tag {
        // SAFETY: tagged: a footer precedes every header but the front block's, whose predecessor nobody asks for.
        let footer = unsafe { self.0.sub(TAG) };
        Self::read(footer).unwrap_or_else(|| damaged(footer, "the footer of a block"))
    }

    /// The block before this one.
    #[inline]
    pub fn previous(self) -> Block {
        let size = self.tag_before().size();
        // SAFETY: tagged: its footer tells its size.
        Block(unsafe { self.0.sub(size) })
    }

    /// Panics unless this is a live block with both its tags intact.
    #[inline]
    pub fn check_live(self) {
        let tag =
            Self::read(self.0).unwrap_or_else(|| damaged(self.0, "not a block of this heap, or its header"));
        match tag.kind() {
            Kind::Live => {}
            Kind::Free => panic!("double free: the block at {:p} is free already", self.payload()),
            Kind::Edge => panic!("invalid free: {:p} is an edge of the heap", self.payload()),
        }
        if Self::read(self.footer(tag.size())) != Some(tag) {
            damaged(self.footer(tag.size()), "overrun: the footer of a block")
        }
    }

    #[inline]
    fn link(self, index: usize) -> NonNull<Option<Block>> {
        // SAFETY: tagged: two words lie between the tags.
        unsafe { self.payload().cast::<Option<Block>>().add(index) }
    }

    /// The next block in its list; for free blocks and front blocks, once they are in one.
    #[inline]
    pub fn next_in_list(self) -> Option<Block> {
        // SAFETY: tagged: these bytes are the heap's, and hold links while in a list.
        unsafe { self.link(0).read() }
    }

    #[inline]
    pub fn previous_in_list(self) -> Option<Block> {
        // SAFETY: as in `next_in_list`.
        unsafe { self.link(1).read() }
    }

    #[inline]
    pub fn set_next_in_list(self, block: Option<Block>) {
        // SAFETY: tagged: these bytes are the heap's.
        unsafe { self.link(0).write(block) };
    }

    #[inline]
    pub fn set_previous_in_list(self, block: Option<Block>) {
        // SAFETY: tagged: these bytes are the heap's.
        unsafe { self.link(1).write(block) };
    }
}

#[cold]
fn damaged(place: NonNull<u8>, what: &str) -> ! {
    panic!("heap damaged at {place:p}: {what} was overwritten")
}

/// A range of memory from the parent, cut into blocks.
///
/// ```text
/// | next region, length | front block 32 B | block | block | … | end mark 8 B |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Region(NonNull<u8>);

#[derive(Clone, Copy)]
struct Head {
    next: Option<Region>,
    bytes: usize,
}

const HEAD: usize = size_of::<Head>();
/// Bytes of a region that no block may have.
pub const REGION_OVERHEAD: usize = HEAD + TAG + LEAST + TAG;

const _: () = assert!((HEAD + TAG + TAG).is_multiple_of(UNIT) && REGION_OVERHEAD.is_multiple_of(UNIT));

impl Region {
    /// Lays out a region with one free block, which is in no list yet.
    ///
    /// # Safety
    ///
    /// The heap owns `bytes` bytes at `start`, both multiples of [`UNIT`], and they are enough for a block.
    #[inline]
    pub unsafe fn lay_out(start: NonNull<u8>, bytes: usize) -> Region {
        let region = Region(start);
        region.set_head(Head { next: None, bytes });
        region.front().set(LEAST, Kind::Edge);
        let block = region.first();
        let size = bytes - REGION_OVERHEAD;
        block.set(size, Kind::Free);
        block.next().set_end();
        region
    }

    #[inline]
    fn head(self) -> Head {
        // SAFETY: a region begins with its head.
        unsafe { self.0.cast().read() }
    }

    #[inline]
    fn set_head(self, head: Head) {
        // SAFETY: a region begins with its head, which the heap alone writes.
        unsafe { self.0.cast().write(head) };
    }

    #[inline]
    pub fn next(self) -> Option<Region> {
        self.head().next
    }

    #[inline]
    pub fn set_next(self, next: Option<Region>) {
        self.set_head(Head { next, ..self.head() });
    }

    #[inline]
    pub fn bytes(self) -> usize {
        self.head().bytes
    }

    #[inline]
    pub fn start(self) -> NonNull<u8> {
        self.0
    }

    /// The block before all others, which is never free and yet in the policy's list.
    #[inline]
    pub fn front(self) -> Block {
        // SAFETY: behind the head.
        Block(unsafe { self.0.add(HEAD + TAG) })
    }

    /// The first block that can be free or live.
    #[inline]
    pub fn first(self) -> Block {
        // SAFETY: behind the front block.
        unsafe { self.front().offset(LEAST) }
    }

    /// Whether one free block is all there is.
    #[inline]
    pub fn is_empty(self) -> bool {
        let tag = self.first().tag();
        tag.kind() == Kind::Free && tag.size() == self.bytes() - REGION_OVERHEAD
    }

    /// Whether `address` is inside.
    #[inline]
    pub fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.0.addr().get()) < self.bytes()
    }
}
