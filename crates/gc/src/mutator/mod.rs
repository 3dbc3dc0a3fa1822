//! The program, and what it may touch: handles, cells, roots.

mod array;
mod cell;
mod ephemeron;
mod gc;
mod guardian;
mod heap;
mod impls;
mod mutation;
mod rooted;
mod trace;
mod travelling;
mod weak;

use core::marker::PhantomData;

pub use array::GcArray;
pub use cell::{GcCell, GcRefCell, Write};
pub use ephemeron::Ephemeron;
pub use gc::Gc;
pub use guardian::Guardian;
pub use heap::Heap;
pub use mutation::{Mutation, ObjectId, OutOfMemory};
pub use rooted::Rooted;
pub use trace::{Branded, Trace};
pub use travelling::{Confined, Travelling};
pub use weak::GcWeak;

/// A brand: a lifetime that fits no other, longer or shorter.
pub(crate) type Invariant<'gc> = PhantomData<fn(&'gc ()) -> &'gc ()>;
