//! [`Trace`] and [`Branded`] for the types of the standard library.
//!
//! # Safety
//!
//! *Leaf*: a type without a lifetime parameter of its own and `'static` cannot hold a `Gc`, whose brand is never `'static`.
//! *Container*: each element that could hold pointers is traced, each time.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use super::{Branded, Gc, GcArray, GcCell, GcRefCell, Trace};
use crate::collector::Visitor;

macro_rules! leaf {
    ($($type:ty),* $(,)?) => {$(
        // SAFETY: leaf.
        unsafe impl<'gc> Trace<'gc> for $type {
            const NEEDS_TRACE: bool = false;
            const SENDABLE: bool = true;

            #[inline]
            fn trace<V: Visitor>(&mut self, _visitor: &mut V) {}
        }

        impl Branded for $type {
            type Of<'gc> = $type;
        }
    )*};
}

leaf!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    String,
    &'static str,
    Box<str>,
    std::num::NonZeroU8,
    std::num::NonZeroU16,
    std::num::NonZeroU32,
    std::num::NonZeroU64,
    std::num::NonZeroUsize,
    std::num::NonZeroI8,
    std::num::NonZeroI16,
    std::num::NonZeroI32,
    std::num::NonZeroI64,
    std::num::NonZeroIsize,
    std::time::Duration,
    std::time::Instant,
    std::time::SystemTime,
    std::path::PathBuf,
    std::ffi::OsString,
    std::ffi::CString,
    std::sync::atomic::AtomicBool,
    std::sync::atomic::AtomicU8,
    std::sync::atomic::AtomicU32,
    std::sync::atomic::AtomicU64,
    std::sync::atomic::AtomicUsize,
    std::sync::atomic::AtomicI32,
    std::sync::atomic::AtomicI64,
    Cow<'static, str>,
);

macro_rules! confined_leaf {
    ($([$($generics:tt)*] $type:ty, $sendable:expr;)*) => {$(
        // SAFETY: leaf.
        unsafe impl<'gc, $($generics)*> Trace<'gc> for $type {
            const NEEDS_TRACE: bool = false;
            const SENDABLE: bool = $sendable;

            #[inline]
            fn trace<V: Visitor>(&mut self, _visitor: &mut V) {}
        }

        impl<$($generics)*> Branded for $type {
            type Of<'gc> = $type;
        }
    )*};
}

confined_leaf! {
    [T: ?Sized + 'static] Rc<T>, false;
    [T: ?Sized + Send + Sync + 'static] Arc<T>, true;
    [T: ?Sized + 'static] PhantomData<T>, false;
}

macro_rules! std_cell {
    ($($type:ident)*) => {$(
        // SAFETY: leaf. One that holds pointers has to be a cell with a barrier.
        unsafe impl<'gc, T: Trace<'gc> + 'static> Trace<'gc> for $type<T> {
            const NEEDS_TRACE: bool = false;
            const SENDABLE: bool = T::SENDABLE;

            #[inline]
            fn trace<V: Visitor>(&mut self, _visitor: &mut V) {}
        }

        impl<T: for<'gc> Trace<'gc> + 'static> Branded for $type<T> {
            type Of<'gc> = $type<T>;
        }
    )*};
}

std_cell!(Cell RefCell);

macro_rules! wrapper {
    ($($type:ident, $value:ident, $visitor:ident, $trace:expr;)*) => {$(
        // SAFETY: container.
        unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for $type<T> {
            const NEEDS_TRACE: bool = T::NEEDS_TRACE;
            const SENDABLE: bool = T::SENDABLE;

            #[inline]
            fn trace<V: Visitor>(&mut self, $visitor: &mut V) {
                let $value = self;
                if T::NEEDS_TRACE {
                    $trace
                }
            }
        }

        impl<B: Branded> Branded for $type<B> {
            type Of<'gc> = $type<B::Of<'gc>>;
        }
    )*};
}

wrapper! {
    Option, value, visitor, if let Some(value) = value { value.trace(visitor) };
    Box, value, visitor, (**value).trace(visitor);
    Vec, value, visitor, value.iter_mut().for_each(|element| element.trace(visitor));
    VecDeque, value, visitor, value.iter_mut().for_each(|element| element.trace(visitor));
    LinkedList, value, visitor, value.iter_mut().for_each(|element| element.trace(visitor));
    OnceCell, value, visitor, if let Some(value) = value.get_mut() { value.trace(visitor) };
}

impl<B: Branded> Branded for GcCell<B> {
    type Of<'gc> = GcCell<B::Of<'gc>>;
}

impl<B: Branded> Branded for GcRefCell<B> {
    type Of<'gc> = GcRefCell<B::Of<'gc>>;
}

impl<B: Branded> Branded for Gc<'static, B> {
    type Of<'gc> = Gc<'gc, B::Of<'gc>>;
}

impl<B: Branded> Branded for GcArray<'static, B> {
    type Of<'gc> = GcArray<'gc, B::Of<'gc>>;
}

// SAFETY: container.
unsafe impl<'gc, T: Trace<'gc>> Trace<'gc> for Box<[T]> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    const SENDABLE: bool = T::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.iter_mut().for_each(|element| element.trace(visitor));
    }
}

impl<B: Branded> Branded for Box<[B]> {
    type Of<'gc> = Box<[B::Of<'gc>]>;
}

// SAFETY: container.
unsafe impl<'gc, T: Trace<'gc>, const N: usize> Trace<'gc> for [T; N] {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    const SENDABLE: bool = T::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.iter_mut().for_each(|element| element.trace(visitor));
    }
}

impl<B: Branded, const N: usize> Branded for [B; N] {
    type Of<'gc> = [B::Of<'gc>; N];
}

// SAFETY: container.
unsafe impl<'gc, T: Trace<'gc>, E: Trace<'gc>> Trace<'gc> for Result<T, E> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE || E::NEEDS_TRACE;
    const SENDABLE: bool = T::SENDABLE && E::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        match self {
            Ok(value) => value.trace(visitor),
            Err(error) => error.trace(visitor),
        }
    }
}

impl<B: Branded, D: Branded> Branded for Result<B, D> {
    type Of<'gc> = Result<B::Of<'gc>, D::Of<'gc>>;
}

// SAFETY: container. Keys cannot be traced, since they cannot be had to be changed, so they are leaves: `'static`.
unsafe impl<'gc, K: Trace<'gc> + 'static, T: Trace<'gc>, S: Send + 'static> Trace<'gc> for HashMap<K, T, S> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    const SENDABLE: bool = K::SENDABLE && T::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.values_mut().for_each(|value| value.trace(visitor));
    }
}

impl<K: for<'gc> Trace<'gc> + 'static, B: Branded, S: Send + 'static> Branded for HashMap<K, B, S> {
    type Of<'gc> = HashMap<K, B::Of<'gc>, S>;
}

// SAFETY: container, and as above.
unsafe impl<'gc, K: Trace<'gc> + 'static, T: Trace<'gc>> Trace<'gc> for BTreeMap<K, T> {
    const NEEDS_TRACE: bool = T::NEEDS_TRACE;
    const SENDABLE: bool = K::SENDABLE && T::SENDABLE;

    #[inline]
    fn trace<V: Visitor>(&mut self, visitor: &mut V) {
        self.values_mut().for_each(|value| value.trace(visitor));
    }
}

impl<K: for<'gc> Trace<'gc> + 'static, B: Branded> Branded for BTreeMap<K, B> {
    type Of<'gc> = BTreeMap<K, B::Of<'gc>>;
}

macro_rules! set {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        // SAFETY: leaf: the elements are `'static`.
        unsafe impl<'gc, K: Trace<'gc> + 'static, $($generics)*> Trace<'gc> for $type {
            const NEEDS_TRACE: bool = false;
            const SENDABLE: bool = K::SENDABLE;

            #[inline]
            fn trace<V: Visitor>(&mut self, _visitor: &mut V) {}
        }

        impl<K: for<'gc> Trace<'gc> + 'static, $($generics)*> Branded for $type {
            type Of<'gc> = $type;
        }
    )*};
}

set! {
    [S: Send + 'static] HashSet<K, S>;
    [] BTreeSet<K>;
    [] BinaryHeap<K>;
}

macro_rules! tuple {
    ($($name:ident)+) => {
        // SAFETY: container.
        unsafe impl<'gc, $($name: Trace<'gc>),+> Trace<'gc> for ($($name,)+) {
            const NEEDS_TRACE: bool = $($name::NEEDS_TRACE)||+;
            const SENDABLE: bool = $($name::SENDABLE)&&+;

            #[inline]
            #[allow(non_snake_case)]
            fn trace<V: Visitor>(&mut self, visitor: &mut V) {
                let ($($name,)+) = self;
                $($name.trace(visitor);)+
            }
        }

        impl<$($name: Branded),+> Branded for ($($name,)+) {
            type Of<'gc> = ($($name::Of<'gc>,)+);
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
