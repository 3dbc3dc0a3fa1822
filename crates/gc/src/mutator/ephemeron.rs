//! Ephemerons: a value that lives as long as a key does.
//!
//! After Hayes 1997. A weak key with a strong value would leak when the value leads back to the key; an ephemeron's value counts only
//! if the key is alive for another reason.
//!
//! # Safety
//!
//! As [`gc`](super::gc); *Body*: an ephemeron's functions are called with objects that are bodies of its types. The key is the address
//! of a live object, or none, as in [`weak`](super::weak).
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;

use super::{Branded, Gc, Invariant, Mutation, Trace};
use crate::collector::kind::{Fixed, Plain};
use crate::collector::object::Object;
use crate::collector::{Collector, Pending, Visitor};

/// The object behind an ephemeron.
#[doc(hidden)]
pub struct EphemeronBody<'gc, K, T> {
    key: Option<Object>,
    value: Option<T>,
    brand: Invariant<'gc>,
    holds: PhantomData<fn() -> K>,
}

fn body<'b, 'gc, K, T>(object: Object) -> &'b mut EphemeronBody<'gc, K, T> {
    // SAFETY: body; a collector has the objects for itself.
    unsafe { object.payload().cast().as_mut() }
}

fn attempt<'gc, K: Trace<'gc>, T: Trace<'gc>, V: Visitor>(object: Object, visitor: &mut V) -> bool {
    let body = body::<K, T>(object);
    let Some(key) = body.key else { return true };
    let Some(key) = visitor.fate(key, Fixed::<Plain<'gc, K>>::TINY) else { return false };
    body.key = Some(key);
    if let Some(value) = &mut body.value {
        value.trace(visitor);
    }
    true
}

fn clear<K, T>(object: Object) {
    let body = body::<K, T>(object);
    body.key = None;
    body.value = None;
}

// SAFETY: the visitor traces the value if the key is alive; else key and value are forgotten.
unsafe impl<'gc, K: Trace<'gc> + 'gc, T: Trace<'gc> + 'gc> Trace<'gc> for EphemeronBody<'gc, K, T> {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = T::SENDABLE;

    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        // SAFETY: a body is the whole payload of its object: nobody else can have one.
        let object = unsafe { Object::new(core::ptr::NonNull::from_mut(self).cast()) };
        let Some(key) = self.key else { return };
        visitor.ephemeron(Pending {
            object,
            key,
            tiny_key: Fixed::<Plain<'gc, K>>::TINY,
            attempt: attempt::<K, T, V>,
            clear: clear::<K, T>,
        });
    }
}

/// A value that is kept alive by a key: as long as both this handle and the key are alive, and no longer.
///
/// ```
/// use freestone_gc::{Ephemeron, Gc, Heap, MarkSweep};
///
/// type Root<'gc> = (Option<Gc<'gc, u32>>, Ephemeron<'gc, u32, (Gc<'gc, u32>, String)>);
/// let mut heap = Heap::<Root<'static>, MarkSweep>::new(|mc| {
///     let key = mc.alloc(7);
///     // The value leads back to the key, which does not keep it alive.
///     (Some(key), Ephemeron::new(mc, key, (key, "seven".to_owned())))
/// });
/// heap.collect();
/// heap.mutate(|_, (key, note)| {
///     assert_eq!(note.get(key.expect("it is alive")).map(|(_, name)| name.as_str()), Some("seven"));
///     *key = None;
/// });
/// heap.collect();
/// heap.mutate(|_, (_, note)| assert!(note.key().is_none()));
/// ```
pub struct Ephemeron<'gc, K: 'gc, T: 'gc> {
    body: Gc<'gc, EphemeronBody<'gc, K, T>>,
}

impl<K, T> Clone for Ephemeron<'_, K, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, T> Copy for Ephemeron<'_, K, T> {}

impl<'gc, K: Trace<'gc> + 'gc, T: Trace<'gc> + 'gc> Ephemeron<'gc, K, T> {
    /// A value for a key.
    ///
    /// # Panics
    ///
    /// As [`Mutation::alloc`].
    pub fn new<C: Collector>(mc: &Mutation<'gc, C>, key: Gc<'gc, K>, value: T) -> Self {
        let (key, value) = (Some(key.object()), Some(value));
        Ephemeron {
            body: mc.alloc(EphemeronBody { key, value, brand: Invariant::default(), holds: PhantomData }),
        }
    }

    /// The value, if that is the key.
    pub fn get(self, key: Gc<'gc, K>) -> Option<&'gc T> {
        let body = self.body.get_ref();
        if body.key == Some(key.object()) { body.value.as_ref() } else { None }
    }

    /// The key, if it is alive.
    pub fn key(self) -> Option<Gc<'gc, K>> {
        // SAFETY: brand: a live object of that type.
        self.body.get_ref().key.map(|key| unsafe { Gc::from_object(key) })
    }
}

// SAFETY: it hands its body on.
unsafe impl<'gc, K: Trace<'gc> + 'gc, T: Trace<'gc> + 'gc> Trace<'gc> for Ephemeron<'gc, K, T> {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = true;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.body.trace(visitor);
    }
}

impl<K: Branded, T: Branded> Branded for Ephemeron<'static, K, T> {
    type Of<'gc> = Ephemeron<'gc, K::Of<'gc>, T::Of<'gc>>;
}

impl<K, T> fmt::Debug for Ephemeron<'_, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Ephemeron)")
    }
}
