//! Whether several threads may use a debug allocator at once: a choice of its type.

use core::cell::RefCell;

use super::state::State;
use crate::sync::Lock;

/// How the state is kept: [`Shared`] or [`Single`].
pub trait Threads: sealed::Sealed {
    /// What keeps the state.
    #[doc(hidden)]
    type Keep: Keep;
    /// It, at the start.
    #[doc(hidden)]
    #[allow(clippy::declare_interior_mutable_const, reason = "a value to begin with, copied once")]
    const NEW: Self::Keep;
}

/// For any number of threads: a lock.
#[derive(Clone, Copy, Debug)]
pub enum Shared {}

/// For one thread at a time, without a lock; the allocator is then not `Sync`:
///
/// ```compile_fail,E0277
/// use freestone_kit::debug::{Debug, DebugConfig};
/// use freestone_kit::page::Page;
/// let debug = Debug::single(Page, DebugConfig::new());
/// std::thread::scope(|scope| drop(scope.spawn(|| debug.check())));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Single {}

impl Threads for Shared {
    type Keep = Lock<Kept>;
    const NEW: Lock<Kept> = Lock::new(Kept(State::new()));
}

impl Threads for Single {
    type Keep = RefCell<Kept>;
    const NEW: RefCell<Kept> = RefCell::new(Kept(State::new()));
}

/// The state; opaque outside.
#[doc(hidden)]
pub struct Kept(pub(super) State);

/// Gives access to the state.
#[doc(hidden)]
pub trait Keep {
    /// Has `act` use the state, alone.
    fn with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> R;
    /// The same, unless somebody is using it.
    fn try_with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> Option<R>;
    /// The same, where nobody else can reach it.
    fn get_mut(&mut self) -> &mut Kept;
}

impl Keep for Lock<Kept> {
    fn with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> R {
        act(&mut self.lock())
    }

    fn try_with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> Option<R> {
        self.try_lock().map(|mut kept| act(&mut kept))
    }

    fn get_mut(&mut self) -> &mut Kept {
        Lock::get_mut(self)
    }
}

impl Keep for RefCell<Kept> {
    fn with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> R {
        act(&mut self.borrow_mut())
    }

    fn try_with<R>(&self, act: impl FnOnce(&mut Kept) -> R) -> Option<R> {
        self.try_borrow_mut().ok().map(|mut kept| act(&mut kept))
    }

    fn get_mut(&mut self) -> &mut Kept {
        RefCell::get_mut(self)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Shared {}
    impl Sealed for super::Single {}
}
