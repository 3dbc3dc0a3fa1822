//! The block of an object.
//!
//! # Safety
//!
//! *Kind*: a block's kind was made for the type of object and allocator that the block was made with.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;

use freestone_kit::Alloc;

use super::core::Core;
use super::links::{Links, Visit};
use crate::counted::LeanRc;
use crate::counted::counts::too_many;

/// What the collector knows of an object.
#[repr(C)]
pub(super) struct Bare {
    pub(super) kind: &'static Kind,
    pub(super) strong: Cell<u32>,
    /// Its number in the collector's table, or 0.
    pub(super) entry: Cell<u32>,
}

/// What can be done with an object without knowing its type.
pub(super) struct Kind {
    /// Shows its handles to the visitor.
    links: unsafe fn(NonNull<Bare>, &mut Visit<'_>),
    /// Drops the object and frees the block.
    destroy: unsafe fn(NonNull<Bare>),
    /// Whether it may have handles.
    pub(super) any: bool,
}

#[repr(C)]
pub(super) struct Object<T: ?Sized, A: Alloc> {
    pub(super) bare: Bare,
    pub(super) home: LeanRc<Core, A>,
    pub(super) value: T,
}

impl Bare {
    /// For one handle.
    #[inline]
    pub(super) fn new<T: Links + 'static, A: Alloc + 'static>() -> Bare {
        Bare { kind: Object::<T, A>::KIND, strong: Cell::new(1), entry: Cell::new(0) }
    }

    /// One handle more.
    #[inline]
    pub(super) fn retain(&self) {
        let more = self.strong.get().wrapping_add(1);
        if more == 0 {
            too_many();
        }
        self.strong.set(more);
    }

    /// One handle less; whether it was the last.
    #[inline]
    pub(super) fn release(&self) -> bool {
        let strong = self.strong.get() - 1;
        self.strong.set(strong);
        strong == 0
    }
}

impl Kind {
    /// # Safety
    ///
    /// An object of this kind that stays alive meanwhile.
    pub(super) unsafe fn links(&self, object: NonNull<Bare>, visit: &mut Visit<'_>) {
        // SAFETY: kind.
        unsafe { (self.links)(object, visit) }
    }

    /// # Safety
    ///
    /// An object of this kind, without handles.
    pub(super) unsafe fn destroy(&self, object: NonNull<Bare>) {
        // SAFETY: kind.
        unsafe { (self.destroy)(object) }
    }
}

impl<T: Links + 'static, A: Alloc + 'static> Object<T, A> {
    pub(super) const KIND: &'static Kind = &Kind { links: Self::links, destroy: Self::destroy, any: T::ANY };

    /// # Safety
    ///
    /// Of this type, and alive.
    unsafe fn links(object: NonNull<Bare>, visit: &mut Visit<'_>) {
        // SAFETY: the caller's promise.
        let object = unsafe { object.cast::<Self>().as_ref() };
        object.value.links(visit);
    }

    /// # Safety
    ///
    /// Of this type, and without handles.
    unsafe fn destroy(object: NonNull<Bare>) {
        /// Frees the block also when the destructor panics.
        struct Rest<T, A: Alloc>(NonNull<Object<T, A>>);
        impl<T, A: Alloc> Drop for Rest<T, A> {
            fn drop(&mut self) {
                // SAFETY: the block is still there.
                let home = unsafe { &raw const (*self.0.as_ptr()).home };
                // SAFETY: nobody will look for it there any more.
                let home = unsafe { home.read() };
                // SAFETY: allocated with that layout from this allocator.
                unsafe { LeanRc::allocator(&home).deallocate(self.0.cast(), Layout::new::<Object<T, A>>()) };
            }
        }
        let rest = Rest(object.cast::<Self>());
        // SAFETY: inside of the block.
        let value = unsafe { &raw mut (*rest.0.as_ptr()).value };
        // SAFETY: the caller's promise.
        unsafe { value.drop_in_place() };
    }
}
