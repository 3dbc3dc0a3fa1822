//! Pictures of figures: a dot for each run, a line over time. Told apart by place, labels and dashes, not by colour alone.

use std::fmt::Write;

/// Figures in rows, a dot each, with a mark at the median.
pub struct Dots {
    pub title: String,
    pub show: fn(f64) -> String,
    pub rows: Vec<(String, Vec<f64>)>,
}

/// A line.
pub struct Curve {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A picture that grows downwards.
pub struct Chart {
    body: String,
    height: f64,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 110.0;
const ROW: f64 = 26.0;

/// Colours that remain apart without red or green: those of M. Okabe and K. Ito.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"];
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

const STYLE: &str = "<style>text{font:13px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}\
.line{stroke:#bbb;stroke-width:1;fill:none}.paper{fill:#fff}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.paper{fill:#1b1b1b}.line{stroke:#555}}</style>";

/// Room for the longest of these names beside a picture, not less than `least`; half of the width at most.
fn room<'a>(names: impl Iterator<Item = &'a str>, least: f64) -> f64 {
    let longest = names.map(|name| name.chars().count()).max().unwrap_or(0);
    (longest as f64 * 7.0 + 24.0).clamp(least, WIDTH / 2.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Chart {
    /// With a heading.
    pub fn new(heading: impl AsRef<str>) -> Chart {
        let mut chart = Chart { body: String::new(), height: 34.0 };
        chart.text(16.0, 24.0, "start", "title", heading.as_ref());
        chart
    }

    fn put(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.body.write_fmt(shape);
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' class='{class}'>{text}</text>"
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!("<path class='line' d='M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}'/>"));
    }

    /// Adds rows of dots on a scale that begins at zero.
    pub fn dots(&mut self, dots: Dots) {
        let most = dots.rows.iter().flat_map(|(_, figures)| figures).copied().fold(0.0, f64::max);
        if most <= 0.0 {
            return;
        }
        self.height += 18.0;
        self.text(16.0, self.height + 6.0, "start", "title", &dots.title);
        self.height += 18.0;
        let left = room(dots.rows.iter().map(|(name, _)| name.as_str()), LEFT);
        for (place, (name, figures)) in dots.rows.iter().enumerate() {
            let y = self.height + ROW / 2.0;
            let x = |figure: f64| left + (WIDTH - left - RIGHT) * figure / most;
            self.text(left - 10.0, y + 4.0, "end", "", name);
            self.line((left, y), (WIDTH - RIGHT, y));
            let colour = COLOURS[place % COLOURS.len()];
            for &figure in figures {
                let x = x(figure);
                self.put(format_args!(
                    "<circle cx='{x:.1}' cy='{y:.1}' r='4' fill='{colour}' fill-opacity='.55'/>"
                ));
            }
            let median = crate::verdict::median(figures);
            let at = x(median);
            let top = y - 8.0;
            self.put(format_args!(
                "<rect x='{:.1}' y='{top:.1}' width='3' height='16' fill='{colour}'/>",
                at - 1.5
            ));
            self.text(WIDTH - RIGHT + 10.0, y + 4.0, "start", "", &(dots.show)(median));
            self.height += ROW;
        }
    }

    /// Adds lines over a common scale, each with its name at its end.
    pub fn curves(&mut self, title: &str, curves: Vec<Curve>, show: fn(f64) -> String) {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let (widest, most) = points().fold((0.0, 0.0), |far: (f64, f64), p| (far.0.max(p.0), far.1.max(p.1)));
        if widest <= 0.0 || most <= 0.0 {
            return;
        }
        const TALL: f64 = 260.0;
        self.height += 22.0;
        self.text(16.0, self.height + 6.0, "start", "title", title);
        self.height += 22.0;
        let names = room(curves.iter().map(|curve| curve.name.as_str()), 190.0);
        let (left, right, top) = (90.0, WIDTH - names, self.height);
        let bottom = top + TALL;
        for share in [0.0, 0.5, 1.0] {
            let y = bottom - TALL * share;
            self.line((left, y), (right, y));
            self.text(left - 8.0, y + 4.0, "end", "", &show(most * share));
        }
        let mut ends: Vec<(f64, usize)> = Vec::new();
        for (place, curve) in curves.iter().enumerate() {
            let mut path = String::new();
            for (n, &(x, y)) in curve.points.iter().enumerate() {
                let (x, y) = (left + (right - left) * x / widest, bottom - TALL * y / most);
                let _ = write!(path, "{}{x:.1} {y:.1}", if n == 0 { 'M' } else { 'L' });
                if n + 1 == curve.points.len() {
                    ends.push((y, place));
                }
            }
            let (colour, dash) = (COLOURS[place % COLOURS.len()], DASHES[place % DASHES.len()]);
            self.put(format_args!(
                "<path d='{path}' fill='none' stroke='{colour}' stroke-width='1.6' stroke-dasharray='{dash}'/>"
            ));
        }
        // Names one below the other, joined to the ends of their lines.
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut last = top - 10.0;
        for (y, place) in ends {
            let at = y.max(last + 16.0);
            last = at;
            self.line((right, y), (right + 14.0, at));
            self.text(right + 18.0, at + 4.0, "start", "", &curves[place].name);
        }
        self.height = bottom.max(last) + 20.0;
    }

    /// The whole picture.
    pub fn finish(self) -> String {
        let height = self.height + 14.0;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0}' width='{WIDTH}' \
             role='img'>{STYLE}<rect class='paper' width='100%' height='100%'/>{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_room() {
        let name = "freestone profile:lean,count:0,transfer:1";
        let mut chart = Chart::new("x");
        let points = vec![(0.0, 0.0), (10.0, 5.0)];
        chart.curves("Memory", vec![Curve { name: name.into(), points }], |value| format!("{value}"));
        let svg = chart.finish();
        let before = svg.split(&format!(">{name}<")).next().unwrap();
        let x: f64 = before.rsplit("x='").next().unwrap().split('\'').next().unwrap().parse().unwrap();
        assert!(x + 6.0 * name.len() as f64 <= WIDTH, "{x}");
    }

    #[test]
    fn a_chart_is_well_formed_and_says_what_is_in_it() {
        let mut chart = Chart::new("a < b & c");
        chart.dots(Dots {
            title: "Time".into(),
            show: |value| format!("{value} s"),
            rows: vec![("one".into(), vec![1.0, 2.0, 3.0]), ("two".into(), vec![4.0])],
        });
        chart.curves(
            "Memory",
            vec![Curve { name: "live".into(), points: vec![(0.0, 0.0), (10.0, 5.0)] }],
            |value| format!("{value} B"),
        );
        chart.dots(Dots { title: "nothing".into(), show: |_| String::new(), rows: vec![] });
        let svg = chart.finish();
        for text in ["a &lt; b &amp; c", ">2 s<", ">two<", ">live<", ">5 B<"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("nothing"));
        assert_eq!(svg.matches("<circle").count(), 4);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
