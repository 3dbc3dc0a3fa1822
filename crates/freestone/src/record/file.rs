//! The file of a recording: how it begins, and the sheets that are taken from it.
//!
//! # Safety
//!
//! R1 and R3 of `mod.rs`. The words of the process's sheet are mapped and ready once the file is open.
#![allow(unsafe_code)]

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_base::trace::sheet::{
    HEADER, MOST_COMMAND, OPEN, PROCESS_SHEET, PROCESS_WORDS, SHEET, SheetHeader,
};
use freestone_base::trace::{Kind, ProcessWord};
use freestone_sys::linux::read_file::ReadFile;
use freestone_sys::linux::tape::{self, Tape};
use freestone_sys::linux::{self, control};

use super::{CLOSED, FORKED_AT, KEY, ON, OPENING, STOPPED, State, WRITING, tell};
use crate::start;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The longest file: addresses only, the disk holds what was written.
const LONGEST: usize = 64 << 30;

impl State {
    /// Opens the file, or waits until another thread has; false where there is none.
    #[cold]
    pub(super) fn open(&self, pointer: usize) -> bool {
        loop {
            match self.stage.compare_exchange(CLOSED, OPENING, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    self.opener.store(pointer, Ordering::Relaxed);
                    let opened = self.create();
                    self.stage.store(if opened { WRITING } else { STOPPED }, Ordering::Release);
                    return opened;
                }
                Err(WRITING) => return true,
                Err(STOPPED) => return false,
                // A signal handler on top of the opening cannot wait for it.
                Err(_) if self.opener.load(Ordering::Relaxed) == pointer => return false,
                Err(_) => control::yield_now(),
            }
        }
    }

    /// Creates the file, with the process's sheet.
    fn create(&self) -> bool {
        let config = start::config();
        let directory = core::str::from_utf8(config.record()).unwrap_or(".");
        if control::filter_was_asked_for() {
            tell(format_args!("no calls are recorded: the program asked for a filter of its system calls"));
            return false;
        }
        let key = linux::random_bits() | 1;
        let mut path = FixedText::<600>::new();
        let _ = write!(path, "{directory}/{}-{key:016x}.part\0", linux::process_id());
        let Ok(path) = core::ffi::CStr::from_bytes_until_nul(path.as_bytes()) else { return false };
        let tape = match Tape::create(path, LONGEST) {
            Ok(tape) if tape.ready(0, PROCESS_SHEET) => tape,
            created => {
                let errno = created.err().map_or(libc::ENOSPC, |errno| errno.0);
                tell(format_args!(
                    "no calls are recorded: no file can be made in {directory} (errno {errno})"
                ));
                return false;
            }
        };
        self.base.store(tape.base(), Ordering::Relaxed);
        self.len.store(tape.len(), Ordering::Relaxed);
        self.end.store(PROCESS_SHEET, Ordering::Relaxed);
        self.key.store(key, Ordering::Relaxed);
        self.stack_every.store(config.record_sample, Ordering::Relaxed);
        let parent = KEY.swap(key, Ordering::Relaxed);
        let forked_at = if parent == 0 { 0 } else { FORKED_AT.load(Ordering::Relaxed) };
        let mut command = [0; MOST_COMMAND];
        let command_len = command_line(&mut command);
        let (ticks, ns) = (tape::ticks(), linux::monotonic_ns());
        for (word, value) in [
            (ProcessWord::Pid, linux::process_id() as u64),
            (ProcessWord::Parent, parent),
            (ProcessWord::ForkedAt, forked_at),
            (ProcessWord::Realtime, tape::realtime_ns()),
            (ProcessWord::FirstTicks, ticks),
            (ProcessWord::FirstNs, ns),
            (ProcessWord::LastTicks, ticks),
            (ProcessWord::LastNs, ns),
            (ProcessWord::StackEvery, config.record_sample.into()),
            (ProcessWord::CommandLen, command_len as u64),
        ] {
            self.process_word(word).store(value, Ordering::Relaxed);
        }
        let text = core::ptr::with_exposed_provenance_mut::<u8>(tape.base() + HEADER + PROCESS_WORDS * 8);
        // SAFETY: behind the words in the process's sheet, which was made ready and has room for so much.
        unsafe { text.copy_from_nonoverlapping(command.as_ptr(), command_len) };
        let header = self.header(Kind::Process, PROCESS_SHEET);
        // SAFETY: R3 for the process's sheet.
        unsafe { write_header(tape.base(), &header) };
        true
    }

    pub(super) fn header(&self, kind: Kind, length: usize) -> SheetHeader {
        SheetHeader {
            kind,
            length: length as u32,
            used: OPEN,
            process: self.key.load(Ordering::Relaxed),
            lane: 0,
            place: 0,
            number: 0,
            ticks: 0,
            thread: 0,
            check: 0,
        }
    }

    /// A word of the process's sheet.
    pub(super) fn process_word(&self, word: ProcessWord) -> &AtomicU64 {
        let at = self.base.load(Ordering::Relaxed) + HEADER + word as usize * 8;
        // SAFETY: the sheet is mapped and ready before anybody comes here, and its words are aligned.
        unsafe { &*core::ptr::with_exposed_provenance::<AtomicU64>(at) }
    }

    pub(super) fn compare_clocks(&self) {
        self.process_word(ProcessWord::LastTicks).store(tape::ticks(), Ordering::Relaxed);
        self.process_word(ProcessWord::LastNs).store(linux::monotonic_ns(), Ordering::Relaxed);
    }

    pub(super) fn tape(&self) -> Tape {
        Tape::of(self.base.load(Ordering::Relaxed), self.len.load(Ordering::Relaxed))
    }

    /// A new sheet for a lane, ready to be written; `None`, and the end of the recording, where the disk is full.
    pub(super) fn new_sheet(&self) -> Option<usize> {
        let at = self.end.fetch_add(SHEET, Ordering::Relaxed);
        if self.tape().ready(at, SHEET) {
            return Some(self.base.load(Ordering::Relaxed) + at);
        }
        if self.stage.swap(STOPPED, Ordering::Relaxed) != STOPPED {
            ON.store(false, Ordering::Relaxed);
            self.process_word(ProcessWord::Stopped).store(1, Ordering::Relaxed);
            tell(format_args!("the trace ends here: its file cannot grow"));
        }
        None
    }
}

/// Writes a sheet's header, what makes it one last.
///
/// # Safety
/// A sheet of the caller's begins at `at`, mapped and ready.
pub(super) unsafe fn write_header(at: usize, header: &SheetHeader) {
    let bytes = header.bytes();
    let (magic, rest) = bytes.split_at(4);
    let to = core::ptr::with_exposed_provenance_mut::<u8>(at);
    // SAFETY: the caller's promise.
    unsafe { to.wrapping_add(4).copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
    // SAFETY: the caller's promise; a sheet begins at an OS page.
    let place = unsafe { AtomicU32::from_ptr(to.cast()) };
    place.store(u32::from_ne_bytes([magic[0], magic[1], magic[2], magic[3]]), Ordering::Release);
}

/// The process's command line, the arguments ended by zeros, as much as fits; its length.
fn command_line(buffer: &mut [u8]) -> usize {
    let Some(file) = ReadFile::open(c"/proc/self/cmdline") else { return 0 };
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            0 => break,
            got => len += got,
        }
    }
    len
}
