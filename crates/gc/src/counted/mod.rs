//! Reference counting: an object goes with its last handle.
//!
//! | handle | threads | weak handles | bytes before the object |
//! |---|---|---|---|
//! | [`Rc`] | one | yes | 8 |
//! | [`Arc`] | many | yes | 8 |
//! | [`LeanRc`] | one | no | 4 |
//! | [`LeanArc`] | many | no | 4 |
//! | [`Intrusive`] | either, as the object's [`LocalCount`] or [`AtomicCount`] says | no | 0: the count is a field |
//! | [`Thin`] | as its counts say | no | as its counts, and the length |
//! | [`Cc`](cycles::Cc) | one | yes | 24; collects cycles |
//!
//! All but the last are [`Handle`], so they have the same functions, and they hold any object: slices, texts and trait objects by
//! [`Handle::unsize`] and `From`. The allocator is any of the kit's; it lies with the object, so that a handle is one pointer
//! (two, for unsized objects).
//!
//! # When to use it, and when not
//!
//! Objects go at once, in a known order, and whoever drops pays. That is the way for resources, for large objects, and for graphs
//! without cycles; [`cycles`] is for those that have some. A program that makes many small objects with many handles between
//! them is served faster by a collector that traces.
//!
//! # Costs
//!
//! Cloning is an addition, dropping a subtraction and a comparison; where several threads share, each is a locked instruction on the
//! object's line, and so they wait for each other. Dropping the last handle drops the object, and with it whatever it
//! alone kept: that takes as long as there are objects, and as much stack as the longest chain.
//!
//! # What does not compile
//!
//! A handle for one thread that goes to another, and an object for one thread behind a handle for several:
//!
//! ```compile_fail,E0277
//! let one = freestone_gc::counted::Rc::new(1);
//! std::thread::spawn(move || drop(one));
//! ```
//!
//! ```compile_fail,E0277
//! let one = freestone_gc::counted::Arc::new(std::cell::Cell::new(1));
//! std::thread::spawn(move || drop(one));
//! ```
//!
//! ```compile_fail,E0277
//! let one = freestone_gc::counted::cycles::Cycles::new().alloc(1);
//! std::thread::spawn(move || drop(one));
//! ```
//!
//! Changing what others may look at:
//!
//! ```compile_fail,E0594
//! let one = freestone_gc::counted::Rc::new(1);
//! *one = 2;
//! ```
//!
//! A weak handle where nobody counts it:
//!
//! ```compile_fail,E0277
//! use freestone_gc::counted::LeanRc;
//! LeanRc::downgrade(&LeanRc::new(1));
//! ```
//!
//! A count in the object that is for one thread, in an object that several share:
//!
//! ```compile_fail,E0277
//! use freestone_gc::counted::{Intrusive, LocalCount};
//! struct Node { count: LocalCount }
//! freestone_gc::intrusive!(Node, count: LocalCount);
//! let one = Intrusive::new(Node { count: LocalCount::new() });
//! std::thread::spawn(move || drop(one));
//! ```
//!
//! An object of [`cycles`] that borrows from outside, since it may be collected when that is gone:
//!
//! ```compile_fail,E0597
//! use freestone_gc::counted::cycles::{Cycles, Links, Visit};
//! struct Borrows<'a>(&'a String);
//! impl Links for Borrows<'_> {
//!     fn links(&self, _: &mut Visit<'_>) {}
//! }
//! let cycles = Cycles::new();
//! let text = String::from("short");
//! let one = cycles.alloc(Borrows(&text));
//! ```
//!
//! # Source
//!
//! Collins, *A method for overlapping and erasure of lists*, 1960. The layout of the two counts and the orders are those of Boost's
//! and the standard library's; counts of 32 bits and the check against too many are older than both.

mod atomic;
mod block;
mod counts;
pub mod cycles;
mod handle;
mod intrusive;
mod local;
mod slices;
mod sync;
mod thin;
mod traits;
mod weak;

pub use crate::Global;
pub use atomic::{AtomicCount, AtomicCounts};
pub use counts::{Counts, Place, WeakCounts};
pub use handle::Handle;
pub use intrusive::{Counted, InObject, InsideOf};
pub use local::{LocalCount, LocalCounts};
pub use thin::{Body, Thin};
pub use weak::Weak;

/// For one thread, with weak handles.
pub type Rc<T, A = Global> = Handle<T, LocalCounts, A>;
/// For several threads, with weak handles.
///
/// ```
/// use freestone_gc::counted::Arc;
///
/// let shared = Arc::new(vec![1, 2, 3]);
/// let other = shared.clone();
/// let sum = std::thread::spawn(move || other.iter().sum::<i32>());
/// assert_eq!((sum.join().unwrap(), shared.len()), (6, 3));
/// ```
pub type Arc<T, A = Global> = Handle<T, AtomicCounts, A>;
/// For one thread, without weak handles.
pub type LeanRc<T, A = Global> = Handle<T, LocalCount, A>;
/// For several threads, without weak handles.
pub type LeanArc<T, A = Global> = Handle<T, AtomicCount, A>;
/// For objects that hold their own count.
pub type Intrusive<T, A = Global> = Handle<T, InsideOf, A>;
