//! The handle to an object of [`Cycles`](super::Cycles).
//!
//! # Safety
//!
//! 1. *Alive*: while there is a handle, the object is there.
//! 2. *Only*: with one handle, without a weak one, and out of the table, nobody else comes to the object.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use freestone_kit::{Alloc, AllocError};

use super::core::Core;
use super::links::{Links, Visit};
use super::object::{Bare, Object};
use crate::counted::block::moved_to;
use crate::counted::{Global, LeanRc};

/// A handle to an object of a [`Cycles`](super::Cycles): counted, and if it is part of a circle, collected. One pointer for sized types.
pub struct Cc<T: ?Sized, A: Alloc + 'static = Global> {
    pub(super) object: NonNull<Object<T, A>>,
    owner: PhantomData<Object<T, A>>,
}

impl<T: Links + 'static, A: Alloc + 'static> Cc<T, A> {
    #[inline]
    pub(super) fn new_at_home(home: &LeanRc<Core, A>, value: T) -> Result<Self, AllocError> {
        let block = LeanRc::allocator(home).allocate(Layout::new::<Object<T, A>>())?;
        let object: NonNull<Object<T, A>> = block.cast();
        let bare = Bare::new::<T, A>();
        // SAFETY: just allocated for it.
        unsafe { object.write(Object { bare, home: home.clone(), value }) };
        home.objects.set(home.objects.get() + 1);
        Ok(Cc { object, owner: PhantomData })
    }

    /// The object, if this is the only handle; weak handles find nothing from then on.
    ///
    /// # Errors
    ///
    /// The handle itself, if there are others.
    pub fn try_unwrap(this: Self) -> Result<T, Self> {
        if Self::bare(&this).strong.get() != 1 {
            return Err(this);
        }
        // Its handles are about to move, which nobody would see.
        Visit::touch(&*this);
        if Self::bare(&this).strong.get() != 1 {
            return Err(this);
        }
        let home = Self::home_handle(&this).clone();
        let this = ManuallyDrop::new(this);
        home.forget(Self::bare(&this));
        home.objects.set(home.objects.get() - 1);
        // SAFETY: alive.
        let value = unsafe { &raw const (*this.object.as_ptr()).value };
        // SAFETY: only.
        let value = unsafe { value.read() };
        // SAFETY: alive.
        let own = unsafe { &raw const (*this.object.as_ptr()).home };
        // SAFETY: nobody will look for it there any more.
        drop(unsafe { own.read() });
        // SAFETY: it was allocated so, and all has been moved out.
        unsafe { LeanRc::allocator(&home).deallocate(this.object.cast(), Layout::new::<Object<T, A>>()) };
        Ok(value)
    }

    /// The object for changing it, if there is no other handle, neither strong nor weak.
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        if !Self::is_unique(this) {
            return None;
        }
        // Its handles may move, which nobody would see.
        Visit::touch(&**this);
        if !Self::is_unique(this) {
            return None;
        }
        // From now on no collection comes to it, until there is a second handle, which takes the end of the borrow.
        Self::home(this).forget(Self::bare(this));
        // SAFETY: alive.
        let value = unsafe { &raw mut (*this.object.as_ptr()).value };
        // SAFETY: only, and the handle is borrowed.
        Some(unsafe { &mut *value })
    }

    /// The object for changing it, as a copy of its own if there are other handles, strong or weak.
    pub fn make_mut(this: &mut Self) -> &mut T
    where
        T: Clone,
    {
        if !Self::is_unique(this) {
            let home = Self::home_handle(this).clone();
            let copy = Self::new_at_home(&home, (**this).clone());
            *this = copy.unwrap_or_else(|AllocError| crate::counted::block::refused(Layout::new::<T>()));
        }
        Self::get_mut(this)
            .expect("a Clone or Links of this type makes handles to objects that it is just shown")
    }
}

impl<T: ?Sized, A: Alloc + 'static> Cc<T, A> {
    /// # Safety
    ///
    /// An object that is alive; the handle has been counted.
    pub(super) unsafe fn from_object(object: NonNull<Object<T, A>>) -> Self {
        Cc { object, owner: PhantomData }
    }

    #[inline]
    pub(super) fn bare(this: &Self) -> &Bare {
        // SAFETY: alive.
        unsafe { &(*this.object.as_ptr()).bare }
    }

    #[inline]
    pub(super) fn bare_pointer(this: &Self) -> (NonNull<Bare>, &Bare) {
        (this.object.cast(), Self::bare(this))
    }

    #[inline]
    pub(super) fn home_handle(this: &Self) -> &LeanRc<Core, A> {
        // SAFETY: alive.
        unsafe { &(*this.object.as_ptr()).home }
    }

    #[inline]
    pub(super) fn home(this: &Self) -> &Core {
        Self::home_handle(this)
    }

    /// Whether both are handles to one object.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        ptr::addr_eq(this.object.as_ptr(), other.object.as_ptr())
    }

    /// The address of the object.
    pub fn as_ptr(this: &Self) -> *const T {
        // SAFETY: alive.
        unsafe { &raw const (*this.object.as_ptr()).value }
    }

    /// How many handles there are; while a collection visits the object, one more.
    pub fn strong_count(this: &Self) -> usize {
        Self::bare(this).strong.get() as usize
    }

    /// Whether there is no other handle, neither strong nor weak.
    pub fn is_unique(this: &mut Self) -> bool {
        Self::strong_count(this) == 1 && Self::weak_count(this) == 0
    }

    /// The same object seen as a slice or a trait object: as [`Handle::unsize`](crate::counted::Handle::unsize), and with the same panics.
    ///
    /// ```
    /// use freestone_gc::counted::cycles::{Cc, Cycles};
    ///
    /// let cycles = Cycles::new();
    /// let shown: Cc<dyn std::fmt::Display> = Cc::unsize(cycles.alloc(7), |it| it);
    /// assert_eq!(shown.to_string(), "7");
    /// ```
    pub fn unsize<U: ?Sized>(this: Self, how: for<'a> fn(&'a T) -> &'a U) -> Cc<U, A> {
        let seen = how(&this);
        assert!(
            ptr::addr_eq(seen, &raw const *this) && Layout::for_value(seen) == Layout::for_value(&*this),
            "unsize: the function must give the whole object, not a part of it or another one"
        );
        let object = ptr::from_ref(seen).cast_mut() as *mut Object<U, A>;
        let this = ManuallyDrop::new(this);
        let object = moved_to(object, this.object.as_ptr().cast());
        // SAFETY: not null, being that of a block.
        let object = unsafe { NonNull::new_unchecked(object) };
        // SAFETY: the handle passes on.
        unsafe { Self::from_other(object) }
    }

    /// # Safety
    ///
    /// As [`from_object`](Cc::from_object).
    unsafe fn from_other<U: ?Sized>(object: NonNull<Object<U, A>>) -> Cc<U, A> {
        // SAFETY: the caller's promise.
        unsafe { Cc::from_object(object) }
    }
}

impl<A: Alloc + 'static> Cc<dyn Any, A> {
    /// A handle to the type that the object has.
    ///
    /// # Errors
    ///
    /// The handle itself, if the object has another type.
    pub fn downcast<T: Any>(self) -> Result<Cc<T, A>, Self> {
        if !(*self).is::<T>() {
            return Err(self);
        }
        Ok(Cc::unsize(self, |any| any.downcast_ref().expect("it is one, as was just asked")))
    }
}

impl<T: ?Sized, A: Alloc + 'static> Clone for Cc<T, A> {
    #[inline]
    fn clone(&self) -> Self {
        let bare = Self::bare(self);
        bare.retain();
        if bare.entry.get() != 0 {
            Self::home(self).touch(bare);
        }
        // SAFETY: it has been counted.
        unsafe { Self::from_object(self.object) }
    }
}

impl<T: ?Sized, A: Alloc + 'static> Drop for Cc<T, A> {
    #[inline]
    fn drop(&mut self) {
        let (object, bare) = Self::bare_pointer(self);
        if !bare.release() {
            if bare.kind.any {
                Self::home(self).dropped_one(object, bare);
            }
            return;
        }
        let home = Self::home(self);
        if home.depth.get() == 0 {
            // Nobody else may have the core.
            let home = Self::home_handle(self).clone();
            // SAFETY: the last handle is being dropped.
            unsafe { home.dropped_outermost(object) };
        } else {
            let home: *const Core = home;
            // SAFETY: inside of another destructor, or of a collection, somebody has a handle to the core.
            let home = unsafe { &*home };
            // SAFETY: the last handle is being dropped.
            unsafe { home.dropped_last(object) };
        }
    }
}

impl<T: ?Sized, A: Alloc + 'static> Deref for Cc<T, A> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: alive.
        unsafe { &(*self.object.as_ptr()).value }
    }
}

impl<T: ?Sized, A: Alloc + 'static> AsRef<T> for Cc<T, A> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized + fmt::Debug, A: Alloc + 'static> fmt::Debug for Cc<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + PartialEq, A: Alloc + 'static> PartialEq for Cc<T, A> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq, A: Alloc + 'static> Eq for Cc<T, A> {}
