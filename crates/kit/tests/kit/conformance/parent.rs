//! A parent that knows its blocks, checks every layout, and refuses on demand.
//!
//! # Safety
//!
//! Blocks come from the system's allocator with the layout that is remembered for them and checked at the free.
#![allow(unsafe_code)]

use freestone_kit::{Alloc, AllocError, Allocated};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct State {
    live: HashMap<usize, Layout>,
    live_bytes: usize,
    granted: usize,
    calls: usize,
    refused: usize,
    most_bytes: usize,
}

/// A handle; all clones are one allocator.
#[derive(Clone, Default)]
pub struct Parent(Arc<Mutex<State>>);

impl Parent {
    /// One that grants everything.
    pub fn new() -> Parent {
        Parent::granting(usize::MAX)
    }

    /// One that grants so many calls and refuses all that follow.
    pub fn granting(granted: usize) -> Parent {
        Parent(Arc::new(Mutex::new(State { granted, ..State::default() })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Grants so many more calls from now on.
    pub fn grant(&self, more: usize) {
        let mut state = self.state();
        state.granted = state.calls.saturating_add(more);
    }

    /// Live blocks and their bytes.
    pub fn live(&self) -> (usize, usize) {
        let state = self.state();
        (state.live.len(), state.live_bytes)
    }

    /// Live bytes at their most.
    pub fn most_bytes(&self) -> usize {
        self.state().most_bytes
    }

    /// Calls that asked for memory.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    pub fn refused_any(&self) -> bool {
        self.state().refused > 0
    }

    /// Whether the address lies in a live block.
    pub fn holds(&self, address: NonNull<u8>) -> bool {
        let address = address.as_ptr().addr();
        self.state().live.iter().any(|(&start, layout)| (start..start + layout.size()).contains(&address))
    }
}

// SAFETY: the system's allocator keeps the contract.
unsafe impl Alloc for Parent {
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            let nowhere = NonNull::without_provenance(NonZeroUsize::new(layout.align()).unwrap());
            return Ok(NonNull::slice_from_raw_parts(nowhere, 0));
        }
        let mut state = self.state();
        state.calls += 1;
        if state.calls > state.granted {
            state.refused += 1;
            return Err(AllocError);
        }
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
        // Nobody may take the contents of fresh memory for zeros.
        // SAFETY: a new block of that size.
        unsafe { block.write_bytes(0xd5, layout.size()) };
        state.live.insert(block.as_ptr().addr(), layout);
        state.live_bytes += layout.size();
        state.most_bytes = state.most_bytes.max(state.live_bytes);
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let mut state = self.state();
        let known = state.live.remove(&block.as_ptr().addr());
        assert_eq!(known, Some(layout), "freed {block:?} of the parent with a wrong layout, or twice");
        state.live_bytes -= layout.size();
        // SAFETY: it was live, with this layout.
        unsafe { block.write_bytes(0xdd, layout.size()) };
        // SAFETY: the same.
        unsafe { System.dealloc(block.as_ptr(), layout) }
    }
}
