//! What a value must tell a collector: which pointers it holds.
//!
//! # Safety
//!
//! The contract of [`Trace`], which is declared here and kept by the derive.
#![allow(unsafe_code)]

use crate::collector::Visitor;

/// A value that may live in a heap, or hold pointers into one. Derive it: `#[derive(Trace)]`.
///
/// `'gc` is the brand of the heap whose pointers the value may hold; a value without pointers has the trait for every brand.
///
/// The derive refuses a type with a `Drop` of its own if it holds pointers: when an object dies, what it points to may be gone
/// already. Put what must be dropped into a field without pointers, or see [`Guardian`](crate::mutator::Guardian).
///
/// On a field, `#[gc(leaf)]` says that it holds no pointers, for types without the trait; the type must be `'static`, which the
/// compiler checks. `#[gc(recursive)]` says that the type contains itself by way of that field (through a `Box`, say).
/// `#[gc(leaf)]` on the type says it of all fields.
///
/// # Safety
///
/// For the implementer by hand:
/// 1. `trace` hands every [`Gc`](crate::Gc) in the value to its own `trace`, each time it is called, and does nothing else with them.
/// 2. `NEEDS_TRACE` is false only if there can be none.
/// 3. `SENDABLE` is true only if the value, but for the handles in it, may be sent to another thread.
/// 4. Dropping the value does not look through any `Gc` in it.
pub unsafe trait Trace<'gc> {
    /// Whether there may be pointers in a value of this type.
    const NEEDS_TRACE: bool;

    /// Whether a heap with such values in it may move to another thread.
    const SENDABLE: bool;

    /// Hands all pointers of the value to the visitor. Called by collectors; it may panic, see [`Heap`](crate::Heap).
    fn trace<V: Visitor>(&mut self, visitor: &mut V);
}

/// A type that names what lives in a heap, for whatever brand: `Node<'static>` for all `Node<'gc>`.
///
/// Derived along with [`Trace`]. `Option<B>`, `Vec<B>`, `Gc<'static, B>` and so on have it when `B` has.
pub trait Branded: 'static {
    /// The type under the brand `'gc`.
    type Of<'gc>: Trace<'gc> + 'gc;
}
