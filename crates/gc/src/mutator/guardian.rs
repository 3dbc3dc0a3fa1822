//! Guardians: finalisers as a queue.
//!
//! # Safety
//!
//! As [`gc`](super::gc); *Body*: the heap's table calls [`hand_over`] with a guardian's queue and an object of its type.
#![allow(unsafe_code)]

use core::fmt;

use super::{Branded, Gc, GcRefCell, Mutation, Trace};
use crate::collector::object::Object;
use crate::collector::{Collector, Visitor};

/// Tells which objects have died, and lets them live once more: finalisers as a queue.
///
/// After Dybvig, Bruggeman and Eby 1993. An object that only the guardian knows of is not collected but handed out, once, by
/// [`next`](Guardian::next); what is to be done about it is done by the program, in its own time and with all rights, which a
/// destructor would not have. Objects that die together are handed out in the order in which they were watched.
///
/// ```
/// use freestone_gc::{Gc, GcCell, Guardian, Heap, MarkSweep, Trace};
///
/// #[derive(Trace)]
/// struct File<'gc> {
///     name: String,
///     next: GcCell<Option<Gc<'gc, File<'gc>>>>,
/// }
///
/// let mut heap = Heap::<Guardian<'static, File<'static>>, MarkSweep>::new(|mc| Guardian::new(mc));
/// heap.mutate(|mc, guardian| {
///     guardian.watch(mc, mc.alloc(File { name: "a".to_owned(), next: GcCell::new(None) }));
///     assert!(guardian.next(mc).is_none());
/// });
/// heap.collect();
/// heap.mutate(|mc, guardian| {
///     assert_eq!(guardian.next(mc).map(|file| file.get_ref().name.as_str()), Some("a"));
///     assert!(guardian.next(mc).is_none());
/// });
/// ```
pub struct Guardian<'gc, T: 'gc> {
    ready: Gc<'gc, GcRefCell<Vec<Gc<'gc, T>>>>,
}

impl<T> Clone for Guardian<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Guardian<'_, T> {}

/// Puts an object into a guardian's queue.
pub(super) fn hand_over<'gc, T: Trace<'gc> + 'gc>(guardian: Object, object: Object) {
    // SAFETY: body; a collector has the objects for itself.
    let ready = unsafe { guardian.payload().cast::<GcRefCell<Vec<Gc<'gc, T>>>>().as_mut() };
    // SAFETY: brand: a live object of that type.
    ready.get_mut().push(unsafe { Gc::from_object(object) });
}

impl<'gc, T: Trace<'gc> + 'gc> Guardian<'gc, T> {
    /// A guardian that watches nothing.
    ///
    /// # Panics
    ///
    /// As [`Mutation::alloc`].
    pub fn new<C: Collector>(mc: &Mutation<'gc, C>) -> Self {
        Guardian { ready: mc.alloc(GcRefCell::new(Vec::new())) }
    }

    /// Hands the object out once it would die. If the guardian dies before it, nobody is told.
    pub fn watch<C: Collector>(self, mc: &Mutation<'gc, C>, object: Gc<'gc, T>) {
        mc.roots.watch_guarded::<T>(self.ready.object(), object.object());
    }

    /// The next object that would have died. It is not watched any more.
    pub fn next<C: Collector>(self, mc: &Mutation<'gc, C>) -> Option<Gc<'gc, T>> {
        let mut ready = self.ready.borrow_mut(mc);
        if ready.is_empty() { None } else { Some(ready.remove(0)) }
    }
}

// SAFETY: it hands its queue on.
unsafe impl<'gc, T: Trace<'gc> + 'gc> Trace<'gc> for Guardian<'gc, T> {
    const NEEDS_TRACE: bool = true;
    const SENDABLE: bool = true;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.ready.trace(visitor);
    }
}

impl<B: Branded> Branded for Guardian<'static, B> {
    type Of<'gc> = Guardian<'gc, B::Of<'gc>>;
}

impl<T> fmt::Debug for Guardian<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Guardian)")
    }
}
