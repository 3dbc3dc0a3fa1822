//! The report at the process's end: one JSON file, written without allocating.
//!
//! `report:DIR` in `FREESTONE_CONF` asks for it; the file is `DIR/PID.json`. The format is read by the command
//! `freestone` (its `snapshot.rs` documents every field).

use core::fmt::{self, Write};

use freestone_base::text::FixedText;
use freestone_base::{ClassId, class_info};
use freestone_sys::linux;
use freestone_sys::linux::control::NewFile;

use crate::stats::{ClassStats, Stats};
use crate::{gate, start, stats};

/// Writes the report if one was asked for. Called as the process ends; harmless at any other time, and more than once.
#[inline]
pub fn write_if_asked() {
    if start::report_may_be_wanted() {
        write();
    }
}

/// A function of its own, so that its buffers take no stack where no report is wanted.
#[cold]
#[inline(never)]
fn write() {
    // A program that never allocated has not started us yet.
    let Some(inside) = gate::enter() else { return };
    start::ensure();
    let config = start::config();
    if config.report().is_empty() || !start::is_own_process() {
        return;
    }
    let mut path = FixedText::<600>::new();
    let directory = core::str::from_utf8(config.report()).unwrap_or(".");
    let _ = write!(path, "{directory}/{}.json\0", linux::process_id());
    let Some(file) = NewFile::create(path.as_bytes()) else { return };
    let mut out = Out { file, buffer: FixedText::new() };
    let _ = json(&mut out);
    out.flush();
    drop(inside);
}

/// Text on its way to a file.
struct Out {
    file: NewFile,
    buffer: FixedText<4096>,
}

impl Out {
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

/// The process's name as the kernel has it, with what JSON does not take replaced.
struct Command([u8; 16], usize);

impl Command {
    fn own() -> Command {
        let mut name = [0; 16];
        let len = linux::control::read_start(b"/proc/self/comm\0", &mut name);
        let end = name[..len].iter().position(|&byte| byte == b'\n').unwrap_or(len);
        Command(name, end)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0[..self.1] {
            f.write_char(if (b' '..b'\x7f').contains(&byte) && byte != b'"' && byte != b'\\' {
                byte.into()
            } else {
                '?'
            })?;
        }
        Ok(())
    }
}

fn json(out: &mut impl Write) -> fmt::Result {
    let stats = stats::collect();
    let Stats { calls, pages, system, .. } = &stats;
    write!(
        out,
        "{{\"version\":1,\"pid\":{},\"command\":\"{}\",\"cache\":\"{}\",\"counted\":{},\"elapsed_ns\":{},",
        linux::process_id(),
        Command::own(),
        start::mode().name(),
        start::counting(),
        start::elapsed_ns(),
    )?;
    write!(
        out,
        "\"requested_live\":{},\"live\":{{\"bytes\":{},\"blocks\":{},\"peak_bytes\":{}}},",
        stats.requested_live, stats.live_bytes, stats.live_blocks, stats.peak_live_bytes
    )?;
    write!(
        out,
        "\"calls\":{{\"malloc\":{},\"calloc\":{},\"realloc\":{},\"realloc_in_place\":{},\"aligned\":{},\
         \"free\":{},\"failed\":{}}},",
        calls.malloc,
        calls.calloc,
        calls.realloc,
        calls.realloc_in_place,
        calls.aligned,
        calls.free,
        calls.failed
    )?;
    write!(
        out,
        "\"requested_total\":{},\"allocated_total\":{},\"classes\":[",
        stats.requested_total, stats.allocated_total
    )?;
    let mut first = true;
    for class in ClassId::firsts() {
        let ClassStats { allocs, frees, requested, slabs, free_in_slabs, in_caches, in_transfer } =
            crate::stats::of_class(class);
        if slabs == 0 && allocs == 0 {
            continue;
        }
        let info = class_info(class);
        let slab_bytes = slabs * info.slab_pages as usize * freestone_base::PAGE_SIZE;
        write!(
            out,
            "{}{{\"size\":{},\"allocs\":{allocs},\"frees\":{frees},\"requested\":{requested},\"slabs\":{slabs},\
             \"slab_bytes\":{slab_bytes},\"free_in_slabs\":{free_in_slabs},\"in_caches\":{in_caches},\
             \"in_transfer\":{in_transfer}}}",
            if first { "" } else { "," },
            info.size
        )?;
        first = false;
    }
    write!(
        out,
        "],\"large\":{{\"allocs\":{},\"frees\":{},\"requested\":{},\"live_blocks\":{},\"live_bytes\":{}}},",
        calls.large_allocs, calls.large_frees, calls.large_requested, stats.large_blocks, stats.large_bytes
    )?;
    write!(
        out,
        "\"pages\":{{\"mapped\":{},\"mapped_peak\":{},\"slabs\":{},\"large\":{},\"free_dirty\":{},\
         \"free_clean\":{},\"metadata\":{},\"page_map\":{},\"caches\":{}}},",
        pages.mapped,
        pages.mapped_peak,
        pages.slabs,
        pages.large,
        pages.free_dirty,
        pages.free_clean,
        pages.metadata,
        pages.page_map,
        stats.cached_bytes
    )?;
    write!(
        out,
        "\"system\":{{\"map\":{},\"commit\":{},\"purge\":{},\"release\":{},\"remap\":{},\"other\":{},\
         \"bytes_mapped\":{},\"bytes_purged\":{},\"bytes_released\":{}}},",
        system.map,
        system.commit,
        system.purge,
        system.release,
        system.moves,
        system.reserve,
        system.bytes_mapped,
        system.bytes_purged,
        system.bytes_released
    )?;
    write!(
        out,
        "\"slow_path\":{{\"entries\":{},\"ns\":{},\"refills\":{},\"flushes\":{},\"emergency\":{}}}}}",
        calls.slow_entries, calls.slow_ns, stats.refills, stats.flushes, calls.emergency
    )?;
    out.write_str("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_json_of_balanced_braces() {
        let mut text = String::new();
        json(&mut text).unwrap();
        let open = text.matches('{').count();
        assert_eq!(open, text.matches('}').count());
        assert!(open >= 7 && text.starts_with("{\"version\":1,") && text.ends_with("}}\n"));
    }
}
