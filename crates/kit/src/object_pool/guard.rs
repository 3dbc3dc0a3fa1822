//! An object on loan.

use std::boxed::Box;
use std::fmt;
use std::ops::{Deref, DerefMut};

use super::{ObjectPool, Recycle};

/// An object of a pool. Goes back when it is dropped, unless it was exiled.
pub struct Pooled<'p, T: Recycle + Send, F: Fn() -> T = fn() -> T> {
    pool: &'p ObjectPool<T, F>,
    /// None while it is being dropped only.
    object: Option<Box<T>>,
    exiled: bool,
}

impl<'p, T: Recycle + Send, F: Fn() -> T> Pooled<'p, T, F> {
    pub(super) fn new(pool: &'p ObjectPool<T, F>, object: Box<T>) -> Self {
        Pooled { pool, object: Some(object), exiled: false }
    }

    /// From now on the object does not go back: its drop is the end of it. For one of which others may still know the
    /// insides, as a handler that runs on after its time was up.
    pub fn exile(this: &mut Self) {
        this.exiled = true;
    }

    /// Whether it was exiled.
    pub fn is_exiled(this: &Self) -> bool {
        this.exiled
    }

    /// Takes the object out of the pool for good.
    pub fn into_inner(mut this: Self) -> Box<T> {
        this.pool.count_exile();
        this.object.take().expect("the object is there until the drop")
    }

    /// The object, on its own. [`ObjectPool::put`] takes it back.
    pub fn detach(mut this: Self) -> Box<T> {
        this.object.take().expect("the object is there until the drop")
    }
}

impl<T: Recycle + Send, F: Fn() -> T> Deref for Pooled<'_, T, F> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object.as_deref().expect("the object is there until the drop")
    }
}

impl<T: Recycle + Send, F: Fn() -> T> DerefMut for Pooled<'_, T, F> {
    fn deref_mut(&mut self) -> &mut T {
        self.object.as_deref_mut().expect("the object is there until the drop")
    }
}

impl<T: Recycle + Send, F: Fn() -> T> Drop for Pooled<'_, T, F> {
    fn drop(&mut self) {
        match self.object.take() {
            Some(object) if self.exiled => {
                self.pool.count_exile();
                drop(object);
            }
            Some(object) => self.pool.put(object),
            None => {}
        }
    }
}

impl<T: Recycle + Send + fmt::Debug, F: Fn() -> T> fmt::Debug for Pooled<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
