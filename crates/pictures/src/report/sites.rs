//! Tables by call site.

use std::cmp::Reverse;

use hashbrown::HashMap;

use super::Profile;
use crate::charts::bars::{Cell, Table};
use crate::findings::Names;
use crate::page::Section;
use crate::quantity::{bytes, count, rough};
use crate::stacks::{StackId, Stacks};
use crate::study::{Group, Studied};

/// Call sites in a table.
const SITES: usize = 200;

fn column(name: &str, about: &str) -> (String, String) {
    (name.to_owned(), about.to_owned())
}

/// The site, which opens to its whole stack; or the size.
fn name(studied: &Studied, stacks: &Stacks, place: usize) -> Cell {
    let names = Names::new(studied, stacks);
    if studied.sites.is_empty() {
        return Cell::Text(names.name(place));
    }
    let frames = stacks.frames(StackId(place as u32)).rev().map(str::to_owned).collect();
    Cell::More(names.name(place), frames)
}

/// All call sites.
pub(super) fn table(studied: &Studied, stacks: &Stacks) -> Section {
    let mut sites: Vec<(usize, &Group)> = studied
        .sites
        .iter()
        .enumerate()
        .filter(|(_, group)| group.allocations + group.resizes > 0.0)
        .collect();
    // Those with most at the peak, and then those with most in all: none of either is missing.
    sites.sort_by_key(|(_, group)| Reverse((group.at_peak as u64, group.bytes as u64)));
    let all = sites.len();
    let mut by_bytes = sites.split_off(sites.len().min(SITES / 2));
    by_bytes.sort_by_key(|(_, group)| Reverse(group.bytes as u64));
    sites.extend(by_bytes.into_iter().take(SITES / 2));
    let most = |of: fn(&Group) -> f64| sites.iter().map(|(_, group)| of(group)).fold(0.0, f64::max);
    let (peak, sum) = (most(|g| g.at_peak), most(|g| g.bytes));
    let rows = sites.iter().map(|&(place, group)| {
        vec![
            name(studied, stacks, place),
            Cell::bar(bytes(group.at_peak as u64), group.at_peak, peak),
            Cell::Number(bytes(group.live as u64), group.live),
            Cell::bar(bytes(group.bytes as u64), group.bytes, sum),
            Cell::Number(count(group.allocations.round() as u64), group.allocations),
            Cell::Number(
                bytes((group.bytes / group.allocations.max(1.0)) as u64),
                group.bytes / group.allocations.max(1.0),
            ),
            Cell::share(group.short, group.ended_blocks()),
            Cell::Number(count(group.resizes.round() as u64), group.resizes),
        ]
    });
    let table = Table {
        title: "Call sites, those with most live bytes at the peak first; a site opens to its stack".into(),
        columns: vec![
            column("call site", "the innermost function of the program's own, and its caller"),
            column("live at the peak", "bytes when most bytes of the whole program were live"),
            column("live at the end", "bytes"),
            column("allocated", "bytes from start to end"),
            column("blocks", "allocated from start to end"),
            column("mean", "bytes of a block"),
            column("short-lived", "part that was given back within 64 calls"),
            column("resizes", "calls of realloc"),
        ],
        rows: rows.collect(),
        sortable: true,
        first: 20,
    };
    Section {
        id: "sites",
        title: "Call sites".into(),
        lead: format!("{} call sites allocated. Click a heading to sort by it.", count(all as u64)),
        body: table.html(),
    }
}

/// What could be had with fewer calls.
pub(super) fn churn(studied: &Studied, stacks: &Stacks) -> Section {
    let names = Names::new(studied, stacks);
    let groups: Vec<(usize, &Group)> = names.groups(studied).iter().enumerate().collect();
    let what = if studied.sites.is_empty() { "size" } else { "call site" };
    let top = |of: fn(&Group) -> f64, least: f64| {
        let mut list: Vec<(usize, &Group)> =
            groups.iter().copied().filter(|(_, group)| of(group) >= least).collect();
        list.sort_by(|a, b| of(b.1).total_cmp(&of(a.1)));
        list.truncate(12);
        list
    };
    let chains = top(|group| group.chain_copied + group.chain_steps, 16.0);
    let most = chains.first().map_or(0.0, |(_, group)| group.chain_copied);
    let rows = chains.into_iter().map(|(place, group)| {
        vec![
            name(studied, stacks, place),
            Cell::Number(count(group.chains.round() as u64), group.chains),
            Cell::Number(
                format!("{:.1}", group.chain_steps / group.chains.max(1.0)),
                group.chain_steps / group.chains.max(1.0),
            ),
            Cell::bar(bytes(group.chain_copied as u64), group.chain_copied, most),
            Cell::Number(bytes(group.usual_chain_size()), group.usual_chain_size() as f64),
            Cell::Number(rough(group.chain_steps), group.chain_steps),
        ]
    });
    let growing = Table {
        title:
            "Blocks that grew in three steps or more, and what reserving their final size at once would save"
                .into(),
        columns: vec![
            column(what, ""),
            column("blocks", "that grew three times or more"),
            column("steps", "calls of realloc for each, on average"),
            column("copied", "bytes that moved because the block could not grow in place"),
            column("nine of ten end below", "bytes; what to give to with_capacity"),
            column("calls saved", "calls of realloc that one reservation each would save"),
        ],
        rows: rows.collect(),
        sortable: true,
        first: 0,
    };
    let short = top(|group| group.short, 100.0);
    let most = short.first().map_or(0.0, |(_, group)| group.short);
    let rows = short.into_iter().map(|(place, group)| {
        vec![
            name(studied, stacks, place),
            Cell::bar(count(group.short.round() as u64), group.short, most),
            Cell::share(group.short, group.ended_blocks()),
            Cell::Number(
                bytes((group.bytes / group.allocations.max(1.0)) as u64),
                group.bytes / group.allocations.max(1.0),
            ),
        ]
    });
    let short = Table {
        title: "Blocks that were given back within 64 calls of the program".into(),
        columns: vec![
            column(what, ""),
            column("blocks", ""),
            column("of all", "blocks of this row"),
            column("mean", "bytes of a block"),
        ],
        rows: rows.collect(),
        sortable: true,
        first: 0,
    };
    let tails = top(|group| group.untouched, 4096.0);
    let rows = tails.into_iter().map(|(place, group)| {
        vec![
            name(studied, stacks, place),
            Cell::Number(bytes(group.untouched as u64), group.untouched),
            Cell::Number(count(group.tails as u64), group.tails),
        ]
    });
    let tails = Table {
        title: "Ends of blocks that were never touched".into(),
        columns: vec![
            column(what, ""),
            column("bytes", "never touched"),
            column("blocks", "with such an end"),
        ],
        rows: rows.collect(),
        ..Table::default()
    };
    Section {
        id: "churn",
        title: "Churn".into(),
        lead: "Work that the program could save: blocks that grow step by step, blocks that hardly live, memory that nobody uses.".into(),
        body: [growing, short, tails].iter().map(Table::html).collect(),
    }
}

/// The stacks of a profile in a table.
pub(super) fn profile_table(profile: &Profile, stacks: &Stacks) -> Section {
    let mut body = String::new();
    if let Some(measure) = profile.measures.first() {
        // Stacks that differ in addresses alone are one to the reader.
        let mut sums: HashMap<StackId, f64> = HashMap::new();
        measure.values.iter().for_each(|&(stack, value)| *sums.entry(stack).or_default() += value);
        let mut values: Vec<(StackId, f64)> = sums.into_iter().collect();
        values.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let whole: f64 = values.iter().map(|(_, value)| value).sum();
        let most = values.first().map_or(0.0, |(_, value)| *value);
        let rows = values.iter().take(SITES).map(|&(stack, value)| {
            let frames = stacks.frames(stack).rev().map(str::to_owned).collect();
            vec![
                Cell::More(stacks.site(stack), frames),
                Cell::bar(measure.unit.show(value as u64), value, most),
                Cell::share(value, whole),
            ]
        });
        let table = Table {
            title: format!("Call sites by {}", measure.name),
            columns: vec![column("call site", ""), column(&measure.name, ""), column("of all", "")],
            rows: rows.collect(),
            sortable: true,
            first: 20,
        };
        body = table.html();
    }
    Section {
        id: "sites",
        title: "Call sites".into(),
        lead: "Those with most first; a site opens to its stack.".into(),
        body,
    }
}
