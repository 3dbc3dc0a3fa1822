//! The figures of a run: its history, its ledger, its size classes.

use std::fmt::Write;

use crate::charts::axis::Unit;
use crate::charts::bars::{Cell, Table};
use crate::charts::plot::{Kind, Layer, Plot};
use crate::html::Escaped;
use crate::page::Section;
use crate::quantity::{bytes, count};

/// What `freestone run` says of a program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// How it ended: `ended with exit code 0`.
    pub end: String,
    /// Nanoseconds from its start to its end.
    pub wall_ns: u64,
    /// The most bytes resident.
    pub resident_peak: u64,
    /// Bytes resident at the end.
    pub resident: u64,
    /// The most bytes in live blocks, by the size of the block.
    pub live_peak: u64,
    /// Bytes in live blocks at the end.
    pub live_end: u64,
    /// Calls in all.
    pub calls: u64,
    /// Changes of size.
    pub reallocs: u64,
    /// Those of them that kept the address.
    pub reallocs_in_place: u64,
    /// Bytes that went back to the system.
    pub purged: u64,
    /// Every resident byte at the end, in the order of the ledger.
    pub ledger: Vec<LedgerLine>,
    /// Figures over time, the oldest first.
    pub history: Vec<Sample>,
    /// Size classes.
    pub classes: Vec<ClassFigures>,
}

/// A line of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerLine {
    /// Its name in files.
    pub name: &'static str,
    /// What it is called.
    pub label: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What the share is called that it belongs to.
    pub share: &'static str,
    /// Bytes.
    pub bytes: u64,
}

/// The highest figures of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it began, in nanoseconds from the start.
    pub at: u64,
    /// Resident bytes of the process.
    pub resident: u64,
    /// Bytes in live blocks.
    pub live: u64,
    /// Bytes of free spans that may be resident.
    pub free_dirty: u64,
    /// Bytes in caches.
    pub caches: u64,
}

/// A size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassFigures {
    /// Bytes of a block.
    pub size: u64,
    /// Blocks handed out.
    pub allocations: u64,
    /// Bytes of blocks in the program's hands.
    pub live_bytes: u64,
    /// Bytes of blocks that lie free in slabs.
    pub free_bytes: u64,
    /// Bytes asked for in blocks that were handed out.
    pub requested: u64,
}

/// The picture over time.
pub(super) fn history(figures: &Figures) -> String {
    let samples = &figures.history;
    let layer = |name: &str, kind, of: &dyn Fn(&Sample) -> u64| Layer {
        name: name.into(),
        kind,
        values: samples.iter().map(of).collect(),
    };
    let rest =
        |sample: &Sample| sample.resident.saturating_sub(sample.live + sample.caches + sample.free_dirty);
    let plot = Plot {
        title: "Resident memory by what it is".into(),
        at: samples.iter().map(|sample| sample.at).collect(),
        at_unit: Unit::Time,
        unit: Unit::Bytes,
        layers: vec![
            layer("in live blocks", Kind::Area, &|sample| sample.live),
            layer("free, in caches", Kind::Area, &|sample| sample.caches),
            layer("free, dirty pages", Kind::Area, &|sample| sample.free_dirty),
            layer("all else: free in slabs, metadata, code, stacks", Kind::Area, &rest),
            layer("resident, by the kernel", Kind::Line, &|sample| sample.resident),
        ],
    };
    let html = plot.html(0);
    if html.is_empty() {
        return html;
    }
    format!(
        "<h3>Resident memory</h3>\n<p class=\"lead\">Each figure is the highest of its stretch, so the areas may exceed the line, as live \
         blocks do of which a part was never touched.</p>\n{html}"
    )
}

/// Where every resident byte is at the end.
pub(super) fn ledger(figures: &Figures) -> Section {
    let lines: Vec<&LedgerLine> = figures.ledger.iter().filter(|line| line.bytes > 0).collect();
    let mut body = String::new();
    if !lines.is_empty() {
        let shares = ["live blocks", "free memory", "metadata", "not the heap's"];
        body.push_str("<div class=\"ledger\" role=\"img\" aria-label=\"Shares of what is resident\">");
        for (place, share) in shares.iter().enumerate() {
            let sum: u64 = lines.iter().filter(|line| line.share == *share).map(|line| line.bytes).sum();
            let part = sum as f64 / figures.resident.max(1) as f64 * 100.0;
            if sum > 0 {
                let _ = write!(
                    body,
                    "<span class=\"c{place}\" style=\"width:{part:.2}%\" title=\"{0}, {1}\">{0} {1}</span>",
                    Escaped(share),
                    bytes(sum)
                );
            }
        }
        body.push_str("</div>\n");
        let most = lines.iter().map(|line| line.bytes).max().unwrap_or(1) as f64;
        let rows = lines.iter().map(|line| {
            vec![
                Cell::Text(line.label.into()),
                Cell::Text(line.share.into()),
                Cell::bar(bytes(line.bytes), line.bytes as f64, most),
                Cell::share(line.bytes as f64, figures.resident as f64),
                Cell::Text(line.about.into()),
            ]
        });
        let column = |name: &str, about: &str| (name.to_owned(), about.to_owned());
        let table = Table {
            title: format!("Every resident byte at the end: {}", bytes(figures.resident)),
            columns: vec![
                column("line", ""),
                column("share", ""),
                column("bytes", ""),
                column("of all", "share of what is resident"),
                column("meaning", ""),
            ],
            rows: rows.collect(),
            ..Table::default()
        };
        body.push_str(&table.html());
    }
    Section {
        id: "ledger",
        title: "Where every byte is".into(),
        lead: "The resident set at the end, each byte in one line.".into(),
        body,
    }
}

/// Size classes, where there is no trace.
pub(super) fn sizes(figures: &Figures) -> Section {
    let most =
        figures.classes.iter().map(|class| class.live_bytes + class.free_bytes).max().unwrap_or(0) as f64;
    let rows = figures.classes.iter().map(|class| {
        let handed_out = class.allocations * class.size;
        vec![
            Cell::Number(bytes(class.size), class.size as f64),
            Cell::Number(count(class.allocations), class.allocations as f64),
            Cell::bar(bytes(class.live_bytes), class.live_bytes as f64, most),
            Cell::bar(bytes(class.free_bytes), class.free_bytes as f64, most),
            Cell::share(handed_out.saturating_sub(class.requested) as f64, handed_out as f64),
        ]
    });
    let column = |name: &str, about: &str| (name.to_owned(), about.to_owned());
    let table = Table {
        title: "Size classes at the end".into(),
        columns: vec![
            column("block", "bytes of a block"),
            column("handed out", "blocks, from start to end"),
            column("live", "bytes in the program's hands"),
            column("free in slabs", "bytes of blocks that lie free in slabs"),
            column("unused", "part of the blocks that no request had asked for"),
        ],
        rows: rows.collect(),
        sortable: true,
        first: 16,
    };
    Section {
        id: "sizes",
        title: "Sizes".into(),
        lead: "What each size class handed out, and what of it lies free.".into(),
        body: table.html(),
    }
}
