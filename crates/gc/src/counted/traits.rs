//! What a handle does as its object does.

use std::any::Any;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{RefUnwindSafe, UnwindSafe};

use freestone_kit::Alloc;

use super::counts::{Counts, Place};
use super::handle::Handle;

impl<T: ?Sized + RefUnwindSafe, P: Place<T>, A: Alloc> UnwindSafe for Handle<T, P, A> {}
impl<T: ?Sized + RefUnwindSafe, P: Place<T>, A: Alloc> RefUnwindSafe for Handle<T, P, A> {}

impl<T: ?Sized, P: Place<T>, A: Alloc> AsRef<T> for Handle<T, P, A> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized, P: Place<T>, A: Alloc> Borrow<T> for Handle<T, P, A> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: Default, P: Place<T>> Default for Handle<T, P> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + PartialEq, P: Place<T>, A: Alloc> PartialEq for Handle<T, P, A> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq, P: Place<T>, A: Alloc> Eq for Handle<T, P, A> {}

impl<T: ?Sized + PartialOrd, P: Place<T>, A: Alloc> PartialOrd for Handle<T, P, A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: ?Sized + Ord, P: Place<T>, A: Alloc> Ord for Handle<T, P, A> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: ?Sized + Hash, P: Place<T>, A: Alloc> Hash for Handle<T, P, A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl<T: ?Sized + fmt::Debug, P: Place<T>, A: Alloc> fmt::Debug for Handle<T, P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display, P: Place<T>, A: Alloc> fmt::Display for Handle<T, P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized, P: Place<T>, A: Alloc> fmt::Pointer for Handle<T, P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&Handle::as_ptr(self), f)
    }
}

macro_rules! downcast {
    ($any:ty) => {
        impl<C: Counts, A: Alloc> Handle<$any, C, A> {
            /// A handle to the type that the object has.
            ///
            /// # Errors
            ///
            /// The handle itself, if the object has another type.
            ///
            /// ```
            /// use freestone_gc::counted::Rc;
            /// use std::any::Any;
            ///
            /// let any: Rc<dyn Any> = Rc::unsize(Rc::new(7), |it| it);
            /// assert_eq!(any.downcast::<i32>().ok().as_deref(), Some(&7));
            /// ```
            pub fn downcast<T: Any>(self) -> Result<Handle<T, C, A>, Self> {
                if !(*self).is::<T>() {
                    return Err(self);
                }
                Ok(Handle::unsize(self, |any| any.downcast_ref().expect("it is one, as was just asked")))
            }
        }
    };
}

downcast!(dyn Any);
downcast!(dyn Any + Send + Sync);
