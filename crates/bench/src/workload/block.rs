//! A block of memory that the workload holds, in one word.
//!
//! # Safety
//!
//! A [`Block`] that is not `NONE` is the only handle to a live block of `M`, of the size and by the kind of request
//! that its maker knows: it cannot be copied, only freed, resized, or leaked. So its bytes may be written by whoever
//! borrows it, and it is passed back to `M` once. The one place where numbers become addresses.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Memory;

/// Sizes below are kept exactly, others as multiples of [`COARSE`].
const EXACT: usize = 1 << 15;
const COARSE: usize = 1 << 10;
/// The largest block: 32 MiB less 1 KiB.
pub const MAX_SIZE: usize = (EXACT - 1) * COARSE;

/// A live block, or [`Block::NONE`]. Dropping it leaks it.
///
/// Address and size share a word, so a table of blocks is as long as a C program's table of pointers. Sizes from
/// 32 KiB on are rounded up to 1 KiB for that.
#[repr(transparent)]
pub struct Block<M: Memory> {
    bits: u64,
    memory: PhantomData<M>,
}

#[cold]
#[inline(never)]
fn out_of_memory(size: usize) -> ! {
    panic!("the allocator refused {size} bytes")
}

impl<M: Memory> Block<M> {
    /// No block.
    pub const NONE: Block<M> = Block { bits: 0, memory: PhantomData };

    #[inline(always)]
    fn new(address: *mut u8, code: usize) -> Block<M> {
        if address.is_null() {
            out_of_memory(Self::decode(code));
        }
        Block { bits: (address.expose_provenance() as u64) << 16 | code as u64, memory: PhantomData }
    }

    /// The size as a block keeps it, in 16 bits.
    #[inline(always)]
    fn encode(size: usize) -> usize {
        debug_assert!(size > 0 && size <= MAX_SIZE);
        if size < EXACT { size } else { EXACT | size.div_ceil(COARSE) }
    }

    #[inline(always)]
    fn decode(code: usize) -> usize {
        if code < EXACT { code } else { (code - EXACT) * COARSE }
    }

    #[inline(always)]
    fn address(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.bits >> 16) as usize)
    }

    /// Bytes in the block; 0 for `NONE`.
    #[inline(always)]
    pub fn size(&self) -> usize {
        Self::decode((self.bits & 0xFFFF) as usize)
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.bits == 0
    }

    /// Takes the block and leaves `NONE`.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self) -> Block<M> {
        std::mem::replace(self, Block::NONE)
    }

    /// A new block, its first and last byte written, as any program does at least.
    #[inline(always)]
    pub fn alloc(size: usize) -> Block<M> {
        let mut block = Block::untouched(size);
        block.touch();
        block
    }

    /// A new block that nobody wrote to.
    #[inline(always)]
    pub fn untouched(size: usize) -> Block<M> {
        let code = Self::encode(size);
        // SAFETY: the size is not zero.
        Block::new(unsafe { M::alloc(Self::decode(code)) }, code)
    }

    /// A new block of zeros.
    #[inline(always)]
    pub fn zeroed(size: usize) -> Block<M> {
        let code = Self::encode(size);
        // SAFETY: the size is not zero.
        Block::new(unsafe { M::alloc_zeroed(Self::decode(code)) }, code)
    }

    /// A new block at a multiple of `align`, a power of two; of `size` bytes rounded up to such a multiple.
    /// To be freed by [`Block::free_aligned`] only.
    #[inline(always)]
    pub fn aligned(align: usize, size: usize) -> Block<M> {
        let code = Self::encode(size.next_multiple_of(align));
        debug_assert!(Self::decode(code).is_multiple_of(align));
        // SAFETY: a power of two and a multiple of it, not zero.
        let mut block = Block::new(unsafe { M::alloc_aligned(align, Self::decode(code)) }, code);
        block.touch();
        block
    }

    /// Gives the block back; `NONE` is passed over.
    #[inline(always)]
    pub fn free(self) {
        if !self.is_none() {
            // SAFETY: the only handle, and it ends here.
            unsafe { M::free(self.address(), self.size()) }
        }
    }

    /// Gives a block back that was asked for with that alignment.
    #[inline(always)]
    pub fn free_aligned(self, align: usize) {
        if !self.is_none() {
            // SAFETY: the only handle, and it ends here.
            unsafe { M::free_aligned(self.address(), align, self.size()) }
        }
    }

    /// The block with another size; its first and last byte are written.
    #[inline(always)]
    #[must_use]
    pub fn resize(self, size: usize) -> Block<M> {
        let code = Self::encode(size);
        // SAFETY: the only handle, and it ends here.
        let address = unsafe { M::realloc(self.address(), self.size(), Self::decode(code)) };
        let mut block = Block::new(address, code);
        block.touch();
        block
    }

    /// Writes the first and the last byte.
    #[inline(always)]
    pub fn touch(&mut self) {
        let size = self.size();
        self.write(size - 1, 1);
        self.write(0, 1);
    }

    /// Writes a byte. Panics beyond the end.
    #[inline(always)]
    pub fn write(&mut self, offset: usize, byte: u8) {
        assert!(offset < self.size(), "a write beyond the block's end");
        // SAFETY: inside a live block that is borrowed mutably.
        let address = unsafe { self.address().add(offset) };
        // SAFETY: as above.
        unsafe { address.write(byte) }
    }

    /// Reads and writes a byte `times` over, each time for every other processor to see.
    #[inline(always)]
    pub fn hammer(&mut self, offset: usize, times: usize) {
        assert!(offset < self.size(), "a write beyond the block's end");
        // SAFETY: inside a live block that is borrowed mutably.
        let address = unsafe { self.address().add(offset) };
        for _ in 0..times {
            // SAFETY: as above; whatever the byte is.
            let byte = unsafe { address.read_volatile() };
            // SAFETY: as above.
            unsafe { address.write_volatile(byte.wrapping_add(1)) };
        }
    }

    /// Writes a byte in every OS page, and the last.
    #[inline(always)]
    pub fn touch_pages(&mut self) {
        for offset in (0..self.size()).step_by(4096) {
            self.write(offset, 1);
        }
        self.write(self.size() - 1, 1);
    }

    /// A new block that can hold `links` others, none at first, and at least `size` bytes large.
    #[inline(always)]
    pub fn node(links: usize, size: usize) -> Block<M> {
        let block = Block::untouched(size.max(links * 8));
        for link in 0..links {
            // SAFETY: a live block of at least so many words, aligned to a word.
            unsafe { block.word(link).write(0) };
        }
        block
    }

    #[inline(always)]
    fn word(&self, n: usize) -> *mut u64 {
        self.address().cast::<u64>().wrapping_add(n)
    }

    /// The block that this one holds as number `n`.
    ///
    /// # Safety
    /// The block was made by [`Block::node`] with more than `n` links, and its first words were not written to.
    #[inline(always)]
    pub unsafe fn link(&mut self, n: usize) -> &mut Block<M> {
        // SAFETY: a link, as the caller says: the word of a `Block`, of which this borrow is the only one.
        unsafe { &mut *self.word(n).cast() }
    }

    /// Writes all bytes.
    #[inline]
    pub fn fill(&mut self, byte: u8) {
        self.fill_part(0, self.size(), byte);
    }

    /// Writes the bytes from `start` to before `end`. Panics beyond the block's end.
    #[inline(always)]
    pub fn fill_part(&mut self, start: usize, end: usize, byte: u8) {
        assert!(start <= end && end <= self.size(), "a write beyond the block's end");
        // SAFETY: inside a live block, or at its end.
        let address = unsafe { self.address().add(start) };
        // SAFETY: inside a live block that is borrowed mutably.
        unsafe { address.write_bytes(byte, end - start) }
    }
}

/// A place for a block that several threads share.
pub struct AtomicBlock<M: Memory> {
    bits: AtomicU64,
    memory: PhantomData<M>,
}

impl<M: Memory> AtomicBlock<M> {
    /// Puts a block in and takes out the one that was there.
    #[inline(always)]
    #[must_use]
    pub fn swap(&self, block: Block<M>) -> Block<M> {
        // Both orders: what the block's former owner wrote is seen by its next, who swaps here too.
        Block { bits: self.bits.swap(block.bits, Ordering::AcqRel), memory: PhantomData }
    }
}
