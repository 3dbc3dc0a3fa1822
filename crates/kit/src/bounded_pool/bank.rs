//! Who may have how many bytes: the bound, the queue, and the recyclable blocks.
//!
//! Bytes are in one of four places, and together they are always the total:
//!
//! ```text
//!   total = unpooled           nobody's, without memory behind them
//!         + free * poolable    nobody's, blocks that wait for reuse
//!         + gathered           by waiters, of what they want
//!         + in use
//! ```
//!
//! Whoever gives bytes back hands them out at once, under the same lock, to the one who has waited longest, until he
//! has all he wants, then to the next. So nobody who comes later can be faster, and a signal never comes too early.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::monitor::{Held, Monitor, Signal};

/// What somebody gets for his request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Grant<B> {
    /// A block of the recyclable size.
    Block(B),
    /// The right to so many bytes as were asked for.
    Bytes,
}

/// Why somebody gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Late,
    Closed,
}

struct Waiter {
    wanted: usize,
    gathered: usize,
    signal: Arc<Signal>,
}

struct State<B> {
    unpooled: usize,
    free: Vec<B>,
    /// By their number, which is the order in which they came.
    waiting: VecDeque<(u64, Waiter)>,
    /// Grants that the waiter of that number has not picked up yet.
    served: BTreeMap<u64, Grant<B>>,
    next: u64,
    closed: bool,
}

/// Figures at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) unpooled: usize,
    pub(crate) free: usize,
    pub(crate) gathered: usize,
    pub(crate) waiting: usize,
}

/// The bank over blocks `B`, which it does not look at.
pub(crate) struct Bank<B> {
    total: usize,
    poolable: usize,
    state: Monitor<State<B>>,
}

impl<B> Bank<B> {
    pub(crate) const fn new(total: usize, poolable: usize) -> Bank<B> {
        let state = State {
            unpooled: total,
            free: Vec::new(),
            waiting: VecDeque::new(),
            served: BTreeMap::new(),
            next: 0,
            closed: false,
        };
        Bank { total, poolable, state: Monitor::new(state) }
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    pub(crate) const fn poolable(&self) -> usize {
        self.poolable
    }

    pub(crate) fn figures(&self) -> Figures {
        let state = self.state.lock();
        Figures {
            unpooled: state.unpooled,
            free: state.free.len(),
            gathered: state.waiting.iter().map(|(_, waiter)| waiter.gathered).sum(),
            waiting: state.waiting.len(),
        }
    }

    /// The grant, if it can be had without waiting and without passing anybody by. `discard` frees a block's memory.
    pub(crate) fn try_take(&self, wanted: usize, discard: &dyn Fn(B)) -> Result<Option<Grant<B>>, Denied> {
        let mut state = self.state.lock();
        self.take_at_once(&mut state, wanted, discard)
    }

    /// The grant, waited for in turn. Whoever is late or finds the bank closed leaves all he had gathered.
    pub(crate) fn take(
        &self,
        wanted: usize,
        until: Option<Instant>,
        discard: &dyn Fn(B),
    ) -> Result<Grant<B>, Denied> {
        let mut state = self.state.lock();
        if let Some(grant) = self.take_at_once(&mut state, wanted, discard)? {
            return Ok(grant);
        }
        let number = state.next;
        state.next += 1;
        let signal = Arc::new(Signal::new());
        state.waiting.push_back((number, Waiter { wanted, gathered: 0, signal: signal.clone() }));
        self.hand_out(&mut state, discard);
        loop {
            if let Some(grant) = state.served.remove(&number) {
                return Ok(grant);
            }
            if state.closed {
                self.leave(&mut state, number, discard);
                return Err(Denied::Closed);
            }
            let late;
            (state, late) = signal.wait(&self.state, state, until);
            if late && !state.served.contains_key(&number) && !state.closed {
                self.leave(&mut state, number, discard);
                return Err(Denied::Late);
            }
        }
    }

    /// Takes back bytes that were granted, with the block if it is one of the recyclable size.
    pub(crate) fn give(&self, bytes: usize, block: Option<B>, discard: &dyn Fn(B)) {
        debug_assert!(block.is_none() || bytes == self.poolable);
        let mut state = self.state.lock();
        match block {
            Some(block) => state.free.push(block),
            None => state.unpooled += bytes,
        }
        self.hand_out(&mut state, discard);
    }

    /// From now on nobody gets anything; who waits is woken.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.iter().for_each(|(_, waiter)| waiter.signal.notify());
    }

    /// All blocks that nobody uses.
    pub(crate) fn drain(&mut self) -> Vec<B> {
        std::mem::take(&mut self.state.get_mut().free)
    }

    fn take_at_once(
        &self,
        state: &mut Held<'_, State<B>>,
        wanted: usize,
        discard: &dyn Fn(B),
    ) -> Result<Option<Grant<B>>, Denied> {
        if state.closed {
            return Err(Denied::Closed);
        }
        if !state.waiting.is_empty() {
            return Ok(None);
        }
        if wanted == self.poolable
            && let Some(block) = state.free.pop()
        {
            return Ok(Some(Grant::Block(block)));
        }
        if state.unpooled + state.free.len() * self.poolable < wanted {
            return Ok(None);
        }
        self.free_up(state, wanted, discard);
        state.unpooled -= wanted;
        Ok(Some(Grant::Bytes))
    }

    /// Turns blocks into bytes until there are so many bytes or no more blocks. The memory goes before the bytes can be
    /// granted again, so that the bound holds for memory, too.
    fn free_up(&self, state: &mut Held<'_, State<B>>, wanted: usize, discard: &dyn Fn(B)) {
        while state.unpooled < wanted
            && let Some(block) = state.free.pop()
        {
            discard(block);
            state.unpooled += self.poolable;
        }
    }

    /// Gives what there is to those who wait, in turn.
    fn hand_out(&self, state: &mut Held<'_, State<B>>, discard: &dyn Fn(B)) {
        while let Some((number, mut waiter)) = state.waiting.pop_front() {
            let grant = if waiter.gathered == 0
                && waiter.wanted == self.poolable
                && let Some(block) = state.free.pop()
            {
                Grant::Block(block)
            } else {
                let missing = waiter.wanted - waiter.gathered;
                self.free_up(state, missing, discard);
                let got = missing.min(state.unpooled);
                state.unpooled -= got;
                waiter.gathered += got;
                if got < missing {
                    state.waiting.push_front((number, waiter));
                    return;
                }
                Grant::Bytes
            };
            state.served.insert(number, grant);
            waiter.signal.notify();
        }
    }

    /// A waiter goes without a grant; what he had gathered is for the others.
    fn leave(&self, state: &mut Held<'_, State<B>>, number: u64, discard: &dyn Fn(B)) {
        if let Ok(place) = state.waiting.binary_search_by_key(&number, |&(number, _)| number)
            && let Some((_, waiter)) = state.waiting.remove(place)
        {
            state.unpooled += waiter.gathered;
        }
        self.hand_out(state, discard);
    }
}
