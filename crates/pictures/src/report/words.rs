//! The summary: what a reader in a hurry must know.

use std::fmt::Write;
use std::time::Duration;

use super::{Kind, Profile, Sources};
use crate::findings::Finding;
use crate::html::Escaped;
use crate::quantity::{bytes, count, rough, time};

/// The summary as HTML: some sentences, what stands out, and the main figures.
pub(super) fn summary(sources: &Sources, findings: &[Finding]) -> String {
    let mut html = String::new();
    for note in &sources.notes {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", Escaped(note));
    }
    let _ = writeln!(html, "<p class=\"words\">{}</p>", Escaped(&sentences(sources)));
    if findings.is_empty() {
        let nothing = if sources.studied.is_some() {
            "Nothing stands out: no call site grew all through the run, pages were well filled, and little was copied or given back at once."
        } else {
            "Nothing stands out in these figures. A trace (`freestone record -- CMD`) would show call sites, lifetimes and growth."
        };
        let _ = writeln!(html, "<p>{}</p>", Escaped(nothing));
    } else {
        html.push_str("<p>What stands out, the gravest first:</p>\n<ol class=\"findings\">\n");
        for finding in findings {
            let _ = writeln!(
                html,
                "<li><b>{}.</b> {} <a href=\"#{}\">Show</a><span class=\"advice\">{}</span></li>",
                Escaped(finding.kind),
                Escaped(&finding.seen),
                finding.section,
                Escaped(&finding.advice)
            );
        }
        html.push_str("</ol>\n");
    }
    html.push_str("<ul class=\"facts\">");
    for (value, name) in facts(sources) {
        let _ = write!(html, "<li><b>{}</b><span>{}</span></li>", Escaped(&value), Escaped(name));
    }
    html.push_str("</ul>\n");
    html
}

fn sentences(sources: &Sources) -> String {
    let mut text = String::new();
    if let Some(figures) = &sources.figures {
        let _ = write!(
            text,
            "The program ran for {} and {}.",
            time(Duration::from_nanos(figures.wall_ns)),
            figures.end
        );
        if figures.resident_peak > 0 {
            let _ = write!(text, " At most {} were resident", bytes(figures.resident_peak));
            if figures.live_peak > 0 {
                let _ = write!(text, ", and at most {} in live blocks of the heap", bytes(figures.live_peak));
            }
            text.push('.');
        }
        if figures.resident > 0 {
            let _ = write!(
                text,
                " At the end {} were resident and {} live.",
                bytes(figures.resident),
                bytes(figures.live_end)
            );
        }
    }
    if let Some(studied) = &sources.studied {
        let span = if studied.timed {
            format!(" in {}", time(Duration::from_nanos(studied.span)))
        } else {
            String::new()
        };
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(
            text,
            "{separator}It made {} calls{span}. Most was live {}: {} in {} blocks, as they were asked for. At the end {} lived on in {} blocks.",
            count(studied.calls),
            super::moment(studied.timed, studied.peak.at),
            bytes(studied.peak.bytes),
            count(studied.peak.blocks),
            bytes(studied.end.bytes),
            count(studied.end.blocks),
        );
    }
    if let Some(profile) = &sources.profile {
        let separator = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{separator}{}", of_profile(profile));
    }
    text
}

fn of_profile(profile: &Profile) -> String {
    if [Kind::Live, Kind::Peak, Kind::Allocated].iter().all(|&kind| profile.measure(kind).is_none()) {
        let sums = profile.measures.iter().map(|measure| {
            let sum: f64 = measure.values.iter().map(|(_, value)| value).sum();
            format!("{} {}", measure.unit.show(sum as u64), measure.name)
        });
        return format!("The profile {} has {}.", profile.title, sums.collect::<Vec<_>>().join(", "));
    }
    let live = match profile.sum(Kind::Live) {
        Some(live) => format!("{} were", bytes(live as u64)),
        None => "nothing was".to_owned(),
    };
    let mut text = format!("When the profile {} was taken, {live} live", profile.title);
    if let Some(blocks) = profile.sum(Kind::LiveBlocks) {
        let _ = write!(text, " in about {} blocks", rough(blocks));
    }
    text.push('.');
    if let Some(peak) = profile.sum(Kind::Peak) {
        let _ = write!(text, " At most {} were.", bytes(peak as u64));
    }
    if let Some(allocated) = profile.sum(Kind::Allocated) {
        let _ = write!(text, " In all {} were asked for.", bytes(allocated as u64));
    }
    if let Some(stranded) = profile.sum(Kind::Stranded) {
        let _ = write!(
            text,
            " {} are free and cannot go back for live blocks among them.",
            bytes(stranded as u64)
        );
    }
    if !profile.taken.is_empty() {
        let _ = write!(text, " {}", profile.taken);
    }
    text
}

fn facts(sources: &Sources) -> Vec<(String, &'static str)> {
    let mut facts = Vec::new();
    if let Some(figures) = &sources.figures {
        facts.push((time(Duration::from_nanos(figures.wall_ns)), "wall time"));
        facts.push((bytes(figures.resident_peak), "peak resident"));
        facts.push((bytes(figures.resident), "resident at the end"));
    }
    match (&sources.studied, &sources.figures) {
        (Some(studied), _) => {
            facts.push((bytes(studied.peak.bytes), "peak live, as asked for"));
            facts.push((bytes(studied.end.bytes), "live at the end"));
            facts.push((rough(studied.calls as f64), "calls"));
            facts.push((
                bytes(studied.sizes.iter().map(|group| group.bytes).sum::<f64>() as u64),
                "allocated in all",
            ));
            facts.push((studied.threads.len().to_string(), "threads"));
        }
        (None, Some(figures)) => {
            facts.push((bytes(figures.live_peak), "peak live"));
            facts.push((bytes(figures.live_end), "live at the end"));
            facts.push((rough(figures.calls as f64), "calls"));
        }
        (None, None) => {}
    }
    facts
}
