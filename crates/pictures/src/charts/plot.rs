//! Figures over time: areas on top of each other, and lines.

use std::fmt::Write;

use serde::Serialize;

use super::axis::{Unit, marks};
use crate::html::{Escaped, json_element};

/// Units of the picture's own system of coordinates, before it is stretched.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 300.0;

/// Rows of the table that says the same as the picture.
const ROWS: usize = 16;

/// How a layer is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On top of the areas before it.
    Area,
    /// By itself.
    Line,
}

/// One figure over time.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is called.
    pub name: String,
    /// A value for each moment.
    pub values: Vec<u64>,
    /// How it is drawn.
    pub kind: Kind,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What the chart shows, for those who do not see it.
    pub title: String,
    /// The moments, ascending.
    pub at: Vec<u64>,
    /// What the moments are told by.
    pub at_unit: Unit,
    /// What the values are.
    pub unit: Unit,
    /// From the bottom to the top.
    pub layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Data<'a> {
    at: Vec<String>,
    x: Vec<f64>,
    names: Vec<&'a str>,
    values: Vec<Vec<String>>,
}

impl Plot {
    /// The height of the picture: the highest line, or the highest sum of the areas.
    fn top(&self) -> u64 {
        let sums = (0..self.at.len()).map(|place| self.sum(self.layers.len(), place));
        let lines = self
            .layers
            .iter()
            .filter(|layer| layer.kind == Kind::Line)
            .flat_map(|layer| layer.values.iter().copied());
        sums.chain(lines).max().unwrap_or(0).max(1)
    }

    /// What the areas among the first layers add up to.
    fn sum(&self, layers: usize, place: usize) -> u64 {
        let areas = self.layers[..layers].iter().filter(|layer| layer.kind == Kind::Area);
        areas.fold(0, |sum, layer| sum.saturating_add(layer.values.get(place).copied().unwrap_or(0)))
    }

    /// Where a moment is, from 0 to 1.
    fn x(&self, place: usize) -> f64 {
        let (first, last) = (self.at[0], self.at[self.at.len() - 1]);
        (self.at[place] - first) as f64 / (last - first).max(1) as f64
    }

    /// The chart as HTML; nothing where there are fewer than two moments. `hue` is the first of the page's colours to
    /// be used.
    pub fn html(&self, hue: usize) -> String {
        if self.at.len() < 2 {
            return String::new();
        }
        let top = self.top();
        // A little room above the highest.
        let scale = top as f64 * 1.04;
        let mut html = format!(
            "<figure class=\"plot\"><div class=\"frame\" tabindex=\"0\" role=\"slider\" aria-label=\"{0}; arrow keys move through time\" \
             aria-valuemin=\"0\" aria-valuemax=\"{1}\" aria-valuenow=\"0\" aria-valuetext=\"{2}\">\n<div class=\"ys\" aria-hidden=\"true\">",
            Escaped(&self.title),
            self.at.len() - 1,
            Escaped(&self.readout(0)),
        );
        let levels = marks(top, 4, self.unit);
        for mark in &levels {
            let _ = write!(
                html,
                "<span style=\"bottom:{:.2}%\">{}</span>",
                mark.value as f64 / scale * 100.0,
                mark.name
            );
        }
        let _ = write!(
            html,
            "</div>\n<div class=\"canvas\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\n"
        );
        for mark in &levels {
            let y = HEIGHT - mark.value as f64 / scale * HEIGHT;
            let _ = writeln!(html, "<path class=\"grid\" d=\"M0 {y:.1}H{WIDTH}\"/>");
        }
        let mut letters = String::new();
        for (place, layer) in self.layers.iter().enumerate() {
            let style = (hue + place) % 8;
            let path = self.path(place, scale);
            let class = if layer.kind == Kind::Area { "area" } else { "line" };
            let _ = writeln!(html, "<path class=\"{class} c{style}\" d=\"{path}\"/>");
            if let Some((x, y)) = self.letter_at(place, scale) {
                let _ = write!(
                    letters,
                    "<b class=\"letter\" style=\"left:{x:.1}%;bottom:{y:.1}%\" aria-hidden=\"true\">{}</b>",
                    letter(place)
                );
            }
        }
        let _ = write!(
            html,
            "</svg>{letters}<i class=\"cursor\" hidden></i></div>\n<div class=\"xs\" aria-hidden=\"true\">"
        );
        let (first, last) = (self.at[0], self.at[self.at.len() - 1]);
        for mark in marks(last - first, 5, self.at_unit) {
            let left = mark.value as f64 / (last - first).max(1) as f64 * 100.0;
            let _ = write!(html, "<span style=\"left:{left:.2}%\">{}</span>", mark.name);
        }
        html.push_str(
            "</div></div>\n<p class=\"readout\" aria-hidden=\"true\"></p>\n<figcaption><ul class=\"legend\">",
        );
        for (place, layer) in self.layers.iter().enumerate().rev() {
            let swatch = if layer.kind == Kind::Area { "area" } else { "line" };
            let _ = write!(
                html,
                "<li><i class=\"swatch {swatch} c{}\" aria-hidden=\"true\">{}</i>{}</li>",
                (hue + place) % 8,
                letter(place),
                Escaped(&layer.name)
            );
        }
        html.push_str("</ul></figcaption>\n");
        html.push_str(&self.table());
        let data = Data {
            at: self.at.iter().map(|&at| self.at_unit.show(at)).collect(),
            x: (0..self.at.len()).map(|place| (self.x(place) * 1e4).round() / 1e4).collect(),
            names: self.layers.iter().map(|layer| layer.name.as_str()).collect(),
            values: self
                .layers
                .iter()
                .map(|layer| layer.values.iter().map(|&v| self.unit.show(v)).collect())
                .collect(),
        };
        html.push_str(&json_element("plot-data", &data));
        html.push_str("</figure>\n");
        html
    }

    fn path(&self, number: usize, scale: f64) -> String {
        let layer = &self.layers[number];
        let point = |value: u64| HEIGHT - value as f64 / scale * HEIGHT;
        let below = |place| if layer.kind == Kind::Area { self.sum(number, place) } else { 0 };
        let mut path = String::new();
        for place in 0..self.at.len() {
            let value = layer.values.get(place).copied().unwrap_or(0).saturating_add(below(place));
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if place == 0 { 'M' } else { 'L' },
                self.x(place) * WIDTH,
                point(value)
            );
        }
        if layer.kind == Kind::Area {
            for place in (0..self.at.len()).rev() {
                let _ = write!(path, "L{:.1} {:.1}", self.x(place) * WIDTH, point(below(place)));
            }
            path.push('Z');
        }
        path
    }

    /// Where the letter of a layer goes, in per cent: where an area is thickest; on lines side by side.
    fn letter_at(&self, number: usize, scale: f64) -> Option<(f64, f64)> {
        let layer = &self.layers[number];
        let value = |place: usize| layer.values.get(place).copied().unwrap_or(0);
        if layer.kind == Kind::Line {
            let wanted = (number as f64 + 0.5) / self.layers.len() as f64;
            let place = (0..self.at.len()).find(|&place| self.x(place) >= wanted)?;
            return (value(place) > 0).then(|| (self.x(place) * 100.0, value(place) as f64 / scale * 100.0));
        }
        // Not at the edges, where a letter would be cut.
        let inner = (0..self.at.len()).filter(|&place| (0.03..0.97).contains(&self.x(place)));
        let place = inner.max_by_key(|&place| value(place))?;
        let middle = self.sum(number, place) as f64 + value(place) as f64 / 2.0;
        (value(place) as f64 > scale * 0.07).then(|| (self.x(place) * 100.0, middle / scale * 100.0))
    }

    fn readout(&self, place: usize) -> String {
        let layers = self.layers.iter().rev();
        let values = layers.map(|layer| {
            format!("{} {}", layer.name, self.unit.show(layer.values.get(place).copied().unwrap_or(0)))
        });
        format!("{}: {}", self.at_unit.show(self.at[place]), values.collect::<Vec<_>>().join(", "))
    }

    fn table(&self) -> String {
        let mut html = String::from(
            "<details><summary>As a table</summary><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">at</th>",
        );
        for layer in &self.layers {
            let _ = write!(html, "<th scope=\"col\">{}</th>", Escaped(&layer.name));
        }
        html.push_str("</tr></thead><tbody>");
        let rows = ROWS.min(self.at.len());
        for row in 0..rows {
            let place = row * (self.at.len() - 1) / (rows - 1).max(1);
            let _ = write!(html, "<tr><th scope=\"row\">{}</th>", self.at_unit.show(self.at[place]));
            for layer in &self.layers {
                let _ = write!(
                    html,
                    "<td>{}</td>",
                    self.unit.show(layer.values.get(place).copied().unwrap_or(0))
                );
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table></div></details>\n");
        html
    }
}

/// The letter of a layer, in the picture and in the legend.
fn letter(place: usize) -> char {
    char::from(b'A' + (place % 26) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: Vec<u64>) -> Plot {
        Plot {
            title: "live <bytes>".into(),
            at: (0..values.len() as u64).collect(),
            at_unit: Unit::Time,
            unit: Unit::Bytes,
            layers: vec![
                Layer { name: "live".into(), values: values.clone(), kind: Kind::Area },
                Layer { name: "resident".into(), values, kind: Kind::Line },
            ],
        }
    }

    #[test]
    fn areas_lie_on_those_before_and_nothing_overflows() {
        let mut plot = plot(vec![1, u64::MAX, 3]);
        plot.layers.push(Layer { name: "more".into(), values: vec![1, u64::MAX, 1], kind: Kind::Area });
        assert_eq!(plot.sum(3, 0), 2);
        let html = plot.html(0);
        assert!(!html.contains("NaN") && !html.contains("inf"));
        assert!(html.contains("live &lt;bytes>") || html.contains("live &lt;bytes&gt;"));
    }

    #[test]
    fn one_moment_makes_no_picture() {
        assert_eq!(plot(vec![1]).html(0), "");
    }
}
