//! What is tested: an allocator behind the least interface that the operations need.
//!
//! # Safety
//!
//! [`Global`] hands every call on to a `GlobalAlloc`, with a layout made from the size and the
//! alignment of the call (*same layout*): what was allocated with them is freed with them.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};

/// An allocator under test.
///
/// # Safety
///
/// Whatever address [`alloc`](Subject::alloc) and [`realloc`](Subject::realloc) return, the bytes
/// asked for are mapped, readable and writable for the whole process. Nothing more is taken for
/// granted: that they overlap with no other block is what the oracle finds out.
pub unsafe trait Subject: Sync {
    /// Allocates `size` bytes at `align`; null when refused. `size` may be zero. With `zeroed`
    /// all bytes are to be zero.
    ///
    /// # Safety
    ///
    /// `align` is a power of two, and `size`, rounded up to it, is at most `isize::MAX`.
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8;

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// `ptr` is a live block of this subject, of this size and alignment.
    unsafe fn dealloc(&self, ptr: *mut u8, size: usize, align: usize);

    /// Whether [`dealloc_unsized`](Subject::dealloc_unsized) may be called.
    fn frees_unsized(&self) -> bool {
        false
    }

    /// Frees a block by its address alone. Called only if [`frees_unsized`](Subject::frees_unsized).
    ///
    /// # Safety
    ///
    /// `ptr` is a live block of this subject.
    unsafe fn dealloc_unsized(&self, ptr: *mut u8) {
        unreachable!("{ptr:p} is to be freed without its size by a subject that cannot");
    }

    /// Changes the size of a block and keeps its contents and its alignment; null when refused,
    /// and then the block stays as it was.
    ///
    /// # Safety
    ///
    /// `ptr` is a live block of this subject, of this size and alignment; `new_size` is not zero
    /// and, rounded up to `align`, at most `isize::MAX`.
    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8;

    /// How many bytes of the block may be used, where the subject can tell.
    ///
    /// # Safety
    ///
    /// `ptr` is a live block of this subject.
    unsafe fn usable_size(&self, ptr: *mut u8) -> Option<usize> {
        let _ = ptr;
        None
    }

    /// Checks the subject's invariants. Under [`crate::stress()`] it is called while other threads
    /// are at work, if the configuration says so.
    fn verify(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether a request that can be met may be refused all the same, because memory is short or
    /// the system refuses on demand.
    fn may_refuse(&self) -> bool {
        false
    }
}

/// Any `GlobalAlloc` as a subject.
///
/// A size of zero, which `GlobalAlloc` excludes, is asked for as one byte.
///
/// ```
/// use freestone_testkit::Global;
/// let subject = Global::new(std::alloc::System).verified_by(|| Ok(())).may_refuse(true);
/// # let _ = subject;
/// ```
pub struct Global<A> {
    allocator: A,
    verify: fn() -> Result<(), String>,
    may_refuse: bool,
}

impl<A: GlobalAlloc + Sync> Global<A> {
    /// Wraps an allocator that has no check of its own and may not refuse.
    pub const fn new(allocator: A) -> Self {
        Global { allocator, verify: || Ok(()), may_refuse: false }
    }

    /// Adds the allocator's own check.
    pub const fn verified_by(mut self, verify: fn() -> Result<(), String>) -> Self {
        self.verify = verify;
        self
    }

    /// Says whether it may refuse.
    pub const fn may_refuse(mut self, may_refuse: bool) -> Self {
        self.may_refuse = may_refuse;
        self
    }
}

/// # Safety
///
/// `align` is a power of two, and `size`, rounded up to it, is at most `isize::MAX`.
unsafe fn layout(size: usize, align: usize) -> Layout {
    debug_assert!(Layout::from_size_align(size.max(1), align).is_ok(), "{size} {align}");
    // SAFETY: by this function's own condition; 1 rounded up to a power of two is not too much.
    unsafe { Layout::from_size_align_unchecked(size.max(1), align) }
}

// SAFETY: a `GlobalAlloc` returns null or memory that may be used.
unsafe impl<A: GlobalAlloc + Sync> Subject for Global<A> {
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        // SAFETY: the caller's promise about `size` and `align` is the one asked for.
        let layout = unsafe { layout(size, align) };
        if zeroed {
            // SAFETY: the layout's size is not zero.
            unsafe { self.allocator.alloc_zeroed(layout) }
        } else {
            // SAFETY: the layout's size is not zero.
            unsafe { self.allocator.alloc(layout) }
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, size: usize, align: usize) {
        // SAFETY: the block was allocated with this size and alignment, so they are allowed.
        let layout = unsafe { layout(size, align) };
        // SAFETY: same layout, and the caller gives up the block.
        unsafe { self.allocator.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
        // SAFETY: the block was allocated with this size and alignment, so they are allowed.
        let layout = unsafe { layout(old_size, align) };
        // SAFETY: same layout; the caller promises that `new_size` is neither zero nor too much.
        unsafe { self.allocator.realloc(ptr, layout, new_size) }
    }

    fn verify(&self) -> Result<(), String> {
        (self.verify)()
    }

    fn may_refuse(&self) -> bool {
        self.may_refuse
    }
}
