//! The right to allocate and to write.
//!
//! # Safety
//!
//! *Exclusive*: the collector is borrowed from its cell for the length of one call, in which no code of the user's runs but destructors,
//! and those cannot have the `Mutation`: it is not `'static`, and what has a destructor and lies in a heap is, but for fields that
//! are traced, whose destructors look at nothing.
#![allow(unsafe_code)]

use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::marker::PhantomData;

use super::rooted::{RootTable, Rooted};
use super::{Branded, Gc, GcArray, Invariant, Trace};
use crate::collector::Collector;
use crate::collector::kind::{Array, Fixed, Kind, Plain};
use crate::collector::object::Object;

/// What [`Heap::mutate`](crate::Heap::mutate) gives: the right to allocate in the heap, and to write to its objects.
pub struct Mutation<'gc, C: Collector> {
    collector: UnsafeCell<C>,
    pub(super) roots: RootTable<C>,
    /// The heap may leave its thread.
    pub(super) travels: Cell<bool>,
    /// The first type that was allocated and may not.
    pub(super) confined_kind: Cell<Option<&'static str>>,
    brand: Invariant<'gc>,
    /// Of one thread.
    confined: PhantomData<*mut ()>,
}

/// An object, for [`Heap::why`](crate::Heap::why).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId(pub(super) usize);

/// There was no memory for an object; the value comes back.
pub struct OutOfMemory<T>(pub T);

impl<T> fmt::Debug for OutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutOfMemory")
    }
}

impl<T> fmt::Display for OutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no memory for an object: the parent allocator refused, or the heap's hard limit is reached",
        )
    }
}

impl<T> core::error::Error for OutOfMemory<T> {}

impl<'gc, C: Collector> Mutation<'gc, C> {
    pub(super) fn new(collector: C) -> Self {
        Mutation {
            collector: UnsafeCell::new(collector),
            roots: RootTable::new(),
            travels: Cell::new(false),
            confined_kind: Cell::new(None),
            brand: Invariant::default(),
            confined: PhantomData,
        }
    }

    pub(super) fn collector_mut(&mut self) -> (&mut C, &mut RootTable<C>) {
        (self.collector.get_mut(), &mut self.roots)
    }

    /// The same under another brand.
    pub(super) fn rebrand<'other>(&self) -> &Mutation<'other, C> {
        // SAFETY: the brand is in no field that is there; who calls this is the heap, which keeps the brands apart.
        unsafe { &*core::ptr::from_ref(self).cast::<Mutation<'other, C>>() }
    }

    #[inline]
    #[allow(clippy::mut_from_ref)]
    fn collector(&self) -> &mut C {
        // SAFETY: exclusive.
        unsafe { &mut *self.collector.get() }
    }

    #[inline]
    pub(super) fn shared(&self) -> &C {
        self.collector()
    }

    #[inline]
    pub(crate) fn barrier(&self, object: Object) {
        #[cfg(test)]
        if crate::tests::WITHOUT_BARRIER.get() {
            return;
        }
        self.collector().barrier(object);
    }

    #[inline]
    pub(crate) fn barrier_element(&self, array: Object, index: usize) {
        #[cfg(test)]
        if crate::tests::WITHOUT_BARRIER.get() {
            return;
        }
        self.collector().barrier_element(array, index);
    }

    /// A new object.
    ///
    /// A few nanoseconds: an addition, a comparison, and writing the value. Nothing is collected before `mutate` returns.
    ///
    /// # Panics
    ///
    /// When the heap's hard limit is reached. When the parent has no memory, the process ends as Rust's does when memory is
    /// refused. See [`try_alloc`](Mutation::try_alloc).
    #[inline]
    pub fn alloc<T: Trace<'gc>>(&self, value: T) -> Gc<'gc, T> {
        match self.try_alloc(value) {
            Ok(gc) => gc,
            Err(OutOfMemory(_)) => self.refuse(Fixed::<Plain<'gc, T>>::IN_CHUNK),
        }
    }

    /// A new object, if there is memory.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] with the value in it.
    #[inline]
    pub fn try_alloc<T: Trace<'gc>>(&self, value: T) -> Result<Gc<'gc, T>, OutOfMemory<T>> {
        self.check_confined::<Plain<'gc, T>>();
        let Some(object) = self.collector().allocate::<Plain<'gc, T>>(0) else {
            return Err(OutOfMemory(value));
        };
        // SAFETY: the object is new, and its payload has room for a `T`.
        unsafe { object.payload().cast::<T>().write(value) };
        // SAFETY: brand: a live object of that kind in this heap.
        Ok(unsafe { Gc::from_object(object) })
    }

    /// A new array of so many elements, each made by `element` from its number.
    ///
    /// # Panics
    ///
    /// As [`alloc`](Mutation::alloc); and when `element` does.
    pub fn alloc_array<T: Trace<'gc>>(&self, len: usize, element: impl FnMut(usize) -> T) -> GcArray<'gc, T> {
        // Made elsewhere first: `element` may allocate in this heap, and may panic.
        let values: Vec<T> = (0..len).map(element).collect();
        match self.try_alloc_array(values) {
            Ok(array) => array,
            Err(OutOfMemory(values)) => self.refuse(size_of_val(values.as_slice())),
        }
    }

    /// A new array with these elements, if there is memory.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] with the elements in it.
    pub fn try_alloc_array<T: Trace<'gc>>(
        &self,
        values: Vec<T>,
    ) -> Result<GcArray<'gc, T>, OutOfMemory<Vec<T>>> {
        self.check_confined::<Array<'gc, T>>();
        let len = values.len();
        let Some(object) = self.collector().allocate::<Array<'gc, T>>(len) else {
            return Err(OutOfMemory(values));
        };
        // SAFETY: the object is new, and its payload begins with the length.
        unsafe { object.payload().cast::<usize>().write(len) };
        let mut values = core::mem::ManuallyDrop::new(values);
        let elements = Array::<'gc, T>::elements(object).cast::<T>();
        // SAFETY: the object has room for so many, and is apart from the `Vec`.
        unsafe {
            elements.copy_from_nonoverlapping(core::ptr::NonNull::from_ref(values.as_slice()).cast(), len)
        };
        // SAFETY: they have been moved out.
        unsafe { values.set_len(0) };
        drop(core::mem::ManuallyDrop::into_inner(values));
        // SAFETY: brand: a live object of that kind in this heap.
        Ok(unsafe { GcArray::from_object(object) })
    }

    /// Takes note of types that are confined to their thread; nothing for all others.
    #[inline]
    fn check_confined<K: Kind>(&self) {
        if !K::SENDABLE {
            assert!(
                !self.travels.get(),
                "a {} cannot be sent to another thread, and this heap can: not allocated",
                K::name()
            );
            if self.confined_kind.get().is_none() {
                self.confined_kind.set(Some(K::name()));
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, size: usize) -> ! {
        let config = &self.shared().base().config;
        if self.shared().held_bytes().saturating_add(size) > config.hard_limit {
            panic!(
                "no memory for an object of {size} bytes: the heap's hard limit of {} bytes is reached",
                config.hard_limit
            );
        }
        match core::alloc::Layout::from_size_align(size, 8) {
            Ok(layout) => std::alloc::handle_alloc_error(layout),
            Err(_) => panic!("no memory for an object of {size} bytes: more than can be addressed"),
        }
    }

    /// Whether the collector would like to work: a good moment to return from `mutate`. Under
    /// [stress](crate::GcConfig::stress) always.
    #[inline]
    pub fn should_yield(&self) -> bool {
        self.shared().is_due()
    }

    /// A root of its own, which keeps the object alive and can be kept outside of `mutate`.
    ///
    /// `B` is the object's type with `'static` for a brand: `let root: Rooted<Node<'static>> = mc.root(node);`.
    ///
    /// # Panics
    ///
    /// When the heap is [travelling](crate::Travelling).
    pub fn root<B: Branded>(&self, gc: Gc<'gc, B::Of<'gc>>) -> Rooted<B> {
        assert!(!self.travels.get(), "Mutation::root: a root stays in its thread, and this heap need not");
        self.roots.insert(gc)
    }

    /// What a [survey](crate::Heap::survey) knows an object by, until something is collected.
    pub fn id<T>(&self, gc: Gc<'gc, T>) -> ObjectId {
        ObjectId(gc.object().address())
    }

    /// The handle of an object that has a root.
    ///
    /// # Panics
    ///
    /// When it is a root of another heap.
    pub fn get<B: Branded>(&self, rooted: &Rooted<B>) -> Gc<'gc, B::Of<'gc>> {
        self.roots.get(rooted)
    }
}
