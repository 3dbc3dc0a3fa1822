//! The cell through which objects of [`Cycles`](super::Cycles) change.

use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};

use super::links::{Links, Visit};

/// Holds handles that change: a `RefCell` that tells the collector, and that the collector can empty.
///
/// Circles are made through slots, and broken through them: a slot of an object that is garbage becomes `X::default()`.
///
/// # Panics
///
/// As `RefCell`: when borrowed for changing while it is borrowed.
///
/// ```
/// use freestone_gc::counted::cycles::{Cc, Cycles, Slot};
///
/// let cycles = Cycles::new();
/// let list = cycles.alloc(Slot::new(vec![cycles.alloc(1)]));
/// list.borrow_mut().push(cycles.alloc(2));
/// assert_eq!(list.borrow().iter().map(|it| **it).sum::<i32>(), 3);
/// ```
#[derive(Default)]
pub struct Slot<X> {
    value: RefCell<X>,
}

/// A borrow for looking.
pub struct SlotRef<'a, X>(Ref<'a, X>);

/// A borrow for changing.
pub struct SlotMut<'a, X>(RefMut<'a, X>);

impl<X> Slot<X> {
    /// With that value.
    pub const fn new(value: X) -> Slot<X> {
        Slot { value: RefCell::new(value) }
    }

    /// For looking.
    ///
    /// # Panics
    ///
    /// While it is borrowed for changing.
    #[inline]
    #[track_caller]
    pub fn borrow(&self) -> SlotRef<'_, X> {
        SlotRef(self.value.borrow())
    }
}

impl<X: Links> Slot<X> {
    /// For changing. While a collection is under way, in time proportional to the handles in it.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[inline]
    #[track_caller]
    pub fn borrow_mut(&self) -> SlotMut<'_, X> {
        let value = self.value.borrow_mut();
        Visit::touch(&*value);
        SlotMut(value)
    }

    /// Puts another value in and drops the old one, when the slot is not borrowed any more.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[inline]
    #[track_caller]
    pub fn set(&self, value: X) {
        drop(self.replace(value));
    }

    /// Puts another value in and returns the old one.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[inline]
    #[track_caller]
    pub fn replace(&self, value: X) -> X {
        std::mem::replace(&mut *self.borrow_mut().0, value)
    }

    /// The value, with nothing left.
    ///
    /// # Panics
    ///
    /// While it is borrowed.
    #[inline]
    #[track_caller]
    pub fn take(&self) -> X
    where
        X: Default,
    {
        self.replace(X::default())
    }

    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// While it is borrowed for changing.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> X
    where
        X: Clone,
    {
        self.value.borrow().clone()
    }
}

impl<X: Default + Links> Links for Slot<X> {
    const ANY: bool = X::ANY;

    fn links(&self, to: &mut Visit<'_>) {
        if to.unlinks() {
            // Garbage is borrowed by nobody. Should it be (see `Links`), it stays as it is.
            if let Ok(mut value) = self.value.try_borrow_mut() {
                to.edges += 1;
                let old = std::mem::take(&mut *value);
                drop(value);
                drop(old);
            }
        } else if let Ok(value) = self.value.try_borrow() {
            // What is being changed is not seen, and so counts as held from outside.
            value.links(to);
        }
    }
}

impl<X> Deref for SlotRef<'_, X> {
    type Target = X;

    #[inline]
    fn deref(&self) -> &X {
        &self.0
    }
}

impl<X> Deref for SlotMut<'_, X> {
    type Target = X;

    #[inline]
    fn deref(&self) -> &X {
        &self.0
    }
}

impl<X> DerefMut for SlotMut<'_, X> {
    #[inline]
    fn deref_mut(&mut self) -> &mut X {
        &mut self.0
    }
}

impl<X: fmt::Debug> fmt::Debug for Slot<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
