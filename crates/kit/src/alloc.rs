//! The trait family that every allocator of the kit speaks.
//!
//! [`Alloc`] is the one they all implement and that all composition goes by: its shape is that of the standard
//! library's unstable `Allocator`, so that a part works alike under `allocator-api2` 0.2 and 0.4, the native trait, and
//! by itself. The traits beside it say what that trait cannot: whose a block is, how much of it may be used,
//! whether it can grow where it lies, and what it all costs.
//!
//! # Safety
//!
//! The contract of [`Alloc`], which the default methods keep by copying between two blocks that are apart, as [`moved`] does.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::fmt;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

/// There was no block of that layout to be had. Says nothing about why: see the allocator's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllocError;

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory allocation failed")
    }
}

impl core::error::Error for AllocError {}

/// What a call that allocates returns: the block with its usable length in bytes, at least what was asked for.
pub type Allocated = Result<NonNull<[u8]>, AllocError>;

/// Allocates and deallocates blocks of memory by layout.
///
/// # Safety
///
/// For the implementer:
/// 1. A block that was returned stays valid and in place until it is deallocated, or until the allocator (and, where it
///    is a handle that can be cloned, every clone of it) is dropped or [reset](Reset), also when the allocator is moved.
/// 2. A block has the size and the alignment of the layout, at least, and overlaps no other live block.
/// 3. A layout of size zero gets a pointer that is aligned and not null, and that need not point anywhere. The other way about, any
///    such pointer counts as a live block of size zero, any number of times: collections free empty blocks that they never allocated.
/// 4. No method unwinds but `deallocate`, and that only to report that its own conditions were broken.
/// 5. A clone of it, where it can be cloned, is the same allocator: a block of the one may be given back to the other.
///
/// A block *fits* a layout when it was allocated, grown or shrunk last with that layout, or with the same alignment and
/// a size between what was asked for and the length that was returned.
pub unsafe trait Alloc {
    /// A block of at least `layout.size()` bytes, its contents arbitrary.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when there is no memory, or the layout is beyond what this allocator serves.
    fn allocate(&self, layout: Layout) -> Allocated;

    /// Gives a block back.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `layout`.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout);

    /// The same as [`allocate`](Alloc::allocate) with all bytes zero.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Alloc::allocate).
    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        let block = self.allocate(layout)?;
        // SAFETY: the block is new and that long.
        unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        Ok(block)
    }

    /// Makes a block longer, moving it where it must; its bytes are kept, what is new is arbitrary. The alignment may change.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Alloc::allocate); the old block is then as it was.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `old`; `new` is at least as long as `old`.
    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }

    /// The same as [`grow`](Alloc::grow) with the bytes behind `old.size()` zero.
    ///
    /// # Errors
    ///
    /// As [`grow`](Alloc::grow).
    ///
    /// # Safety
    ///
    /// As [`grow`](Alloc::grow).
    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        let grown = unsafe { self.grow(block, old, new) }?;
        // SAFETY: the block is longer than `old`.
        let tail = unsafe { grown.cast::<u8>().add(old.size()) };
        // SAFETY: that many bytes follow, and none was kept.
        unsafe { tail.write_bytes(0, grown.len() - old.size()) };
        Ok(grown)
    }

    /// Makes a block shorter, moving it where it must. The alignment may change.
    ///
    /// # Errors
    ///
    /// As [`allocate`](Alloc::allocate); the old block is then as it was.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `old`; `new` is at most as long as `old`.
    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { moved(self, block, old, new) }
    }
}

/// Knows its own blocks.
///
/// # Safety
///
/// For the implementer: `owns` says yes only for addresses inside memory that this allocator hands out.
pub unsafe trait Owns: Alloc {
    /// Whether `address` lies in memory of this allocator, live or free. For every live block of it the answer is yes.
    fn owns(&self, address: NonNull<u8>) -> bool;
}

/// Says how much of a block may be used.
///
/// # Safety
///
/// For the implementer: all bytes up to the size returned may be used, and the block fits that size.
pub unsafe trait UsableSize: Alloc {
    /// The usable bytes of a block, at least `layout.size()`.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `layout`.
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize;
}

/// Changes the size of a block where it lies.
///
/// # Safety
///
/// For the implementer: after a success the block has the new size and fits `new`; after an error all is as it was.
pub unsafe trait ResizeInPlace: Alloc {
    /// Makes `block` as long as `new`, longer or shorter, without moving it. Both layouts have the same alignment.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when that takes a move.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `old`.
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError>;
}

/// Changes the size of a block without copying its bytes, perhaps at another address (as `mremap` does).
///
/// # Safety
///
/// For the implementer: after a success the returned block stands in the old one's place, with its bytes; after an
/// error all is as it was.
pub unsafe trait Remap: ResizeInPlace {
    /// Makes `block` as long as `new`, where it lies or elsewhere, but never by a copy. Both layouts have the same alignment.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when that takes a copy.
    ///
    /// # Safety
    ///
    /// `block` is a live block of this allocator and fits `old`.
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated;
}

/// Frees all its blocks at once.
///
/// Not for handles that can be cloned: with one clone in hand, nobody could say that no block of the others is in use.
pub trait Reset {
    /// Forgets every block. What borrowed from the allocator is gone already, since this takes it for itself.
    fn reset(&mut self);
}

/// Has an end.
pub trait Capacity {
    /// The bytes that it can hand out in all, as far as it knows; what rounding takes is in it.
    fn capacity(&self) -> usize;

    /// The bytes of [`capacity`](Capacity::capacity) that are taken now, rounding and padding included.
    fn used(&self) -> usize;

    /// The bytes that are left.
    fn remaining(&self) -> usize {
        self.capacity() - self.used()
    }
}

/// What an allocator counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocStats {
    /// Live blocks.
    pub live_blocks: usize,
    /// Bytes of live blocks, as they were asked for.
    pub live_bytes: usize,
    /// The most that `live_bytes` ever was.
    pub peak_bytes: usize,
    /// Blocks allocated since the start; one that grew or shrank counts once.
    pub total_blocks: u64,
    /// Bytes allocated since the start, growth included.
    pub total_bytes: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Bytes that the allocator holds from its parent or from the system, live or not; 0 where it does not know.
    pub held_bytes: usize,
}

impl AllocStats {
    /// The figures of two allocators together; the peaks may have been at different moments.
    pub(crate) fn plus(self, other: AllocStats) -> AllocStats {
        AllocStats {
            live_blocks: self.live_blocks + other.live_blocks,
            live_bytes: self.live_bytes + other.live_bytes,
            peak_bytes: self.peak_bytes + other.peak_bytes,
            total_blocks: self.total_blocks + other.total_blocks,
            total_bytes: self.total_bytes + other.total_bytes,
            refused: self.refused + other.refused,
            held_bytes: self.held_bytes + other.held_bytes,
        }
    }
}

/// Counts what it does.
pub trait Stats {
    /// The figures at this moment; under concurrency each is right by itself.
    fn stats(&self) -> AllocStats;
}

// SAFETY: a reference is the same allocator.
unsafe impl<A: Alloc + ?Sized> Alloc for &A {
    #[inline]
    fn allocate(&self, layout: Layout) -> Allocated {
        (**self).allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { (**self).deallocate(block, layout) }
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        (**self).allocate_zeroed(layout)
    }

    #[inline]
    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { (**self).grow(block, old, new) }
    }

    #[inline]
    unsafe fn grow_zeroed(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { (**self).grow_zeroed(block, old, new) }
    }

    #[inline]
    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { (**self).shrink(block, old, new) }
    }
}

// SAFETY: a reference is the same allocator.
unsafe impl<A: Owns + ?Sized> Owns for &A {
    fn owns(&self, address: NonNull<u8>) -> bool {
        (**self).owns(address)
    }
}

// SAFETY: a reference is the same allocator.
unsafe impl<A: UsableSize + ?Sized> UsableSize for &A {
    unsafe fn usable_size(&self, block: NonNull<u8>, layout: Layout) -> usize {
        // SAFETY: the caller's promise.
        unsafe { (**self).usable_size(block, layout) }
    }
}

// SAFETY: a reference is the same allocator.
unsafe impl<A: ResizeInPlace + ?Sized> ResizeInPlace for &A {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        // SAFETY: the caller's promise.
        unsafe { (**self).resize_in_place(block, old, new) }
    }
}

// SAFETY: a reference is the same allocator.
unsafe impl<A: Remap + ?Sized> Remap for &A {
    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise.
        unsafe { (**self).remap(block, old, new) }
    }
}

impl<A: Stats + ?Sized> Stats for &A {
    fn stats(&self) -> AllocStats {
        (**self).stats()
    }
}

impl<A: Capacity + ?Sized> Capacity for &A {
    fn capacity(&self) -> usize {
        (**self).capacity()
    }

    fn used(&self) -> usize {
        (**self).used()
    }
}

/// A new block with the bytes of an old one, as far as both have them. The old one stays live.
///
/// # Safety
///
/// As [`Alloc::grow`] or [`Alloc::shrink`].
#[inline]
pub(crate) unsafe fn copied<A: Alloc + ?Sized>(
    alloc: &A,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Allocated {
    let fresh = alloc.allocate(new)?;
    // SAFETY: both hold that many bytes and are apart.
    unsafe { fresh.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size())) };
    Ok(fresh)
}

/// The same, and the old one is freed: how to grow or shrink where nothing better can be done.
///
/// # Safety
///
/// As [`Alloc::grow`] or [`Alloc::shrink`].
#[inline]
pub(crate) unsafe fn moved<A: Alloc + ?Sized>(
    alloc: &A,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Allocated {
    // SAFETY: the caller's promise.
    let fresh = unsafe { copied(alloc, block, old, new) }?;
    // SAFETY: the caller's promise.
    unsafe { alloc.deallocate(block, old) };
    Ok(fresh)
}

/// What a request for no bytes gets where nothing better is at hand: an aligned address that is nobody's.
#[inline]
pub(crate) fn nothing(layout: Layout) -> NonNull<[u8]> {
    let align = NonZeroUsize::new(layout.align()).unwrap_or(NonZeroUsize::MIN);
    NonNull::slice_from_raw_parts(NonNull::without_provenance(align), 0)
}

/// Runs code of the user's inside a call that must not unwind: a panic in it ends the process.
pub(crate) fn without_unwinding<R>(whose: &'static str, work: impl FnOnce() -> R) -> R {
    struct Ends(&'static str);
    impl Drop for Ends {
        fn drop(&mut self) {
            // A panic while another one unwinds aborts, without the standard library, too.
            panic!("{} has panicked", self.0);
        }
    }
    let ends = Ends(whose);
    let result = work();
    core::mem::forget(ends);
    result
}

/// The same block, of which the caller learns no more than he asked for: so that he cannot free it with another size.
#[inline]
pub(crate) fn exactly(allocated: Allocated, layout: Layout) -> Allocated {
    allocated.map(|block| NonNull::slice_from_raw_parts(block.cast(), layout.size()))
}
