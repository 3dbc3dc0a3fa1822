//! What is said of a fault at a guarded block: what it was, and the stacks of the access, the allocation and the free. Addresses with the
//! object they lie in; `addr2line -e OBJECT OFFSET` names them.

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux::fault::Access;
use freestone_sys::linux::{self, control, socket};

use super::record::{FREED, Moment, Record, STACK};
use crate::stack::library;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{message, stack};

/// What was done to a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    DoubleFree,
    InvalidFree,
    UseAfterFree,
    Overrun,
    Underrun,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::DoubleFree => "double free: the block is free already",
            Kind::InvalidFree => "invalid free: the address is not the start of a block",
            Kind::UseAfterFree => "use after free: the block is free",
            Kind::Overrun => "overrun: the access was behind the block",
            Kind::Underrun => "underrun: the access was in front of the block",
        }
    }
}

/// Reports a fault that a free has found, and ends the process by SIGABRT.
pub(super) fn end(kind: Kind, record: &Record, at: usize) -> ! {
    let mut frames = [0; STACK];
    let count = stack::capture(1, &mut frames);
    tell(kind, record, at, None, &frames[..count]);
    control::abort()
}

/// Whether an access that was refused is the first to be reported: it may be made again, and several threads may fault.
pub(crate) fn is_first() -> bool {
    static TOLD: AtomicBool = AtomicBool::new(false);
    !TOLD.swap(true, Ordering::Relaxed)
}

/// Reports an access that the processor refused, if it was to a guarded block, and returns whether it was; the signal then takes
/// its course. Takes no lock, allocates nothing.
pub(crate) fn on_access(access: &Access) -> bool {
    let Some(record) = super::find(access.addr) else { return false };
    let kind = if record.state() == FREED {
        Kind::UseAfterFree
    } else if access.addr < record.addr() {
        Kind::Underrun
    } else if access.addr < record.addr() + record.size() {
        // It is the program that forbids access to its own block.
        return true;
    } else {
        Kind::Overrun
    };
    if is_first() {
        let mut frames = [0; STACK];
        let count = stack::capture_access(access, &mut frames);
        tell(kind, record, access.addr, access.write, &frames[..count]);
    }
    true
}

/// Tells of an access that was refused: to which block, of so many bytes at its address, or only in words to what; and from
/// where.
pub(crate) fn tell_access(kind: Kind, access: &Access, block: Result<(usize, usize), &str>) {
    let mut line = FixedText::<320>::new();
    let _ = begin_line(&mut line, kind, access.addr, access.write);
    let _ = match block {
        Ok((addr, size)) => place(&mut line, addr, size, access.addr),
        Err(words) => write!(line, "{words})"),
    };
    message::say(&line);
    let mut frames = [0; STACK];
    let count = stack::capture_access(access, &mut frames);
    tell_stack("here", linux::debugging::thread_id() as u32, &frames[..count]);
}

fn begin_line(line: &mut impl Write, kind: Kind, at: usize, write: Option<bool>) -> core::fmt::Result {
    line.write_str(kind.words())?;
    match write {
        Some(write) => write!(line, " ({} at {at:#x}, ", if write { "write" } else { "read" }),
        None => write!(line, " (at {at:#x}, "),
    }
}

fn tell(kind: Kind, record: &Record, at: usize, write: Option<bool>, frames: &[usize]) {
    let mut line = FixedText::<320>::new();
    let _ = begin_line(&mut line, kind, at, write);
    let _ = place(&mut line, record.addr(), record.size(), at);
    message::say(&line);
    tell_stack("here", linux::debugging::thread_id() as u32, frames);
    tell_moment("allocated", &record.allocated);
    if record.state() == FREED {
        tell_moment("freed", &record.freed);
    }
}

/// Where an address lies relative to a block.
fn place(line: &mut impl Write, addr: usize, size: usize, at: usize) -> core::fmt::Result {
    if at < addr {
        write!(line, "{} bytes in front of", addr - at)?;
    } else if at >= addr + size {
        write!(line, "{} bytes behind the end of", at - (addr + size))?;
    } else {
        write!(line, "{} bytes into", at - addr)?;
    }
    write!(line, " a block of {size} bytes at {addr:#x})")
}

fn tell_moment(what: &str, moment: &Moment) {
    let mut frames = [0; STACK];
    let count = moment.frames(&mut frames);
    tell_stack(what, moment.thread(), &frames[..count]);
}

/// One line a frame; the allocator's own, which come first, are left out where they can be told apart.
fn tell_stack(what: &str, thread: u32, frames: &[usize]) {
    let mut line = FixedText::<320>::new();
    let _ = write!(line, "  {what} by thread {thread}:");
    write_line(&mut line);
    let own = stack::object_of(tell_stack as *const () as usize).map(|object| object.0);
    let is_own = |frame: usize| {
        library::is_apart()
            && own.is_some_and(|own| stack::object_of(frame).is_some_and(|other| other.0 == own))
    };
    for &frame in frames.iter().skip_while(|&&frame| is_own(frame)) {
        let mut line = FixedText::<320>::new();
        let _ = match stack::object_of(frame) {
            Some((name, offset)) if name.is_empty() => write!(line, "    {frame:#x} (program+{offset:#x})"),
            Some((name, offset)) => {
                write!(line, "    {frame:#x} ({}+{offset:#x})", name.to_str().unwrap_or("?"))
            }
            None => write!(line, "    {frame:#x}"),
        };
        write_line(&mut line);
    }
}

fn write_line(line: &mut FixedText<320>) {
    let _ = line.write_str("\n");
    socket::write_message(line.as_bytes());
}
