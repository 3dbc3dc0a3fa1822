//! The program, and what it may touch: handles, cells, roots.

mod array;
mod cell;
mod gc;
mod heap;
mod impls;
mod mutation;
mod rooted;
mod trace;

use core::marker::PhantomData;

pub use array::GcArray;
pub use cell::{GcCell, GcRefCell, Write};
pub use gc::Gc;
pub use heap::Heap;
pub use mutation::{Mutation, OutOfMemory};
pub use rooted::Rooted;
pub use trace::{Branded, Trace};

/// A brand: a lifetime that fits no other, longer or shorter.
pub(crate) type Invariant<'gc> = PhantomData<fn(&'gc ()) -> &'gc ()>;
