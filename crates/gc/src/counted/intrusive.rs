//! Counting in the object itself.
//!
//! # Safety
//!
//! *One count*: the contract of [`Place`]. An implementation of [`Counted`] is safe code and may answer anything, so each answer is looked at:
//! it must lie at the constant offset, inside of the object. Two counts cannot lie at one address, and the count there
//! cannot change but by the handles: it has no method for others; replacing it takes an exclusive borrow of the object, which one has before the
//! object gets its handle, after it lost its last one, or through the only handle; and at all these moments it, and any other
//! count that one can have in hand to put there, stands for one handle.
#![allow(unsafe_code)]

use std::ptr;

use super::counts::{Counts, Place};

/// An object that holds its own count: see [`intrusive!`](crate::intrusive), which implements it.
///
/// # Panics
///
/// Cloning and dropping handles panics if [`count`](Counted::count) gives anything but a field of the object at the
/// offset [`OFFSET`](Counted::OFFSET).
pub trait Counted {
    /// [`LocalCount`](super::LocalCount) or [`AtomicCount`](super::AtomicCount).
    type Count: InObject;

    /// Where the count lies in the object, in bytes.
    const OFFSET: usize;

    /// The count.
    fn count(&self) -> &Self::Count;
}

/// What may count inside of an object: a fresh one stands for one handle, wherever it comes from.
pub trait InObject: Counts + sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::counted::LocalCount {}
    impl Sealed for crate::counted::AtomicCount {}
}

impl InObject for super::LocalCount {}
impl InObject for super::AtomicCount {}

/// In the place of counts before an object that holds its own.
#[derive(Debug)]
pub struct InsideOf {
    _private: (),
}

// SAFETY: see the module.
unsafe impl<T: Counted> Place<T> for InsideOf {
    type Counts = T::Count;

    fn first() -> InsideOf {
        InsideOf { _private: () }
    }

    #[inline]
    fn counts<'a>(&'a self, object: &'a T) -> &'a T::Count {
        const {
            assert!(
                T::OFFSET + size_of::<T::Count>() <= size_of::<T>(),
                "the count lies inside of the object"
            );
        }
        let count = object.count();
        let expected = ptr::from_ref(object).wrapping_byte_add(T::OFFSET);
        if !ptr::addr_eq(count, expected) {
            elsewhere();
        }
        count
    }

    #[inline]
    fn release_block(&self) -> bool {
        true
    }
}

#[cold]
fn elsewhere() -> ! {
    panic!("Counted: the count is not where OFFSET says; let `intrusive!` write the implementation");
}

/// Lets the objects of a type be counted by one of their fields.
///
/// ```
/// use freestone_gc::counted::{Intrusive, LocalCount};
///
/// #[derive(Default)]
/// struct Node {
///     count: LocalCount,
///     value: u32,
/// }
/// freestone_gc::intrusive!(Node, count: LocalCount);
///
/// let one = Intrusive::new(Node { value: 1, ..Node::default() });
/// let other = one.clone();
/// assert_eq!((other.value, Intrusive::strong_count(&one)), (1, 2));
/// assert_eq!((size_of_val(&one), size_of::<Node>()), (8, 8));
/// ```
///
/// A type with parameters takes them in brackets first: `intrusive!([T: Copy] Node<T>, count: LocalCount);`.
#[macro_export]
macro_rules! intrusive {
    ([$($generics:tt)*] $type:ty, $field:ident: $count:ty) => {
        impl<$($generics)*> $crate::counted::Counted for $type {
            type Count = $count;
            const OFFSET: usize = ::core::mem::offset_of!($type, $field);

            #[inline]
            fn count(&self) -> &$count {
                &self.$field
            }
        }
    };
    ($type:ty, $field:ident: $count:ty) => {
        $crate::intrusive!([] $type, $field: $count);
    };
}
