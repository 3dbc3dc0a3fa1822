//! A page of SVG that can be read on light and on dark ground.
//!
//! Shapes carry the colours for light ground as attributes; a style sheet replaces them, by class, where the reader prefers
//! dark. The page paints its own ground, so that it is readable even where only one of the two takes effect.

use std::fmt::Write;

use crate::result::Role;

/// Pixels of a small letter's width at size 12, roughly, in the fonts asked for.
const LETTER: f64 = 6.6;

/// Light and dark variants of what contestants are painted in: well apart from each other, also for eyes that do not
/// tell red from green (after Okabe and Ito, and Tol).
const COLOURS: [(&str, &str); 11] = [
    ("#6e7781", "#9aa4ae"),
    ("#0072b2", "#58a6ff"),
    ("#56b4e9", "#9ad1f5"),
    ("#009e73", "#3fc79a"),
    ("#cc79a7", "#e79cc6"),
    ("#b8860b", "#e3b341"),
    ("#8c6bb1", "#b39ddb"),
    ("#7a4a1e", "#c69c6d"),
    ("#2f3542", "#d0d7de"),
    ("#882255", "#d16ba5"),
    ("#999933", "#cccc66"),
];

/// The library under test stands out.
const SUBJECTS: [(&str, &str); 3] = [("#d1242f", "#ff6b66"), ("#ff8c00", "#ffb454"), ("#a40e26", "#ff9a9a")];

/// How text stands to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Begins there.
    Start,
    /// Is centred there.
    Middle,
    /// Ends there.
    End,
}

/// A page under construction.
#[derive(Debug)]
pub struct Page {
    width: f64,
    height: f64,
    body: String,
    /// The colours of the contestants, by place.
    colours: Vec<(&'static str, &'static str)>,
    subjects: Vec<bool>,
}

impl Page {
    /// An empty page for these contestants.
    pub fn new(width: f64, height: f64, roles: &[Role]) -> Page {
        let (mut peers, mut subjects) = (0, 0);
        let colour = |role: &Role| {
            let (list, next) = match role {
                Role::Subject => (&SUBJECTS[..], &mut subjects),
                _ => (&COLOURS[..], &mut peers),
            };
            *next += 1;
            list[(*next - 1) % list.len()]
        };
        let colours = roles.iter().map(colour).collect();
        let subjects = roles.iter().map(|role| *role == Role::Subject).collect();
        Page { width, height, body: String::new(), colours, subjects }
    }

    /// A text in the page's own colour.
    pub fn text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, text: &str) {
        self.any_text(x, y, size, anchor, "class=\"ink\" fill=\"#1f2328\"", text);
    }

    /// A text in the colour for what is less important.
    pub fn pale_text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, text: &str) {
        self.any_text(x, y, size, anchor, "class=\"pale\" fill=\"#59636e\"", text);
    }

    /// A text in a contestant's colour.
    pub fn name(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, place: usize, text: &str) {
        let weight = if self.subjects[place] { " font-weight=\"bold\"" } else { "" };
        // Lines that pass below a name must not make it hard to read.
        let halo = "stroke=\"#ffffff\" stroke-width=\"3\" stroke-linejoin=\"round\" paint-order=\"stroke\"";
        let paint = format!("class=\"f{place} edge\" fill=\"{}\"{weight} {halo}", self.colours[place].0);
        self.any_text(x, y, size, anchor, &paint, text);
    }

    fn any_text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, paint: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" {paint}>{}</text>",
            escape(text)
        );
    }

    /// A text that reads upwards, centred at a point.
    pub fn upward_text(&mut self, x: f64, y: f64, size: f64, text: &str) {
        let _ = writeln!(
            self.body,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" font-size=\"{size}\" text-anchor=\"middle\" \
             class=\"pale\" fill=\"#59636e\">{}</text>",
            escape(text)
        );
    }

    /// A thin line of a grid; a strong one marks what others are compared with.
    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), strong: bool) {
        let paint = match strong {
            true => "class=\"strong\" stroke=\"#59636e\"",
            false => "class=\"grid\" stroke=\"#d8dee4\"",
        };
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {paint} stroke-width=\"1\"/>"
        );
    }

    /// A band behind every other row.
    pub fn band(&mut self, x: f64, y: f64, width: f64, height: f64) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"band\" fill=\"#f6f8fa\"/>"
        );
    }

    /// A contestant's mark: a disc, larger and edged for the library under test.
    pub fn dot(&mut self, x: f64, y: f64, place: usize, radius: f64, title: &str) {
        let (radius, edge) = match self.subjects[place] {
            true => (radius * 1.35, "class=\"edge\" stroke=\"#ffffff\" stroke-width=\"1.2\""),
            false => (radius, "fill-opacity=\"0.85\""),
        };
        let colour = self.colours[place].0;
        let _ = writeln!(
            self.body,
            "<g class=\"f{place}\" fill=\"{colour}\"><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" {edge}><title>{}</title></circle></g>",
            escape(title)
        );
    }

    /// A contestant's mark for a value beyond the chart's right edge.
    pub fn arrow(&mut self, x: f64, y: f64, place: usize, title: &str) {
        let colour = self.colours[place].0;
        let _ = writeln!(
            self.body,
            "<g class=\"f{place}\" fill=\"{colour}\"><path d=\"M{:.1} {:.1}l8 5l-8 5z\"><title>{}</title></path></g>",
            x - 8.0,
            y - 5.0,
            escape(title)
        );
    }

    /// A contestant's curve.
    pub fn curve(&mut self, points: &[(f64, f64)], place: usize) {
        let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let width = if self.subjects[place] { 3.0 } else { 1.6 };
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" class=\"s{place}\" stroke=\"{}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>",
            list.join(" "),
            self.colours[place].0
        );
    }

    /// A faint line from a curve's end to its name.
    pub fn lead(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), place: usize) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"s{place}\" stroke=\"{}\" \
             stroke-width=\"0.8\" stroke-dasharray=\"2 3\" stroke-opacity=\"0.6\"/>",
            self.colours[place].0
        );
    }

    /// A line of names with their marks, broken where the page ends; the height it takes.
    pub fn legend(&mut self, x: f64, y: f64, names: &[(usize, &str)]) -> f64 {
        let (mut left, mut top) = (x, y);
        for (place, name) in names {
            let width = 18.0 + text_width(name, 12.0) + 16.0;
            if left + width > self.width - 10.0 && left > x {
                left = x;
                top += 19.0;
            }
            self.dot(left + 6.0, top - 4.0, *place, 4.5, name);
            self.name(left + 16.0, top, 12.0, Anchor::Start, *place, name);
            left += width;
        }
        top - y + 19.0
    }

    /// The page as a file.
    pub fn finish(self, title: &str) -> String {
        let Page { width, height, body, colours, .. } = self;
        let mut dark = String::from(
            ".ground{fill:#0d1117}.ink{fill:#e6edf3}.pale{fill:#9198a1}.grid{stroke:#2a313c}.strong{stroke:#9198a1}\
             .band{fill:#151b23}.edge{stroke:#0d1117}",
        );
        for (place, (_, colour)) in colours.iter().enumerate() {
            let _ = write!(dark, ".f{place}{{fill:{colour}}}.s{place}{{stroke:{colour}}}");
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\" role=\"img\">\n\
             <title>{}</title>\n<style>@media (prefers-color-scheme: dark){{{dark}}}</style>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" class=\"ground\" fill=\"#ffffff\"/>\n{body}</svg>\n",
            escape(title)
        )
    }
}

/// About how wide a text is, in pixels.
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * LETTER * size / 12.0
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Moves centres apart that lie closer than `distance`, changing each as little as simple means can; the order stays.
pub fn spread(centres: &mut [f64], distance: f64, least: f64, most: f64) {
    let mut order: Vec<usize> = (0..centres.len()).collect();
    order.sort_by(|one, other| centres[*one].total_cmp(&centres[*other]));
    // Neighbours push each other away, by half of what is missing, until nobody has to move.
    for _ in 0..400 {
        for pair in order.windows(2) {
            let missing = distance - (centres[pair[1]] - centres[pair[0]]);
            if missing > 0.0 {
                centres[pair[0]] -= missing / 2.0;
                centres[pair[1]] += missing / 2.0;
            }
        }
        for centre in centres.iter_mut() {
            *centre = centre.clamp(least, most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        let mut page = Page::new(100.0, 50.0, &[Role::Peer]);
        page.text(1.0, 2.0, 12.0, Anchor::Start, "a < b & \"c\"");
        let text = page.finish("<title>");
        assert!(text.contains("a &lt; b &amp; &quot;c&quot;") && text.contains("&lt;title&gt;"), "{text}");
    }

    #[test]
    fn labels_are_moved_apart_in_order() {
        let mut centres = [50.0, 51.0, 10.0, 52.0];
        spread(&mut centres, 12.0, 0.0, 100.0);
        assert_eq!(centres[2], 10.0);
        assert!(centres[0] + 11.5 <= centres[1] && centres[1] + 11.5 <= centres[3], "{centres:?}");
    }

    #[test]
    fn the_library_under_test_has_its_own_colour() {
        let page = Page::new(10.0, 10.0, &[Role::Peer, Role::Subject, Role::Peer]);
        assert_eq!(page.colours, [COLOURS[0], SUBJECTS[0], COLOURS[1]]);
    }
}
