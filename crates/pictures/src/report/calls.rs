//! What a study of the calls shows: the timeline, sizes, lifetimes, the map, the threads.

use crate::charts::axis::Unit;
use crate::charts::bars::{Cell, Table};
use crate::charts::levels::level;
use crate::charts::map::Map;
use crate::charts::plot::{Kind, Layer, Plot};
use crate::findings::{Names, size_label};
use crate::page::Section;
use crate::quantity::{bytes, count};
use crate::stacks::Stacks;
use crate::study::{FRAMES, LIFETIMES, Studied, lifetime_label, total};

/// Call sites that have a layer of their own in the timeline.
const LAYERS: usize = 5;

fn column(name: &str, about: &str) -> (String, String) {
    (name.to_owned(), about.to_owned())
}

/// Live bytes, live bytes by who asked for them, and the pace of calls.
pub(super) fn timeline(studied: &Studied, stacks: &Stacks) -> String {
    let buckets = &studied.buckets;
    let at: Vec<u64> = (0..buckets.most.len()).map(|place| buckets.begin(place)).collect();
    let unit = super::clock(studied);
    let plot = |title: &str, unit_, layers| Plot {
        title: title.into(),
        at: at.clone(),
        at_unit: unit,
        unit: unit_,
        layers,
    };
    let live = Layer { name: "live, as asked for".into(), values: buckets.most.clone(), kind: Kind::Area };
    let mut html =
        format!("<h3>Live bytes</h3>\n{}", plot("Live bytes over time", Unit::Bytes, vec![live]).html(0));
    html.push_str(&by_group(studied, stacks));
    let calls =
        Layer { name: "allocations and resizes".into(), values: buckets.calls.clone(), kind: Kind::Area };
    let asked = Layer { name: "bytes asked for".into(), values: buckets.bytes.clone(), kind: Kind::Area };
    html.push_str("<h3>Pace</h3>\n<p class=\"lead\">In each of the picture's stretches of time: what was asked for, and how often.</p>\n");
    for plot in [
        plot("Calls over time", Unit::Count, vec![calls]),
        plot("Bytes asked for over time", Unit::Bytes, vec![asked]),
    ] {
        html.push_str(&plot.html(4).replacen("class=\"plot\"", "class=\"plot low\"", 1));
    }
    html
}

/// Live bytes by the call sites, or sizes, that had most at any moment.
fn by_group(studied: &Studied, stacks: &Stacks) -> String {
    let names = Names::new(studied, stacks);
    let frames = names.frames(studied);
    let groups = names.groups(studied).len();
    let value = |frame: &Vec<f32>, group: usize| f64::from(frame.get(group).copied().unwrap_or(0.0));
    let mut ranks: Vec<(usize, f64)> = (0..groups)
        .map(|group| (group, frames.iter().map(|frame| value(frame, group)).fold(0.0, f64::max)))
        .filter(|&(_, most)| most > 0.0)
        .collect();
    ranks.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranks.truncate(LAYERS);
    if ranks.is_empty() {
        return String::new();
    }
    let mut layers: Vec<Layer> = ranks
        .iter()
        .map(|&(group, _)| Layer {
            name: names.name(group),
            values: frames.iter().map(|frame| value(frame, group) as u64).collect(),
            kind: Kind::Area,
        })
        .collect();
    let shown: Vec<usize> = ranks.iter().map(|&(group, _)| group).collect();
    let rest = frames.iter().map(|frame| {
        let others = (0..groups).filter(|group| !shown.contains(group));
        others.map(|group| value(frame, group)).sum::<f64>() as u64
    });
    layers.push(Layer { name: "all others".into(), values: rest.collect(), kind: Kind::Area });
    let plot = Plot {
        title: "Live bytes by who asked for them".into(),
        at: moments(studied),
        at_unit: super::clock(studied),
        unit: Unit::Bytes,
        layers,
    };
    let title = if studied.sites.is_empty() { "Live bytes by size" } else { "Live bytes by call site" };
    format!("<h3>{title}</h3>\n{}", plot.html(0))
}

/// When the frames were taken.
fn moments(studied: &Studied) -> Vec<u64> {
    (0..FRAMES)
        .map(|frame| (u128::from(studied.span) * (frame as u128 + 1) / FRAMES as u128) as u64)
        .collect()
}

/// How large blocks were.
pub(super) fn sizes(studied: &Studied) -> Section {
    let used: Vec<_> = studied
        .sizes
        .iter()
        .enumerate()
        .filter(|(_, group)| group.allocations + group.at_peak + group.live > 0.0)
        .collect();
    let most =
        |of: fn(&crate::study::Group) -> f64| used.iter().map(|(_, group)| of(group)).fold(0.0, f64::max);
    let (calls, sum, peak) = (most(|g| g.allocations), most(|g| g.bytes), most(|g| g.at_peak));
    let rows = used.iter().map(|(class, group)| {
        vec![
            Cell::Number(size_label(*class), *class as f64),
            Cell::bar(count(group.allocations as u64), group.allocations, calls),
            Cell::bar(bytes(group.bytes as u64), group.bytes, sum),
            Cell::bar(bytes(group.at_peak as u64), group.at_peak, peak),
            Cell::Number(bytes(group.live as u64), group.live),
            Cell::share(group.short, group.ended_blocks()),
        ]
    });
    let table = Table {
        title: "Blocks by the size that was asked for".into(),
        columns: vec![
            column("size", "as it was asked for"),
            column("blocks", "allocated from start to end"),
            column("bytes", "allocated from start to end"),
            column("live at the peak", "bytes when most bytes of all sizes were live"),
            column("live at the end", "bytes"),
            column("short-lived", "part that was given back within 64 calls"),
        ],
        rows: rows.collect(),
        sortable: true,
        first: 0,
    };
    Section {
        id: "sizes",
        title: "Sizes".into(),
        lead: "How large the blocks were that the program asked for, in powers of two.".into(),
        body: table.html(),
    }
}

/// How long blocks lived.
pub(super) fn lifetimes(studied: &Studied) -> Section {
    let sum = |place: usize| studied.sizes.iter().map(|group| group.lifetimes[place]).sum::<f64>();
    let all: f64 = (0..LIFETIMES).map(sum).sum();
    let most = (0..LIFETIMES).map(sum).fold(0.0, f64::max);
    let small = |place: usize, range: std::ops::Range<usize>| {
        let blocks: f64 = studied.sizes[range].iter().map(|group| group.lifetimes[place]).sum();
        Cell::Number(count(blocks as u64), blocks)
    };
    let rows = (0..LIFETIMES).map(|place| {
        vec![
            Cell::Text(lifetime_label(place, studied.timed).into()),
            Cell::bar(count(sum(place) as u64), sum(place), most),
            Cell::share(sum(place), all),
            small(place, 0..7),
            small(place, 7..11),
            small(place, 11..16),
            small(place, 16..studied.sizes.len()),
        ]
    });
    let table = Table {
        title: "Blocks by how long they lived".into(),
        columns: vec![
            column("lived", ""),
            column("blocks", ""),
            column("of all", ""),
            column("to 64 B", "blocks of at most 64 B"),
            column("to 1 KiB", "blocks above 64 B, to 1 KiB"),
            column("to 32 KiB", "blocks above 1 KiB, to 32 KiB"),
            column("larger", "blocks above 32 KiB"),
        ],
        rows: if all > 0.0 { rows.collect() } else { Vec::new() },
        ..Table::default()
    };
    Section {
        id: "lifetimes",
        title: "Lifetimes".into(),
        lead: "How long blocks lived, from the call that gave them to the call that took them back; what was resized lived on.".into(),
        body: table.html(),
    }
}

/// The heap by address.
pub(super) fn map(studied: &Studied, stacks: &Stacks) -> Section {
    let map = &studied.map;
    let cells =
        map.frames.iter().map(|frame| frame.iter().map(|&live| level(live, 0, map.cell_bytes)).collect());
    let says = map.frames.iter().zip(&map.stranded).map(|(frame, stranded)| {
        let live = total(frame.iter().copied());
        format!("{} live; {} beside them on the same OS pages", bytes(live), bytes(*stranded))
    });
    let drawn = Map {
        id: "heap".into(),
        title: "The heap by address".into(),
        at: moments(studied),
        at_unit: super::clock(studied),
        cells: cells.collect(),
        cell_bytes: map.cell_bytes,
        addresses: map.addresses.iter().map(|address| format!("{address:#x}")).collect(),
        says: says.collect(),
        shows_held: false,
        // The fullest: what is left at the end is nothing in many programs.
        start: (0..map.frames.len())
            .max_by_key(|&frame| total(map.frames[frame].iter().copied()))
            .unwrap_or(0),
        has_slider: true,
    };
    let mut body = drawn.html();
    if !body.is_empty() {
        body.push_str(&held_back(studied, stacks));
    }
    Section {
        id: "map",
        title: "The heap by address".into(),
        lead: format!(
            "Above: time from left to right, addresses from bottom to top; addresses where nothing ever lived are left out. Below: one moment, \
             {} a cell, row by row. The darker (on dark ground the lighter), the fuller.",
            bytes(map.cell_bytes)
        ),
        body,
    }
}

/// Who holds back what lies free on sparse pages.
fn held_back(studied: &Studied, stacks: &Stacks) -> String {
    let stranded = &studied.stranded;
    let names = Names::new(studied, stacks);
    let list: Vec<(usize, f64)> = if studied.sites.is_empty() {
        stranded.by_size.clone()
    } else {
        stranded.by_site.iter().map(|&(site, bytes)| (site as usize, bytes)).collect()
    };
    let most = list.first().map_or(0.0, |&(_, bytes)| bytes);
    let rows = list.iter().take(12).filter(|(_, part)| *part >= 1.0).map(|&(place, part)| {
        vec![
            Cell::Text(names.name(place)),
            Cell::bar(bytes(part as u64), part, most),
            Cell::share(part, stranded.bytes as f64),
        ]
    });
    let when = u128::from(studied.span) * (stranded.frame as u128 + 1) / FRAMES as u128;
    let table = Table {
        title: format!(
            "Who holds back free memory: {} on OS pages of live blocks {}, when it was worst",
            bytes(stranded.bytes),
            super::moment(studied.timed, when as u64)
        ),
        columns: vec![
            column("blocks of", "the call site, or the size where no stacks are known"),
            column(
                "hold back",
                "free bytes on the OS pages where these blocks live, shared among all that live there",
            ),
            column("of all", ""),
        ],
        rows: rows.collect(),
        ..Table::default()
    };
    table.html()
}

/// What each thread did.
pub(super) fn threads(studied: &Studied) -> Section {
    let most = studied.threads.first().map_or(0.0, |thread| thread.calls as f64);
    let rows = studied.threads.iter().take(64).map(|thread| {
        vec![
            Cell::Number(thread.thread.to_string(), f64::from(thread.thread)),
            Cell::bar(count(thread.calls), thread.calls as f64, most),
            Cell::Number(count(thread.allocations), thread.allocations as f64),
            Cell::Number(count(thread.foreign_frees), thread.foreign_frees as f64),
        ]
    });
    let table = Table {
        title: "Threads".into(),
        columns: vec![
            column("thread", ""),
            column("calls", ""),
            column("blocks allocated", ""),
            column("freed for others", "blocks given back that another thread had allocated"),
        ],
        rows: if studied.threads.len() > 1 { rows.collect() } else { Vec::new() },
        sortable: true,
        first: 12,
    };
    Section {
        id: "threads",
        title: "Threads".into(),
        lead: format!(
            "{} threads made calls. Blocks that one thread allocates and another gives back travel between caches.",
            studied.threads.len()
        ),
        body: table.html(),
    }
}
