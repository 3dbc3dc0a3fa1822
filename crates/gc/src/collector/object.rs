//! How an object lies in memory.
//!
//! ```text
//!      block                    payload, aligned to 8 (or 16)
//!      ▼                        ▼
//!      ┌──────────┬─────────────┬───────────────────────────┐
//!      │ (filler) │ header word │ the value                 │
//!      └──────────┴─────────────┴───────────────────────────┘
//! ```
//!
//! The header word is the address of the object's [`Shape`](super::kind::Shape), whose three lowest bits are free for the
//! collector, or, while a collection moves objects, the new address of the object.
//!
//! # Safety
//!
//! *Live*: an [`Object`] is made from a block that an allocator of this crate gave out and whose header was written, and is not used
//! once the block has been given back. The provenance of its address is that of the whole span, chunk or large block.
#![allow(unsafe_code)]

use core::ptr::NonNull;

/// Bytes of a header word.
pub(crate) const WORD: usize = size_of::<usize>();
/// In a header: the rest is the new address of the object.
pub(crate) const FORWARDED: usize = 1;
/// In a header: a barrier has noted the object already.
pub(crate) const NOTED: usize = 4;
const TAGS: usize = 7;
/// A word before an object in a chunk that is not its header: the object is aligned to 16.
pub(crate) const FILLER: usize = 2;

/// The address of an object's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Object(NonNull<u8>);

/// A header word, as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header(*const u8);

impl Header {
    #[inline]
    pub(crate) fn has(self, tag: usize) -> bool {
        self.0.addr() & tag != 0
    }

    /// Without its tags.
    #[inline]
    pub(crate) fn pointer(self) -> *const u8 {
        self.0.map_addr(|address| address & !TAGS)
    }

    /// The new place of an object that was forwarded.
    #[inline]
    pub(crate) fn forwarded(self) -> Option<Object> {
        if !self.has(FORWARDED) {
            return None;
        }
        NonNull::new(self.pointer().cast_mut()).map(Object)
    }
}

impl Object {
    /// # Safety
    ///
    /// Live: `payload` is that of an object.
    #[inline]
    pub(crate) unsafe fn new(payload: NonNull<u8>) -> Object {
        Object(payload)
    }

    /// One that nobody looks into.
    #[cfg(test)]
    pub(crate) fn for_tests(at: NonNull<u8>) -> Object {
        Object(at)
    }

    #[inline]
    pub(crate) fn payload(self) -> NonNull<u8> {
        self.0
    }

    #[inline]
    pub(crate) fn address(self) -> usize {
        self.0.addr().get()
    }

    #[inline]
    fn word(self) -> *mut *const u8 {
        self.0.as_ptr().wrapping_sub(WORD).cast()
    }

    #[inline]
    pub(crate) fn header(self) -> Header {
        // SAFETY: live: the word before the payload is the header.
        Header(unsafe { self.word().read() })
    }

    #[inline]
    pub(crate) fn set_header(self, word: *const u8) {
        // SAFETY: as above.
        unsafe { self.word().write(word) };
    }

    /// Sets tags in the header.
    #[inline]
    pub(crate) fn tag(self, tags: usize) {
        self.set_header(self.header().0.map_addr(|address| address | tags));
    }

    /// Clears tags in the header.
    #[inline]
    pub(crate) fn untag(self, tags: usize) {
        self.set_header(self.header().0.map_addr(|address| address & !tags));
    }

    /// Leaves the new address in the header.
    #[inline]
    pub(crate) fn forward(self, to: Object) {
        self.set_header(to.0.as_ptr().map_addr(|address| address | FORWARDED));
    }

    /// The first word of the payload: the length, if it is an array.
    #[inline]
    pub(crate) fn length(self) -> usize {
        // SAFETY: live; who asks knows that it is an array, whose payload begins with that word.
        unsafe { self.0.cast::<usize>().read() }
    }
}
