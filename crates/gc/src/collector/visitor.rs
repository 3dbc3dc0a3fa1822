//! What walks along the edges of the object graph.

use super::kind::Kind;
use super::object::Object;

/// What a collector passes to [`Trace::trace`](crate::Trace::trace). Implemented in this crate only.
pub trait Visitor: sealed::Sealed + Sized {
    /// A pointer to an object of kind `K` in a place that the visitor may overwrite.
    #[doc(hidden)]
    fn edge<K: Kind>(&mut self, place: &mut Object);

    /// Where an object is now, if it is known to be alive; `tiny` if its kind is.
    #[doc(hidden)]
    fn fate(&self, object: Object, tiny: bool) -> Option<Object>;

    /// An ephemeron: tried at once, and again later if its key is not known to be alive.
    #[doc(hidden)]
    fn ephemeron(&mut self, pending: Pending<Self>);

    /// A pointer was put into a live object, after it was traced.
    #[doc(hidden)]
    fn touched(&mut self, object: Object) {
        let _ = object;
    }
}

/// An ephemeron whose key is not known to be alive.
#[doc(hidden)]
pub struct Pending<V> {
    pub(crate) object: Object,
    pub(crate) key: Object,
    /// The key is of a kind that is tiny.
    pub(crate) tiny_key: bool,
    /// Traces the value if the key is alive, and says so.
    pub(crate) attempt: fn(Object, &mut V) -> bool,
    /// The key is dead: forgets it, and drops the value.
    pub(crate) clear: fn(Object),
}

/// Tries ephemerons once more; says whether a key turned out to be alive.
pub(crate) fn attempt_all<V: Visitor>(
    visitor: &mut V,
    pending: impl Fn(&mut V) -> &mut Vec<Pending<V>>,
) -> bool {
    let mut any = false;
    for ephemeron in core::mem::take(pending(visitor)) {
        if (ephemeron.attempt)(ephemeron.object, visitor) {
            any = true;
        } else {
            pending(visitor).push(ephemeron);
        }
    }
    any
}

pub(crate) mod sealed {
    pub trait Sealed {}
}
