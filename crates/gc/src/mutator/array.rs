//! Arrays of a length that is known when they are made.
//!
//! # Safety
//!
//! As [`gc`](super::gc), with the kind `Array<T>`.
#![allow(unsafe_code)]

use core::fmt;
use core::ops::Deref;

use super::mutation::Mutation;
use super::{Invariant, Trace, Write};
use crate::collector::kind::Array;
use crate::collector::object::Object;
use crate::collector::{Collector, Visitor};

/// A pointer to an array in a heap: like [`Gc`](crate::Gc), and as short; the length lies with the elements.
///
/// ```
/// use freestone_gc::{GcCell, Heap, MarkSweep};
///
/// Heap::<(), MarkSweep>::new(|_| ()).mutate(|mc, _| {
///     let squares = mc.alloc_array(5, |i| GcCell::new(i * i));
///     squares.write(mc, 4).set(0);
///     assert_eq!(squares.iter().map(GcCell::get).sum::<usize>(), 1 + 4 + 9);
/// });
/// ```
pub struct GcArray<'gc, T: 'gc> {
    object: Object,
    brand: Invariant<'gc>,
    holds: core::marker::PhantomData<&'gc T>,
}

impl<T> Clone for GcArray<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GcArray<'_, T> {}

impl<'gc, T: 'gc> GcArray<'gc, T> {
    /// # Safety
    ///
    /// Brand.
    #[inline]
    pub(crate) unsafe fn from_object(object: Object) -> Self {
        GcArray { object, brand: Invariant::default(), holds: core::marker::PhantomData }
    }

    /// The elements, for as long as the handle is valid.
    #[inline]
    pub fn as_slice(self) -> &'gc [T] {
        // SAFETY: brand: so many live `T`, which are shared as long as `'gc` lasts.
        unsafe { Array::<'gc, T>::elements(self.object).as_ref() }
    }

    /// Opens an element for writing.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[inline]
    pub fn write<C: Collector>(self, mc: &Mutation<'gc, C>, index: usize) -> &'gc Write<T>
    where
        T: Trace<'gc>,
    {
        let element = &self.as_slice()[index];
        if T::NEEDS_TRACE {
            mc.barrier_element(self.object, index);
        }
        Write::new(element)
    }

    /// Whether both are handles of the same array.
    #[inline]
    pub fn ptr_eq(a: Self, b: Self) -> bool {
        a.object == b.object
    }
}

impl<T> Deref for GcArray<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

// SAFETY: it hands itself on.
unsafe impl<'gc, T: Trace<'gc> + 'gc> Trace<'gc> for GcArray<'gc, T> {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = true;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        visitor.edge::<Array<'gc, T>>(&mut self.object);
    }
}

impl<T: fmt::Debug> fmt::Debug for GcArray<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}
