//! The format of a trace: a compact list of calls.
//!
//! ```text
//! freestone trace 1⏎
//! what was recorded, one line⏎
//! event event event …
//! ```
//!
//! An event is a number whose two lowest bits say what it is; the rest is an argument:
//!
//! | bits | event | argument | then |
//! |---|---|---|---|
//! | 0 | allocate | bytes | |
//! | 1 | free | slot | |
//! | 2 | resize | slot | bytes |
//! | 3 | allocate aligned | binary logarithm of the alignment | bytes |
//!
//! Numbers are written seven bits a byte, the lowest first, the top bit set in all bytes but the last (LEB128). A
//! *slot* stands for a live block: an allocation takes the slot that was freed last, or else the first that was never
//! used; a block keeps its slot when it is resized. So a block that lives shortly costs three or four bytes in all.

use std::fmt;

/// Alignment in bytes of what is allocated without one: that of C's `malloc`.
pub const MALLOC_ALIGN: usize = 16;

const MAGIC: &[u8] = b"freestone trace 1\n";

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Allocate so many bytes at an alignment.
    Allocate {
        /// The slot that the block takes.
        slot: usize,
        /// Bytes; may be zero.
        size: usize,
        /// A power of two.
        align: usize,
    },
    /// Free the block of a slot.
    Free {
        /// The block's.
        slot: usize,
    },
    /// Give the block of a slot another size.
    Resize {
        /// The block's.
        slot: usize,
        /// Bytes; may be zero.
        size: usize,
    },
}

/// Why bytes are no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// They begin otherwise.
    NotATrace,
    /// An event is cut off, or has a number that no machine can hold; at this offset in bytes.
    BadNumber(usize),
    /// An event names a slot in which no block lives; at this offset in bytes.
    BadSlot(usize),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::NotATrace => f.write_str("not a trace of version 1"),
            ParseError::BadNumber(offset) => write!(f, "no number at byte {offset}"),
            ParseError::BadSlot(offset) => write!(f, "no live block in the slot named at byte {offset}"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Which slots are in use.
#[derive(Clone, Debug, Default)]
struct Slots {
    live: Vec<bool>,
    free: Vec<usize>,
}

impl Slots {
    fn take(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or(self.live.len());
        if slot == self.live.len() {
            self.live.push(true);
        }
        self.live[slot] = true;
        slot
    }

    fn is_live(&self, slot: usize) -> bool {
        self.live.get(slot) == Some(&true)
    }

    fn give_back(&mut self, slot: usize) {
        self.live[slot] = false;
        self.free.push(slot);
    }
}

/// The calls of a program, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What was recorded, in one line.
    pub title: String,
    events: Vec<Event>,
    slots: usize,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    ///
    /// When the bytes are none.
    pub fn parse(bytes: &[u8]) -> Result<Trace, ParseError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ParseError::NotATrace)?;
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(ParseError::NotATrace)?;
        let title = String::from_utf8_lossy(&rest[..end]).into_owned();
        let mut reader = Reader { bytes, at: MAGIC.len() + end + 1 };
        let mut slots = Slots::default();
        let mut events = Vec::new();
        while reader.at < bytes.len() {
            let start = reader.at;
            let number = reader.number()?;
            let argument = number >> 2;
            let event = match number & 3 {
                0 => Event::Allocate { slot: slots.take(), size: argument, align: MALLOC_ALIGN },
                3 if argument < 32 => {
                    Event::Allocate { size: reader.number()?, align: 1 << argument, slot: slots.take() }
                }
                3 => return Err(ParseError::BadNumber(start)),
                _ if !slots.is_live(argument) => return Err(ParseError::BadSlot(start)),
                1 => {
                    slots.give_back(argument);
                    Event::Free { slot: argument }
                }
                _ => Event::Resize { slot: argument, size: reader.number()? },
            };
            events.push(event);
        }
        Ok(Trace { title, events, slots: slots.live.len() })
    }

    /// The calls.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Most blocks that were live at once.
    pub fn slots(&self) -> usize {
        self.slots
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Result<usize, ParseError> {
        let start = self.at;
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(ParseError::BadNumber(start))?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|_| ParseError::BadNumber(start));
            }
        }
        Err(ParseError::BadNumber(start))
    }
}

/// Writes a trace, call by call.
///
/// ```
/// use freestone_kit::trace::{Event, Trace, TraceWriter};
///
/// let mut writer = TraceWriter::new("by hand");
/// let block = writer.allocate(100, 16);
/// writer.resize(block, 200);
/// writer.free(block);
/// let trace = Trace::parse(writer.bytes())?;
/// assert_eq!(trace.events()[1], Event::Resize { slot: block, size: 200 });
/// # Ok::<(), freestone_kit::trace::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TraceWriter {
    bytes: Vec<u8>,
    slots: Slots,
}

impl TraceWriter {
    /// A trace without calls; line breaks in the title become spaces.
    pub fn new(title: &str) -> TraceWriter {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(title.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
        bytes.push(b'\n');
        TraceWriter { bytes, slots: Slots::default() }
    }

    fn number(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Notes an allocation; returns the block's slot.
    ///
    /// # Panics
    ///
    /// When `align` is no power of two below 4 GiB, or `size` has more than 60 bits.
    pub fn allocate(&mut self, size: usize, align: usize) -> usize {
        assert!(align.is_power_of_two() && align < 1 << 32 && size >> 60 == 0, "{size} B, align {align}");
        if align == MALLOC_ALIGN {
            self.number(size << 2);
        } else {
            self.number((align.trailing_zeros() as usize) << 2 | 3);
            self.number(size);
        }
        self.slots.take()
    }

    /// Notes that a block was freed.
    ///
    /// # Panics
    ///
    /// When there is none in the slot.
    pub fn free(&mut self, slot: usize) {
        assert!(self.slots.is_live(slot), "no block in slot {slot}");
        self.number(slot << 2 | 1);
        self.slots.give_back(slot);
    }

    /// Notes that a block got another size.
    ///
    /// # Panics
    ///
    /// When there is none in the slot, or `size` has more than 60 bits.
    pub fn resize(&mut self, slot: usize, size: usize) {
        assert!(self.slots.is_live(slot) && size >> 60 == 0, "no block in slot {slot}, or {size} B");
        self.number(slot << 2 | 2);
        self.number(size);
    }

    /// What was written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
