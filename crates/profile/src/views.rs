//! A profile for people: folded stacks, a flame graph, a list.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::io;

use inferno::flamegraph;

use crate::profile::{Frame, Measure, Profile, Stack};

/// A number of bytes or objects in few characters.
fn amount(value: f64, measure: Measure) -> String {
    if !measure.is_bytes() {
        return format!("{value:.0}");
    }
    // The sum of nothing is -0.
    let mut value = value + 0.0;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1024.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A name that fits a folded stack, where `;` separates.
fn word(name: &str) -> String {
    name.chars().map(|sign| if sign == ';' || sign.is_control() { ':' } else { sign }).collect()
}

impl Profile {
    /// The stacks as lines `outermost;…;innermost N`, as flame graph tools read them; those of no value are left out. O(stacks).
    pub fn folded(&self, measure: Measure) -> String {
        self.folded_as(measure, |frame| word(&frame.function))
    }

    /// The same with the file and the line of each call.
    pub fn folded_with_lines(&self, measure: Measure) -> String {
        self.folded_as(measure, |frame| match frame.line {
            0 => word(&frame.function),
            line => {
                let file = frame.file.rsplit('/').next().unwrap_or_default();
                format!("{} ({}:{line})", word(&frame.function), word(file))
            }
        })
    }

    fn folded_as(&self, measure: Measure, name: impl Fn(&Frame) -> String) -> String {
        let mut sums: HashMap<String, f64> = HashMap::new();
        for stack in &self.stacks {
            let value = stack.get(measure);
            if value != 0.0 {
                let names: Vec<String> = self.frames(stack).rev().map(&name).collect();
                let line = if names.is_empty() { "(no stack)".into() } else { names.join(";") };
                *sums.entry(line).or_default() += value;
            }
        }
        let mut lines: Vec<(String, f64)> =
            sums.into_iter().filter(|(_, value)| value.round() != 0.0).collect();
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        lines.iter().fold(String::new(), |mut text, (line, value)| {
            let _ = writeln!(text, "{line} {value:.0}");
            text
        })
    }

    /// A flame graph as SVG, to be opened in a browser, where one can click into it. Of a difference, what grew.
    ///
    /// # Errors
    /// There is nothing to be drawn.
    pub fn flame_graph(&self, measure: Measure) -> io::Result<Vec<u8>> {
        let folded = self.folded(measure);
        let lines = folded
            .lines()
            .filter(|line| !line.rsplit(' ').next().is_some_and(|value| value.starts_with('-')));
        let mut options = flamegraph::Options::default();
        options.title = match self.is_difference {
            true => format!("Growth: {}", measure.meaning()),
            false => format!("Heap: {}", measure.meaning()),
        };
        options.count_name = if measure.is_bytes() { "bytes" } else { "blocks" }.into();
        options.colors = flamegraph::color::Palette::Basic(flamegraph::color::BasicPalette::Mem);
        options.hash = true;
        let mut svg = Vec::new();
        flamegraph::from_lines(&mut options, lines, &mut svg)?;
        Ok(svg)
    }

    /// The functions with the largest figures: of their own requests (flat), and with those of all that they call (cumulative).
    pub fn top(&self, measure: Measure, most: usize) -> String {
        let total = self.total(measure);
        let mut rows: HashMap<&str, (f64, f64)> = HashMap::new();
        for stack in &self.stacks {
            let value = stack.get(measure);
            let mut seen: HashSet<&str> = HashSet::new();
            for (depth, frame) in self.frames(stack).enumerate() {
                let row = rows.entry(&frame.function).or_default();
                if depth == 0 {
                    row.0 += value;
                }
                if seen.insert(&frame.function) {
                    row.1 += value;
                }
            }
        }
        let mut rows: Vec<(&str, (f64, f64))> =
            rows.into_iter().filter(|row| row.1.1.round() != 0.0).collect();
        let weight = |row: &(&str, (f64, f64))| (row.1.0.abs(), row.1.1.abs());
        rows.sort_by(|a, b| {
            weight(b).partial_cmp(&weight(a)).unwrap_or(std::cmp::Ordering::Equal).then(a.0.cmp(b.0))
        });
        let change = if self.is_difference { "change of " } else { "" };
        let mut text = format!(
            "{change}{}: {} in all, estimated from {}\n",
            measure.meaning(),
            amount(total, measure),
            self.grounds(measure)
        );
        let _ = writeln!(text, "{:>10} {:>6} {:>10} {:>6}  function", "flat", "", "with calls", "");
        let share = |value: f64| if total == 0.0 { 0.0 } else { 100.0 * value / total };
        for (name, (flat, all)) in rows.iter().take(most) {
            let _ = writeln!(
                text,
                "{:>10} {:>5.1}% {:>10} {:>5.1}%  {name}",
                amount(*flat, measure),
                share(*flat),
                amount(*all, measure),
                share(*all)
            );
        }
        if rows.len() > most {
            let _ = writeln!(text, "… and {} more", counted((rows.len() - most) as f64, "function"));
        }
        text
    }

    /// The samples on which a figure rests, in words.
    fn grounds(&self, measure: Measure) -> String {
        use Measure::*;
        let all: u64 = self.stacks.iter().map(|stack| stack.samples).sum();
        let live: u64 = self.stacks.iter().map(|stack| stack.live_samples).sum();
        let counted = |samples: u64| counted(samples as f64, "sample");
        match measure {
            AllocatedObjects | AllocatedBytes => counted(all),
            PeakObjects | PeakBytes => format!("those of {} that lived then", counted(all)),
            LiveObjects | LiveBytes | StrandedBytes | LostObjects | LostBytes | IdleObjects | IdleBytes => {
                counted(live)
            }
        }
    }

    /// What is left at the end, call site by call site, the largest first, each with its stack.
    pub fn leaks(&self, most: usize) -> String {
        let looked = self.reachability || self.untouched_ns.is_some();
        let (bytes, objects) = match looked {
            true if self.reachability => (Measure::LostBytes, Measure::LostObjects),
            true => (Measure::IdleBytes, Measure::IdleObjects),
            false => (Measure::LiveBytes, Measure::LiveObjects),
        };
        let mut stacks: Vec<&Stack> =
            self.stacks.iter().filter(|stack| stack.get(bytes).round() > 0.0).collect();
        stacks.sort_by(|a, b| b.get(bytes).total_cmp(&a.get(bytes)));
        let mut text = format!(
            "{}: {} in {}",
            bytes.meaning(),
            amount(self.total(bytes), bytes),
            counted(self.total(objects), "block")
        );
        if looked {
            let live = amount(self.total(Measure::LiveBytes), bytes);
            let _ = write!(text, ", of {live} that live");
        }
        let _ = writeln!(
            text,
            "; estimated, a sample every {} requested",
            amount(self.mean as f64, Measure::LiveBytes)
        );
        for stack in stacks.iter().take(most) {
            let _ = writeln!(
                text,
                "\n{} in {}, from",
                amount(stack.get(bytes), bytes),
                counted(stack.get(objects).max(1.0), "block")
            );
            for frame in self.frames(stack).take(16) {
                let _ = match frame.line {
                    0 => writeln!(text, "    {}", frame.function),
                    line => writeln!(text, "    {}  {}:{line}", frame.function, frame.file),
                };
            }
        }
        if stacks.len() > most {
            let _ = writeln!(text, "\n… and {} more", counted((stacks.len() - most) as f64, "call site"));
        }
        text
    }
}

/// A number, in groups of three digits, of things: `1 block`, `37,270 blocks`.
fn counted(number: f64, thing: &str) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = if digits == "1" { "" } else { "s" };
    format!("{text} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Raw, Symbols};

    fn profile(bytes: u64) -> Profile {
        let text = format!(
            "freestone-heap-profile 1\nmean 1000\nmap 1000-2000 0 - /nowhere/p\n\
             site a 3 2 9 9 2 {bytes} 2 40 0 0 100 : 1010 1020 1020\nsite b 1 1 1 8 1 8 1 8 0 0 0 : 1020\nend 2\n"
        );
        Symbols::new().resolve(&Raw::parse(&text).unwrap())
    }

    #[test]
    fn stacks_are_folded_from_the_outside() {
        assert_eq!(profile(4000).folded(Measure::LiveBytes), "p+0x1f 8\np+0x1f;p+0x1f;p+0xf 4000\n");
        assert_eq!(word("a;b\nc"), "a:b:c");
    }

    #[test]
    fn numbers_are_in_groups_and_one_is_one() {
        assert_eq!(counted(1.0, "block"), "1 block");
        assert_eq!(counted(0.0, "block"), "0 blocks");
        assert_eq!(counted(1_234_567.4, "sample"), "1,234,567 samples");
        assert_eq!(counted(123.0, "sample"), "123 samples");
    }

    #[test]
    fn recursion_counts_once() {
        let top = profile(4000).top(Measure::LiveBytes, 1);
        assert!(top.contains("3.9 KiB in all, estimated from 3 samples"), "{top}");
        let top = profile(4000).top(Measure::AllocatedBytes, 1);
        assert!(top.contains("estimated from 4 samples"), "{top}");
        let top = profile(4000).top(Measure::LiveBytes, 1);
        assert!(top.contains("99.8%    3.9 KiB  99.8%  p+0xf"), "{top}");
        assert!(top.contains("and 1 function more"), "{top}");
    }

    #[test]
    fn a_difference_shows_what_grew_and_shrank() {
        let grown = profile(5000).less(&profile(4000));
        assert_eq!(grown.folded(Measure::LiveBytes), "p+0x1f;p+0x1f;p+0xf 1000\n");
        let shrunk = profile(4000).less(&profile(5000));
        assert_eq!(shrunk.total(Measure::LiveBytes), -1000.0);
        assert!(shrunk.top(Measure::LiveBytes, 5).contains("-1000 B"));
        let mut other = profile(100);
        other.locations[0].frames[0].function = "gone".into();
        assert!(profile(4000).less(&other).folded(Measure::LiveBytes).contains(";gone -100\n"));
        assert!(String::from_utf8(grown.flame_graph(Measure::LiveBytes).unwrap()).unwrap().contains("<svg"));
        assert!(profile(0).less(&profile(0)).flame_graph(Measure::LiveBytes).is_err());
    }

    #[test]
    fn leaks_are_told_with_their_stacks() {
        let text = profile(4000).leaks(1);
        assert!(text.contains("bytes in live blocks: 3.9 KiB in 3 blocks; estimated"), "{text}");
        assert!(
            text.contains("3.9 KiB in 2 blocks, from\n    p+0xf\n") && text.contains("1 call site more"),
            "{text}"
        );
    }
}
