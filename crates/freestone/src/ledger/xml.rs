//! The figures as glibc's `malloc_info` and `malloc_stats` present theirs: XML, and a few lines of words.

use core::fmt::{self, Write};

use freestone_base::ledger::Share;
use freestone_base::text::FixedText;
use freestone_base::{Bytes, ClassId, class_info};

use crate::{gate, message, raw};

/// `malloc_info`: XML, in pieces, so that no stack has to hold the whole.
///
/// # Errors
/// Those of `out`.
pub fn write_xml(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "<malloc version=\"freestone-1\">\n<sizes>")?;
    let stats = raw::stats();
    for class in ClassId::firsts() {
        // Not across the writing: a stream may allocate.
        let Some(inside) = gate::enter_patiently() else { continue };
        let entry = crate::stats::of_class(class);
        drop(inside);
        if entry.slabs > 0 {
            writeln!(
                out,
                "<size bytes=\"{}\" slabs=\"{}\" free=\"{}\" cached=\"{}\"/>",
                class_info(class).size,
                entry.slabs,
                entry.free_in_slabs,
                entry.in_caches + entry.in_transfer
            )?;
        }
    }
    writeln!(
        out,
        "</sizes>\n<live blocks=\"{}\" bytes=\"{}\"/>\n<large blocks=\"{}\" bytes=\"{}\"/>",
        stats.live_blocks, stats.live_bytes, stats.large_blocks, stats.large_bytes
    )?;
    if let Some(ledger) = super::take() {
        writeln!(out, "<ledger resident=\"{}\" unexplained=\"{}\">", ledger.resident, ledger.unexplained())?;
        for (line, bytes) in ledger.lines() {
            writeln!(
                out,
                "<line name=\"{}\" share=\"{}\" bytes=\"{bytes}\"/>",
                line.name(),
                line.share().name()
            )?;
        }
        writeln!(out, "</ledger>")?;
    }
    writeln!(
        out,
        "<system type=\"current\" size=\"{}\"/>\n<system type=\"max\" size=\"{}\"/>\n</malloc>",
        stats.pages.mapped, stats.pages.mapped_peak
    )
}

/// `malloc_stats`: a few lines to standard error.
pub fn print_stats() {
    let stats = raw::stats();
    let mut text = FixedText::<480>::new();
    let _ = write!(
        text,
        "live {} in {} blocks, cached {}, free dirty {}, free clean {}, mapped {}",
        Bytes(stats.live_bytes),
        stats.live_blocks,
        Bytes(stats.cached_bytes),
        Bytes(stats.pages.free_dirty),
        Bytes(stats.pages.free_clean),
        Bytes(stats.pages.mapped),
    );
    message::say(&text);
    let Some(ledger) = super::take() else { return };
    text.clear();
    let _ = write!(
        text,
        "resident {}: live {}, free {}, metadata {}, not the allocator's {}",
        Bytes(ledger.resident),
        Bytes(ledger.share(Share::Live)),
        Bytes(ledger.share(Share::Free)),
        Bytes(ledger.share(Share::Metadata)),
        Bytes(ledger.share(Share::Foreign)),
    );
    message::say(&text);
    for (line, bytes) in ledger.lines().filter(|&(_, bytes)| bytes > 0) {
        text.clear();
        let _ = write!(text, "  {:<20} {:>10}", line.label(), Bytes(bytes));
        message::say(&text);
    }
}
