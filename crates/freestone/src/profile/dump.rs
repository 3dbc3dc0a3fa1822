//! The profile as text: `docs/profiles.md` describes it. Written piece by piece, each copied under the lock and written without
//! it, so that neither a slow reader nor one that allocates holds anybody up.

use core::ffi::CStr;
use core::fmt::{self, Write};

use freestone_sys::linux;

use super::mapped;
use super::table::{NAME, Site, Sum};
use super::{BEGAN_NS, BEGAN_UNIX_NS, MEAN, TABLE};
use crate::report::{Out, kept};
use crate::stack::MOST;
use crate::sync::atomic::Ordering;
use crate::{gate, observe, start};

/// Writes the profile as it is at this moment. O(samples + mappings).
///
/// # Errors
/// Those of `out`; or the allocator cannot be entered: the process forks at this moment, or the caller is a signal handler.
pub fn write(out: &mut dyn Write) -> fmt::Result {
    write_with(out, Ends::No, Search::Nothing)
}

/// The same after a search for live samples that nothing leads to any more: the last figures of each site. The search is conservative
/// (what an integer happens to point at is not lost); it misses addresses that only the registers of other threads hold, and it should not be
/// made while other threads unmap memory. O(memory in use), about a second for a GiB.
///
/// # Errors
/// As [`write()`].
pub fn write_with_lost(out: &mut dyn Write) -> fmt::Result {
    write_with(out, Ends::No, Search::Lost)
}

/// The same with what of the live blocks nobody has touched since [`watch_touches`](super::watch_touches), which ends the watch; without
/// such figures where there is none.
///
/// # Errors
/// As [`write()`].
pub fn write_with_idle(out: &mut dyn Write) -> fmt::Result {
    write_with(out, Ends::No, Search::Idle)
}

/// What is looked for among the live samples.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    Nothing,
    Lost,
    Idle,
}

/// Whether the process ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Yes,
    No,
}

fn write_with(out: &mut dyn Write, ends: Ends, search: Search) -> fmt::Result {
    let sites = head(out, ends, search)?;
    mappings(out)?;
    for number in 0..sites {
        site(out, number, search)?;
    }
    // A file that was cut has no such line.
    writeln!(out, "end {sites}")
}

/// Sums up, writes the first lines, and returns how many sites there are.
fn head(out: &mut dyn Write, ends: Ends, search: Search) -> Result<usize, fmt::Error> {
    let inside = gate::enter_patiently().ok_or(fmt::Error)?;
    observe::hear_late();
    let mut table = TABLE.lock();
    table.sum_live();
    table.settle_peak();
    table.charge_stranded();
    let (sites, dropped) = (table.sites.len(), table.dropped);
    drop(table);
    drop(inside);
    let lost = (search == Search::Lost).then(super::leaks::find);
    let idle = if search == Search::Idle { super::idle::find() } else { None };
    let duration = linux::monotonic_ns().saturating_sub(BEGAN_NS.load(Ordering::Relaxed));
    writeln!(out, "freestone-heap-profile 1")?;
    writeln!(out, "mean {}", MEAN.load(Ordering::Relaxed))?;
    writeln!(out, "process {}", linux::process_id())?;
    writeln!(out, "began {}", BEGAN_UNIX_NS.load(Ordering::Relaxed))?;
    writeln!(out, "duration {duration}")?;
    writeln!(out, "dropped {dropped}")?;
    writeln!(out, "on {}", u8::from(super::mean() != 0))?;
    writeln!(out, "ended {}", u8::from(ends == Ends::Yes))?;
    if let Some(lost) = lost {
        writeln!(out, "reachability {}", u8::from(lost))?;
    }
    if let Some(ns) = idle {
        writeln!(out, "untouched {ns}")?;
    }
    Ok(sites)
}

/// The executable mappings, a line each; behind that of the allocator's library another.
fn mappings(out: &mut dyn Write) -> fmt::Result {
    let mut outcome = Ok(());
    mapped::each(|mapped| {
        if outcome.is_ok() {
            outcome = writeln!(out, "map {mapped}");
        }
        if outcome.is_ok()
            && let Some(range) = mapped.own()
        {
            outcome = writeln!(out, "own {range}");
        }
    });
    outcome
}

/// A site with its figures and frames, the innermost first; behind it what of it is idle. What is lost stays noted from the last search for it.
fn site(out: &mut dyn Write, number: usize, search: Search) -> fmt::Result {
    let mut frames = [0; MOST];
    let site = {
        let _inside = gate::enter_patiently().ok_or(fmt::Error)?;
        let table = TABLE.lock();
        // The profile may have begun anew meanwhile.
        let Some(&site) = table.sites.get(number) else { return Ok(()) };
        for (frame, word) in frames.iter_mut().zip(table.frames_of(&site)) {
            *frame = word.0;
        }
        site
    };
    write!(out, "site ")?;
    name(out, &site.thread)?;
    let Site { samples, live_samples, allocated, live, peak, stranded, .. } = site;
    let lost = if search == Search::Lost { site.lost } else { Sum::default() };
    write!(out, " {samples} {live_samples}")?;
    for sum in [allocated, live, peak, lost] {
        write!(out, " {:.2} {:.0}", sum.objects, sum.bytes)?;
    }
    write!(out, " {stranded:.0} :")?;
    frames[..site.frames.min(MOST)].iter().try_for_each(|frame| write!(out, " {frame:x}"))?;
    writeln!(out)?;
    if search == Search::Idle && site.idle.objects > 0.0 {
        writeln!(out, "idle {:.2} {:.0}", site.idle.objects, site.idle.bytes)?;
    }
    Ok(())
}

/// A thread's name in one word: what is no letter, digit or common sign is written as `%` and two digits.
fn name(out: &mut dyn Write, thread: &[u8; NAME]) -> fmt::Result {
    let len = thread.iter().position(|&byte| byte == 0).unwrap_or(NAME);
    if len == 0 {
        return out.write_str("%");
    }
    thread[..len].iter().try_for_each(|&byte| {
        if byte.is_ascii_alphanumeric() || b"-_.:/#@+".contains(&byte) {
            out.write_char(byte as char)
        } else {
            write!(out, "%{byte:02x}")
        }
    })
}

/// Writes the profile to the file at `path`, which is created or emptied, as [`write()`] does, or as [`write_with_lost`] does where
/// `lost`; false, with `errno`, when it cannot be written.
pub fn write_file(path: &CStr, lost: bool) -> bool {
    let Some(mut out) = Out::create_at(path.to_bytes_with_nul()) else { return false };
    let search = if lost { Search::Lost } else { Search::Nothing };
    let written = write_with(&mut out, Ends::No, search);
    out.finish();
    if written.is_err() {
        linux::Errno(libc::EBUSY).set();
    }
    written.is_ok()
}

/// Writes the profile to `DIR/PID.heap` if that was asked for: as the process ends.
#[inline]
pub fn write_at_exit() {
    if MEAN.load(Ordering::Relaxed) != 0 && !start::is_borrowed() {
        write_at_exit_if_asked();
    }
}

#[cold]
#[inline(never)]
fn write_at_exit_if_asked() {
    let Some(inside) = gate::enter_patiently() else { return };
    let config = start::config();
    drop(inside);
    if !config.heap_profile().is_empty()
        && let Some(mut out) = Out::create(config.heap_profile(), "heap")
    {
        let search = if config.leaks { Search::Lost } else { Search::Nothing };
        let _ = write_with(&mut out, Ends::Yes, search);
        out.finish();
        kept::forget(config.heap_profile(), "heap");
    }
}
