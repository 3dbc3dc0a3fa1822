//! What the debug mode has found, in words: one line that says what, then the block and the stacks.
//!
//! ```text
//! freestone: double free: the block of 64 bytes is free already (address 0x7f0000000fc0)
//!     freed again by thread 12:
//!         /usr/bin/program+0x11a2
//!         …
//!     allocated by malloc, block 7, by thread 12:
//!     freed by thread 12:
//! ```
//!
//! With `report:DIR` all of it goes to `DIR/PID.debug`, and the first line alone to the standard error.
//!
//! An address is told as a file and the distance from where its first page lies in memory: `freestone symbolize` makes functions
//! and lines of it. Nothing here allocates.

use core::fmt::{self, Write};

use freestone_base::text::FixedText;
use freestone_sys::linux::fault::Access;
use freestone_sys::linux::read_file::ReadFile;
use freestone_sys::linux::{self, control, debugging, socket};

use super::space::{Record, State};
use super::trace::Stack;
use crate::counters::Call;
use crate::stack::library;
use crate::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    InvalidFree,
    DoubleFree,
    ResizeAfterFree,
    NoBlock,
    Overrun { at: usize },
    Underrun { at: usize },
    WrongFunction { made: Call, freed: Call },
    WrongSize { told: usize },
    WrongAlignment { told: usize },
    UseAfterFree { write: Option<bool> },
    Outside { write: Option<bool> },
    Wild { write: Option<bool> },
}

/// A finding with what is known about it.
pub(super) struct Report {
    out: Out,
    record: Option<&'static Record>,
}

fn accessed(write: Option<bool>) -> &'static str {
    match write {
        Some(true) => "written",
        Some(false) => "read",
        None => "accessed",
    }
}

/// The function that makes such blocks, or gives them back.
fn function(call: Call, frees: bool) -> &'static str {
    match (call, frees) {
        (Call::Malloc | Call::Calloc | Call::Aligned | Call::Inner, true) => "free",
        (Call::New | Call::AlignedNew, true) => "delete",
        (Call::NewArray | Call::AlignedNewArray, true) => "delete[]",
        (Call::Malloc | Call::Inner, false) => "malloc",
        (Call::Calloc, false) => "calloc",
        (Call::Aligned, false) => "an aligned allocation",
        (Call::New, false) => "new",
        (Call::NewArray, false) => "new[]",
        (Call::AlignedNew, false) => "an aligned new",
        (Call::AlignedNewArray, false) => "an aligned new[]",
    }
}

impl Report {
    pub(super) fn new(found: Found, addr: usize, record: &'static Record) -> Report {
        let mut report = Report { out: Out::new(), record: Some(record) };
        let _ = report.headline(found, addr, record);
        report
    }

    /// About an address that no block is known at.
    pub(super) fn without_block(found: Found, addr: usize) -> Report {
        let mut report = Report { out: Out::new(), record: None };
        let what = match found {
            Found::Wild { write } => accessed(write),
            _ => "given",
        };
        let kind = if matches!(found, Found::Wild { .. }) { "wild access" } else { "invalid free" };
        let _ = writeln!(
            report.out,
            "freestone: {kind}: an address was {what} at which no block is known (address {addr:#x})"
        );
        report
    }

    fn headline(&mut self, found: Found, addr: usize, record: &Record) -> fmt::Result {
        let (start, size) = (record.addr(), record.size());
        let end = start + size;
        let out = &mut self.out;
        out.write_str("freestone: ")?;
        match found {
            Found::InvalidFree if addr < start => {
                write!(out, "invalid free: {} bytes before a block of {size} bytes", start - addr)
            }
            Found::InvalidFree if addr < end => {
                write!(out, "invalid free: {} bytes inside a block of {size} bytes", addr - start)
            }
            Found::InvalidFree => {
                write!(out, "invalid free: {} bytes behind the end of a block of {size} bytes", addr - end)
            }
            Found::DoubleFree => write!(out, "double free: the block of {size} bytes is free already"),
            Found::ResizeAfterFree => {
                write!(out, "use after free: a freed block of {size} bytes was resized")
            }
            Found::NoBlock => {
                write!(out, "invalid address: not the start of a live block was asked for its size")
            }
            Found::Overrun { at } => {
                write!(
                    out,
                    "overrun: {} bytes behind the end of a block of {size} bytes were written",
                    at - end
                )
            }
            Found::Underrun { at } => {
                write!(out, "underrun: {} bytes before a block of {size} bytes were written", start - at)
            }
            Found::WrongFunction { made, freed } => write!(
                out,
                "mismatch: a block of {} was given back by {}",
                function(made, false),
                function(freed, true)
            ),
            Found::WrongSize { told } => {
                write!(out, "mismatch: a block of {size} bytes was given back as one of {told}")
            }
            Found::WrongAlignment { told } => {
                write!(
                    out,
                    "mismatch: a block aligned to {} was given back as aligned to {told}",
                    record.align()
                )
            }
            Found::UseAfterFree { write } if addr < end => {
                let at = addr.wrapping_sub(start) as isize;
                write!(
                    out,
                    "use after free: byte {at} of a freed block of {size} bytes was {}",
                    accessed(write)
                )
            }
            Found::UseAfterFree { write } => {
                let at = addr - end;
                write!(
                    out,
                    "use after free: {at} bytes behind a freed block of {size} bytes was {}",
                    accessed(write)
                )
            }
            Found::Outside { write } if addr < start => {
                let at = start - addr;
                write!(out, "underrun: {at} bytes before a block of {size} bytes was {}", accessed(write))
            }
            Found::Outside { write } => {
                let at = addr - end;
                write!(
                    out,
                    "overrun: {at} bytes behind the end of a block of {size} bytes was {}",
                    accessed(write)
                )
            }
            Found::Wild { .. } => Ok(()),
        }?;
        writeln!(out, " (address {addr:#x})")
    }

    /// What the program does at this moment, and where.
    pub(super) fn present(mut self, what: &str) -> Report {
        let _ = writeln!(self.out, "    {what} by thread {}:", linux::debugging::thread_id());
        self.out.stack(&Stack::now());
        self
    }

    /// Where the access is.
    pub(super) fn access(mut self, access: &Access) -> Report {
        let _ = writeln!(self.out, "    accessed by thread {}:", linux::debugging::thread_id());
        self.out.stack(&Stack::of_access(access));
        self
    }

    /// Where the block was made, and freed.
    pub(super) fn old(mut self) -> Report {
        let Some(record) = self.record else { return self };
        let (thread, trace) = record.made();
        let made = function(record.call(), false);
        let _ =
            writeln!(self.out, "    allocated by {made}, as block {}, by thread {thread}:", record.serial());
        self.out.stack(&Stack::kept(trace));
        if record.state() == State::Freed {
            let (thread, trace) = record.freed();
            let _ = writeln!(self.out, "    freed by thread {thread}:");
            self.out.stack(&Stack::kept(trace));
        }
        self
    }

    pub(super) fn say(mut self) {
        self.out.flush();
    }

    /// Says it, and ends the process by SIGABRT.
    pub(super) fn end(mut self) -> ! {
        self.out.flush();
        control::abort()
    }
}

/// The directory for details: its characters and their number. Written once, before the mode is on.
static DIRECTORY: ([AtomicU8; DIRECTORY_MOST], AtomicUsize) =
    ([const { AtomicU8::new(0) }; DIRECTORY_MOST], AtomicUsize::new(0));
const DIRECTORY_MOST: usize = 512;

/// Has details go to a file in this directory; none if it is empty.
pub(super) fn write_to(directory: &[u8]) {
    for (place, &byte) in DIRECTORY.0.iter().zip(directory) {
        place.store(byte, Ordering::Relaxed);
    }
    DIRECTORY.1.store(directory.len().min(DIRECTORY_MOST), Ordering::Release);
}

fn directory() -> Option<([u8; DIRECTORY_MOST], usize)> {
    let len = DIRECTORY.1.load(Ordering::Acquire);
    let mut bytes = [0; DIRECTORY_MOST];
    for (byte, place) in bytes.iter_mut().zip(&DIRECTORY.0[..len]) {
        *byte = place.load(Ordering::Relaxed);
    }
    (len != 0).then_some((bytes, len))
}

/// Text on its way to the standard error.
pub(super) struct Out(FixedText<2048>);

impl Out {
    pub(super) fn new() -> Out {
        Out(FixedText::new())
    }

    pub(super) fn flush(&mut self) {
        let text = self.0.as_bytes();
        let in_file = match directory() {
            Some((directory, len)) => {
                let mut path = FixedText::<600>::new();
                let directory = core::str::from_utf8(&directory[..len]).unwrap_or(".");
                let _ = write!(path, "{directory}/{}.debug\0", linux::process_id());
                debugging::append(path.as_bytes(), text)
            }
            None => false,
        };
        if !in_file {
            socket::write_message(text);
        } else if text.starts_with(b"freestone:") {
            let end = text.iter().position(|&byte| byte == b'\n').map_or(text.len(), |at| at + 1);
            socket::write_message(&text[..end]);
        }
        self.0.clear();
    }

    /// The addresses with their files, without the allocator's own at the beginning.
    pub(super) fn stack(&mut self, stack: &Stack) {
        if stack.addresses().is_empty() {
            let _ = self
                .write_str("        (no stack: no unwinder is loaded; `freestone run --debug` brings one)\n");
            return;
        }
        let own = if library::is_apart() {
            file_at(Out::stack as *const () as usize, &mut FixedText::new())
        } else {
            None
        };
        let mut within = own.is_some();
        for &address in stack.addresses() {
            let mut file = FixedText::<256>::new();
            let base = file_at(address, &mut file);
            let name = core::str::from_utf8(file.as_bytes()).unwrap_or("");
            // Ours is the beginning; a program that it is a part of shows it.
            within &= base == own;
            if within {
                continue;
            }
            let _ = match base {
                Some(base) => writeln!(self, "        {name}+{:#x}", address - base),
                None => writeln!(self, "        {address:#x}"),
            };
        }
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // Pieces are short, so the buffer takes each whole.
        if self.0.as_bytes().len() + s.len() > 2048 {
            self.flush();
        }
        self.0.write_str(s)
    }
}

/// The file that is mapped at an address, and where its first mapping begins.
fn file_at(address: usize, name: &mut FixedText<256>) -> Option<usize> {
    let maps = ReadFile::open(c"/proc/self/maps")?;
    let mut buffer = [0; 1024];
    let (mut first, mut found) = (0, None);
    let mut current = FixedText::<256>::new();
    maps.lines(&mut buffer, |line| {
        let Some((start, end, path)) = mapping(line) else { return };
        if path != current.as_bytes() {
            current.clear();
            let _ = current.write_str(core::str::from_utf8(path).unwrap_or(""));
            first = start;
        }
        if (start..end).contains(&address) && path.starts_with(b"/") {
            let _ = name.write_str(core::str::from_utf8(path).unwrap_or(""));
            found = Some(first);
        }
    });
    found
}

/// Start, end and path in a line of `maps`.
fn mapping(line: &[u8]) -> Option<(usize, usize, &[u8])> {
    let line = core::str::from_utf8(line).ok()?;
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    // Permissions, offset, device and inode before it.
    let path = rest.splitn(5, ' ').nth(4).unwrap_or("").trim();
    Some((number(start)?, number(end)?, path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_understood() {
        let line = b"55e0c0000000-55e0c0001000 r-xp 00001000 fe:00 131 /usr/bin/a b";
        assert_eq!(mapping(line), Some((0x55e0_c000_0000, 0x55e0_c000_1000, &b"/usr/bin/a b"[..])));
        assert_eq!(mapping(b"1000-2000 rw-p 00000000 00:00 0 "), Some((0x1000, 0x2000, &b""[..])));
        assert_eq!(mapping(b""), None);
    }

    #[test]
    fn the_tests_own_code_lies_in_a_file() {
        let mut name = FixedText::new();
        let address = a_line_of_maps_is_understood as *const () as usize;
        let base = file_at(address, &mut name).expect("a file");
        assert!(base < address && name.as_bytes().starts_with(b"/"));
    }
}
