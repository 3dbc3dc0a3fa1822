//! The handle of an object.
//!
//! # Safety
//!
//! *Brand*: a `Gc<'gc, T>` is the address of a live object of kind `Plain<T>` in the heap whose brand is `'gc`, which collects nothing
//! as long as `'gc` lasts. A `Gc` that lies in the heap or in its root is seen with a brand that is over only by collectors.
#![allow(unsafe_code)]

use core::fmt;
use core::ops::Deref;

use super::cell::{GcCell, GcRefCell, Write};
use super::mutation::Mutation;
use super::{Invariant, Trace};
use crate::collector::kind::Plain;
use crate::collector::object::Object;
use crate::collector::{Collector, Visitor};

/// A pointer to an object in a heap: as long as a machine word, `Copy`, valid for one call of [`mutate`](crate::Heap::mutate).
///
/// Objects are shared, so what they hold is changed through cells, [`GcCell`] and [`GcRefCell`], which are opened by way of the handle
/// of the object that they are in: [`set`](Gc::set), [`borrow_mut`](Gc::borrow_mut), in general [`write`](Gc::write). That tells
/// the collector what was changed.
///
/// Its address is not to be relied upon: the object may move between two calls.
pub struct Gc<'gc, T: 'gc> {
    object: Object,
    brand: Invariant<'gc>,
    holds: core::marker::PhantomData<&'gc T>,
}

impl<T> Clone for Gc<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Gc<'_, T> {}

impl<'gc, T: 'gc> Gc<'gc, T> {
    /// # Safety
    ///
    /// Brand.
    #[inline]
    pub(crate) unsafe fn from_object(object: Object) -> Self {
        Gc { object, brand: Invariant::default(), holds: core::marker::PhantomData }
    }

    #[inline]
    pub(crate) fn object(self) -> Object {
        self.object
    }

    /// The value, for as long as the handle is valid.
    #[inline]
    pub fn get_ref(self) -> &'gc T {
        // SAFETY: brand: a live `T`, which is shared as long as `'gc` lasts.
        unsafe { self.object.payload().cast::<T>().as_ref() }
    }

    /// Whether both are handles of the same object.
    #[inline]
    pub fn ptr_eq(a: Self, b: Self) -> bool {
        a.object == b.object
    }

    /// Opens the object for writing: its own cell, if it is one.
    #[inline]
    pub fn write_all<C: Collector>(self, mc: &Mutation<'gc, C>) -> &'gc Write<T>
    where
        T: Trace<'gc>,
    {
        if T::NEEDS_TRACE {
            mc.barrier(self.object);
        }
        Write::new(self.get_ref())
    }

    /// Opens a cell in the object for writing.
    ///
    /// ```
    /// # use freestone_gc::{Gc, GcRefCell, Heap, MarkSweep, Trace};
    /// #[derive(Trace)]
    /// struct Group<'gc> {
    ///     members: GcRefCell<Vec<Gc<'gc, u32>>>,
    /// }
    /// # Heap::<(), MarkSweep>::new(|_| ()).mutate(|mc, _| {
    /// let group = mc.alloc(Group { members: GcRefCell::new(Vec::new()) });
    /// group.write(mc, |group| &group.members).borrow_mut().push(mc.alloc(7));
    /// # });
    /// ```
    ///
    /// # Panics
    ///
    /// When what `field` returns does not lie in the object itself: in a `Vec` that the object has, or in another object. Put
    /// such a `Vec` into a [`GcRefCell`], and open the other object.
    #[inline]
    pub fn write<F: 'gc, C: Collector>(
        self,
        mc: &Mutation<'gc, C>,
        field: impl for<'a> FnOnce(&'a T) -> &'a F,
    ) -> &'gc Write<F>
    where
        T: Trace<'gc>,
    {
        let field: &'gc F = field(self.get_ref());
        let offset = core::ptr::from_ref(field).addr().wrapping_sub(self.object.address());
        if offset > size_of::<T>() || size_of::<F>() > size_of::<T>() - offset {
            outside();
        }
        if T::NEEDS_TRACE {
            mc.barrier(self.object);
        }
        Write::new(field)
    }

    /// Sets a cell in the object.
    ///
    /// # Panics
    ///
    /// As [`write`](Gc::write).
    #[inline]
    pub fn set<F: Trace<'gc> + 'gc, C: Collector>(
        self,
        mc: &Mutation<'gc, C>,
        field: impl for<'a> FnOnce(&'a T) -> &'a GcCell<F>,
        value: F,
    ) where
        T: Trace<'gc>,
    {
        self.write(mc, field).set(value);
    }
}

#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("Gc::write: the cell does not lie in the object itself; open the object in which it lies")
}

impl<'gc, T: Trace<'gc> + 'gc> Gc<'gc, GcRefCell<T>> {
    /// The contents, to be written.
    ///
    /// # Panics
    ///
    /// When the cell is borrowed.
    #[inline]
    pub fn borrow_mut<C: Collector>(self, mc: &Mutation<'gc, C>) -> core::cell::RefMut<'gc, T> {
        self.write_all(mc).borrow_mut()
    }
}

impl<T> Deref for Gc<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.get_ref()
    }
}

// SAFETY: it hands itself on. Objects are sendable each by itself, see `Mutation::alloc`.
unsafe impl<'gc, T: Trace<'gc> + 'gc> Trace<'gc> for Gc<'gc, T> {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = true;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        visitor.edge::<Plain<'gc, T>>(&mut self.object);
    }
}

impl<T: fmt::Debug> fmt::Debug for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.get_ref(), f)
    }
}

impl<T: fmt::Display> fmt::Display for Gc<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.get_ref(), f)
    }
}
