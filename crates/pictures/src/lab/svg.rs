//! A lab as one SVG that stands alone: the maps side by side, the memory held below.

use std::fmt::Write;

use super::{Lab, Policy};
use crate::charts::axis::{Unit, marks};
use crate::charts::levels::{LEVELS, paths};
use crate::charts::map::shrunk;
use crate::html::Escaped;
use crate::quantity::{bytes, count};

const WIDTH: f64 = 960.0;
/// A map with its heading, and how many stand side by side.
const MAP: (f64, f64) = (222.0, 120.0);
const ACROSS: usize = 4;
const STEP: (f64, f64) = (236.0, 178.0);
const TOP: f64 = 84.0;
/// The chart below: its height, and the room for names at its right.
const CHART: f64 = 210.0;
const NAMES: f64 = 120.0;
/// Columns and rows of cells in a map; more could not be told apart.
const CELLS: (usize, usize) = (120, 60);

/// Colours on light ground and dashes of the curves; the style sheet has those for dark ground.
const CURVES: [(&str, &str); 8] = [
    ("#0b5394", ""),
    ("#3a9bd9", "9 4"),
    ("#b8720b", "3 3"),
    ("#59636e", "14 4"),
    ("#00805c", ""),
    ("#b0508f", "12 3 3 3"),
    ("#7a4a1e", "2 5"),
    ("#c2410c", "6 2"),
];

const STYLE: &str = "\
.g{fill:#fff}.i{fill:#1f2328}.p{fill:#59636e}.r{stroke:#d1d9e0;fill:none}\
.l1{fill:#f4cf9f}.l2{fill:#c6ddf0}.l3{fill:#a0c8e6}.l4{fill:#74add9}.l5{fill:#4a8fc6}.l6{fill:#2a6fad}.l7{fill:#12518c}.l8{fill:#08306b}\
.a{fill:#e6ebf0}.c{fill:none;stroke-width:2}\
@media(prefers-color-scheme:dark){.g{fill:#0d1117}.i{fill:#e6edf3}.p{fill:#9aa5b1}.r{stroke:#30363d}\
.l1{fill:#5c3d14}.l2{fill:#1c3550}.l3{fill:#20507c}.l4{fill:#296ba6}.l5{fill:#3d89cc}.l6{fill:#67aae6}.l7{fill:#9accf6}.l8{fill:#d8eeff}\
.a{fill:#21262d}.c{filter:brightness(1.7)}}";

impl Lab {
    /// The picture: an SVG that needs nothing else and can be read on light and on dark ground.
    ///
    /// ```
    /// use freestone_pictures::lab::Lab;
    /// let svg = Lab { title: "a < b".into(), ..Lab::default() }.svg();
    /// assert!(svg.starts_with("<svg ") && svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    /// ```
    pub fn svg(&self) -> String {
        let rows = self.policies.len().div_ceil(ACROSS);
        let chart = TOP + rows as f64 * STEP.1 + 34.0;
        let height = chart + CHART + 56.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif\" role=\"img\" aria-label=\"{0}\">\n\
             <style>{STYLE}</style>\n<rect class=\"g\" width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n",
            Escaped(&self.title)
        );
        let (name, about) = self.title.split_once(": ").unwrap_or((&self.title, ""));
        text(&mut svg, (16.0, 28.0), 18.0, "i", "start", name);
        text(&mut svg, (16.0, 48.0), 12.0, "p", "start", &format!("{about} ({} calls)", count(self.calls)));
        self.scale(&mut svg);
        for (number, policy) in self.policies.iter().enumerate() {
            let at = (16.0 + (number % ACROSS) as f64 * STEP.0, TOP + (number / ACROSS) as f64 * STEP.1);
            map(&mut svg, at, policy);
        }
        if self.policies.iter().any(|policy| policy.states.len() > 1) {
            self.held(&mut svg, chart);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// What the steps of the maps mean.
    fn scale(&self, svg: &mut String) {
        let mut x = 16.0;
        let mut step = |svg: &mut String, level: usize| {
            let _ = write!(svg, "<rect class=\"l{level}\" x=\"{x}\" y=\"58\" width=\"11\" height=\"11\"/>");
            x += 11.0;
            x
        };
        let held = step(svg, 1);
        text(svg, (held + 5.0, 68.0), 11.0, "p", "start", "held, nothing live");
        x = held + 120.0;
        let mut end = x;
        for level in 2..LEVELS {
            let _ = write!(svg, "<rect class=\"l{level}\" x=\"{end}\" y=\"58\" width=\"11\" height=\"11\"/>");
            end += 11.0;
        }
        text(
            svg,
            (end + 5.0, 68.0),
            11.0,
            "p",
            "start",
            "nearly empty to full; time from left to right, addresses from bottom to top",
        );
    }

    fn held(&self, svg: &mut String, top: f64) {
        let states = self.policies.iter().flat_map(|policy| &policy.states);
        let highest = states.map(|state| state.held.max(state.asked)).max().unwrap_or(0).max(1);
        let (left, right) = (70.0, WIDTH - NAMES);
        let x = |calls: u64| left + calls as f64 / self.calls.max(1) as f64 * (right - left);
        let y = |value: u64| top + CHART - value as f64 / highest as f64 * CHART;
        text(
            svg,
            (16.0, top - 14.0),
            13.0,
            "i",
            "start",
            "Memory held from the system over the calls (grey: asked for)",
        );
        for mark in marks(highest, 4, Unit::Bytes) {
            let at = y(mark.value);
            let _ = write!(svg, "<path class=\"r\" stroke=\"#d1d9e0\" d=\"M{left} {at:.1}H{right}\"/>");
            text(svg, (left - 6.0, at + 4.0), 11.0, "p", "end", &mark.name);
        }
        for mark in marks(self.calls, 5, Unit::Calls) {
            text(svg, (x(mark.value), top + CHART + 16.0), 11.0, "p", "middle", &mark.name);
        }
        let path = |points: &mut dyn Iterator<Item = (u64, u64)>| {
            let text: Vec<String> =
                points.map(|(calls, value)| format!("{:.1} {:.1}", x(calls), y(value))).collect();
            text.join("L")
        };
        if let Some(first) = self.policies.first() {
            let asked = path(&mut first.states.iter().map(|state| (state.calls, state.asked)));
            let (begin, end) = (
                x(first.states.first().map_or(0, |s| s.calls)),
                x(first.states.last().map_or(0, |s| s.calls)),
            );
            let bottom = top + CHART;
            let _ = writeln!(
                svg,
                "<path class=\"a\" fill=\"#e6ebf0\" d=\"M{begin:.1} {bottom}L{asked}L{end:.1} {bottom}Z\"/>"
            );
        }
        let ends: Vec<f64> = self
            .policies
            .iter()
            .map(|policy| y(policy.states.last().map_or(0, |state| state.held)))
            .collect();
        let places = spread(&ends, 14.0, top + CHART);
        for ((number, policy), place) in self.policies.iter().enumerate().zip(places) {
            let (colour, dash) = CURVES[number % CURVES.len()];
            let points = path(&mut policy.states.iter().map(|state| (state.calls, state.held)));
            let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
            let _ = writeln!(
                svg,
                "<path class=\"c\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash} d=\"M{points}\"/>"
            );
            let _ = writeln!(
                svg,
                "<path class=\"c\" stroke=\"{colour}\"{dash} d=\"M{right} {:.1}L{} {:.1}h14\"/>",
                ends[number],
                right + 10.0,
                place
            );
            text(svg, (right + 28.0, place + 4.0), 12.0, "i", "start", &policy.name);
        }
    }
}

fn map(svg: &mut String, (x, y): (f64, f64), policy: &Policy) {
    text(svg, (x, y + 12.0), 13.0, "i", "start", &policy.name);
    let says = format!("held {} for {}", bytes(policy.peak_held), bytes(policy.fullest.asked));
    text(svg, (x, y + 28.0), 11.0, "p", "start", &says);
    let every = policy.cells.len().div_ceil(CELLS.0).max(1);
    let columns: Vec<Vec<u8>> = policy.cells.iter().step_by(every).cloned().collect();
    let columns = shrunk(&columns, CELLS.1);
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let _ = write!(
        svg,
        "<svg x=\"{x}\" y=\"{}\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {rows}\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\">",
        y + 34.0,
        MAP.0,
        MAP.1,
        columns.len().max(1)
    );
    for (level, path) in paths(&columns).iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let _ = write!(svg, "<path class=\"l{level}\" d=\"{path}\"/>");
    }
    let _ = writeln!(
        svg,
        "</svg><rect class=\"r\" fill=\"none\" stroke=\"#d1d9e0\" x=\"{x}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
        y + 34.0,
        MAP.0,
        MAP.1
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), size: f64, class: &str, anchor: &str, words: &str) {
    let fill = if class == "p" { "#59636e" } else { "#1f2328" };
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" fill=\"{fill}\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\">{}</text>",
        Escaped(words)
    );
}

/// Places for labels near where they belong, none closer to another than `gap`, none below `bottom`.
fn spread(wanted: &[f64], gap: f64, bottom: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[b].total_cmp(&wanted[a]));
    let mut places = vec![0.0; wanted.len()];
    let mut limit = bottom;
    for place in order {
        places[place] = wanted[place].min(limit);
        limit = places[place] - gap;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart() {
        let places = spread(&[100.0, 100.0, 99.0, 20.0], 14.0, 200.0);
        for (n, a) in places.iter().enumerate() {
            assert!(places[n + 1..].iter().all(|b| (a - b).abs() >= 14.0 - 1e-9), "{places:?}");
        }
    }
}
