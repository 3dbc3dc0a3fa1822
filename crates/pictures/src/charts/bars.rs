//! Tables whose numbers have bars behind them, and tables that can be sorted.

use std::fmt::Write;

use crate::html::Escaped;
use crate::quantity::percent;

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number as it is shown, and by what it is sorted.
    Number(String, f64),
    /// The same with a bar, from 0 to 1 of the longest.
    Bar(String, f64, f64),
    /// A text that opens to show more, a line each.
    More(String, Vec<String>),
}

impl Cell {
    /// The share of `part` in `whole`, in per cent.
    pub fn share(part: f64, whole: f64) -> Cell {
        let shown = percent(part.round() as u64, whole.round() as u64).unwrap_or_default();
        Cell::Number(shown, part / whole.max(1.0))
    }

    /// A number with a bar in proportion to `most`.
    pub fn bar(shown: String, value: f64, most: f64) -> Cell {
        Cell::Bar(shown, value, if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 })
    }
}

/// A table. The first column names the row.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What is in it, for those who hear it.
    pub title: String,
    /// What the columns are called, and what that means.
    pub columns: Vec<(String, String)>,
    /// Cells of each row.
    pub rows: Vec<Vec<Cell>>,
    /// Whether it can be sorted by a click, and searched.
    pub sortable: bool,
    /// Rows that show at first; others on demand.
    pub first: usize,
}

impl Table {
    /// The table as HTML; nothing where there is no row.
    pub fn html(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut html = String::from(if self.sortable { "<div class=\"sites\">" } else { "<div>" });
        if self.sortable && self.rows.len() > 24 {
            html.push_str("<label class=\"find\">Find <input type=\"search\" class=\"filter\" autocomplete=\"off\"></label> <span class=\"found\" role=\"status\"></span>");
        }
        let _ = write!(
            html,
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table class=\"{1}\"><caption>{0}</caption><thead><tr>",
            Escaped(&self.title),
            if self.sortable { "sortable" } else { "plain" }
        );
        let is_text = |place: usize| {
            let cell = self.rows.first().and_then(|row| row.get(place));
            matches!(cell, Some(Cell::Text(_) | Cell::More(..)))
        };
        for (place, (name, about)) in self.columns.iter().enumerate() {
            let class = if is_text(place) { " class=\"text\"" } else { "" };
            let (name, about) = (Escaped(name), Escaped(about));
            if self.sortable {
                let _ = write!(
                    html,
                    "<th scope=\"col\"{class}><button type=\"button\" title=\"{about}\">{name}</button></th>"
                );
            } else {
                let _ = write!(html, "<th scope=\"col\"{class} title=\"{about}\">{name}</th>");
            }
        }
        html.push_str("</tr></thead><tbody>\n");
        let first = if self.first == 0 { self.rows.len() } else { self.first };
        for (number, row) in self.rows.iter().enumerate() {
            html.push_str(if number < first { "<tr>" } else { "<tr class=\"later\">" });
            for (column, cell) in row.iter().enumerate() {
                html.push_str(&cell.html(column == 0));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>");
        if self.rows.len() > first {
            let _ =
                write!(html, "<button type=\"button\" class=\"all\">Show all {}</button>", self.rows.len());
        }
        html.push_str("</div>\n");
        html
    }
}

impl Cell {
    fn html(&self, is_first: bool) -> String {
        let (open, close) = if is_first { ("<th scope=\"row\"", "</th>") } else { ("<td", "</td>") };
        match self {
            Cell::Text(text) => {
                let class = if text.len() > 40 && !is_first { "text long" } else { "text" };
                format!("{open} class=\"{class}\">{}{close}", Escaped(text))
            }
            Cell::Number(shown, value) => format!("{open} data-v=\"{value}\">{}{close}", Escaped(shown)),
            Cell::Bar(shown, value, part) => format!(
                "{open} data-v=\"{value}\" class=\"barred\"><span>{}</span><i style=\"width:{:.1}%\" aria-hidden=\"true\"></i>{close}",
                Escaped(shown),
                part * 100.0
            ),
            Cell::More(text, lines) => {
                let lines: Vec<String> =
                    lines.iter().map(|line| format!("<li>{}</li>", Escaped(line))).collect();
                format!(
                    "{open} class=\"text\"><details><summary>{}</summary><ol>{}</ol></details>{close}",
                    Escaped(text),
                    lines.concat()
                )
            }
        }
    }
}
