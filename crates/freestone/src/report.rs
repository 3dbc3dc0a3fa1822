//! The report at the process's end: one JSON file, written without allocating.
//!
//! `report:DIR` in `FREESTONE_CONF` asks for it; the file is `DIR/PID.json`. What is in it: [`ledger`](crate::ledger). What is left of a
//! process that has no such end: [`kept`].

pub(crate) mod kept;

use core::fmt::{self, Write};

use freestone_base::text::FixedText;
use freestone_sys::linux;
use freestone_sys::linux::control::NewFile;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{gate, ledger, message, record, start};

/// Writes the report if one was asked for, and ends the trace. Called as the process ends; harmless at any other time, and more than once.
#[inline]
pub fn write_if_asked() {
    record::at_end();
    if start::report_may_be_wanted() {
        write();
    }
}

/// Whether [`say_that_none_comes`] may say so.
static MAY_SAY: AtomicBool = AtomicBool::new(false);

/// The program asks for a filter of its system calls: notes what cannot be asked later.
pub(crate) fn before_filter() {
    // OpenSSH's server forbids its child to write files, too.
    MAY_SAY.store(linux::process::may_write_files(), Ordering::Relaxed);
}

/// Says, once, what is not written at the end, if anything was to be and the process may write. False.
#[cold]
#[inline(never)]
pub(crate) fn say_that_none_comes() -> bool {
    let config = start::config();
    let asked = [
        (!config.report().is_empty(), " report"),
        (!config.heap_profile().is_empty(), " heap_profile"),
        (crate::debug::is_on() && crate::debug::leaks_are_wanted(), " debug_leaks"),
    ];
    if asked.iter().any(|(asked, _)| *asked) && !start::is_lent() && MAY_SAY.swap(false, Ordering::Relaxed) {
        let mut text = FixedText::<160>::new();
        let _ = text.write_str("not written, since the program asked for a filter of its system calls:");
        for (_, name) in asked.iter().filter(|(asked, _)| *asked) {
            let _ = text.write_str(name);
        }
        message::say(&text);
    }
    false
}

/// A function of its own, so that its buffers take no stack where no report is wanted.
#[cold]
#[inline(never)]
fn write() {
    // A child of `clone` may have no thread-local storage to speak of.
    if start::is_started() && start::is_borrowed() {
        return;
    }
    // A program that never allocated has not started us yet.
    let Some(inside) = gate::enter() else { return };
    start::ensure();
    let config = start::config();
    let wanted = !config.report().is_empty() && start::is_own_process();
    drop(inside);
    if !wanted {
        return;
    }
    // The ledger before the file, which would be in it.
    ledger::history::tick(linux::monotonic_ns());
    let taken = ledger::take();
    let Some(mut out) = Out::create(config.report(), "json") else { return };
    let _ = ledger::write_json_of(&mut out, taken.as_ref());
    out.finish();
    kept::forget(config.report(), "json");
}

/// Text on its way to a file.
pub(crate) struct Out {
    file: NewFile,
    buffer: FixedText<4096>,
}

impl Out {
    /// The file `DIRECTORY/PID.KIND`, created or emptied.
    pub(crate) fn create(directory: &[u8], kind: &str) -> Option<Out> {
        let mut path = FixedText::<600>::new();
        let directory = core::str::from_utf8(directory).unwrap_or(".");
        let _ = write!(path, "{directory}/{}.{kind}\0", linux::process_id());
        Out::create_at(path.as_bytes())
    }

    /// The file at `path`, which ends with a NUL, created or emptied; `None`, with `errno`, when that cannot be.
    pub(crate) fn create_at(path: &[u8]) -> Option<Out> {
        NewFile::create(path).map(Out::on)
    }

    fn on(file: NewFile) -> Out {
        Out { file, buffer: FixedText::new() }
    }

    /// Writes what is still in the buffer; the file.
    pub(crate) fn finish(mut self) -> NewFile {
        self.flush();
        self.file
    }

    fn flush(&mut self) {
        self.file.write(self.buffer.as_bytes());
        self.buffer.clear();
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        // Pieces are short, so the buffer takes each whole.
        if self.buffer.as_bytes().len() + s.len() > 4096 {
            self.flush();
        }
        self.buffer.write_str(s)
    }
}
