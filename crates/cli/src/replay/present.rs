//! What a replay found, as a table, as JSON, as a picture.

use serde_json::json;

use super::player::Played;
use super::{Entry, Original, seconds};
use crate::chart::{Chart, Curve, Dots};
use crate::quantity::{bytes, count, counted};
use crate::verdict::{Ratio, Verdict, median, range};

fn walls(entry: &Entry) -> Vec<f64> {
    entry.timed.iter().map(|played| played.wall).collect()
}

fn processors(entry: &Entry) -> Vec<f64> {
    entry.timed.iter().map(|played| played.user + played.system).collect()
}

/// What the player takes for itself: wall and processor time, of each round.
fn own(original: &Original) -> (Vec<f64>, Vec<f64>) {
    original.own.iter().map(|played| (played.wall, played.user + played.system)).unzip()
}

fn of(entry: &Entry, figure: impl Fn(&Played) -> f64) -> f64 {
    median(&entry.timed.iter().map(figure).collect::<Vec<f64>>())
}

/// Part of the memory at the peak that nobody asked for, of what was asked for.
fn waste(original: &Original, played: &Played) -> f64 {
    played.resident_at_peak as f64 / original.peak_live.max(1) as f64 - 1.0
}

/// The table, with what it says in words.
pub fn table(original: &Original, entries: &[Entry]) -> String {
    let mut text = format!(
        "{}: {}, {} of {}{}\n",
        original.trace,
        original.process,
        counted(original.calls, "call", "calls"),
        counted(original.threads as u64, "thread", "threads"),
        match original.seconds {
            0.0 => String::new(),
            long => format!(" in {}", seconds(long)),
        },
    );
    let is_exact = |entry: &Entry| entry.exact.as_ref().map(|played| played.peak_live == original.peak_live);
    text.push_str(&format!("At most {} bytes are live", count(original.peak_live)));
    text.push_str(match entries.iter().filter_map(is_exact).all(|exact| exact) {
        true => ", in every replay as in the original.\n",
        false => " in the original; where a replay differs, it was refused memory.\n",
    });
    for remark in &original.remarks {
        text.push_str(&format!("{remark}\n"));
    }
    let width = entries.iter().map(|entry| entry.contestant.name.chars().count()).max().unwrap_or(0).max(9);
    text.push_str(&format!(
        "\n{:<width$}  {:>9}  {:>21}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>7}  {:>9}\n",
        "allocator",
        "time",
        "least to most",
        "processor",
        "faults",
        "at start",
        "peak",
        "mean",
        "waste",
        "at end"
    ));
    for entry in entries {
        text.push_str(&format!("{:<width$}", entry.contestant.name));
        let Some(exact) = &entry.exact else {
            text.push_str(&format!("  {}\n", entry.failure.as_deref().unwrap_or("did not play")));
            continue;
        };
        let (walls, none) = (walls(entry), entry.timed.is_empty());
        let (least, most) = range(&walls);
        let cells = [
            (9, if none { "-".into() } else { seconds(median(&walls)) }),
            (21, if none { "-".into() } else { format!("{} to {}", seconds(least), seconds(most)) }),
            (9, if none { "-".into() } else { seconds(of(entry, |played| played.user + played.system)) }),
            (9, if none { "-".into() } else { count(of(entry, |played| played.faults as f64) as u64) }),
            (9, bytes(exact.start_resident)),
            (9, bytes(exact.peak_resident)),
            (9, bytes(exact.mean_resident)),
            (7, format!("{:.1} %", waste(original, exact) * 100.0)),
            (9, bytes(exact.end_resident)),
        ];
        for (width, cell) in cells {
            text.push_str(&format!("  {cell:>width$}"));
        }
        if exact.refused > 0 {
            text.push_str(&format!("  {} refused", count(exact.refused)));
        }
        if let Some(failure) = &entry.failure {
            text.push_str(&format!("  then {failure}"));
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&words(entries));
    let (wall, processor) = own(original);
    if !wall.is_empty() {
        text.push_str(&format!(
            "Of each time the player itself takes {}, of the processor's {}.\n",
            seconds(median(&wall)),
            seconds(median(&processor))
        ));
    }
    text.push_str(
        "\nTime: from the first call to the last, without the program's own work. At start: what is resident of an empty\n\
         process with the allocator; peak, mean, at end: beyond that. Waste: what is resident beyond the start when most\n\
         bytes are live, beyond those. The lines in words above compare what is resident at the peak with the start in it.\n",
    );
    text
}

/// Each against the first, in words.
fn words(entries: &[Entry]) -> String {
    let Some((first, others)) = entries.split_first() else { return String::new() };
    let Some(base) = &first.exact else { return String::new() };
    let mut text = String::new();
    for other in others {
        let Some(exact) = &other.exact else { continue };
        let (name, base_name) = (&other.contestant.name, &first.contestant.name);
        let ratio = Ratio::of(&walls(other), &walls(first));
        let time = time_in_words(ratio);
        // On a machine that does other things as well, the steadier figure.
        let processor = Ratio::of(&processors(other), &processors(first));
        let processor = match processor.rounds {
            0 => String::new(),
            _ => format!("{:.2} times the processor time, ", processor.median),
        };
        let whole = |played: &Played| (played.start_resident + played.peak_resident).max(1) as f64;
        let memory = whole(exact) / whole(base);
        let memory = match memory {
            m if (m - 1.0).abs() < 0.02 => "as much memory at the peak".into(),
            m if m < 1.0 => format!("{:.0} % less memory at the peak", (1.0 - m) * 100.0),
            m if m < 10.0 => format!("{:.0} % more memory at the peak", (m - 1.0) * 100.0),
            m => format!("{m:.0} times the memory at the peak"),
        };
        text.push_str(&format!("{name} against {base_name}: {time}, {processor}{memory}.\n"));
    }
    text
}

/// What a ratio of times says.
pub fn time_in_words(ratio: Ratio) -> String {
    let bounds = format!("{:.2} times, {:.2} to {:.2}", ratio.median, ratio.low, ratio.high);
    match ratio.verdict() {
        Verdict::Less => format!("faster ({bounds})"),
        Verdict::More => format!("slower ({bounds})"),
        Verdict::Noise => format!("no difference in time beyond noise ({bounds})"),
        Verdict::TooFew if ratio.rounds == 0 => "times were not taken".into(),
        Verdict::TooFew => format!("too few rounds to compare times ({bounds})"),
    }
}

/// All figures.
pub fn json(original: &Original, entries: &[Entry]) -> String {
    let base = entries.first().map(walls).unwrap_or_default();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let ratio = Ratio::of(&walls(entry), &base);
            json!({
                "allocator": entry.contestant.name,
                "options": entry.contestant.conf.text(),
                "failure": entry.failure,
                "time_s": walls(entry),
                "median_time_s": median(&walls(entry)),
                "time_to_first": ratio,
                "time_verdict": ratio.verdict(),
                "processor_s": processors(entry),
                "faults": entry.timed.iter().map(|played| played.faults).collect::<Vec<_>>(),
                "refused": entry.exact.as_ref().map(|played| played.refused),
                "peak_live": entry.exact.as_ref().map(|played| played.peak_live),
                "start_resident": entry.exact.as_ref().map(|played| played.start_resident),
                "peak_resident": entry.exact.as_ref().map(|played| played.peak_resident),
                "resident_at_peak": entry.exact.as_ref().map(|played| played.resident_at_peak),
                "mean_resident": entry.exact.as_ref().map(|played| played.mean_resident),
                "end_resident": entry.exact.as_ref().map(|played| played.end_resident),
                "end_live": entry.exact.as_ref().map(|played| played.end_live),
                "waste": entry.exact.as_ref().map(|played| waste(original, played)),
                "course": entry.exact.as_ref().map(|played| &played.course),
            })
        })
        .collect();
    let all = json!({
        "trace": original.trace,
        "process": original.process,
        "threads": original.threads,
        "calls": original.calls,
        "seconds": original.seconds,
        "peak_live": original.peak_live,
        "player_time_s": own(original).0,
        "player_processor_s": own(original).1,
        "remarks": original.remarks,
        "allocators": rows,
    });
    format!("{all:#}\n")
}

/// Times, peaks, and memory over the calls.
pub fn picture(original: &Original, entries: &[Entry]) -> String {
    let played = || entries.iter().filter_map(|entry| Some((entry, entry.exact.as_ref()?)));
    let name = |entry: &Entry| entry.contestant.name.clone();
    let mut chart = Chart::new(format!("{}: {} calls again", original.process, count(original.calls)));
    chart.dots(Dots {
        title: "Time".into(),
        show: seconds,
        rows: played().map(|(entry, _)| (name(entry), walls(entry))).collect(),
    });
    chart.dots(Dots {
        title: "Most memory resident".into(),
        show: |value| bytes(value as u64),
        rows: played().map(|(entry, played)| (name(entry), vec![played.peak_resident as f64])).collect(),
    });
    let curve = |name: String, course: &[(u64, u64, u64)], pick: fn(&(u64, u64, u64)) -> u64| Curve {
        name,
        points: course.iter().map(|sample| (sample.0 as f64, pick(sample) as f64)).collect(),
    };
    let mut curves: Vec<Curve> =
        played().map(|(entry, played)| curve(name(entry), &played.course, |sample| sample.2)).collect();
    if let Some((_, played)) = played().next() {
        curves.push(curve("live".into(), &played.course, |sample| sample.1));
    }
    chart.curves("Resident memory over the calls", curves, |value| bytes(value as u64));
    chart.finish()
}
