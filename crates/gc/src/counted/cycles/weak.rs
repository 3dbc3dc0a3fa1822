//! Weak handles to objects of [`Cycles`](super::Cycles).
//!
//! # Safety
//!
//! *Line*: a weak handle's line of the table is its object's until the handle is gone; while the line names the object, that is alive.
#![allow(unsafe_code)]

use std::fmt;
use std::ptr::NonNull;

use freestone_kit::Alloc;

use super::core::{Core, Phase};
use super::handle::Cc;
use super::object::Object;
use super::table::State;
use crate::counted::counts::too_many;
use crate::counted::{Global, LeanRc};

/// A handle that keeps neither the object nor its memory. Two words for sized types, and a line of the collector's table.
///
/// It finds nothing any more as soon as the object is known to be garbage, before any of the garbage is touched.
pub struct WeakCc<T: ?Sized, A: Alloc + 'static = Global> {
    home: LeanRc<Core, A>,
    object: NonNull<Object<T, A>>,
    number: u32,
}

impl<T: ?Sized, A: Alloc + 'static> Cc<T, A> {
    /// A weak handle to the same object.
    ///
    /// ```
    /// use freestone_gc::counted::cycles::{Cc, Cycles};
    ///
    /// let cycles = Cycles::new();
    /// let one = cycles.alloc(1);
    /// let weak = Cc::downgrade(&one);
    /// assert_eq!(weak.upgrade().as_deref(), Some(&1));
    /// drop(one);
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(this: &Self) -> WeakCc<T, A> {
        let home = Self::home_handle(this).clone();
        let (object, bare) = Self::bare_pointer(this);
        let mut table = home.table.borrow_mut();
        let number = table.number(object, bare);
        let entry = table.entry(number);
        entry.weak = entry.weak.checked_add(1).unwrap_or_else(|| too_many());
        drop(table);
        WeakCc { home, object: this.object, number }
    }

    /// How many weak handles there are.
    pub fn weak_count(this: &Self) -> usize {
        let number = Self::bare(this).entry.get();
        if number == 0 { 0 } else { Self::home(this).table.borrow_mut().entry(number).weak as usize }
    }
}

impl<T: ?Sized, A: Alloc + 'static> WeakCc<T, A> {
    /// A handle, while the object is there and not garbage.
    pub fn upgrade(&self) -> Option<Cc<T, A>> {
        let mut table = self.home.table.borrow_mut();
        let entry = table.entry(self.number);
        let garbage = self.home.phase.get() == Phase::Unlink && entry.state == State::Traced;
        let object = entry.object.filter(|_| !garbage)?;
        drop(table);
        // SAFETY: line.
        let bare = unsafe { object.as_ref() };
        bare.retain();
        self.home.touch(bare);
        // SAFETY: line; it has been counted.
        Some(unsafe { Cc::from_object(self.object) })
    }
}

impl<T: ?Sized, A: Alloc + 'static> Clone for WeakCc<T, A> {
    fn clone(&self) -> Self {
        let mut table = self.home.table.borrow_mut();
        let entry = table.entry(self.number);
        entry.weak = entry.weak.checked_add(1).unwrap_or_else(|| too_many());
        drop(table);
        WeakCc { home: self.home.clone(), object: self.object, number: self.number }
    }
}

impl<T: ?Sized, A: Alloc + 'static> Drop for WeakCc<T, A> {
    fn drop(&mut self) {
        let mut table = self.home.table.borrow_mut();
        let entry = table.entry(self.number);
        entry.weak -= 1;
        if entry.weak == 0 {
            self.home.recycle(&mut table, self.number);
        }
    }
}

impl<T: ?Sized, A: Alloc + 'static> super::Links for WeakCc<T, A> {
    const ANY: bool = false;

    fn links(&self, _to: &mut super::Visit<'_>) {}
}

impl<T: ?Sized, A: Alloc + 'static> fmt::Debug for WeakCc<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(weak)")
    }
}
