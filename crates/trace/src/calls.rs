//! Events with blocks instead of addresses.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use freestone_base::trace::{Op, Way};

use crate::ending::{Ending, TraceError};
use crate::events::Events;
use crate::file::Trace;
use crate::source::Source;

/// A hash for addresses, which are many and differ in their middle bits.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }
}

type ByAddress<V> = HashMap<u64, V, BuildHasherDefault<AddressHasher>>;

/// A block, live or of the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Where it lies.
    pub addr: u64,
    /// Bytes asked for.
    pub size: u64,
    /// By which call; a realloc keeps it.
    pub way: Way,
}

/// The blocks of a process at a moment. A block's number is small: one that is free is given out again.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    live: ByAddress<u32>,
    all: Vec<Block>,
    free: Vec<u32>,
    bytes: u64,
    peak: u64,
    peak_at: u64,
    unknown: u64,
    doubled: u64,
}

impl Blocks {
    fn insert(&mut self, block: Block) -> u32 {
        let number = self.free.pop().unwrap_or(self.all.len() as u32);
        match self.all.get_mut(number as usize) {
            Some(place) => *place = block,
            None => self.all.push(block),
        }
        self.enter(number, block);
        number
    }

    /// Takes note of a live block. Where another lies at its address, the free of that is missing in the trace.
    fn enter(&mut self, number: u32, block: Block) {
        self.all[number as usize] = block;
        self.bytes = self.bytes.saturating_add(block.size);
        if let Some(forgotten) = self.live.insert(block.addr, number) {
            self.doubled += 1;
            self.bytes = self.bytes.saturating_sub(self.all[forgotten as usize].size);
        }
    }

    fn leave(&mut self, addr: u64) -> Option<u32> {
        let number = self.live.remove(&addr);
        match number {
            Some(number) => self.bytes = self.bytes.saturating_sub(self.all[number as usize].size),
            None => self.unknown += 1,
        }
        number
    }

    fn note_peak(&mut self, number: u64) {
        if self.bytes > self.peak {
            (self.peak, self.peak_at) = (self.bytes, number);
        }
    }

    /// The block with this number, which is or was live.
    pub fn get(&self, number: u32) -> Option<&Block> {
        self.all.get(number as usize)
    }

    /// The live blocks with their numbers, in no order.
    pub fn live(&self) -> impl Iterator<Item = (u32, &Block)> {
        self.live.values().filter_map(|&number| Some((number, self.get(number)?)))
    }

    /// How many blocks are live.
    pub fn live_count(&self) -> usize {
        self.live.len()
    }

    /// Bytes of live blocks, as they were asked for.
    pub fn live_bytes(&self) -> u64 {
        self.bytes
    }

    /// The most that [`live_bytes`](Blocks::live_bytes) was.
    pub fn peak_bytes(&self) -> u64 {
        self.peak
    }

    /// The number of the event that brought the peak.
    pub fn peak_at(&self) -> u64 {
        self.peak_at
    }

    /// One more than the largest number of a block so far.
    pub fn numbers(&self) -> usize {
        self.all.len()
    }

    /// Frees and reallocs of blocks whose allocation is not in the trace.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Blocks that lie where another one had not been freed yet, as far as the trace tells.
    pub fn doubled(&self) -> u64 {
        self.doubled
    }
}

/// A call, in terms of blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// A block was handed out.
    Allocate {
        /// Its number.
        block: u32,
        /// Bytes asked for.
        size: u64,
        /// By which call.
        way: Way,
        /// Where it lies.
        addr: u64,
    },
    /// A block was given back.
    Free {
        /// Its number, which may be that of the next block.
        block: u32,
        /// What it was.
        was: Block,
        /// What of it was never touched, as far as that is known: bytes at its end.
        untouched: u64,
    },
    /// A block has a new size and perhaps a new place.
    Resize {
        /// Its number, before and after.
        block: u32,
        /// What it was.
        was: Block,
        /// Bytes asked for.
        size: u64,
        /// Where it is.
        addr: u64,
    },
    /// A request was refused.
    Refused {
        /// Bytes asked for.
        size: u64,
        /// The block that was to be resized.
        block: Option<u32>,
    },
    /// The thread made its first call.
    ThreadStart {
        /// The kernel's number of it.
        tid: u32,
    },
    /// The thread's next call has a stack: [`Calls::frames`] while this is the last that was read.
    Stack,
}

/// A call with its circumstances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timed {
    /// Its place in the order of the process.
    pub number: u64,
    /// Nanoseconds from the beginning of the recording.
    pub ns: u64,
    /// The thread.
    pub thread: u32,
    /// What it was.
    pub call: Call,
}

/// Iterates over the calls of a process. A free of an unknown block is counted and passed over. O(calls), memory in
/// proportion to the live blocks.
pub struct Calls<'a, S: Source> {
    events: Events<'a, S>,
    clock: crate::Clock,
    blocks: Blocks,
    inherited: Vec<u32>,
    /// Blocks whose place may be another's already, by thread.
    moving: HashMap<u32, u32>,
    touched: HashMap<u32, u64>,
}

impl<S: Source> Trace<S> {
    /// The calls of the process at a place in [`processes`](Trace::processes). A forked one begins with the blocks that its
    /// parent had at the fork: for them the parent's events are read as far as that.
    ///
    /// # Errors
    /// When the file cannot be read or there is no such process.
    pub fn calls(&self, process: usize) -> Result<Calls<'_, S>, TraceError> {
        // From the process up to its first ancestor, then down again.
        let mut line = vec![process];
        let mut here = self.process(process)?;
        while let Some(place) = self.processes().iter().position(|other| other.key == here.parent) {
            if here.parent == 0 || line.contains(&place) {
                break;
            }
            line.push(place);
            here = &self.processes()[place];
        }
        let mut blocks = Blocks::default();
        while let Some(ancestor) = line.pop() {
            let mut calls = self.calls_from(ancestor, blocks)?;
            let Some(&child) = line.last() else { return Ok(calls) };
            let forked_at = self.processes()[child].forked_at;
            calls.read_to(forked_at);
            if let Some(error) = calls.events.take_error() {
                return Err(error);
            }
            blocks = calls.blocks;
        }
        self.calls_from(process, Blocks::default())
    }

    fn calls_from(&self, process: usize, mut blocks: Blocks) -> Result<Calls<'_, S>, TraceError> {
        (blocks.peak, blocks.peak_at) = (blocks.bytes, 0);
        (blocks.unknown, blocks.doubled) = (0, 0);
        let mut inherited: Vec<u32> = blocks.live.values().copied().collect();
        inherited.sort_unstable();
        Ok(Calls {
            events: self.events(process)?,
            clock: self.process(process)?.clock,
            blocks,
            inherited,
            moving: HashMap::new(),
            touched: HashMap::new(),
        })
    }
}

impl<S: Source> Calls<'_, S> {
    /// Reads on while events are numbered up to `number`.
    fn read_to(&mut self, number: u64) {
        while self.events.number() < number && self.next().is_some() {}
    }

    /// The blocks at the moment after the last call that was read.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Numbers of the blocks that were live before the first call: those of the process that this one was forked from.
    pub fn inherited(&self) -> &[u32] {
        &self.inherited
    }

    /// Return addresses, the innermost first, if the last call that was read is [`Call::Stack`].
    pub fn frames(&self) -> &[u64] {
        self.events.frames()
    }

    /// As [`Events::ending`].
    pub fn ending(&self) -> Ending {
        self.events.ending()
    }

    /// As [`Events::take_error`].
    pub fn take_error(&mut self) -> Option<TraceError> {
        self.events.take_error()
    }

    fn resize(&mut self, thread: u32, old: u64, size: u64, new: u64) -> Option<Call> {
        let number = match self.moving.remove(&thread) {
            Some(number) => Some(number),
            None => self.blocks.leave(old),
        };
        let Some(block) = number else {
            // Its beginning is not in the trace; from now on it is known.
            let way = Way::Malloc;
            let block = self.blocks.insert(Block { addr: new, size, way });
            return Some(Call::Allocate { block, size, way, addr: new });
        };
        let was = self.blocks.all[block as usize];
        self.blocks.enter(block, Block { addr: new, size, way: was.way });
        Some(Call::Resize { block, was, size, addr: new })
    }

    fn understand(&mut self, thread: u32, op: Op) -> Option<Call> {
        match op {
            Op::Alloc { way, size, addr } => {
                let block = self.blocks.insert(Block { addr, size, way });
                Some(Call::Allocate { block, size, way, addr })
            }
            Op::Free { addr } => {
                let touched = self.touched.remove(&thread);
                let block = self.blocks.leave(addr)?;
                self.blocks.free.push(block);
                let was = self.blocks.all[block as usize];
                let untouched = touched.map_or(0, |touched| was.size.saturating_sub(touched));
                Some(Call::Free { block, was, untouched })
            }
            Op::Realloc { old, size, new } => {
                self.touched.remove(&thread);
                self.resize(thread, old, size, new)
            }
            Op::Moving { old } => {
                if let Some(number) = self.blocks.leave(old) {
                    self.moving.insert(thread, number);
                }
                None
            }
            Op::Refused { size, .. } => Some(Call::Refused { size, block: None }),
            Op::ReallocRefused { old, size } => {
                if let Some(number) = self.moving.remove(&thread) {
                    let block = self.blocks.all[number as usize];
                    self.blocks.enter(number, block);
                }
                Some(Call::Refused { size, block: self.blocks.live.get(&old).copied() })
            }
            Op::ThreadStart { tid } => Some(Call::ThreadStart { tid }),
            Op::Touched { bytes } => {
                self.touched.insert(thread, bytes);
                None
            }
            Op::Stack => Some(Call::Stack),
            Op::End => None,
        }
    }
}

impl<S: Source> Iterator for Calls<'_, S> {
    type Item = Timed;

    fn next(&mut self) -> Option<Timed> {
        loop {
            let event = self.events.next()?;
            if let Some(call) = self.understand(event.thread, event.op) {
                self.blocks.note_peak(event.number);
                let ns = self.clock.ns(event.ticks);
                return Some(Timed { number: event.number, ns, thread: event.thread, call });
            }
        }
    }
}
