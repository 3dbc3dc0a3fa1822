//! What is kept of report and heap profile while the process runs, for the case that it ends without a word: by a signal, or because the
//! system had no memory left for it.
//!
//! The allocator's thread writes two files of each kind in turn, `DIR/PID.json.1` and `DIR/PID.json.2`, so that one of them is whole at any
//! time. The report and the profile that are written at an orderly end take their place.

use core::ffi::CStr;
use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux;
use freestone_sys::linux::control::{NewFile, filter_was_asked_for};
use freestone_sys::linux::shared::remove_file;
use freestone_sys::linux::socket::own_descriptors;

use super::Out;
use crate::profile;
use crate::{debug, gate, ledger, start};

/// From the start of the thread to the first time: most processes have ended.
const FIRST_NS: u64 = 100_000_000;
/// From one time to the next, at least.
const PERIOD_NS: u64 = 1_000_000_000;
/// What writing may cost: so many times as long as it took, it is let be.
const REST: u64 = 20;

/// The files, open as long as the thread lives. It may not open them later, when it has given up its rights.
pub(crate) struct Kept {
    report: [Option<NewFile>; 2],
    profile: [Option<NewFile>; 2],
    turn: usize,
    due_ns: u64,
}

impl Kept {
    /// Opens what is wanted, for the calling thread, which gets a table of descriptors of its own.
    #[cold]
    #[inline(never)]
    pub(crate) fn open() -> Kept {
        let none = || [const { None }; 2];
        let mut kept = Kept { report: none(), profile: none(), turn: 0, due_ns: u64::MAX };
        // In debug mode the figures of the heap mean nothing.
        if start::reporting() && !debug::is_on() && own_descriptors() {
            // A lock that a fork must not meet.
            let Some(inside) = gate::enter_patiently() else { return kept };
            let config = start::config();
            drop(inside);
            kept.report = files(config.report(), "json");
            kept.profile = files(config.heap_profile(), "heap");
            kept.due_ns = linux::monotonic_ns().saturating_add(FIRST_NS);
        }
        kept
    }

    /// Writes the figures of this moment, if it is time.
    #[cold]
    #[inline(never)]
    pub(crate) fn tick(&mut self, now_ns: u64) {
        if now_ns < self.due_ns || !start::is_own_process() {
            return;
        }
        // Taken before anything is written, which would be in it.
        let taken = ledger::take();
        rewrite(&mut self.report[self.turn], |out| ledger::write_json_of(out, taken.as_ref()).is_ok());
        // Whoever asks for a filter waits for this thread.
        if !filter_was_asked_for() {
            rewrite(&mut self.profile[self.turn], |out| profile::write(out).is_ok());
        }
        self.turn ^= 1;
        let after_ns = linux::monotonic_ns();
        let rest_ns = after_ns.saturating_sub(now_ns).saturating_mul(REST);
        self.due_ns = after_ns.saturating_add(rest_ns.max(PERIOD_NS));
    }
}

/// Removes the files of one kind: what was written at the end says more.
pub(crate) fn forget(directory: &[u8], kind: &str) {
    for number in 1..=2 {
        if let Ok(path) = CStr::from_bytes_until_nul(path(directory, kind, number).as_bytes()) {
            remove_file(path);
        }
    }
}

fn files(directory: &[u8], kind: &str) -> [Option<NewFile>; 2] {
    [1, 2].map(|number| {
        let wanted = !directory.is_empty();
        wanted.then(|| NewFile::rewritable(path(directory, kind, number).as_bytes())).flatten()
    })
}

/// With a NUL at the end.
fn path(directory: &[u8], kind: &str, number: u32) -> FixedText<600> {
    let mut path = FixedText::new();
    let directory = core::str::from_utf8(directory).unwrap_or(".");
    let _ = write!(path, "{directory}/{}.{kind}.{number}\0", linux::process_id());
    path
}

/// Replaces what is in the file. What could not be written whole is not left there; what is no file, and cannot be emptied, is let go.
fn rewrite(place: &mut Option<NewFile>, text: impl FnOnce(&mut Out) -> bool) {
    let Some(file) = place.take() else { return };
    if !file.empty() {
        return;
    }
    let mut out = Out::on(file);
    let whole = text(&mut out);
    let file = out.finish();
    if whole || file.empty() {
        *place = Some(file);
    }
}
