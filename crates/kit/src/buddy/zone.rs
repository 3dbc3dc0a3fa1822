//! A zone: a range of memory that is cut into buddies, and its map.
//!
//! # Safety
//!
//! *Zone*: a [`Zone`] designates a head that lives as long as the buddy system has it in its list; behind the head lies
//! a map with a byte for each unit of the zone's memory, written before it is read. The memory is the buddy system's,
//! and so are the bytes of every free block.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// What the head of a zone says.
#[derive(Clone, Copy)]
pub struct Head {
    pub next: Option<Zone>,
    /// The first byte that blocks may have.
    pub start: NonNull<u8>,
    pub bytes: usize,
    /// Bytes in live blocks.
    pub taken: usize,
    /// Whether memory and head came from the parent, and go back to it.
    pub from_parent: bool,
}

/// Bytes of a head.
pub const HEAD: usize = size_of::<Head>();
/// Alignment of a head.
pub const HEAD_ALIGN: usize = align_of::<Head>();

/// The state of the unit at which a block may begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Inside a block.
    Inner,
    /// The first of a free block of this order.
    Free(u32),
    /// The first of a live block of this order.
    Live(u32),
}

const FREE: u8 = 0x80;
const LIVE: u8 = 0x40;

/// A zone, by its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zone(NonNull<u8>);

impl Zone {
    /// Writes a head and a map of inner units.
    ///
    /// # Safety
    ///
    /// `place` is aligned for a head and has room for it and for `units` bytes behind it; they and the memory that
    /// `head` describes are the buddy system's for as long as it uses the zone.
    #[inline]
    pub unsafe fn lay_out(place: NonNull<u8>, head: Head, units: usize) -> Zone {
        // SAFETY: the caller's promise.
        unsafe { place.cast().write(head) };
        let zone = Zone(place);
        // SAFETY: the caller's promise: so many bytes are behind the head.
        unsafe { zone.map().write_bytes(0, units) };
        zone
    }

    #[inline]
    pub fn place(self) -> NonNull<u8> {
        self.0
    }

    #[inline]
    pub fn head(self) -> Head {
        // SAFETY: zone.
        unsafe { self.0.cast().read() }
    }

    #[inline]
    pub fn set_head(self, head: Head) {
        // SAFETY: zone.
        unsafe { self.0.cast().write(head) };
    }

    #[inline]
    fn map(self) -> NonNull<u8> {
        // SAFETY: zone: the map is behind the head.
        unsafe { self.0.add(HEAD) }
    }

    #[inline]
    pub fn contains(self, address: usize) -> bool {
        let head = self.head();
        address.wrapping_sub(head.start.addr().get()) < head.bytes
    }

    /// The address as a pointer into this zone, which contains it.
    #[inline]
    pub fn at(self, address: usize) -> NonNull<u8> {
        debug_assert!(self.contains(address), "{address:#x} is not in its zone");
        let start = self.head().start;
        // SAFETY: zone: inside its memory.
        unsafe { start.add(address - start.addr().get()) }
    }

    /// The map's byte for an address in this zone.
    #[inline]
    fn unit(self, address: usize, shift: u32) -> NonNull<u8> {
        assert!(self.contains(address), "{address:#x} is not in its zone");
        let index = (address - self.head().start.addr().get()) >> shift;
        // SAFETY: zone: a byte for each unit, and this is one of them.
        unsafe { self.map().add(index) }
    }

    /// The state of the unit at `address`; units are of `2^shift` bytes.
    #[inline]
    pub fn state(self, address: usize, shift: u32) -> Unit {
        // SAFETY: zone.
        let byte = unsafe { self.unit(address, shift).read() };
        let order = u32::from(byte & (LIVE - 1));
        match byte & (FREE | LIVE) {
            FREE => Unit::Free(order),
            LIVE => Unit::Live(order),
            _ => Unit::Inner,
        }
    }

    #[inline]
    pub fn set_state(self, address: usize, shift: u32, state: Unit) {
        let byte = match state {
            Unit::Inner => 0,
            Unit::Free(order) => FREE | order as u8,
            Unit::Live(order) => LIVE | order as u8,
        };
        // SAFETY: zone.
        unsafe { self.unit(address, shift).write(byte) };
    }
}

/// A free block, by its first byte. Its links lie in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node(NonNull<u8>);

impl Node {
    /// The free block that begins there.
    ///
    /// # Safety
    ///
    /// A free block begins there, of at least two words and aligned to a word, and stays free as long as this is used.
    #[inline]
    pub unsafe fn new(place: NonNull<u8>) -> Node {
        Node(place)
    }

    #[inline]
    pub fn address(self) -> usize {
        self.0.addr().get()
    }

    #[inline]
    fn link(self, index: usize) -> NonNull<Option<Node>> {
        // SAFETY: a free block has two words.
        unsafe { self.0.cast::<Option<Node>>().add(index) }
    }

    #[inline]
    pub fn next(self) -> Option<Node> {
        // SAFETY: a free block is in a list, and so has its links.
        unsafe { self.link(0).read() }
    }

    #[inline]
    pub fn previous(self) -> Option<Node> {
        // SAFETY: as in `next`.
        unsafe { self.link(1).read() }
    }

    #[inline]
    pub fn set_next(self, node: Option<Node>) {
        // SAFETY: the bytes of a free block are the buddy system's.
        unsafe { self.link(0).write(node) };
    }

    #[inline]
    pub fn set_previous(self, node: Option<Node>) {
        // SAFETY: as in `set_next`.
        unsafe { self.link(1).write(node) };
    }
}
