//! How an event is coded: what is likely takes few bytes.
//!
//! Writer and reader keep the same *model* of what came before in the sheet, and an event is coded as its difference from
//! that. Numbers in seven bits a byte; a tag of one byte in front:
//!
//! ```text
//! bits 0 to 3   the kind; 0 is the end of the sheet
//! bit 4         a number follows: ticks since the last event (else none passed)
//! bit 5         a number follows: events of other lanes since the last one (else none)
//! bits 6, 7     how the address of a block that is given up or resized is coded:
//!               0 difference from the last such address, 1 a byte: place in the table of recent blocks
//! ```
//!
//! A block that is handed out lies, most likely, near the last one of its size: its address is coded as the difference
//! from that. One that is given back was often handed out not long ago: a table of the most recent blocks, by a hash of their
//! address, says it in a byte. All addresses are divided by eight, which every block's can be.

mod short;

pub use self::short::{Frequent, Short};
use super::event::{Event, MOST_FRAMES, Op, Scratch, Way};

const SLOTS: usize = 64;
const RECENT: usize = 256;

const END_OF_SHEET: u8 = 0;
const MALLOC: u8 = 1;
const CALLOC: u8 = 2;
const ALIGNED: u8 = 3;
const REALLOC: u8 = 4;
const REALLOC_IN_PLACE: u8 = 5;
const FREE: u8 = 6;
const MOVING: u8 = 7;
const REFUSED: u8 = 8;
const REALLOC_REFUSED: u8 = 9;
const THREAD: u8 = 10;
const THREAD_START: u8 = 11;
const TOUCHED: u8 = 12;
const STACK: u8 = 13;
const END: u8 = 14;

const KIND: u8 = 0x0f;
const TIME: u8 = 0x10;
const SKIPPED: u8 = 0x20;
const IN_TABLE: u8 = 0x40;
const NOT_USED: u8 = 0x80;

/// Bit of an alignment's byte: the block reads as zeros.
const ZEROED: u8 = 0x80;

/// What came before, in one sheet. Of zeros, it is the model of a sheet that begins at number 0.
///
/// ```
/// use freestone_base::trace::{Event, Model, Next, Op, Scratch, Way};
/// let event = Event { number: 1, ticks: 40, thread: 1, op: Op::Alloc { way: Way::Malloc, size: 24, addr: 0x1000 } };
/// let mut code = Scratch::new();
/// Model::new().encode(&event, &mut code);
/// let (next, len) = Model::new().decode(code.bytes()).unwrap();
/// assert_eq!(next, Next::Event(event));
/// assert_eq!(len, code.bytes().len());
/// ```
#[derive(Clone)]
pub struct Model {
    number: u64,
    ticks: u64,
    thread: u32,
    /// The last address that was given up or resized, divided by eight.
    given: u64,
    /// The last address handed out for each size, by a hash of the size.
    slots: [u64; SLOTS],
    /// Blocks handed out, by a hash of their address.
    recent: [u64; RECENT],
    /// The last stack that was read, or the one to be coded next.
    frames: [u64; MOST_FRAMES],
    depth: u8,
    /// The last stack that was coded, from which the next differs in its innermost frames most likely.
    last_frames: [u64; MOST_FRAMES],
    last_depth: u8,
}

/// Why bytes cannot be read as an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The event goes on behind the end of the sheet.
    Cut,
    /// A tag that does not exist.
    Tag(u8),
    /// A number, an address or an alignment that cannot be.
    Number,
}

/// What comes next in a sheet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// An event.
    Event(Event),
    /// No more was written.
    End,
}

impl Model {
    /// Of a sheet that begins at number 0.
    pub const fn new() -> Model {
        Model {
            number: 0,
            ticks: 0,
            thread: 0,
            given: 0,
            slots: [0; SLOTS],
            recent: [0; RECENT],
            frames: [0; MOST_FRAMES],
            depth: 0,
            last_frames: [0; MOST_FRAMES],
            last_depth: 0,
        }
    }

    /// Of a sheet that begins behind the event of this number, at this time, with this thread.
    pub fn begin(&mut self, number: u64, ticks: u64, thread: u32) {
        // A stack that is set is yet to be coded.
        let (frames, depth) = (self.frames, self.depth);
        *self = Model { number, ticks, thread, frames, depth, ..Model::new() };
    }

    /// The number of the last event.
    #[inline]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The time of the last event, in ticks.
    #[inline]
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The return addresses of the last [`Op::Stack`], the innermost first.
    pub fn frames(&self) -> &[u64] {
        self.frames.get(..self.depth.into()).unwrap_or_default()
    }

    /// Sets what the next [`Op::Stack`] that is coded says; what is beyond [`MOST_FRAMES`] is left out.
    pub fn set_frames(&mut self, frames: &[u64]) {
        let depth = frames.len().min(MOST_FRAMES);
        self.depth = depth as u8;
        if let (Some(to), Some(from)) = (self.frames.get_mut(..depth), frames.get(..depth)) {
            to.copy_from_slice(from);
        }
    }

    /// Codes an event, which must not be numbered below the last one. Clocks of two processors may differ: an event that
    /// seems to be earlier than the last is taken to be of the same time. O(1).
    #[inline]
    pub fn encode(&mut self, event: &Event, out: &mut Scratch) {
        out.clear();
        if event.thread != self.thread {
            self.thread = event.thread;
            out.byte(THREAD);
            out.number(event.thread.into());
        }
        let skipped = event.number.wrapping_sub(self.number).wrapping_sub(1);
        let elapsed = event.ticks.saturating_sub(self.ticks);
        self.number = event.number;
        self.ticks += elapsed;
        let flags = if skipped != 0 { SKIPPED } else { 0 } | if elapsed != 0 { TIME } else { 0 };
        let begin = |out: &mut Scratch, kind: u8| {
            out.byte(kind | flags);
            if skipped != 0 {
                out.number(skipped);
            }
            if elapsed != 0 {
                out.number(elapsed);
            }
        };
        match event.op {
            Op::Alloc { way, size, addr } => {
                match way {
                    Way::Malloc => begin(out, MALLOC),
                    Way::Calloc => begin(out, CALLOC),
                    Way::Aligned { .. } => begin(out, ALIGNED),
                }
                put_align(way, out);
                out.number(size);
                self.put_new(size, addr, out);
            }
            Op::Free { addr } => {
                let (mode, place) = self.find_given(addr);
                begin(out, FREE | mode);
                self.put_given(addr, mode, place, out);
            }
            Op::Realloc { old, size, new } => {
                let (mode, place) = self.find_given(old);
                begin(out, if old == new { REALLOC_IN_PLACE } else { REALLOC } | mode);
                self.put_given(old, mode, place, out);
                out.number(size);
                if old != new {
                    self.put_new(size, new, out);
                }
            }
            Op::Moving { old } => {
                let (mode, place) = self.find_given(old);
                begin(out, MOVING | mode);
                self.put_given(old, mode, place, out);
            }
            Op::Refused { way, size } => {
                begin(out, REFUSED);
                match way {
                    Way::Malloc => out.byte(MALLOC),
                    Way::Calloc => out.byte(CALLOC),
                    Way::Aligned { .. } => out.byte(ALIGNED),
                }
                put_align(way, out);
                out.number(size);
            }
            Op::ReallocRefused { old, size } => {
                let (mode, place) = self.find_given(old);
                begin(out, REALLOC_REFUSED | mode);
                self.put_given(old, mode, place, out);
                out.number(size);
            }
            Op::ThreadStart { tid } => {
                begin(out, THREAD_START);
                out.number(tid.into());
            }
            Op::Touched { bytes } => {
                begin(out, TOUCHED);
                out.number(bytes);
            }
            Op::Stack => {
                begin(out, STACK);
                self.put_stack(out);
            }
            Op::End => begin(out, END),
        }
    }

    /// Reads the next event at the beginning of `bytes`, and how many bytes it took. O(1).
    ///
    /// # Errors
    /// Whatever the bytes are, it does not panic; the model is of no use after an error.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(Next, usize), Broken> {
        let mut input = Input { bytes, at: 0 };
        // The end may be the end of the room, too.
        let Some(&first) = bytes.first() else { return Ok((Next::End, 0)) };
        let mut tag = first;
        input.at = 1;
        if tag == END_OF_SHEET {
            return Ok((Next::End, 0));
        }
        if tag == THREAD {
            self.thread = u32::try_from(input.number()?).map_err(|_| Broken::Number)?;
            tag = input.byte()?;
        }
        if tag & NOT_USED != 0 {
            return Err(Broken::Tag(tag));
        }
        let skipped = if tag & SKIPPED != 0 { input.number()? } else { 0 };
        let elapsed = if tag & TIME != 0 { input.number()? } else { 0 };
        let beyond = |base: u64, by: u64| base.checked_add(by).ok_or(Broken::Number);
        self.number = beyond(beyond(self.number, skipped)?, 1)?;
        self.ticks = beyond(self.ticks, elapsed)?;
        let in_table = tag & IN_TABLE != 0;
        let kind = tag & KIND;
        let gives = matches!(kind, FREE | REALLOC | REALLOC_IN_PLACE | MOVING | REALLOC_REFUSED);
        if in_table && !gives {
            return Err(Broken::Tag(tag));
        }
        let op = match kind {
            MALLOC | CALLOC | ALIGNED => {
                let way = input.way(kind)?;
                let size = input.number()?;
                Op::Alloc { way, size, addr: self.take_new(size, &mut input)? }
            }
            FREE => Op::Free { addr: self.take_given(in_table, &mut input)? },
            REALLOC => {
                let old = self.take_given(in_table, &mut input)?;
                let size = input.number()?;
                Op::Realloc { old, size, new: self.take_new(size, &mut input)? }
            }
            REALLOC_IN_PLACE => {
                let old = self.take_given(in_table, &mut input)?;
                Op::Realloc { old, size: input.number()?, new: old }
            }
            MOVING => Op::Moving { old: self.take_given(in_table, &mut input)? },
            REFUSED => {
                let kind = input.byte()?;
                Op::Refused { way: input.way(kind)?, size: input.number()? }
            }
            REALLOC_REFUSED => {
                let old = self.take_given(in_table, &mut input)?;
                Op::ReallocRefused { old, size: input.number()? }
            }
            THREAD_START => {
                Op::ThreadStart { tid: u32::try_from(input.number()?).map_err(|_| Broken::Number)? }
            }
            TOUCHED => Op::Touched { bytes: input.number()? },
            STACK => {
                self.take_stack(&mut input)?;
                Op::Stack
            }
            END => Op::End,
            _ => return Err(Broken::Tag(tag)),
        };
        let event = Event { number: self.number, ticks: self.ticks, thread: self.thread, op };
        Ok((Next::Event(event), input.at))
    }

    /// The last stack that was coded.
    fn last_frames(&self) -> &[u64] {
        self.last_frames.get(..self.last_depth.into()).unwrap_or_default()
    }

    /// How many frames it has, how many of the outermost are those of the last one, and the others, each as its distance from
    /// the one before.
    fn put_stack(&mut self, out: &mut Scratch) {
        let alike = |(one, other): &(&u64, &u64)| one == other;
        let shared =
            self.frames().iter().rev().zip(self.last_frames().iter().rev()).take_while(alike).count();
        out.byte(self.depth);
        out.byte(shared as u8);
        let mut near = self.last_frames().first().copied().unwrap_or(0);
        for &frame in self.frames().iter().take(usize::from(self.depth) - shared) {
            out.signed(frame.wrapping_sub(near) as i64);
            near = frame;
        }
        (self.last_frames, self.last_depth) = (self.frames, self.depth);
    }

    fn take_stack(&mut self, input: &mut Input) -> Result<(), Broken> {
        let (depth, shared) = (usize::from(input.byte()?), usize::from(input.byte()?));
        let last = self.last_frames();
        if depth > MOST_FRAMES || shared > depth || shared > last.len() {
            return Err(Broken::Number);
        }
        let mut frames = [0; MOST_FRAMES];
        let mut near = last.first().copied().unwrap_or(0);
        for frame in frames.iter_mut().take(depth - shared) {
            near = near.wrapping_add(input.signed()? as u64);
            *frame = near;
        }
        let outermost = last.iter().skip(last.len() - shared);
        frames
            .iter_mut()
            .skip(depth - shared)
            .zip(outermost)
            .for_each(|(frame, &as_before)| *frame = as_before);
        (self.frames, self.depth) = (frames, depth as u8);
        (self.last_frames, self.last_depth) = (frames, depth as u8);
        Ok(())
    }

    /// How the address of a block that is given up is best said.
    #[inline]
    fn find_given(&self, addr: u64) -> (u8, u8) {
        let place = recent_place(addr);
        if self.recent[place] == addr && addr != 0 { (IN_TABLE, place as u8) } else { (0, 0) }
    }

    #[inline]
    fn put_given(&mut self, addr: u64, mode: u8, place: u8, out: &mut Scratch) {
        let eighth = addr >> 3;
        if mode == IN_TABLE {
            out.byte(place);
        } else {
            out.signed(eighth.wrapping_sub(self.given) as i64);
        }
        self.given = eighth;
    }

    fn take_given(&mut self, in_table: bool, input: &mut Input) -> Result<u64, Broken> {
        let addr = if in_table {
            self.recent[usize::from(input.byte()?) % RECENT]
        } else {
            from_eighth(self.given.wrapping_add(input.signed()? as u64))?
        };
        self.given = addr >> 3;
        Ok(addr)
    }

    #[inline]
    fn put_new(&mut self, size: u64, addr: u64, out: &mut Scratch) {
        let eighth = addr >> 3;
        let slot = &mut self.slots[slot_of(size)];
        out.signed(eighth.wrapping_sub(*slot) as i64);
        *slot = eighth;
        self.recent[recent_place(addr)] = addr;
    }

    fn take_new(&mut self, size: u64, input: &mut Input) -> Result<u64, Broken> {
        let slot = &mut self.slots[slot_of(size)];
        let eighth = slot.wrapping_add(input.signed()? as u64);
        let addr = from_eighth(eighth)?;
        *slot = eighth;
        self.recent[recent_place(addr)] = addr;
        Ok(addr)
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

/// An address in eighths must be one that can be.
fn from_eighth(eighth: u64) -> Result<u64, Broken> {
    if eighth >> 61 == 0 { Ok(eighth << 3) } else { Err(Broken::Number) }
}

/// Requests of sizes that most allocators round to the same share a slot.
#[inline]
fn slot_of(size: u64) -> usize {
    let rounded = (size.wrapping_add(15)) >> 4;
    (if rounded < 32 { rounded } else { 32 + (rounded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59) }) as usize
        % SLOTS
}

#[inline]
fn recent_place(addr: u64) -> usize {
    ((addr >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % RECENT
}

#[inline]
fn put_align(way: Way, out: &mut Scratch) {
    if let Way::Aligned { align, zeroed } = way {
        out.byte(align.trailing_zeros() as u8 | if zeroed { ZEROED } else { 0 });
    }
}

/// Bytes that are read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = *self.bytes.get(self.at).ok_or(Broken::Cut)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Broken::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            shift += 7;
            if shift > 63 {
                return Err(Broken::Number);
            }
        }
    }

    #[inline]
    fn signed(&mut self) -> Result<i64, Broken> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn way(&mut self, kind: u8) -> Result<Way, Broken> {
        match kind {
            MALLOC => Ok(Way::Malloc),
            CALLOC => Ok(Way::Calloc),
            ALIGNED => {
                let byte = self.byte()?;
                let logarithm = byte & !ZEROED;
                if logarithm >= 63 {
                    return Err(Broken::Number);
                }
                Ok(Way::Aligned { align: 1 << logarithm, zeroed: byte & ZEROED != 0 })
            }
            _ => Err(Broken::Tag(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as a program makes them, from a simple generator.
    fn events(count: u64) -> Vec<Event> {
        let mut state = 42u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut event = Event { number: 0, ticks: 1 << 40, thread: 1, op: Op::End };
        (0..count)
            .map(|_| {
                event.number += 1 + random(20) / 17 * random(100);
                event.ticks += random(3) / 2 * random(500);
                event.thread = 1 + random(40) as u32 / 39;
                let addr = 0x7f00_0000_0000 + random(1 << 20) * 16;
                let bits = random(24);
                let size = random(1 << bits);
                let way = match random(4) {
                    0 => Way::Calloc,
                    1 => Way::Aligned { align: 1 << random(13), zeroed: random(2) == 0 },
                    _ => Way::Malloc,
                };
                event.op = match random(16) {
                    0..6 => Op::Alloc { way, size, addr },
                    6..10 => Op::Free { addr },
                    10 => Op::Realloc { old: addr, size, new: addr },
                    11 => Op::Realloc { old: addr, size, new: addr ^ 0x1230 },
                    12 => Op::Refused { way, size },
                    13 => Op::ReallocRefused { old: addr, size },
                    14 => match random(4) {
                        0 => Op::Moving { old: addr },
                        1 => Op::ThreadStart { tid: random(1 << 22) as u32 },
                        2 => Op::Touched { bytes: size },
                        _ => Op::End,
                    },
                    _ => Op::Stack,
                };
                event
            })
            .collect()
    }

    fn encoded(events: &[Event]) -> Vec<u8> {
        let (mut model, mut code, mut all) = (Model::new(), Scratch::new(), Vec::new());
        for event in events {
            model.set_frames(&[event.number << 20, event.ticks]);
            model.encode(event, &mut code);
            assert_ne!(code.bytes()[0], 0, "zero is the end");
            all.extend_from_slice(code.bytes());
        }
        all
    }

    #[test]
    fn what_was_written_is_read() {
        let events = events(20_000);
        let all = encoded(&events);
        let (mut model, mut at) = (Model::new(), 0);
        for event in &events {
            let (next, len) = model.decode(&all[at..]).unwrap();
            assert_eq!(next, Next::Event(*event));
            if event.op == Op::Stack {
                assert_eq!(model.frames(), [event.number << 20, event.ticks]);
            }
            at += len;
        }
        assert_eq!(at, all.len());
        assert_eq!(model.decode(&[]), Ok((Next::End, 0)));
        assert_eq!(model.decode(&[0, 7]), Ok((Next::End, 0)));
    }

    #[test]
    fn a_pair_of_calls_takes_a_few_bytes() {
        let mut events = Vec::new();
        for n in 0..1000u64 {
            let addr = 0x10_0000_0000 + n % 50 * 48;
            let alloc = Op::Alloc { way: Way::Malloc, size: 40, addr };
            for op in [alloc, Op::Free { addr }] {
                let number = events.len() as u64 + 1;
                events.push(Event { number, ticks: number / 8, thread: 1, op });
            }
        }
        let bytes = encoded(&events).len();
        assert!(bytes < 3 * events.len(), "{bytes} bytes for {} events", events.len());
    }

    #[test]
    fn whatever_is_cut_or_changed_is_read_without_harm() {
        let all = encoded(&events(400));
        for cut in 0..all.len() {
            let (mut model, mut at) = (Model::new(), 0);
            while let Ok((Next::Event(_), len)) = model.decode(&all[at..cut]) {
                at += len;
            }
            assert!(at <= cut);
        }
        for place in 0..all.len() {
            for change in [0xff, 0x80, 0x0f, 0x01] {
                let mut broken = all.clone();
                broken[place] ^= change;
                let (mut model, mut at) = (Model::new(), 0);
                while let Ok((Next::Event(_), len)) = model.decode(&broken[at..]) {
                    at += len;
                }
            }
        }
    }

    #[test]
    fn stacks_that_are_nearly_alike_take_a_few_bytes() {
        let (mut model, mut read, mut code) = (Model::new(), Model::new(), Scratch::new());
        for number in 1..200u64 {
            let depth = 1 + number * 7 % 30;
            let frames: Vec<u64> = (0..depth)
                .map(|n| 0x5555_0000_0000 + (depth - n) * 0x1234 + n / (depth - 1).max(1))
                .collect();
            model.set_frames(&frames);
            model.encode(&Event { number, ticks: 0, thread: 1, op: Op::Stack }, &mut code);
            read.decode(code.bytes()).unwrap();
            assert_eq!(read.frames(), frames);
        }
        let mut frames: Vec<u64> = (0..30).map(|n| 0x7fff_1234_0000 + n * 0x4321).collect();
        for number in 200..300u64 {
            frames[0] = 0x7fff_1234_0000 + number % 3 * 64;
            model.set_frames(&frames);
            model.encode(&Event { number, ticks: 0, thread: 1, op: Op::Stack }, &mut code);
            assert!(number == 200 || code.bytes().len() <= 6, "{}", code.bytes().len());
        }
    }

    #[test]
    fn the_longest_event_fits() {
        let mut frames = [0u64; MOST_FRAMES];
        frames.iter_mut().step_by(2).for_each(|frame| *frame = 1 << 63);
        let event = Event { number: u64::MAX - 1, ticks: u64::MAX, thread: u32::MAX, op: Op::Stack };
        let (mut code, mut model) = (Scratch::new(), Model::new());
        model.set_frames(&frames);
        model.encode(&event, &mut code);
        assert!(code.bytes().len() < Scratch::SIZE, "{}", code.bytes().len());
        let mut read = Model::new();
        assert_eq!(read.decode(code.bytes()).unwrap().0, Next::Event(event));
        assert_eq!(read.frames(), frames);
    }
}
