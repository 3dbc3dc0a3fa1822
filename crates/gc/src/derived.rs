//! What the derived code leans on.

use core::marker::PhantomData;

/// A trait that only types with a destructor of their own have: the derive gives it to each type with pointers, and the two collide.
pub trait MayNotDrop {}

#[allow(drop_bounds)]
impl<T: Drop> MayNotDrop for T {}

/// Asks whether a type is `Send`, as far as that can be told where the code is.
pub struct Probe<T: ?Sized>(PhantomData<T>);

impl<T: ?Sized + Send> Probe<T> {
    /// It is.
    pub const SENDABLE: bool = true;
}

/// The answer if it is not, or if that depends on a type parameter.
pub trait NotSendable {
    /// It is not, as far as one can tell.
    const SENDABLE: bool = false;
}

impl<T: ?Sized> NotSendable for Probe<T> {}

/// Compiles if the type is `'static`, as a leaf has to be.
pub const fn leaf<T: ?Sized + 'static>() {}
