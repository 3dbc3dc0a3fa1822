//! The block of a counted object: its counts, its allocator, the object.
//!
//! # Safety
//!
//! *Layout*: a block is allocated with [`Block::layout`] of its object, which is what the compiler lays out for the type.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{self, NonNull};

use freestone_kit::{Alloc, AllocError};

/// The allocator lies here, not in the handles: a handle is a pointer, whatever the allocator.
#[repr(C)]
pub(crate) struct Block<P, A, T: ?Sized> {
    pub(crate) alloc: A,
    pub(crate) place: P,
    pub(crate) object: T,
}

impl<P, A: Alloc, T: ?Sized> Block<P, A, T> {
    /// The layout of a block for an object of that layout.
    pub(crate) fn layout(object: Layout) -> Result<Layout, AllocError> {
        let (layout, _) = Layout::new::<A>().extend(Layout::new::<P>()).map_err(|_| AllocError)?;
        let (layout, _) = layout.extend(object).map_err(|_| AllocError)?;
        Ok(layout.pad_to_align())
    }

    /// A block without contents for an object of that layout.
    #[inline]
    pub(crate) fn allocate(alloc: &A, object: Layout) -> Result<NonNull<u8>, AllocError> {
        Ok(alloc.allocate(Self::layout(object)?)?.cast())
    }

    /// Frees a block whose object was dropped or moved out, and then drops its allocator, or hands it out.
    ///
    /// # Safety
    ///
    /// A block that nobody else uses, with its allocator and without its object.
    #[inline]
    pub(crate) unsafe fn free(block: NonNull<Self>) -> A {
        // SAFETY: the block is there; of the object only the size is asked.
        let layout = Layout::for_value(unsafe { block.as_ref() });
        // SAFETY: the block is there.
        let alloc = unsafe { &raw const (*block.as_ptr()).alloc };
        // SAFETY: the allocator is there, and nobody will look for it any more.
        let alloc = unsafe { alloc.read() };
        // SAFETY: layout.
        unsafe { alloc.deallocate(block.cast(), layout) };
        alloc
    }
}

/// An empty block that is freed if its contents cannot be made.
pub(crate) struct Draft<'a, A: Alloc> {
    pub(crate) alloc: &'a A,
    pub(crate) block: NonNull<u8>,
    pub(crate) layout: Layout,
}

impl<A: Alloc> Drop for Draft<'_, A> {
    fn drop(&mut self) {
        // SAFETY: it was allocated so, and nothing is in it.
        unsafe { self.alloc.deallocate(self.block, self.layout) };
    }
}

/// What comes of a request that was refused where the caller has no way to say so: the program's handler.
#[cold]
pub(crate) fn refused(object: Layout) -> ! {
    handle_alloc_error(object)
}

/// The pointer `of` with another address: what it says about the length or the type of what it points to stays.
///
/// The standard library's `with_metadata_of` is not stable. That the address is the first word of a wide pointer is looked at each
/// time, and again afterwards; the compiler knows the answers.
#[inline]
pub(crate) fn moved_to<T: ?Sized>(of: *mut T, address: *mut u8) -> *mut T {
    let mut pointer = of;
    let first = (&raw mut pointer).cast::<*mut u8>();
    // SAFETY: any pointer begins with at least one word, which is a pointer or the address of a type's table.
    let found = unsafe { first.read() };
    assert!(ptr::addr_eq(found, of), "the address is the first word of a pointer");
    // SAFETY: as above.
    unsafe { first.write(address) };
    assert!(ptr::addr_eq(pointer, address), "the address is the first word of a pointer");
    pointer
}
