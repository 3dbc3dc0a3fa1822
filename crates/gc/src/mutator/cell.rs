//! Cells whose contents change, with the barrier in front.
//!
//! # Safety
//!
//! *Barrier*: a `&'gc Write<T>` to what lies in an object of the heap `'gc` is made only behind the barrier of that object, and the
//! collector does nothing as long as `'gc` lasts. So whoever has it may change what is in it.
#![allow(unsafe_code)]

use core::cell::{BorrowError, BorrowMutError, Cell, Ref, RefCell, RefMut};
use core::fmt;

use super::Trace;
use crate::collector::Visitor;

/// What is open for writing: see [`Gc::write`](crate::Gc::write).
#[repr(transparent)]
pub struct Write<T: ?Sized> {
    inner: T,
}

impl<T> Write<T> {
    /// Behind the barrier of the object in which it lies.
    #[inline]
    pub(crate) fn new(inner: &T) -> &Self {
        // SAFETY: of the same representation.
        unsafe { &*core::ptr::from_ref(inner).cast::<Write<T>>() }
    }
}

impl<T> core::ops::Deref for Write<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

/// A cell like [`Cell`]: values go in and come out whole.
#[derive(Default)]
#[repr(transparent)]
pub struct GcCell<T> {
    cell: Cell<T>,
}

impl<T> GcCell<T> {
    /// A cell with a value in it.
    #[inline]
    pub const fn new(value: T) -> Self {
        GcCell { cell: Cell::new(value) }
    }

    /// A copy of the value.
    #[inline]
    pub fn get(&self) -> T
    where
        T: Copy,
    {
        self.cell.get()
    }

    /// The value, which nobody else looks at.
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.cell.into_inner()
    }
}

impl<T> Write<GcCell<T>> {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: T) {
        self.inner.cell.set(value);
    }

    /// Sets the value and returns the one before.
    #[inline]
    pub fn replace(&self, value: T) -> T {
        self.inner.cell.replace(value)
    }

    /// Takes the value out and leaves the default.
    #[inline]
    pub fn take(&self) -> T
    where
        T: Default,
    {
        self.inner.cell.take()
    }

    /// Exchanges the values of two cells.
    #[inline]
    pub fn swap(&self, other: &Self) {
        self.inner.cell.swap(&other.inner.cell);
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for GcCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GcCell").field(&self.get()).finish()
    }
}

// SAFETY: nobody else has the cell, so its contents can be had.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for GcCell<T> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    const SENDABLE: bool = T::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.cell.get_mut().trace(visitor);
    }
}

/// A cell like [`RefCell`]: its contents are borrowed, by many to read or by one to write, which is checked at run time.
#[derive(Default)]
pub struct GcRefCell<T> {
    cell: RefCell<T>,
}

impl<T> GcRefCell<T> {
    /// A cell with a value in it.
    #[inline]
    pub const fn new(value: T) -> Self {
        GcRefCell { cell: RefCell::new(value) }
    }

    /// The contents, to be read.
    ///
    /// # Panics
    ///
    /// When they are borrowed for writing.
    #[inline]
    pub fn borrow(&self) -> Ref<'_, T> {
        self.cell.borrow()
    }

    /// The contents, to be read.
    ///
    /// # Errors
    ///
    /// When they are borrowed for writing.
    pub fn try_borrow(&self) -> Result<Ref<'_, T>, BorrowError> {
        self.cell.try_borrow()
    }

    /// The contents, which nobody else looks at.
    pub fn get_mut(&mut self) -> &mut T {
        self.cell.get_mut()
    }

    /// The contents.
    pub fn into_inner(self) -> T {
        self.cell.into_inner()
    }
}

impl<T> Write<GcRefCell<T>> {
    /// The contents, to be written.
    ///
    /// # Panics
    ///
    /// When they are borrowed.
    #[inline]
    pub fn borrow_mut(&self) -> RefMut<'_, T> {
        self.inner.cell.borrow_mut()
    }

    /// The contents, to be written.
    ///
    /// # Errors
    ///
    /// When they are borrowed.
    pub fn try_borrow_mut(&self) -> Result<RefMut<'_, T>, BorrowMutError> {
        self.inner.cell.try_borrow_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for GcRefCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt(f)
    }
}

// SAFETY: nobody else has the cell, so its contents can be had, even when a borrow of it was forgotten.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for GcRefCell<T> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    const SENDABLE: bool = T::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.cell.get_mut().trace(visitor);
    }
}
