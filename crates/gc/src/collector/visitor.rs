//! What walks along the edges of the object graph.

use super::kind::Kind;
use super::object::Object;

/// What a collector passes to [`Trace::trace`](crate::Trace::trace). Implemented in this crate only.
pub trait Visitor: sealed::Sealed + Sized {
    /// A pointer to an object of kind `K` in a place that the visitor may overwrite.
    #[doc(hidden)]
    fn edge<K: Kind>(&mut self, place: &mut Object);
}

pub(crate) mod sealed {
    pub trait Sealed {}
}
