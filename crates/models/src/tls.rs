//! Stands for the allocator's module of this name. The models hand each thread's mark to the gate themselves.

use crate::sync::atomic::AtomicU8;

pub(crate) struct ThreadState {
    pub(crate) busy: AtomicU8,
    pub(crate) forking: AtomicU8,
}

pub(crate) fn current() -> &'static ThreadState {
    unreachable!("the models do not go through the thread's own state")
}
