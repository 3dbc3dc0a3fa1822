//! The page around the sections: head, navigation, style, script.

use std::fmt::Write;

use crate::html::Escaped;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A part of the page with a heading of its own.
#[derive(Clone, Debug)]
pub struct Section {
    /// Where links go; letters, digits and hyphens.
    pub id: &'static str,
    /// What it is called.
    pub title: String,
    /// What the reader sees here, in a sentence or two.
    pub lead: String,
    /// HTML.
    pub body: String,
}

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What the page is called.
    pub title: String,
    /// What it is about.
    pub subtitle: String,
    /// HTML before the sections.
    pub summary: String,
    /// The sections; those without a body are left out.
    pub sections: Vec<Section>,
}

impl Page {
    /// The page as one file that needs no other.
    ///
    /// ```
    /// let page = freestone_pictures::page::Page { title: "A & B".into(), ..Default::default() };
    /// let html = page.html();
    /// assert!(html.starts_with("<!doctype html>") && html.contains("<title>A &amp; B</title>"));
    /// ```
    pub fn html(&self) -> String {
        let sections: Vec<&Section> =
            self.sections.iter().filter(|section| !section.body.is_empty()).collect();
        let size: usize = sections.iter().map(|section| section.body.len() + 512).sum();
        let mut html = String::with_capacity(size + STYLE.len() + SCRIPT.len() + self.summary.len() + 4096);
        let _ = write!(
            html,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"generator\" content=\"freestone\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#summary\">To the summary</a>\n\
             <header><h1>{}</h1><p class=\"subtitle\">{}</p></header>\n<nav aria-label=\"Sections\"><ul><li><a href=\"#summary\">Summary</a></li>",
            Escaped(&self.title),
            Escaped(&self.title),
            Escaped(&self.subtitle),
        );
        for section in &sections {
            let _ = write!(html, "<li><a href=\"#{}\">{}</a></li>", section.id, Escaped(&section.title));
        }
        let _ = write!(
            html,
            "</ul><button type=\"button\" class=\"theme\" aria-label=\"Light or dark\">Light or dark</button></nav>\n\
             <main>\n<section id=\"summary\"><h2>Summary</h2>\n{}</section>\n",
            self.summary
        );
        for section in sections {
            let _ = write!(
                html,
                "<section id=\"{0}\" aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2>\n<p class=\"lead\">{2}</p>\n{3}</section>\n",
                section.id,
                Escaped(&section.title),
                Escaped(&section.lead),
                section.body
            );
        }
        let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_asks_for_nothing_from_outside() {
        let section = Section { id: "a", title: "<A>".into(), lead: String::new(), body: "<p>".into() };
        let empty = Section { id: "gone", title: "Gone".into(), lead: String::new(), body: String::new() };
        let html = Page { title: "t".into(), sections: vec![section, empty], ..Page::default() }.html();
        for outside in ["http://", "https://", "src=\"", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("&lt;A&gt;") && !html.contains("gone"));
    }
}
