//! A bounded queue of blocks between threads. Whole batches pass, so that the lock is not what is measured.

use std::sync::{Condvar, Mutex};

use super::{Block, Table};
use crate::Memory;

/// Blocks in a batch.
pub const BATCH: usize = 64;
/// Batches in a queue that is full.
const ROOM: usize = 32;

/// First in, first out; whoever finds it full or empty waits.
pub struct Queue<M: Memory> {
    state: Mutex<State<M>>,
    pushed: Condvar,
    popped: Condvar,
}

struct State<M: Memory> {
    ring: Table<Block<M>>,
    /// Batches that it has room for.
    room: usize,
    /// Batches that have to be there before one may be taken out.
    least: usize,
    first: usize,
    count: usize,
    closed: bool,
}

impl<M: Memory> Queue<M> {
    /// An empty queue.
    pub fn new() -> Queue<M> {
        Queue::with(ROOM, 1)
    }

    /// An empty queue of `room` batches that keeps three quarters of them until it is closed, such that much is on the way at
    /// any time.
    pub fn holding(room: usize) -> Queue<M> {
        Queue::with(room, room * 3 / 4 + 1)
    }

    fn with(room: usize, least: usize) -> Queue<M> {
        let state = State { ring: Table::new(room * BATCH), room, least, first: 0, count: 0, closed: false };
        Queue { state: Mutex::new(state), pushed: Condvar::new(), popped: Condvar::new() }
    }

    /// Appends the blocks of a batch, and leaves it with none.
    pub fn push(&self, batch: &mut [Block<M>; BATCH]) {
        let mut state = self.state.lock().expect("a panic aborts");
        while state.count == state.room {
            state = self.popped.wait(state).expect("a panic aborts");
        }
        let place = (state.first + state.count) % state.room * BATCH;
        state.ring[place..place + BATCH].swap_with_slice(batch);
        state.count += 1;
        drop(state);
        self.pushed.notify_one();
    }

    /// Moves the oldest batch into `batch`, which holds none; false when there will be no more.
    pub fn pop(&self, batch: &mut [Block<M>; BATCH]) -> bool {
        let mut state = self.state.lock().expect("a panic aborts");
        while state.count < state.least {
            match (state.closed, state.count) {
                (true, 0) => return false,
                (true, _) => break,
                _ => {}
            }
            state = self.pushed.wait(state).expect("a panic aborts");
        }
        let place = state.first * BATCH;
        state.ring[place..place + BATCH].swap_with_slice(batch);
        state.first = (state.first + 1) % state.room;
        state.count -= 1;
        drop(state);
        self.popped.notify_one();
        true
    }

    /// Nothing more will be pushed.
    pub fn close(&self) {
        self.state.lock().expect("a panic aborts").closed = true;
        self.pushed.notify_all();
    }
}

/// A batch of none.
pub fn no_blocks<M: Memory>() -> [Block<M>; BATCH] {
    [const { Block::NONE }; BATCH]
}
