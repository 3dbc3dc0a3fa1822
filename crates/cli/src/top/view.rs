//! How a sample looks: lines of pieces, each piece with a tone, so that they can be cut to a width and coloured afterwards.

use std::time::Duration;

use super::sample::{Class, Heap, Sample};
use crate::quantity::{bytes, count, percent, rough};
use crate::report::spark::spark;

/// By what size classes are sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Live,
    Free,
    Size,
    Rate,
}

impl Order {
    pub const ALL: [Order; 4] = [Order::Live, Order::Free, Order::Size, Order::Rate];

    /// The word for it, on the command line too.
    pub fn name(self) -> &'static str {
        match self {
            Order::Live => "live",
            Order::Free => "free",
            Order::Size => "size",
            Order::Rate => "rate",
        }
    }

    pub fn next(self) -> Order {
        Order::ALL[(self as usize + 1) % Order::ALL.len()]
    }
}

/// How a piece is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Plain,
    Heading,
    Dim,
    Live,
    Cached,
    Free,
    Warning,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Heading => "1",
            Tone::Dim => "2",
            Tone::Live => "32",
            Tone::Cached => "36",
            Tone::Free => "33",
            Tone::Warning => "31",
        }
    }
}

/// A line.
#[derive(Clone, Debug, Default)]
pub struct Row(Vec<(Tone, String)>);

impl Row {
    fn of(tone: Tone, text: impl Into<String>) -> Row {
        Row(vec![(tone, text.into())])
    }

    fn and(mut self, tone: Tone, text: impl Into<String>) -> Row {
        self.0.push((tone, text.into()));
        self
    }

    /// The text, at most `width` characters of it.
    pub fn render(&self, width: usize, coloured: bool) -> String {
        let mut text = String::new();
        let mut left = width;
        for (tone, piece) in &self.0 {
            let shown: String = piece.chars().take(left).collect();
            left -= shown.chars().count();
            match tone.code() {
                code if coloured && !code.is_empty() && !shown.is_empty() => {
                    text.push_str(&format!("\x1b[{code}m{shown}\x1b[0m"));
                }
                _ => text.push_str(&shown),
            }
        }
        if coloured { text } else { text.trim_end().into() }
    }
}

/// All lines for a sample, as many as fit into `height`.
pub fn rows(sample: &Sample, order: Order, width: usize, height: usize) -> Vec<Row> {
    let mut rows = vec![title(sample), resident(sample, width), Row::default()];
    match &sample.heap {
        Some(heap) => {
            ledger(&mut rows, sample, heap, width);
            rows.push(Row::default());
            rates(&mut rows, heap);
            rows.push(Row::default());
            let room = height.saturating_sub(rows.len());
            classes(&mut rows, heap, order, width, room);
        }
        None => outside(&mut rows, sample, width),
    }
    rows.truncate(height);
    rows
}

fn title(sample: &Sample) -> Row {
    let threads =
        if sample.threads == 1 { "1 thread".into() } else { format!("{} threads", count(sample.threads)) };
    let row = Row::of(Tone::Heading, printable(&sample.command))
        .and(Tone::Plain, format!(" ({})  {threads}", sample.pid));
    match &sample.heap {
        Some(heap) => row.and(
            Tone::Dim,
            format!(
                "  Freestone {}, cache {}, open for {}",
                heap.library,
                heap.cache,
                span(heap.open_seconds)
            ),
        ),
        None => row,
    }
}

/// The name of a process may hold anything.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `3 s`, `4 min 5 s`, `6 h 7 min`.
fn span(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e12)).as_secs();
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

fn resident(sample: &Sample, width: usize) -> Row {
    let lowest = sample.history.iter().min().copied().unwrap_or(0);
    let highest = sample.history.iter().max().copied().unwrap_or(0);
    let words = format!("  {} to {} in {} ", bytes(lowest), bytes(highest), span(sample.history_seconds));
    let head = format!("resident {:>11}", bytes(sample.resident));
    let room = width.saturating_sub(head.len() + words.len() + 1).min(60);
    Row::of(Tone::Heading, head).and(Tone::Dim, words).and(Tone::Live, spark(&sample.history, room))
}

/// A bar of `width` characters for `part` of `whole`, to an eighth of a character.
fn bar(part: u64, whole: u64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part as u128 * width as u128 * 8).checked_div(u128::from(whole)).unwrap_or(0) as usize;
    let eighths = eighths.min(width * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

const LABEL: usize = 20;

fn ledger_row(label: &str, value: u64, whole: u64, tone: Tone, width: usize) -> Row {
    let share = percent(value, whole).unwrap_or_default();
    let words = format!("  {label:<LABEL$}{:>11} {share:>11}  ", bytes(value));
    let room = width.saturating_sub(words.len() + 1).min(50);
    Row::of(Tone::Plain, words).and(tone, bar(value, whole, room))
}

fn ledger(rows: &mut Vec<Row>, sample: &Sample, heap: &Heap, width: usize) {
    let sum: u64 = heap.ledger.iter().map(|line| line.value).sum();
    let whole = sum.max(sample.resident);
    let heading = if heap.estimated {
        "memory, as the heap counts it (in part not resident)"
    } else {
        "resident memory"
    };
    rows.push(Row::of(Tone::Heading, heading));
    for line in heap.ledger.iter().filter(|line| line.value > 0) {
        let label = match (heap.estimated, line.name) {
            (true, "live") => "live blocks",
            (true, "other_anonymous") => "all else",
            _ => line.label,
        };
        let tone = match line.name {
            "live" | "rounding" => Tone::Live,
            "caches" | "transfer" => Tone::Cached,
            "free_in_slabs" | "slab_rests" | "free_dirty" | "lazily_freed" | "huge_overhang" => Tone::Free,
            _ => Tone::Dim,
        };
        rows.push(ledger_row(label, line.value, whole, tone, width));
    }
}

fn rates(rows: &mut Vec<Row>, heap: &Heap) {
    if heap.rates.is_empty() {
        return;
    }
    let rate =
        |name: &str| heap.rates.iter().find(|rate| rate.name == name).map_or(0.0, |rate| rate.per_second);
    let mut row = Row::of(Tone::Heading, "a second  ");
    if heap.counted {
        let taken = rate("malloc") + rate("calloc") + rate("aligned");
        let words = [("malloc", taken), ("realloc", rate("realloc")), ("free", rate("free"))];
        for (name, value) in words {
            row = row.and(Tone::Plain, format!("{name} {}  ", rough(value)));
        }
        let failed = rate("failed");
        if failed > 0.0 {
            row = row.and(Tone::Warning, format!("refused {}  ", rough(failed)));
        }
    }
    let batches = format!("batches in {}, out {}  ", rough(rate("refills")), rough(rate("flushes")));
    let returned = rate("bytes_purged") + rate("bytes_released");
    let system = format!(
        "system calls {}, mapped {}, given back {}",
        rough(rate("system_calls")),
        bytes(rate("bytes_mapped") as u64),
        bytes(returned as u64)
    );
    rows.push(row.and(Tone::Plain, batches).and(Tone::Plain, system));
}

fn sorted(classes: &[Class], order: Order) -> Vec<&Class> {
    let mut sorted: Vec<&Class> = classes.iter().filter(|class| class.slabs > 0).collect();
    sorted.sort_by(|a, b| {
        let key = |class: &Class| match order {
            Order::Live => class.bytes()[0] as f64,
            Order::Free => (class.bytes()[1] + class.bytes()[2]) as f64,
            Order::Size => -(class.size as f64),
            Order::Rate => class.allocs_per_second,
        };
        key(b).total_cmp(&key(a)).then(a.size.cmp(&b.size))
    });
    sorted
}

fn classes(rows: &mut Vec<Row>, heap: &Heap, order: Order, width: usize, room: usize) {
    let sorted = sorted(&heap.classes, order);
    if sorted.is_empty() || room < 2 {
        return;
    }
    let rate = if heap.counted { "  a second" } else { "" };
    let head = format!(
        "{:>10} {:>12} {:>11} {:>11} {:>11}{rate:>10}  ",
        "size class", "live blocks", "live", "cached", "free"
    );
    let legend = [(Tone::Live, "█ live "), (Tone::Cached, "█ cached "), (Tone::Free, "█ free in slabs")];
    let bar_room = width.saturating_sub(head.chars().count() + 1).min(50);
    rows.push(legend.into_iter().fold(Row::of(Tone::Heading, head), |row, (tone, text)| row.and(tone, text)));
    let most = sorted.iter().map(|class| class.bytes().iter().sum::<u64>()).max().unwrap_or(1).max(1);
    for class in sorted.into_iter().take(room - 1) {
        let [live, cached, free] = class.bytes();
        let rate = if heap.counted { rough(class.allocs_per_second) } else { String::new() };
        let words = format!(
            "{:>10} {:>12} {:>11} {:>11} {:>11}{rate:>10}  ",
            bytes(class.size),
            count(class.live),
            bytes(live),
            bytes(cached),
            bytes(free)
        );
        // Whole characters, so that the three meet.
        let cells = |bytes: u64| (bytes as u128 * bar_room as u128 / u128::from(most)) as usize;
        let (to_live, to_cached, to_free) = (cells(live), cells(live + cached), cells(live + cached + free));
        rows.push(
            Row::of(Tone::Plain, words)
                .and(Tone::Live, "█".repeat(to_live))
                .and(Tone::Cached, "▓".repeat(to_cached - to_live))
                .and(Tone::Free, "░".repeat(to_free - to_cached)),
        );
    }
}

fn outside(rows: &mut Vec<Row>, sample: &Sample, width: usize) {
    rows.push(Row::of(Tone::Heading, "memory, as the kernel sees it"));
    for line in &sample.kernel {
        rows.push(ledger_row(line.label, line.value, sample.resident, Tone::Live, width));
    }
    rows.push(Row::default());
    rows.push(Row::of(Tone::Warning, "The process has no control open, so its heap cannot be seen."));
    for line in crate::explain::wrapped(crate::attach::HOW.trim(), "").lines() {
        rows.push(Row::of(Tone::Plain, line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample::{Named, Rate};

    fn sample() -> Sample {
        let class = |size, live, cached, free_in_slabs| Class {
            size,
            live,
            cached,
            free_in_slabs,
            slabs: 1,
            allocs_per_second: size as f64,
        };
        let named = |name, label, value| Named { name, label, value };
        Sample {
            pid: 7,
            command: "a\x1bb".into(),
            threads: 2,
            resident: 10 << 20,
            history: vec![1 << 20, 10 << 20],
            history_seconds: 61.0,
            heap: Some(Heap {
                library: "0.1.0".into(),
                cache: "cpu",
                counted: true,
                ledger: vec![
                    named("live", "live", 5 << 20),
                    named("caches", "in caches", 5 << 20),
                    named("shared", "shared", 0),
                ],
                rates: vec![Rate { name: "malloc", per_second: 1e6 }],
                classes: vec![class(16, 10, 5, 1), class(64, 100, 0, 28), class(1024, 1, 0, 100)],
                ..Heap::default()
            }),
            ..Sample::default()
        }
    }

    fn text(sample: &Sample, order: Order, width: usize) -> String {
        rows(sample, order, width, 100).iter().map(|row| row.render(width, false) + "\n").collect()
    }

    #[test]
    fn a_sample_becomes_lines_that_fit() {
        let sample = sample();
        let wide = text(&sample, Order::Live, 120);
        assert!(wide.starts_with("a?b (7)  2 threads  Freestone 0.1.0, cache cpu"), "{wide}");
        assert!(wide.contains("1.0 MiB to 10.0 MiB in 1 min 1 s ▁█"), "{wide}");
        assert!(wide.contains("malloc 1.0 million"), "{wide}");
        assert!(!wide.contains("shared"), "what is zero is left out: {wide}");
        for width in [1, 20, 60, 80] {
            for row in rows(&sample, Order::Live, width, 8) {
                assert!(row.render(width, false).chars().count() <= width);
            }
        }
        let coloured = rows(&sample, Order::Live, 120, 100)[0].render(120, true);
        assert!(coloured.starts_with("\x1b[1ma?b\x1b[0m"));
    }

    #[test]
    fn classes_are_sorted_as_asked() {
        let sample = sample();
        let classes = &sample.heap.as_ref().unwrap().classes;
        let sizes = |order| sorted(classes, order).iter().map(|class| class.size).collect::<Vec<_>>();
        assert_eq!(sizes(Order::Live), [64, 1024, 16]);
        assert_eq!(sizes(Order::Free), [1024, 64, 16]);
        assert_eq!(sizes(Order::Size), [16, 64, 1024]);
        assert_eq!(sizes(Order::Rate), [1024, 64, 16]);
        assert_eq!(Order::Rate.next(), Order::Live);
    }

    #[test]
    fn bars_are_as_long_as_they_should() {
        assert_eq!(bar(1, 2, 4), "██");
        assert_eq!(bar(1, 16, 2), "▏");
        assert_eq!((bar(5, 0, 4).as_str(), bar(9, 3, 2).as_str()), ("", "██"));
    }
}
