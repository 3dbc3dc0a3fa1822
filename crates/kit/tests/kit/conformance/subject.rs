//! Any allocator of the kit before the shadow heap.
//!
//! # Safety
//!
//! What the shadow heap promises about blocks, sizes and alignments is what `Alloc` asks for. One that may not be
//! shared among threads is used by the thread that made it alone, which every call checks.
#![allow(unsafe_code)]

use freestone_kit::Alloc;
use freestone_testkit::{Hunt, Mix, StressConfig, Subject, stress};
use std::alloc::Layout;
use std::ptr::{NonNull, null_mut};
use std::thread::{ThreadId, current};

/// An allocator as a subject.
pub struct OnAlloc<A> {
    alloc: A,
    /// The only thread that may use it, unless all may.
    home: Option<ThreadId>,
    may_refuse: bool,
    verify: fn(&A) -> Result<(), String>,
}

// SAFETY: an `A` that is not `Sync` is used by its home alone.
unsafe impl<A> Sync for OnAlloc<A> {}

impl<A: Alloc> OnAlloc<A> {
    /// For this thread alone.
    pub fn here(alloc: A) -> OnAlloc<A> {
        OnAlloc { alloc, home: Some(current().id()), may_refuse: false, verify: |_| Ok(()) }
    }

    /// For any number of threads.
    pub fn shared(alloc: A) -> OnAlloc<A>
    where
        A: Sync,
    {
        OnAlloc { home: None, ..OnAlloc::here(alloc) }
    }

    /// It may refuse what can be served.
    pub fn may_refuse(self) -> OnAlloc<A> {
        OnAlloc { may_refuse: true, ..self }
    }

    /// The allocator's own check, which is run now and then and at the end.
    pub fn verified_by(self, verify: fn(&A) -> Result<(), String>) -> OnAlloc<A> {
        OnAlloc { verify, ..self }
    }

    fn alloc(&self) -> &A {
        assert!(self.home.is_none_or(|home| home == current().id()), "used by another thread");
        &self.alloc
    }
}

/// Two blocks of no bytes may have one address, which the shadow heap does not allow.
fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size.max(1), align).unwrap()
}

// SAFETY: an `Alloc` returns memory that may be used, or an error.
unsafe impl<A: Alloc> Subject for OnAlloc<A> {
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        let layout = layout(size, align);
        let got = if zeroed { self.alloc().allocate_zeroed(layout) } else { self.alloc().allocate(layout) };
        got.map_or(null_mut(), |block| block.cast().as_ptr())
    }

    unsafe fn dealloc(&self, ptr: *mut u8, size: usize, align: usize) {
        let block = NonNull::new(ptr).unwrap();
        // SAFETY: the caller's promise.
        unsafe { self.alloc().deallocate(block, layout(size, align)) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
        let block = NonNull::new(ptr).unwrap();
        let (old, new) = (layout(old_size, align), layout(new_size, align));
        let got = if new_size < old_size {
            // SAFETY: the caller's promise; the new size is less.
            unsafe { self.alloc().shrink(block, old, new) }
        } else {
            // SAFETY: the caller's promise; the new size is not less.
            unsafe { self.alloc().grow(block, old, new) }
        };
        got.map_or(null_mut(), |block| block.cast().as_ptr())
    }

    fn verify(&self) -> Result<(), String> {
        (self.verify)(self.alloc())
    }

    fn may_refuse(&self) -> bool {
        self.may_refuse
    }
}

/// Random sequences, each on a fresh allocator, until one fails; panics with the shortest.
pub fn hunt<A: Alloc>(cases: u32, mix: Mix, make: impl Fn() -> OnAlloc<A>) {
    let hunt = Hunt { cases, mix, most_ops: 120, ..Hunt::default() };
    hunt.run(make).unwrap_or_else(|found| panic!("{found}"));
}

/// Threads that allocate, check, hand over and free blocks of one allocator.
pub fn hunt_threads<A: Alloc + Sync>(subject: &OnAlloc<A>, config: &StressConfig) {
    stress(subject, config).unwrap_or_else(|found| panic!("{found}"));
}
