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
    first: usize,
    count: usize,
    closed: bool,
}

impl<M: Memory> Queue<M> {
    /// An empty queue.
    pub fn new() -> Queue<M> {
        let state = State { ring: Table::new(ROOM * BATCH), first: 0, count: 0, closed: false };
        Queue { state: Mutex::new(state), pushed: Condvar::new(), popped: Condvar::new() }
    }

    /// Appends the blocks of a batch, and leaves it with none.
    pub fn push(&self, batch: &mut [Block<M>; BATCH]) {
        let mut state = self.state.lock().expect("a panic aborts");
        while state.count == ROOM {
            state = self.popped.wait(state).expect("a panic aborts");
        }
        let place = (state.first + state.count) % ROOM * BATCH;
        state.ring[place..place + BATCH].swap_with_slice(batch);
        state.count += 1;
        drop(state);
        self.pushed.notify_one();
    }

    /// Moves the oldest batch into `batch`, which holds none; false when there will be no more.
    pub fn pop(&self, batch: &mut [Block<M>; BATCH]) -> bool {
        let mut state = self.state.lock().expect("a panic aborts");
        while state.count == 0 {
            if state.closed {
                return false;
            }
            state = self.pushed.wait(state).expect("a panic aborts");
        }
        let place = state.first * BATCH;
        state.ring[place..place + BATCH].swap_with_slice(batch);
        state.first = (state.first + 1) % ROOM;
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
