//! The page and the picture of `freestone lab`: one list of calls through several policies, side by side.

mod svg;

use crate::charts::axis::Unit;
use crate::charts::bars::{Cell, Table};
use crate::charts::map::{Map, slider};
use crate::charts::plot::{Kind, Layer, Plot};
use crate::html::Escaped;
use crate::page::{Page, Section};
use crate::quantity::{bytes, count};

/// A list of calls, and what each policy made of it.
#[derive(Clone, Debug, Default)]
pub struct Lab {
    /// What was called, in a line.
    pub title: String,
    /// What is to be seen; empty where nobody knows beforehand.
    pub lesson: String,
    /// How many calls there are.
    pub calls: u64,
    /// Bytes of a cell of the maps.
    pub cell_bytes: u64,
    /// The policies.
    pub policies: Vec<Policy>,
}

/// What a policy made of it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// The most bytes that it held from the system.
    pub peak_held: u64,
    /// Calls that it could not serve.
    pub refused: u64,
    /// When most bytes were live.
    pub fullest: State,
    /// Moments at equal distances.
    pub states: Vec<State>,
    /// For each of them the step of each cell, lowest address first; see [`level`](crate::charts::levels::level).
    pub cells: Vec<Vec<u8>>,
}

/// A moment in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Calls so far.
    pub calls: u64,
    /// Bytes of live blocks as they were asked for.
    pub asked: u64,
    /// Bytes that these take.
    pub taken: u64,
    /// Bytes held from the system.
    pub held: u64,
}

impl State {
    /// The part of what is held that no live block takes, in thousandths: external fragmentation.
    pub fn external(&self) -> u64 {
        per_mille(self.held.saturating_sub(self.taken), self.held)
    }

    /// The part of what live blocks take that nobody asked for, in thousandths: internal fragmentation.
    pub fn internal(&self) -> u64 {
        per_mille(self.taken.saturating_sub(self.asked), self.taken)
    }
}

fn per_mille(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 1000 / u128::from(whole.max(1))) as u64
}

impl Lab {
    /// What the policies held at the worst, and who was best and worst, in words.
    ///
    /// ```
    /// use freestone_pictures::lab::{Lab, Policy};
    /// let policy = |name: &str, peak_held| Policy { name: name.into(), peak_held, ..Policy::default() };
    /// let lab = Lab { policies: vec![policy("first fit", 1 << 20), policy("buddy", 3 << 19)], ..Lab::default() };
    /// assert_eq!(lab.verdict(), "Least memory was held with first fit, 1.0 MiB; most with buddy, 1.5 MiB: 1.50 times as much.");
    /// ```
    pub fn verdict(&self) -> String {
        let held = self.policies.iter().filter(|policy| policy.refused == 0);
        let least = held.clone().min_by_key(|policy| policy.peak_held);
        let most = held.max_by_key(|policy| policy.peak_held);
        let (Some(least), Some(most)) = (least, most) else {
            return "No policy served all calls.".into();
        };
        if least.peak_held == most.peak_held {
            return format!("All held {} at the most.", bytes(least.peak_held));
        }
        let same = |held: u64| {
            let names: Vec<&str> = self
                .policies
                .iter()
                .filter(|p| p.refused == 0 && p.peak_held == held)
                .map(|p| p.name.as_str())
                .collect();
            match names.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
                _ => names.concat(),
            }
        };
        format!(
            "Least memory was held with {}, {}; most with {}, {}: {:.2} times as much.",
            same(least.peak_held),
            bytes(least.peak_held),
            same(most.peak_held),
            bytes(most.peak_held),
            most.peak_held as f64 / least.peak_held.max(1) as f64
        )
    }

    fn table(&self) -> Table {
        let most = self.policies.iter().map(|policy| policy.peak_held).max().unwrap_or(0) as f64;
        let percent = |per_mille: u64| Cell::Number(Unit::PerMille.show(per_mille), per_mille as f64);
        let mean = |policy: &Policy, of: fn(&State) -> u64| {
            policy.states.iter().map(of).sum::<u64>() / policy.states.len().max(1) as u64
        };
        let rows = self.policies.iter().map(|policy| {
            vec![
                Cell::Text(policy.name.clone()),
                Cell::bar(bytes(policy.peak_held), policy.peak_held as f64, most),
                percent(policy.fullest.internal()),
                percent(policy.fullest.external()),
                percent(mean(policy, State::internal)),
                percent(mean(policy, State::external)),
                Cell::Number(count(policy.refused), policy.refused as f64),
            ]
        });
        let column = |name: &str, about: &str| (name.to_owned(), about.to_owned());
        Table {
            title: "Policies; a heading sorts".into(),
            columns: vec![
                column("policy", ""),
                column("most held", "bytes from the system, in whole pages"),
                column(
                    "internal, when fullest",
                    "part of what live blocks take that nobody asked for, when most was live",
                ),
                column(
                    "external, when fullest",
                    "part of what is held that no live block takes, when most was live",
                ),
                column("internal, mean", "over the whole run"),
                column("external, mean", "over the whole run"),
                column("refused", "calls that could not be served"),
            ],
            rows: rows.collect(),
            sortable: true,
            first: 0,
        }
    }

    fn curves(&self) -> String {
        let Some(first) = self.policies.iter().find(|policy| policy.states.len() > 1) else {
            return String::new();
        };
        let at: Vec<u64> = first.states.iter().map(|state| state.calls).collect();
        let plot = |title: &str, unit, of: fn(&State) -> u64, asked: bool| {
            let mut layers = Vec::new();
            if asked {
                let values = first.states.iter().map(|state| state.asked).collect();
                layers.push(Layer { name: "asked for".into(), values, kind: Kind::Area });
            }
            let lines = self.policies.iter().map(|policy| Layer {
                name: policy.name.clone(),
                values: policy.states.iter().map(of).collect(),
                kind: Kind::Line,
            });
            layers.extend(lines);
            Plot { title: title.into(), at: at.clone(), at_unit: Unit::Calls, unit, layers }
        };
        let held = plot("Memory held by each policy", Unit::Bytes, |state| state.held, true);
        let external = plot("External fragmentation of each policy", Unit::PerMille, State::external, false);
        format!(
            "<h3>Memory held</h3>\n{}<h3>External fragmentation</h3>\n<p class=\"lead\">The part of what is held that no live block takes.</p>\n{}",
            held.html(3),
            external.html(4)
        )
    }

    fn maps(&self, id: &str) -> String {
        let last =
            self.policies.iter().map(|policy| policy.states.len()).max().unwrap_or(0).saturating_sub(1);
        let mut html = format!(
            "<h3>Heap maps</h3>\n<p class=\"lead\">Time from left to right, addresses from bottom to top, the same scale for all; below each the \
             moment that the slider stands at, {} a cell.</p>\n<div class=\"sticky\">{}</div>\n<div class=\"grid2\">",
            bytes(self.cell_bytes),
            slider(&format!("{id}-moment"), last, last)
        );
        for (number, policy) in self.policies.iter().enumerate() {
            let map = Map {
                id: format!("{id}-map-{number}"),
                title: format!("The heap of {}", policy.name),
                at: policy.states.iter().map(|state| state.calls).collect(),
                at_unit: Unit::Calls,
                cells: policy.cells.clone(),
                cell_bytes: self.cell_bytes,
                addresses: Vec::new(),
                says: policy
                    .states
                    .iter()
                    .map(|state| {
                        format!(
                            "{} held for {} asked, {} external",
                            bytes(state.held),
                            bytes(state.asked),
                            Unit::PerMille.show(state.external())
                        )
                    })
                    .collect(),
                shows_held: true,
                start: policy.states.len().saturating_sub(1),
                has_slider: false,
            };
            html.push_str(&format!("<div><h3>{}</h3>{}</div>\n", Escaped(&policy.name), map.html()));
        }
        html.push_str("</div>\n");
        html
    }

    /// Table, curves and maps, as HTML. `id` tells it from others of the page.
    fn body(&self, id: &str) -> String {
        let mut html = String::new();
        if !self.lesson.is_empty() {
            html.push_str(&format!("<p class=\"words\">{}</p>\n", Escaped(&self.lesson)));
        }
        html.push_str(&format!("<p>{}</p>\n", Escaped(&self.verdict())));
        html.push_str(&self.table().html());
        html.push_str(&self.curves());
        html.push_str(&self.maps(id));
        html
    }
}

/// A page of several labs, each a section.
pub fn page(labs: &[Lab]) -> String {
    let ids = [
        "lab-1", "lab-2", "lab-3", "lab-4", "lab-5", "lab-6", "lab-7", "lab-8", "lab-9", "lab-10", "lab-11",
        "lab-12",
    ];
    let names: Vec<&str> = labs.iter().map(|lab| lab.title.split(':').next().unwrap_or_default()).collect();
    let sections = labs.iter().zip(ids).zip(&names).map(|((lab, id), name)| Section {
        id,
        title: (*name).to_owned(),
        lead: format!("{} {} calls.", sentence(&lab.title), count(lab.calls)),
        body: lab.body(id),
    });
    let mut summary = String::from(
        "<p class=\"words\">The same calls through several policies of the textbooks, each on memory of its own. What a policy holds beyond what \
         was asked for is lost inside blocks (rounding, tags: internal fragmentation) or between them (external fragmentation).</p>\n<ul class=\"findings\">",
    );
    for ((lab, id), name) in labs.iter().zip(ids).zip(&names) {
        summary.push_str(&format!(
            "<li><a href=\"#{id}\"><b>{}</b></a> {}</li>\n",
            Escaped(name),
            Escaped(&lab.verdict())
        ));
    }
    summary.push_str("</ul>\n");
    Page {
        title: "Placement policies, side by side".into(),
        subtitle: names.join(", "),
        summary,
        sections: sections.collect(),
    }
    .html()
}

/// What stands behind the name, as a sentence.
fn sentence(title: &str) -> String {
    let text = title.split_once(": ").map_or(title, |(_, rest)| rest);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
