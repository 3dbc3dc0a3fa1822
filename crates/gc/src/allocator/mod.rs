//! Memory for objects: spans of one size class, chunks filled by a bump pointer, large objects apart.
//!
//! What is here knows nothing about liveness but the bits that a collector sets. All memory comes from a parent, any
//! [`Alloc`](freestone_kit::Alloc) of the kit; [`Global`] is the program's own allocator.

pub(crate) mod chunk;
pub(crate) mod class;
mod global;
pub(crate) mod large;
pub(crate) mod metered;
pub(crate) mod nursery;
pub(crate) mod span;
pub(crate) mod spans;

pub use global::Global;

/// Objects longer than that, header included, lie apart, in bytes.
pub(crate) const LARGE: usize = 8 << 10;
