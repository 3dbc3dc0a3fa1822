//! Free lists of 8 B to 64 KiB, and another allocator above.
//!
//! # Safety
//!
//! 1. *Cookie*: the word before a live block tells the list that it is from, or that it is large.
//! 2. *Large*: before a large block stand its size and its alignment; `front` of them gives where the larger allocator's
//!    block begins.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::cookie::{Cookie, Origin, Told};
use super::list::RawList;
use crate::{Alloc, AllocError, Allocated};

/// How many lists there are.
const LISTS: usize = 14;
/// What the first one serves; each next one twice as much.
const LEAST: usize = 8;
/// What the last one serves.
const MOST: usize = LEAST << (LISTS - 1);
/// The alignment of all blocks but the shortest.
const ALIGN: usize = 16;

/// What stands before a large block.
#[repr(C)]
struct LargeHead {
    size: usize,
    align: usize,
    cookie: Cookie,
}

/// Where a large block begins in the block of the other allocator.
const fn front(align: usize) -> usize {
    size_of::<LargeHead>().next_multiple_of(align)
}

/// The other allocator's layout for a large block.
fn large_layout(size: usize, align: usize) -> Result<Layout, AllocError> {
    let bytes = size.checked_add(front(align)).ok_or(AllocError)?;
    Layout::from_size_align(bytes, align).map_err(|_| AllocError)
}

/// Fourteen free lists from 8 bytes to 64 KiB over `A`, and `L` for what is larger; see the [module](super).
pub struct FreeLists<A: Alloc, L: Alloc = A> {
    lists: [RawList<64>; LISTS],
    parent: A,
    large: L,
    pub(super) large_blocks: Cell<usize>,
    pub(super) large_bytes: Cell<usize>,
}

// SAFETY: as for a single list; the allocators move with it.
unsafe impl<A: Alloc + Send, L: Alloc + Send> Send for FreeLists<A, L> {}

impl<A: Alloc + Clone> FreeLists<A> {
    /// Lists that take segments and large blocks from one parent.
    pub fn new(parent: A) -> Self {
        let large = parent.clone();
        Self::with_large(parent, large)
    }
}

impl<A: Alloc, L: Alloc> FreeLists<A, L> {
    /// The largest block, in bytes, that a list serves.
    pub const MOST: usize = MOST;

    /// Lists that take segments from `parent`, with large blocks from `large`.
    pub const fn with_large(parent: A, large: L) -> Self {
        const fn list(index: u8) -> RawList<64> {
            let size = LEAST << index;
            match Layout::from_size_align(size, if size < ALIGN { size } else { ALIGN }) {
                Ok(layout) => RawList::new(Origin(index), layout),
                Err(_) => unreachable!(),
            }
        }
        FreeLists {
            lists: [
                list(0),
                list(1),
                list(2),
                list(3),
                list(4),
                list(5),
                list(6),
                list(7),
                list(8),
                list(9),
                list(10),
                list(11),
                list(12),
                list(13),
            ],
            parent,
            large,
            large_blocks: Cell::new(0),
            large_bytes: Cell::new(0),
        }
    }

    /// The index of the list for a size of 1 to [`MOST`](Self::MOST).
    fn index_of(size: usize) -> usize {
        (size.max(LEAST).next_power_of_two() / LEAST).trailing_zeros() as usize
    }

    /// The figures of the list for `size`: blocks out, and blocks in all. None above [`MOST`](Self::MOST).
    pub fn list(&self, size: usize) -> Option<(usize, usize)> {
        (size <= MOST).then(|| &self.lists[Self::index_of(size)]).map(|list| (list.live(), list.blocks()))
    }

    pub(super) fn lists(&self) -> &[RawList<64>] {
        &self.lists
    }

    pub(super) fn large(&self) -> &L {
        &self.large
    }

    pub(super) fn serve(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let size = layout.size().max(layout.align());
        if size > MOST || layout.align() > ALIGN {
            return self.serve_large(layout);
        }
        self.lists[Self::index_of(size)].take(&self.parent)
    }

    fn serve_large(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let align = layout.align().max(ALIGN);
        let whole = self.large.allocate(large_layout(layout.size(), align)?)?.cast::<u8>();
        self.large_blocks.set(self.large_blocks.get() + 1);
        self.large_bytes.set(self.large_bytes.get() + layout.size());
        // SAFETY: the block has so many bytes and room behind them.
        Ok(unsafe { Self::write_large_head(whole, layout.size(), align) })
    }

    /// Writes the head of a large block and returns where it begins.
    ///
    /// # Safety
    ///
    /// `whole` is a block of [`large_layout`] that nobody uses.
    unsafe fn write_large_head(whole: NonNull<u8>, size: usize, align: usize) -> NonNull<u8> {
        // SAFETY: the caller's promise.
        let block = unsafe { whole.add(front(align)) };
        // SAFETY: a head lies between the two.
        let head = unsafe { block.cast::<LargeHead>().sub(1) };
        let cookie = Cookie::new(Origin::LARGE, true, block.as_ptr().addr());
        // SAFETY: the same; the block is aligned at least as a head is, and a head is as long as its alignment's multiple.
        unsafe { head.write(LargeHead { size, align, cookie }) };
        block
    }

    /// What the cookie before a block says.
    ///
    /// # Safety
    ///
    /// There is a word before `block`.
    unsafe fn told(block: NonNull<u8>) -> Told {
        // SAFETY: the caller's promise.
        let cookie = unsafe { block.cast::<Cookie>().sub(1) };
        // SAFETY: the caller's promise; any word is a cookie, if not one of ours.
        unsafe { cookie.read() }.read(block.as_ptr().addr())
    }

    /// The head of a large block.
    ///
    /// # Safety
    ///
    /// `block` is a large block.
    unsafe fn large_head(block: NonNull<u8>) -> NonNull<LargeHead> {
        // SAFETY: *large*.
        unsafe { block.cast::<LargeHead>().sub(1) }
    }

    /// A block of at least `size` bytes, aligned to 16, or to 8 up to 8 bytes.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the parent refuses, or the allocator for large blocks does.
    pub fn malloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        let align = if size <= LEAST { LEAST } else { ALIGN };
        self.serve(Layout::from_size_align(size, align).map_err(|_| AllocError)?)
    }

    /// Frees a block by its address alone.
    ///
    /// # Panics
    ///
    /// When the cookie says that the block is free already, or that it is none of ours; see [`FreeList::give`](super::FreeList::give).
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator.
    pub unsafe fn free(&self, block: NonNull<u8>) {
        // SAFETY: the caller's promise.
        match unsafe { Self::told(block) } {
            // SAFETY: *large*; the caller's promise.
            Told::Out(Origin::LARGE) => unsafe { self.free_large(block) },
            Told::Out(Origin(index)) if usize::from(index) < LISTS => {
                // SAFETY: *cookie*; the caller's promise.
                unsafe { self.lists[usize::from(index)].give(block) }
            }
            Told::Free(_) => panic!("the block at {block:p} was freed twice"),
            _ => panic!("{block:p} was freed and is no block of these lists"),
        }
    }

    /// # Safety
    ///
    /// `block` is a live large block.
    unsafe fn free_large(&self, block: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let mut head = unsafe { Self::large_head(block) };
        // SAFETY: *large*.
        let head = unsafe { head.as_mut() };
        // Should the memory stay mapped, a second free finds the word.
        head.cookie = Cookie::new(Origin::LARGE, false, block.as_ptr().addr());
        let (size, align) = (head.size, head.align);
        self.large_blocks.set(self.large_blocks.get() - 1);
        self.large_bytes.set(self.large_bytes.get() - size);
        // SAFETY: *large*.
        let whole = unsafe { block.sub(front(align)) };
        if let Ok(layout) = large_layout(size, align) {
            // SAFETY: *large*: the layout that it was allocated with.
            unsafe { self.large.deallocate(whole, layout) };
        }
    }

    /// How many bytes a block has.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator.
    pub unsafe fn size(&self, block: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise.
        match unsafe { Self::told(block) } {
            Told::Out(Origin::LARGE) => {
                // SAFETY: the caller's promise.
                let head = unsafe { Self::large_head(block) };
                // SAFETY: *large*.
                unsafe { head.as_ref() }.size
            }
            Told::Out(Origin(index)) if usize::from(index) < LISTS => LEAST << index,
            told => panic!("{block:p} is no live block of these lists: {told:?}"),
        }
    }

    /// Makes a block at least `size` bytes long and keeps its contents, where it lies if the list's size allows.
    ///
    /// # Errors
    ///
    /// As [`malloc`](Self::malloc); the block is then as it was.
    ///
    /// # Safety
    ///
    /// `block` is a live block that [`malloc`](Self::malloc) or this method returned.
    pub unsafe fn realloc(&self, block: NonNull<u8>, size: usize) -> Result<NonNull<u8>, AllocError> {
        // SAFETY: the caller's promise.
        let has = unsafe { self.size(block) };
        let align = if size <= LEAST { LEAST } else { ALIGN };
        let old = Layout::from_size_align(has, ALIGN).map_err(|_| AllocError)?;
        let new = Layout::from_size_align(size, align).map_err(|_| AllocError)?;
        // SAFETY: the caller's promise.
        unsafe { self.change(block, old, new) }.map(NonNull::cast)
    }

    /// Gives a block another layout, in place where its list is the same, through the other allocator where it was large
    /// and stays so, by a copy else.
    ///
    /// # Safety
    ///
    /// `block` is live and fits `old`.
    pub(super) unsafe fn change(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let told = unsafe { Self::told(block) };
        let stays_large = new.size().max(new.align()) > MOST || new.align() > ALIGN;
        match told {
            Told::Out(Origin::LARGE) if stays_large => {
                // SAFETY: the caller's promise.
                if let Some(done) = unsafe { self.change_large(block, new) } {
                    return done.map(|block| NonNull::slice_from_raw_parts(block, new.size()));
                }
            }
            Told::Out(Origin(index)) if usize::from(index) < LISTS && !stays_large => {
                let wanted = new.size().max(new.align());
                if Self::index_of(wanted) == usize::from(index) {
                    return Ok(NonNull::slice_from_raw_parts(block, LEAST << index));
                }
            }
            _ => {}
        }
        let fresh = self.serve(new)?;
        // SAFETY: both hold that many bytes and are apart.
        unsafe { fresh.copy_from_nonoverlapping(block, old.size().min(new.size())) };
        // SAFETY: the caller's promise.
        unsafe { self.free(block) };
        // SAFETY: it is live.
        let size = unsafe { self.size(fresh) };
        Ok(NonNull::slice_from_raw_parts(fresh, size))
    }

    /// Has the other allocator change a large block; none if the alignment is another.
    ///
    /// # Safety
    ///
    /// `block` is a live large block.
    unsafe fn change_large(
        &self,
        block: NonNull<u8>,
        new: Layout,
    ) -> Option<Result<NonNull<u8>, AllocError>> {
        // SAFETY: the caller's promise.
        let head = unsafe { Self::large_head(block) };
        // SAFETY: *large*.
        let (size, align) = unsafe { (*head.as_ptr()).size_and_align() };
        if new.align() > align {
            return None;
        }
        let (Ok(old), Ok(wanted)) = (large_layout(size, align), large_layout(new.size(), align)) else {
            return Some(Err(AllocError));
        };
        // SAFETY: *large*.
        let whole = unsafe { block.sub(front(align)) };
        let moved = if wanted.size() >= old.size() {
            // SAFETY: *large*: the layout that it was allocated with.
            unsafe { self.large.grow(whole, old, wanted) }
        } else {
            // SAFETY: *large*: the layout that it was allocated with.
            unsafe { self.large.shrink(whole, old, wanted) }
        };
        Some(moved.map(|whole| {
            self.large_bytes.set(self.large_bytes.get() - size + new.size());
            // SAFETY: a block of that layout, whose head nobody uses.
            unsafe { Self::write_large_head(whole.cast(), new.size(), align) }
        }))
    }
}

impl LargeHead {
    fn size_and_align(&self) -> (usize, usize) {
        (self.size, self.align)
    }
}

impl<A: Alloc, L: Alloc> Drop for FreeLists<A, L> {
    fn drop(&mut self) {
        for list in &mut self.lists {
            // SAFETY: one parent for all, and no block outlives its lists.
            unsafe { list.release(&self.parent) };
        }
    }
}
