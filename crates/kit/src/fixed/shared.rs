//! Fixed buffers for many threads, without a lock.
//!
//! # Safety
//!
//! *Taken*: `used` only rises, by one exchange for each block, so that no byte is given out twice; it falls to zero only
//! under `&mut`, when no block is in use. No memory is passed between threads through the counter, so that its accesses may
//! be relaxed: whoever hands a block to another thread orders that himself.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::Span;
use super::inline::Bytes;
use crate::foreign::implement_allocator;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::{Alloc, AllocError, Allocated, Capacity, Owns, Reset};

#[inline]
fn allocate(span: Span, used: &AtomicUsize, layout: Layout) -> Allocated {
    let mut now = used.load(Ordering::Relaxed);
    loop {
        let (offset, end) = span.place(now, layout).ok_or(AllocError)?;
        // Relaxed, both: taken.
        match used.compare_exchange_weak(now, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Ok(span.block(offset, layout)),
            Err(other) => now = other,
        }
    }
}

/// A block of the new size with the old bytes; one that shrinks stays, if it is aligned.
///
/// # Safety
///
/// As [`Alloc::grow`], or [`Alloc::shrink`].
unsafe fn resize(span: Span, used: &AtomicUsize, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
    if new.size() <= old.size() && block.addr().get().is_multiple_of(new.align()) {
        return Ok(NonNull::slice_from_raw_parts(block, new.size()));
    }
    let fresh = allocate(span, used, new)?;
    // SAFETY: both hold that many bytes and are apart.
    unsafe { fresh.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size())) };
    Ok(fresh)
}

/// A borrowed buffer for any number of threads. Nothing is freed but by a reset.
#[derive(Debug)]
pub struct SharedFixed<'b> {
    span: Span,
    used: AtomicUsize,
    buffer: PhantomData<&'b mut [MaybeUninit<u8>]>,
}

// SAFETY: the buffer is borrowed for it alone.
unsafe impl Send for SharedFixed<'_> {}
// SAFETY: taken.
unsafe impl Sync for SharedFixed<'_> {}

impl<'b> SharedFixed<'b> {
    /// An allocator for the whole of `buffer`, whose contents are lost.
    pub const fn new(buffer: &'b mut [MaybeUninit<u8>]) -> SharedFixed<'b> {
        SharedFixed { span: Span::of(buffer), used: AtomicUsize::new(0), buffer: PhantomData }
    }
}

/// `N` bytes for any number of threads, in a `static` as a rule. References to it are allocators.
///
/// ```
/// use freestone_kit::{fixed::SharedInline, global::AsGlobal};
///
/// static BYTES: SharedInline<{ 1 << 20 }> = SharedInline::new();
/// #[global_allocator]
/// static GLOBAL: AsGlobal<&SharedInline<{ 1 << 20 }>> = AsGlobal::new(&BYTES);
/// # fn main() {
/// let all_of_it_in_the_program_s_image = vec![1, 2, 3];
/// # assert_eq!(all_of_it_in_the_program_s_image.len(), 3);
/// # }
/// ```
pub struct SharedInline<const N: usize> {
    bytes: Bytes<N>,
    used: AtomicUsize,
}

// SAFETY: taken.
unsafe impl<const N: usize> Sync for SharedInline<N> {}

impl<const N: usize> SharedInline<N> {
    /// An empty buffer.
    pub const fn new() -> Self {
        SharedInline { bytes: Bytes::new(), used: AtomicUsize::new(0) }
    }
}

impl<const N: usize> Default for SharedInline<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for SharedInline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedInline")
            .field("capacity", &N)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// The same for the two forms, which differ in how they come to their buffer.
macro_rules! shared {
    ([$($generics:tt)*] $allocator:ty, $type:ty, $span:expr) => {
        // SAFETY: taken; the buffer stays where it is while anybody can have a block.
        unsafe impl<$($generics)*> Alloc for $allocator {
            #[inline]
            fn allocate(&self, layout: Layout) -> Allocated {
                allocate($span(self), &self.used, layout)
            }

            #[inline]
            unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                debug_assert!($span(self).may_have(block, layout), "{block:?} is not from this buffer");
            }

            unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
                // SAFETY: the caller's promise.
                unsafe { resize($span(self), &self.used, block, old, new) }
            }

            unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
                // SAFETY: the caller's promise.
                unsafe { resize($span(self), &self.used, block, old, new) }
            }
        }

        implement_allocator!(impl[$($generics)*] $allocator);

        // SAFETY: the buffer's addresses and no others.
        unsafe impl<$($generics)*> Owns for $allocator {
            fn owns(&self, address: NonNull<u8>) -> bool {
                $span(self).holds(address)
            }
        }

        impl<$($generics)*> Capacity for $type {
            fn capacity(&self) -> usize {
                $span(&self).len
            }

            fn used(&self) -> usize {
                self.used.load(Ordering::Relaxed)
            }
        }

        impl<$($generics)*> Reset for $type {
            fn reset(&mut self) {
                self.used = AtomicUsize::new(0);
            }
        }
    };
}

shared!(['b] SharedFixed<'b>, SharedFixed<'b>, |this: &SharedFixed<'_>| this.span);
shared!([const N: usize] &SharedInline<N>, SharedInline<N>, |this: &&SharedInline<N>| this.bytes.span());
