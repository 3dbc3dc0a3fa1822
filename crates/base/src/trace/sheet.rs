//! The sheets that a trace is made of.

/// The first four bytes of every sheet.
pub const MAGIC: u32 = u32::from_le_bytes(*b"FSTc");

/// Bytes of a header.
pub const HEADER: usize = 64;

/// Bytes of a sheet as the recorder lays them out, with the header. A packed trace keeps only what was written.
pub const SHEET: usize = 64 << 10;

/// Bytes of the process's sheet, with the header.
pub const PROCESS_SHEET: usize = 4096;

/// `SheetHeader::used` of a sheet that is, or was when its process ended, still being written: up to the first zero tag.
pub const OPEN: u32 = u32::MAX;

/// Lanes that a recorder has.
pub const LANES: usize = 64;

/// What is in a sheet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Kind {
    /// The process: words, see [`ProcessWord`], then its command line, the arguments ended by zeros.
    Process = 1,
    /// Events of one lane.
    Events = 2,
    /// The executable mappings of the process at a moment, a line each: `START-END OFFSET BUILDID PATH`, numbers in base 16, `-` for no build
    /// id. The event's number in the header is the last before.
    Mappings = 3,
}

/// The words of a process's sheet, of 64 bits each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum ProcessWord {
    /// Its number.
    Pid = 0,
    /// `SheetHeader::process` of the process that it was forked from, 0 if that was not recorded.
    Parent = 1,
    /// The number of the parent's last event before the fork.
    ForkedAt = 2,
    /// When the recording began: nanoseconds since 1970.
    Realtime = 3,
    /// The clock of the events at that moment, in ticks.
    FirstTicks = 4,
    /// The monotonic clock at that moment, in nanoseconds.
    FirstNs = 5,
    /// The clock of the events at a later moment, in ticks.
    LastTicks = 6,
    /// The monotonic clock at that later moment, in nanoseconds.
    LastNs = 7,
    /// Nonzero when the recording had to stop before the process ended: the file could not grow.
    Stopped = 8,
    /// One call in so many has a stack, of those that allocate or resize, drawn by lot as `stack_counts` says; 1: all have, 0: none has.
    StackEvery = 9,
    /// Bytes of the command line.
    CommandLen = 10,
}

/// Words of a process's sheet before the command line.
pub const PROCESS_WORDS: usize = 16;

/// The longest command line that is kept.
pub const MOST_COMMAND: usize = PROCESS_SHEET - HEADER - PROCESS_WORDS * 8;

/// A sheet's first 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SheetHeader {
    /// What is in it.
    pub kind: Kind,
    /// Bytes to the next sheet, the header included.
    pub length: u32,
    /// Bytes of the payload, or [`OPEN`].
    pub used: u32,
    /// The process: a number that no other process of the trace has.
    pub process: u64,
    /// The lane that it belongs to.
    pub lane: u32,
    /// Which of the lane's sheets it is, from 0.
    pub place: u32,
    /// The number of the process's last event before the first in it.
    pub number: u64,
    /// The clock at its beginning, in ticks.
    pub ticks: u64,
    /// The thread of the first event, unless that says another.
    pub thread: u32,
    /// CRC-32 (IEEE) of the payload as far as it is used; of no meaning in an [`OPEN`] sheet.
    pub check: u32,
}

/// Why 64 bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderBroken {
    /// They do not begin with [`MAGIC`].
    Magic,
    /// A version that this reader does not know.
    Version(u16),
    /// A kind that does not exist.
    Kind(u16),
    /// A length or use that cannot be.
    Length,
}

impl SheetHeader {
    /// The header as it stands in a file.
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        put(0, &MAGIC.to_le_bytes());
        put(4, &super::VERSION.to_le_bytes());
        put(6, &(self.kind as u16).to_le_bytes());
        put(8, &self.length.to_le_bytes());
        put(12, &self.used.to_le_bytes());
        put(16, &self.process.to_le_bytes());
        put(24, &self.lane.to_le_bytes());
        put(28, &self.place.to_le_bytes());
        put(32, &self.number.to_le_bytes());
        put(40, &self.ticks.to_le_bytes());
        put(48, &self.thread.to_le_bytes());
        put(52, &self.check.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Says what is wrong with it; a header that is returned has a length and a use that fit each other.
    pub fn read(bytes: &[u8; HEADER]) -> Result<SheetHeader, HeaderBroken> {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if word(0) != MAGIC {
            return Err(HeaderBroken::Magic);
        }
        if half(4) != super::VERSION {
            return Err(HeaderBroken::Version(half(4)));
        }
        let kind = match half(6) {
            1 => Kind::Process,
            2 => Kind::Events,
            3 => Kind::Mappings,
            other => return Err(HeaderBroken::Kind(other)),
        };
        let (length, used) = (word(8), word(12));
        let room = (length as usize).checked_sub(HEADER).ok_or(HeaderBroken::Length)?;
        if used != OPEN && used as usize > room {
            return Err(HeaderBroken::Length);
        }
        Ok(SheetHeader {
            kind,
            length,
            used,
            process: long(16),
            lane: word(24),
            place: word(28),
            number: long(32),
            ticks: long(40),
            thread: word(48),
            check: word(52),
        })
    }

    /// Bytes of the payload that can hold something.
    pub const fn room(&self) -> usize {
        (self.length as usize).saturating_sub(HEADER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = SheetHeader {
            kind: Kind::Events,
            length: SHEET as u32,
            used: OPEN,
            process: 0x1122_3344_5566_7788,
            lane: 3,
            place: 9,
            number: 1 << 40,
            ticks: u64::MAX,
            thread: 70_000,
            check: 0xdead_beef,
        };
        assert_eq!(SheetHeader::read(&header.bytes()), Ok(header));
        let broken = |at: usize, value: u8| {
            let mut bytes = header.bytes();
            bytes[at] = value;
            SheetHeader::read(&bytes).unwrap_err()
        };
        assert_eq!(broken(0, 0), HeaderBroken::Magic);
        assert_eq!(broken(4, 9), HeaderBroken::Version(9));
        assert_eq!(broken(6, 77), HeaderBroken::Kind(77));
        let short = SheetHeader { length: 63, ..header };
        assert_eq!(SheetHeader::read(&short.bytes()), Err(HeaderBroken::Length));
        let full = SheetHeader { length: 100, used: 37, ..header };
        assert_eq!(SheetHeader::read(&full.bytes()), Err(HeaderBroken::Length));
    }
}
