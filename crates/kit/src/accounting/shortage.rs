//! What happens when memory is short.

use core::alloc::Layout;

use crate::alloc::without_unwinding;

/// Why a request cannot be met at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The limit does not allow it.
    Limit,
    /// The parent has refused.
    Parent,
}

/// A request that cannot be met, as a [`OomHandler`] is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortage {
    /// What was asked for.
    pub layout: Layout,
    /// Why it cannot be had.
    pub cause: Cause,
    /// Bytes in use.
    pub used: usize,
    /// The limit.
    pub limit: usize,
    /// How often this request was tried again.
    pub retries: usize,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again: something was freed, or the limit was raised.
    Retry,
    /// The request is refused.
    Refuse,
}

/// Decides when memory is short: it may free something, raise the limit, write a message, or end the process.
///
/// It is called inside the allocation, by the thread that allocates, and without a lock held. It may use the allocator;
/// a request of its own that is short calls it again. A panic in it ends the process, for an allocation must not
/// unwind.
pub trait OomHandler {
    /// Says what to do.
    fn out_of_memory(&self, shortage: &Shortage) -> Verdict;
}

/// Refuses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refuse;

impl OomHandler for Refuse {
    fn out_of_memory(&self, _: &Shortage) -> Verdict {
        Verdict::Refuse
    }
}

impl<F: Fn(&Shortage) -> Verdict> OomHandler for F {
    fn out_of_memory(&self, shortage: &Shortage) -> Verdict {
        self(shortage)
    }
}

/// Asks the handler, and ends the process if it panics.
pub(super) fn ask<H: OomHandler>(handler: &H, shortage: &Shortage) -> Verdict {
    without_unwinding("an out-of-memory handler", || handler.out_of_memory(shortage))
}
