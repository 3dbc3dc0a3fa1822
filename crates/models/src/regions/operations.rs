//! The restartable sequences of `cache/rseq.rs`, step by step.

use super::machine::{Aborted, Header, State};
use super::{Fault, World};

/// A region as a sequence sees it: a real one, or zeros.
type Seen = Option<usize>;

fn header(state: &State, seen: Seen) -> Header {
    seen.map_or(Header::default(), |region| state.regions[region].header)
}

fn slot(state: &State, seen: Seen, slot: usize) -> usize {
    seen.map_or(0, |region| state.regions[region].slots[slot])
}

/// A store into a region; zeros are never written.
fn store(state: &mut State, seen: Seen, slot: usize, block: usize) {
    state.regions[seen.expect("a store into zeros")].slots[slot] = block;
}

/// The one store that makes the sequence count. Only the low half of the header is written.
fn commit(state: &mut State, seen: Seen, current: usize) {
    state.regions[seen.expect("a commit to zeros")].header.current = current;
    state.check();
}

impl World {
    /// Runs a sequence whose `body` is told the region that it works on.
    fn on_region<R>(&self, thread: usize, body: impl Fn(Seen) -> Result<R, Aborted>) -> R {
        let machine = &self.machine;
        let early = machine.step(thread, |state| state.real);
        machine.sequence(thread, || {
            let cpu = machine.step_in(thread, machine.cpu(thread))?;
            let real = machine.step_in(thread, |state| state.real)?;
            let real = if machine.fault == Fault::BaseOutside { early } else { real };
            body(real.then_some(cpu))
        })
    }

    pub(super) fn pop(&self, thread: usize) -> usize {
        let machine = &self.machine;
        self.on_region(thread, |seen| {
            let current = machine.step_in(thread, |state| header(state, seen).current)?;
            let block = machine.step_in(thread, |state| slot(state, seen, current))?;
            if block != 0 {
                machine.step_in(thread, |state| commit(state, seen, current - 1))?;
            }
            Ok(block)
        })
    }

    pub(super) fn push(&self, thread: usize, block: usize) -> bool {
        self.push_batch(thread, &[block]) == 1
    }

    pub(super) fn pop_batch(&self, thread: usize, most: usize) -> Vec<usize> {
        let machine = &self.machine;
        self.on_region(thread, |seen| {
            let mut blocks = Vec::new();
            let mut current = machine.step_in(thread, |state| header(state, seen).current)?;
            while blocks.len() < most {
                match machine.step_in(thread, |state| slot(state, seen, current))? {
                    0 => break,
                    block => blocks.push(block),
                }
                current -= 1;
            }
            if !blocks.is_empty() {
                machine.step_in(thread, |state| commit(state, seen, current))?;
            }
            Ok(blocks)
        })
    }

    pub(super) fn push_batch(&self, thread: usize, blocks: &[usize]) -> usize {
        let machine = &self.machine;
        self.on_region(thread, |seen| {
            let mut put = 0;
            let mut current = machine.step_in(thread, |state| header(state, seen).current)?;
            while put < blocks.len() {
                let end = machine.step_in(thread, |state| header(state, seen).end)?;
                if current >= end {
                    break;
                }
                current += 1;
                if machine.fault == Fault::EarlyCommit {
                    machine.step_in(thread, |state| commit(state, seen, current))?;
                }
                machine.step_in(thread, |state| store(state, seen, current, blocks[put]))?;
                put += 1;
            }
            if put > 0 {
                machine.step_in(thread, |state| commit(state, seen, current))?;
            }
            Ok(put)
        })
    }

    pub(super) fn replace_header(&self, thread: usize, region: usize, old: Header, new: Header) -> bool {
        let machine = &self.machine;
        self.on_region(thread, |seen| {
            if seen != Some(region) && machine.fault != Fault::AnyRegion {
                return Ok(false);
            }
            let now = machine.step_in(thread, |state| header(state, seen))?;
            if now != old && machine.fault != Fault::AnyHeader {
                return Ok(false);
            }
            machine.step_in(thread, |state| {
                if let Some(region) = seen {
                    state.regions[region].header = new;
                }
                state.check();
            })?;
            Ok(true)
        })
    }
}
