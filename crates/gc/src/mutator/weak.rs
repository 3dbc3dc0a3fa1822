//! Weak pointers.
//!
//! A weak pointer is a handle of a small object that holds the address. The heap keeps a list of these, and forgets in each the
//! address of what has died. So a weak pointer may lie anywhere, and costs a collector nothing where it lies.
//!
//! # Safety
//!
//! As [`gc`](super::gc); the address in a body is that of a live object, since it is forgotten or changed in the pause in which
//! the object dies or moves.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

use super::{Branded, Gc, Invariant, Mutation, Trace};
use crate::collector::kind::{Fixed, Plain};
use crate::collector::object::Object;
use crate::collector::{Collector, Visitor};

/// What the heap's list knows of.
#[repr(transparent)]
pub(crate) struct Body {
    pub(crate) target: Cell<Option<Object>>,
}

/// The object behind a weak pointer.
#[doc(hidden)]
#[repr(transparent)]
pub struct WeakBody<'gc, T> {
    body: Body,
    brand: Invariant<'gc>,
    holds: PhantomData<fn() -> T>,
}

// SAFETY: it holds no pointer that keeps anything alive.
unsafe impl<'gc, T> Trace<'gc> for WeakBody<'gc, T> {
    const NEEDS_TRACE: bool = false;
    const SENDABLE: bool = true;

    #[inline]
    fn trace<V: Visitor>(&mut self, _visitor: &mut V) {}
}

/// A pointer that does not keep its object alive.
///
/// Where objects do not move, two tiny ones (8 bytes, no pointers) share a cell, and die together.
///
/// ```
/// use freestone_gc::{Gc, GcWeak, Generational, Heap};
///
/// type Root<'gc> = (Option<Gc<'gc, u32>>, GcWeak<'gc, u32>);
/// let mut heap = Heap::<Root<'static>, Generational>::new(|mc| {
///     let object = mc.alloc(7);
///     (Some(object), GcWeak::new(mc, object))
/// });
/// heap.collect();
/// heap.mutate(|_, (object, weak)| {
///     assert_eq!(weak.upgrade().map(|value| *value), Some(7));
///     *object = None;
/// });
/// heap.collect();
/// heap.mutate(|_, (_, weak)| assert!(weak.upgrade().is_none()));
/// ```
pub struct GcWeak<'gc, T: 'gc> {
    body: Gc<'gc, WeakBody<'gc, T>>,
}

impl<T> Clone for GcWeak<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for GcWeak<'_, T> {}

impl<'gc, T: Trace<'gc> + 'gc> GcWeak<'gc, T> {
    /// A weak pointer to an object: an object of two words.
    ///
    /// # Panics
    ///
    /// As [`Mutation::alloc`].
    pub fn new<C: Collector>(mc: &Mutation<'gc, C>, object: Gc<'gc, T>) -> Self {
        let target = Cell::new(Some(object.object()));
        let body =
            mc.alloc(WeakBody { body: Body { target }, brand: Invariant::default(), holds: PhantomData });
        const { assert!(Fixed::<Plain<'gc, WeakBody<'gc, T>>>::TINY, "the heap's list takes bodies for tiny") };
        mc.roots.watch_weak(body.object(), Fixed::<Plain<'gc, T>>::TINY);
        GcWeak { body }
    }

    /// The object, if it has not been collected.
    #[inline]
    pub fn upgrade(self) -> Option<Gc<'gc, T>> {
        // SAFETY: brand: a live object of that type.
        self.body.get_ref().body.target.get().map(|object| unsafe { Gc::from_object(object) })
    }
}

// SAFETY: it hands itself on; what it points to is not traced.
unsafe impl<'gc, T: 'gc> Trace<'gc> for GcWeak<'gc, T> {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = true;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.body.trace(visitor);
    }
}

impl<B: Branded> Branded for GcWeak<'static, B> {
    type Of<'gc> = GcWeak<'gc, B::Of<'gc>>;
}

impl<T> fmt::Debug for GcWeak<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(GcWeak)")
    }
}
