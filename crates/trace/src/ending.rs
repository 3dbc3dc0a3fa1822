//! How a trace ends, and what may be wrong with it.

use std::fmt;
use std::io;

use freestone_base::trace::Broken;
use freestone_base::trace::sheet::HeaderBroken;

/// Something that no recorder writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file, in bytes from its beginning.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl Damage {
    pub(crate) fn new(offset: u64, what: impl Into<String>) -> Damage {
        Damage { offset, what: what.into() }
    }

    pub(crate) fn of_header(offset: u64, broken: HeaderBroken) -> Damage {
        let what = match broken {
            HeaderBroken::Magic => "here should be the beginning of a sheet".into(),
            HeaderBroken::Version(version) => format!("a sheet of version {version}, which is unknown here"),
            HeaderBroken::Kind(kind) => format!("a sheet of kind {kind}, which is unknown here"),
            HeaderBroken::Length => "a sheet whose length cannot be".into(),
        };
        Damage { offset, what }
    }

    pub(crate) fn of_event(offset: u64, broken: Broken) -> Damage {
        let what = match broken {
            Broken::Cut => "an event goes on behind the end of its sheet".into(),
            Broken::Tag(tag) => format!("there is no event with the tag {tag:#04x}"),
            Broken::Number => "a number that cannot be".into(),
        };
        Damage { offset, what }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "damaged at byte {}: {}", self.offset, self.what)
    }
}

/// How the events of a process end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process came to its end by itself; everything is there.
    Whole,
    /// The process was replaced by another program, which the trace has as a process of the same number; everything is there.
    Replaced,
    /// The process ended without a word: it was killed, or replaced by a program that is not in the trace. Everything that it did is there.
    Abrupt {
        /// Events that it had begun to write, at most one a thread.
        unwritten: u64,
    },
    /// The recording stopped before the process ended: the file could not grow.
    Stopped,
    /// The file is cut or damaged; what was read is whole up to there.
    Damaged {
        /// The number of the last event that was read.
        after: u64,
        /// What is wrong, and where.
        damage: Damage,
    },
    /// Events are missing, though nothing in the file says why.
    Missing {
        /// The number of the last event that was read.
        after: u64,
        /// The number of the next that is there.
        next: u64,
    },
}

impl Ending {
    /// Whether the process's own end is in the trace.
    pub fn is_whole(&self) -> bool {
        matches!(self, Ending::Whole | Ending::Replaced)
    }

    /// Whether something is missing that the process did.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Ending::Stopped | Ending::Damaged { .. } | Ending::Missing { .. })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Whole => write!(out, "whole: the process came to its end by itself"),
            Ending::Replaced => write!(out, "whole: the process was replaced by another program"),
            Ending::Abrupt { unwritten: 0 } => {
                write!(out, "up to an abrupt end: the process was killed, or replaced by another program")
            }
            Ending::Abrupt { unwritten } => {
                write!(
                    out,
                    "up to an abrupt end: the process was killed, or replaced by another program, while {unwritten} \
                     of its last calls were being written"
                )
            }
            Ending::Stopped => write!(out, "up to where the recording stopped: its file could not grow"),
            Ending::Damaged { after, damage } => {
                write!(out, "whole up to event {after}; the file is {damage}")
            }
            Ending::Missing { after, next } => {
                write!(
                    out,
                    "whole up to event {after}; the next that is there is event {next}: the file is cut or incomplete"
                )
            }
        }
    }
}

/// Why a file cannot be read as a trace at all.
#[derive(Debug)]
pub enum TraceError {
    /// The file cannot be read or written.
    Io(io::Error),
    /// The file is empty.
    Empty,
    /// The file is none, or damaged in its first bytes.
    NoTrace(Damage),
    /// There is no process of this place in the trace.
    NoProcess {
        /// The place asked for.
        asked: usize,
        /// How many there are.
        there: usize,
    },
}

impl From<io::Error> for TraceError {
    fn from(error: io::Error) -> Self {
        TraceError::Io(error)
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Io(error) => write!(out, "{error}"),
            TraceError::Empty => write!(out, "it is empty, not a trace; `freestone record` makes one"),
            TraceError::NoTrace(damage) => {
                write!(out, "it is not a trace, or {damage}; `freestone record` makes one")
            }
            TraceError::NoProcess { asked, there } => {
                write!(
                    out,
                    "there is no process {asked} in it; they are numbered from 0 and there are {there}"
                )
            }
        }
    }
}

impl std::error::Error for TraceError {}
