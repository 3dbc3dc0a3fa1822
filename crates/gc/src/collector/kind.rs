//! What there is to know about an object at compile time, and the same as a table for when only its address is known.
//!
//! # Safety
//!
//! *Kind*: the functions of a [`Kind`] and of a [`Shape`] are called with objects of that kind only; `K::SIZE` and the rest describe
//! the payload as [`mutator`](crate::mutator) writes it.
#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::Collector;
use super::object::{Object, WORD};
use super::visitor::Visitor;
use crate::allocator::LARGE;
use crate::mutator::{Invariant, Trace};

/// A kind of object: a value, or an array of values.
///
/// # Safety
///
/// For the implementer: kind.
#[doc(hidden)]
pub unsafe trait Kind {
    /// Bytes of the payload; of an array, of its length word.
    const SIZE: usize;
    /// Bytes of an element; 0 if the object is no array.
    const STRIDE: usize;
    const ALIGN: usize;
    const TRACES: bool;
    const DROPS: bool;
    const SENDABLE: bool;

    fn name() -> &'static str;

    /// # Safety
    ///
    /// Kind: a live object, which nobody else looks at now.
    unsafe fn trace<V: Visitor>(object: Object, visitor: &mut V);

    /// Traces the elements of an array from one on, [`PART`] of them at most; returns the next, if there is one.
    ///
    /// # Safety
    ///
    /// As [`trace`](Kind::trace).
    unsafe fn trace_part<V: Visitor>(object: Object, from: usize, visitor: &mut V) -> Option<usize> {
        let _ = from;
        // SAFETY: the caller's promise.
        unsafe { Self::trace(object, visitor) };
        None
    }

    /// # Safety
    ///
    /// Kind: a live object, which nobody uses any more.
    unsafe fn drop(object: Object);
}

/// So many elements of an array are traced in one go: what a long pause is cut into, and what a barrier notes.
pub(crate) const PART: usize = 256;

/// Bytes of an object in a chunk: header and payload.
#[inline]
pub(crate) fn size_in_chunk<K: Kind>(object: Object) -> usize {
    if K::STRIDE == 0 {
        Fixed::<K>::IN_CHUNK
    } else {
        (K::SIZE + object.length() * K::STRIDE + WORD).next_multiple_of(WORD)
    }
}

/// Bytes of a new object in a chunk: header and payload.
#[inline]
pub(crate) const fn size_of_new<K: Kind>(len: usize) -> usize {
    (K::SIZE + len * K::STRIDE + WORD).next_multiple_of(WORD)
}

/// Whether an object of that size and alignment lies apart. One that is aligned to 16 may need a filler.
#[inline]
pub(crate) const fn lies_apart(size: usize, align: usize) -> bool {
    size + (if align > WORD { WORD } else { 0 }) > LARGE
}

/// Whether the object lies apart.
#[inline]
pub(crate) fn is_large<K: Kind>(object: Object) -> bool {
    if K::STRIDE == 0 { Fixed::<K>::LARGE } else { lies_apart(size_in_chunk::<K>(object), K::ALIGN) }
}

/// Bytes of a cell.
pub(crate) const CELL: usize = 16;

pub(crate) struct Fixed<K>(PhantomData<K>);

impl<K: Kind> Fixed<K> {
    pub(crate) const IN_CHUNK: usize = {
        assert!(K::ALIGN <= 16, "an object's alignment may be 16 at most: put what needs more into a Box");
        size_of_new::<K>(0)
    };
    pub(crate) const LARGE: bool = lies_apart(Self::IN_CHUNK, K::ALIGN);
    /// Without pointers or a destructor, and so short that a header would be a waste: where nothing moves, it lies in a cell.
    pub(crate) const TINY: bool =
        !K::TRACES && !K::DROPS && K::STRIDE == 0 && K::SIZE <= CELL && K::ALIGN <= CELL;
    /// Two fit a cell.
    pub(crate) const HALF: bool = K::SIZE <= CELL / 2 && K::ALIGN <= CELL / 2;
}

/// A value of type `T`.
#[doc(hidden)]
pub struct Plain<'gc, T>(PhantomData<(Invariant<'gc>, T)>);

// SAFETY: the payload is a `T`.
unsafe impl<'gc, T: Trace<'gc>> Kind for Plain<'gc, T> {
    const SIZE: usize = size_of::<T>();
    const STRIDE: usize = 0;
    const ALIGN: usize = align_of::<T>();
    const TRACES: bool = T::NEEDS_TRACE;
    const DROPS: bool = core::mem::needs_drop::<T>();
    const SENDABLE: bool = T::SENDABLE;

    fn name() -> &'static str {
        core::any::type_name::<T>()
    }

    #[inline]
    unsafe fn trace<V: Visitor>(object: Object, visitor: &mut V) {
        // SAFETY: kind: the payload is a `T` that nobody else looks at.
        let value = unsafe { object.payload().cast::<T>().as_mut() };
        value.trace(visitor);
    }

    unsafe fn drop(object: Object) {
        // SAFETY: kind: the payload is a `T` that nobody uses any more.
        unsafe { object.payload().cast::<T>().drop_in_place() };
    }
}

/// An array: a length word, then so many values of type `T`.
#[doc(hidden)]
pub struct Array<'gc, T>(PhantomData<(Invariant<'gc>, T)>);

impl<T> Array<'_, T> {
    /// Where the first element lies, from the payload on.
    pub(crate) const FIRST: usize = WORD.next_multiple_of(align_of::<T>());

    /// The elements.
    #[inline]
    pub(crate) fn elements(object: Object) -> core::ptr::NonNull<[T]> {
        // SAFETY: kind: an array's payload is at least that long.
        let first = unsafe { object.payload().add(Self::FIRST) };
        core::ptr::NonNull::slice_from_raw_parts(first.cast(), object.length())
    }
}

// SAFETY: the payload is a length and so many `T`, which begin at `FIRST`.
unsafe impl<'gc, T: Trace<'gc>> Kind for Array<'gc, T> {
    const SIZE: usize = Self::FIRST;
    const STRIDE: usize = {
        assert!(size_of::<T>() != 0, "an array of values without a size needs no heap: keep its length");
        size_of::<T>()
    };
    const ALIGN: usize = align_of::<T>();
    const TRACES: bool = T::NEEDS_TRACE;
    const DROPS: bool = core::mem::needs_drop::<T>();
    const SENDABLE: bool = T::SENDABLE;

    fn name() -> &'static str {
        core::any::type_name::<[T]>()
    }

    #[inline]
    unsafe fn trace<V: Visitor>(object: Object, visitor: &mut V) {
        // SAFETY: kind: these are the elements, and nobody else looks at them.
        let elements = unsafe { Self::elements(object).as_mut() };
        for element in elements {
            element.trace(visitor);
        }
    }

    unsafe fn trace_part<V: Visitor>(object: Object, from: usize, visitor: &mut V) -> Option<usize> {
        // SAFETY: as above.
        let elements = unsafe { Self::elements(object).as_mut() };
        let rest = elements.get_mut(from..)?;
        let more = rest.len() > PART;
        for element in rest.iter_mut().take(PART) {
            element.trace(visitor);
        }
        more.then_some(from + PART)
    }

    unsafe fn drop(object: Object) {
        // SAFETY: kind: these are the elements, and nobody uses them any more.
        unsafe { Self::elements(object).drop_in_place() };
    }
}

/// How long objects of a shape are.
#[repr(C)]
#[doc(hidden)]
pub struct Extent {
    size: usize,
    stride: usize,
    pub(crate) align: usize,
}

impl Extent {
    /// Bytes of an object in a chunk: header and payload.
    #[inline]
    pub(crate) fn size_in_chunk(&self, object: Object) -> usize {
        let payload = if self.stride == 0 { self.size } else { self.size + object.length() * self.stride };
        (payload + WORD).next_multiple_of(WORD)
    }

    /// Whether the object is traced in parts.
    #[inline]
    pub(crate) fn in_parts(&self, object: Object) -> bool {
        self.stride != 0 && object.length() > PART
    }

    /// Whether the object lies apart.
    pub(crate) fn is_large(&self, object: Object) -> bool {
        lies_apart(self.size_in_chunk(object), self.align)
    }
}

/// A [`Kind`] as a table, made for one collector: what a header points to.
#[repr(C, align(8))]
#[doc(hidden)]
pub struct Shape<C: Collector> {
    /// The first, so that it can be had when the collector is not known.
    pub(crate) extent: Extent,
    pub(crate) traces: bool,
    pub(crate) drop: Option<unsafe fn(Object)>,
    pub(crate) trace: unsafe fn(Object, &mut C::Marker),
    pub(crate) trace_part: unsafe fn(Object, usize, &mut C::Marker) -> Option<usize>,
    pub(crate) trace_young: unsafe fn(Object, &mut C::Young),
    pub(crate) trace_part_young: unsafe fn(Object, usize, &mut C::Young) -> Option<usize>,
}

/// The shape of a kind.
pub(crate) struct ShapeOf<C, K>(PhantomData<(C, K)>);

impl<C: Collector, K: Kind> ShapeOf<C, K> {
    const SHAPE: Shape<C> = Shape {
        extent: Extent { size: K::SIZE, stride: K::STRIDE, align: K::ALIGN },
        traces: K::TRACES,
        drop: if K::DROPS { Some(K::drop) } else { None },
        trace: K::trace::<C::Marker>,
        trace_part: K::trace_part::<C::Marker>,
        trace_part_young: K::trace_part::<C::Young>,
        trace_young: K::trace::<C::Young>,
    };

    pub(crate) const fn get() -> &'static Shape<C> {
        &Self::SHAPE
    }
}

/// The shape of an object.
#[inline]
pub(crate) fn shape_of<C: Collector>(object: Object) -> &'static Shape<C> {
    let shape = object.header().pointer().cast::<Shape<C>>();
    // SAFETY: the header of an object that is not forwarded is the address of a shape, which is static; the shapes in a heap are made
    // for the heap's collector.
    unsafe { &*shape }
}

/// How long an object is.
#[inline]
pub(crate) fn extent_of(object: Object) -> &'static Extent {
    // SAFETY: as above; the extent is the first field, whatever the collector.
    unsafe { &*object.header().pointer().cast::<Extent>() }
}
