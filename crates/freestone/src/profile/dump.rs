//! The profile as text: `docs/profiles.md` describes it. Written piece by piece, each copied under the lock and written without
//! it, so that neither a slow reader nor one that allocates holds anybody up.

use core::fmt::{self, Write};

use freestone_base::text::FixedText;
use freestone_sys::linux;
use freestone_sys::linux::read_file::ReadFile;

use super::build_id;
use super::table::{NAME, Site};
use super::{BEGAN_NS, BEGAN_UNIX_NS, MEAN, TABLE};
use crate::report::Out;
use crate::stack::MOST;
use crate::sync::atomic::Ordering;
use crate::{gate, start};

/// Writes the profile as it is at this moment. O(samples + mappings).
///
/// # Errors
/// Those of `out`; or the allocator cannot be entered: the process forks at this moment, or the caller is a signal handler.
pub fn write(out: &mut dyn Write) -> fmt::Result {
    write_with(out, false)
}

fn write_with(out: &mut dyn Write, ends: bool) -> fmt::Result {
    let sites = head(out, ends)?;
    mappings(out)?;
    for number in 0..sites {
        site(out, number)?;
    }
    // A file that was cut has no such line.
    writeln!(out, "end {sites}")
}

/// Sums up, writes the first lines, and returns how many sites there are.
fn head(out: &mut dyn Write, ends: bool) -> Result<usize, fmt::Error> {
    let inside = gate::enter_patiently().ok_or(fmt::Error)?;
    let mut table = TABLE.lock();
    table.sum_live();
    table.settle_peak();
    table.charge_stranded();
    let (sites, dropped) = (table.sites.len(), table.dropped);
    drop(table);
    drop(inside);
    let lost = if ends && crate::start::config().leaks { Some(super::leaks::find()) } else { None };
    let duration = linux::monotonic_ns().saturating_sub(BEGAN_NS.load(Ordering::Relaxed));
    writeln!(out, "freestone-heap-profile 1")?;
    writeln!(out, "mean {}", MEAN.load(Ordering::Relaxed))?;
    writeln!(out, "process {}", linux::process_id())?;
    writeln!(out, "began {}", BEGAN_UNIX_NS.load(Ordering::Relaxed))?;
    writeln!(out, "duration {duration}")?;
    writeln!(out, "dropped {dropped}")?;
    writeln!(out, "on {}", u8::from(super::mean() != 0))?;
    writeln!(out, "ended {}", u8::from(ends))?;
    if let Some(lost) = lost {
        writeln!(out, "reachability {}", u8::from(lost))?;
    }
    Ok(sites)
}

/// The executable mappings as the kernel has them, each with its object's build id before it.
fn mappings(out: &mut dyn Write) -> fmt::Result {
    const LINE: usize = 4096;
    let Some(file) = ReadFile::open(c"/proc/self/maps") else { return Ok(()) };
    let mut buffer = [0; LINE];
    let mut outcome = Ok(());
    let mut base = Base { at: 0, name: FixedText::new() };
    file.lines(&mut buffer, |line| {
        if outcome.is_ok() {
            outcome = mapping(out, line, &mut base);
        }
    });
    outcome
}

/// The beginning of the object whose mappings are being listed.
struct Base {
    at: usize,
    name: FixedText<LONGEST_NAME>,
}

/// Names of files are compared up to so many bytes.
const LONGEST_NAME: usize = 512;

/// `START-END PERMISSIONS OFFSET DEVICE INODE      NAME`
fn mapping(out: &mut dyn Write, line: &[u8], base: &mut Base) -> fmt::Result {
    let Ok(line) = core::str::from_utf8(line) else { return Ok(()) };
    let mut words = line.split_ascii_whitespace();
    let (Some(range), Some(permissions), Some(offset), Some(_), Some(_)) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Ok(());
    };
    // The name may have spaces.
    let name = words.next().map_or("", |word| &line[word.as_ptr().addr() - line.as_ptr().addr()..]);
    let begins = |name: &str| name.as_bytes().len() <= LONGEST_NAME && !name.is_empty();
    if offset.bytes().all(|digit| digit == b'0') && begins(name) {
        base.name.clear();
        let _ = base.name.write_str(name);
        let start = range.split('-').next().unwrap_or_default();
        base.at = usize::from_str_radix(start, 16).unwrap_or(0);
    }
    if permissions.as_bytes().get(2) != Some(&b'x') {
        return Ok(());
    }
    let mut id = [0; build_id::MOST];
    let known = base.at != 0 && base.name.as_bytes() == name.as_bytes();
    let len = if known { build_id::of(base.at, &mut id) } else { 0 };
    write!(out, "map {range} {offset} ")?;
    id[..len].iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
    writeln!(out, "{} {name}", if len == 0 { "-" } else { "" })
}

/// A site with its figures and frames, the innermost first.
fn site(out: &mut dyn Write, number: usize) -> fmt::Result {
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
    let Site { samples, live_samples, allocated, live, peak, stranded, lost, .. } = site;
    write!(out, " {samples} {live_samples}")?;
    for sum in [allocated, live, peak, lost] {
        write!(out, " {:.2} {:.0}", sum.objects, sum.bytes)?;
    }
    write!(out, " {stranded:.0} :")?;
    frames[..site.frames.min(MOST)].iter().try_for_each(|frame| write!(out, " {frame:x}"))?;
    writeln!(out)
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

/// Writes the profile to `DIR/PID.heap` if that was asked for: as the process ends.
#[inline]
pub fn write_at_exit() {
    if MEAN.load(Ordering::Relaxed) == 0 || start::is_borrowed() {
        return;
    }
    let config = start::config();
    if !config.heap_profile().is_empty()
        && let Some(mut out) = Out::create(config.heap_profile(), "heap")
    {
        let _ = write_with(&mut out, true);
        out.flush();
    }
}
