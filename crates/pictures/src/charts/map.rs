//! The heap by address: all moments side by side, and one moment large.

use std::fmt::Write;

use serde::Serialize;

use super::axis::{Unit, marks};
use super::levels::{LEVELS, pack, paths};
use crate::html::{Escaped, json_element};
use crate::quantity::bytes;

/// Rows of the picture over time.
const ROWS: usize = 96;

/// A map.
#[derive(Clone, Debug)]
pub struct Map {
    /// Tells it from other maps of the page; letters, digits and hyphens.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// For each moment: when.
    pub at: Vec<u64>,
    /// What the moments are told by.
    pub at_unit: Unit,
    /// For each moment: the step of each cell, lowest address first.
    pub cells: Vec<Vec<u8>>,
    /// Bytes of a cell.
    pub cell_bytes: u64,
    /// The addresses at which cells begin, as they are shown; may be empty.
    pub addresses: Vec<String>,
    /// What is said of each moment.
    pub says: Vec<String>,
    /// Whether cells can be held and empty.
    pub shows_held: bool,
    /// The moment that is shown first.
    pub start: usize,
    /// Whether it has a slider of its own; else one of the page's moves it.
    pub has_slider: bool,
}

#[derive(Serialize)]
struct Data<'a> {
    at: Vec<String>,
    frames: Vec<String>,
    says: &'a [String],
    cell: String,
    addresses: &'a [String],
}

/// A picture's columns with at most `rows` rows: the fullest of neighbours counts, so that lone blocks are seen.
pub(crate) fn shrunk(cells: &[Vec<u8>], rows: usize) -> Vec<Vec<u8>> {
    let most = cells.iter().map(Vec::len).max().unwrap_or(0);
    let part = most.div_ceil(rows).max(1);
    // What is live anywhere in the part shows; how full the part is, is the mean.
    let of = |part: &[u8]| {
        let live: Vec<u32> = part.iter().map(|&level| u32::from(level)).filter(|&level| level >= 2).collect();
        if live.is_empty() {
            return part.iter().copied().max().unwrap_or(0);
        }
        let sum: u32 = live.iter().map(|level| level - 2).sum();
        2 + ((sum + part.len() as u32 / 2) / part.len() as u32).min(6) as u8
    };
    let column = |cells: &Vec<u8>| {
        let mut cells = cells.clone();
        cells.resize(most, 0);
        cells.chunks(part).map(of).collect()
    };
    cells.iter().map(column).collect()
}

/// The picture over time, without anything around it.
pub(crate) fn picture(cells: &[Vec<u8>], class: &str) -> String {
    let columns = shrunk(cells, ROWS);
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut svg = format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {} {rows}\" preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\" aria-hidden=\"true\">",
        columns.len().max(1)
    );
    for (level, path) in paths(&columns).iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let _ = write!(svg, "<path class=\"l{level}\" d=\"{path}\"/>");
    }
    svg.push_str("</svg>");
    svg
}

impl Map {
    /// The map as HTML; nothing where there are no cells.
    pub fn html(&self) -> String {
        if self.cells.iter().all(Vec::is_empty) {
            return String::new();
        }
        let last = self.at.len().saturating_sub(1);
        let mut html = format!(
            "<figure class=\"map\" id=\"{}\"><div class=\"canvas\">{}<i class=\"cursor\" style=\"left:{:.1}%\"></i></div>\n<div class=\"xs\" aria-hidden=\"true\">",
            self.id,
            picture(&self.cells, "overview"),
            (self.start + 1) as f64 / self.at.len().max(1) as f64 * 100.0
        );
        let end = self.at.last().copied().unwrap_or(0);
        for mark in marks(end, 5, self.at_unit) {
            let left = mark.value as f64 / end.max(1) as f64 * 100.0;
            let _ = write!(html, "<span style=\"left:{left:.2}%\">{}</span>", mark.name);
        }
        html.push_str("</div>\n");
        if self.has_slider {
            let _ = write!(html, "{}", slider(&format!("{}-moment", self.id), last, self.start));
        }
        let _ = write!(
            html,
            "<p class=\"says\" role=\"status\">{}</p>\n<canvas class=\"moment\" width=\"960\" height=\"10\" role=\"img\" aria-label=\"{}: one moment\"></canvas>\n",
            Escaped(self.says.get(self.start).map_or("", String::as_str)),
            Escaped(&self.title)
        );
        html.push_str(&scale(self.shows_held));
        let data = Data {
            at: self.at.iter().map(|&at| self.at_unit.show(at)).collect(),
            frames: self.cells.iter().map(|cells| pack(cells)).collect(),
            says: &self.says,
            cell: bytes(self.cell_bytes),
            addresses: &self.addresses,
        };
        html.push_str(&json_element("map-data", &data));
        html.push_str("</figure>\n");
        html
    }
}

/// A slider over the moments 0 to `last`, which moves every map in the same section.
pub(crate) fn slider(id: &str, last: usize, start: usize) -> String {
    format!(
        "<div class=\"slide\"><label for=\"{id}\">Moment</label><input type=\"range\" class=\"moments\" id=\"{id}\" min=\"0\" max=\"{last}\" value=\"{start}\">\
         <button type=\"button\" class=\"play\">Play</button></div>\n"
    )
}

/// What the steps mean.
fn scale(shows_held: bool) -> String {
    let mut html = String::from("<ul class=\"scale\" aria-label=\"How full a cell is\">");
    if shows_held {
        html.push_str(
            "<li><i class=\"step l0\"></i>not held</li><li><i class=\"step l1\"></i>held, nothing live</li>",
        );
    } else {
        html.push_str("<li><i class=\"step l0\"></i>nothing live</li>");
    }
    html.push_str("<li>nearly empty ");
    for level in 2..LEVELS {
        let _ = write!(html, "<i class=\"step l{level}\"></i>");
    }
    html.push_str(" full</li></ul>\n");
    html
}
