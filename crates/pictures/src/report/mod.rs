//! The page of `freestone report`: all that is known of one program, from whatever of a run, a trace and a profile is at hand.

mod calls;
mod figures;
mod sites;
mod words;

use std::time::Duration;

use crate::charts::axis::Unit;
use crate::charts::flame::Measure;
use crate::findings::{Finding, of_figures, of_profile, of_trace, ranked};
use crate::page::{Page, Section};
use crate::quantity::{count, time};
use crate::stacks::{StackId, Stacks};
use crate::study::Studied;
pub use figures::{ClassFigures, Figures, LedgerLine, Sample};

/// What is known of a program.
#[derive(Debug, Default)]
pub struct Sources {
    /// The program with its arguments, or what else the page is about.
    pub command: String,
    /// Which files it was made from, in words.
    pub made_from: String,
    /// The figures of a run.
    pub figures: Option<Figures>,
    /// The study of a trace.
    pub studied: Option<Studied>,
    /// The stacks that the study and the profile speak of.
    pub stacks: Stacks,
    /// A profile.
    pub profile: Option<Profile>,
    /// What the reader must know of the sources: that one was cut, for example.
    pub notes: Vec<String>,
}

/// Stacks with figures.
#[derive(Debug, Default)]
pub struct Profile {
    /// What it is.
    pub title: String,
    /// How it was taken, as a sentence; may be empty.
    pub taken: String,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// What each measure tells of a heap; where there are several profiles, the first one's come first.
    pub kinds: Vec<Kind>,
}

/// What a measure of a profile tells of a heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes in live blocks.
    Live,
    /// Live blocks.
    LiveBlocks,
    /// Bytes that were asked for in all.
    Allocated,
    /// Bytes that lived when most did.
    Peak,
    /// Free bytes that live blocks keep from going back.
    Stranded,
    /// Bytes in live blocks that nothing leads to.
    Lost,
    /// Bytes in live blocks that nobody touched for a while.
    Idle,
    /// Something else.
    Other,
}

impl Kind {
    /// By the name that the measure has in pprof's format, here and elsewhere.
    pub fn named(name: &str) -> Kind {
        match name {
            "inuse_space" | "space" => Kind::Live,
            "inuse_objects" => Kind::LiveBlocks,
            "alloc_space" => Kind::Allocated,
            "peak_space" => Kind::Peak,
            "stranded_space" => Kind::Stranded,
            "lost_space" => Kind::Lost,
            "idle_space" => Kind::Idle,
            _ => Kind::Other,
        }
    }
}

impl Profile {
    /// The measure of this kind, if there is one.
    pub fn measure(&self, kind: Kind) -> Option<&Measure> {
        let place = self.kinds.iter().position(|&one| one == kind)?;
        self.measures.get(place)
    }

    /// Its sum.
    pub(crate) fn sum(&self, kind: Kind) -> Option<f64> {
        self.measure(kind).map(|measure| measure.values.iter().map(|(_, value)| value).sum())
    }
}

/// A moment of the study in words: `at 1.20 s`, `after call 1,200`.
pub(crate) fn moment(timed: bool, at: u64) -> String {
    if timed { format!("at {}", time(Duration::from_nanos(at))) } else { format!("after call {}", count(at)) }
}

/// What the study's moments are told by.
fn clock(studied: &Studied) -> Unit {
    if studied.timed { Unit::Time } else { Unit::Calls }
}

impl Sources {
    /// What stands out, the gravest first. O(call sites).
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.figures.as_ref().map_or(Vec::new(), of_figures);
        if let Some(studied) = &self.studied {
            // What the trace says better need not be said twice.
            let traced = of_trace(studied, &self.stacks);
            findings.retain(|finding| {
                !traced.iter().any(|other| {
                    other.kind == finding.kind || (finding.kind == "Growth" && other.section == "timeline")
                })
            });
            findings.extend(traced);
        }
        if let Some(profile) = &self.profile {
            let sampled = of_profile(profile, &self.stacks);
            findings.retain(|finding| {
                !sampled.iter().any(|other| other.kind == finding.kind && other.kind == "Fragmentation")
            });
            findings.extend(sampled);
        }
        ranked(findings)
    }

    /// The page, as one file of HTML.
    ///
    /// ```
    /// use freestone_pictures::event::{Call, Event};
    /// use freestone_pictures::report::Sources;
    /// use freestone_pictures::study::study;
    ///
    /// let events = (0..100).map(|n| Event {
    ///     time: n,
    ///     thread: 0,
    ///     call: Call::Allocate { address: 0x1000 + n * 64, size: 40 },
    ///     stack: None,
    /// });
    /// let studied = study(&events.collect::<Vec<_>>());
    /// let page = Sources { command: "demo".into(), studied: Some(studied), ..Sources::default() }.page();
    /// assert!(page.contains("100 calls"));
    /// ```
    pub fn page(&self) -> String {
        Page {
            title: format!("Memory of {}", self.command),
            subtitle: self.made_from.clone(),
            summary: words::summary(self, &self.findings()),
            sections: self.sections(),
        }
        .html()
    }

    fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        if self.figures.is_some() || self.studied.is_some() {
            sections.push(self.timeline());
        }
        sections.extend(self.figures.as_ref().map(figures::ledger));
        sections.push(self.flame());
        if let Some(studied) = &self.studied {
            sections.push(sites::table(studied, &self.stacks));
            sections.push(calls::sizes(studied));
            sections.push(calls::lifetimes(studied));
            sections.push(sites::churn(studied, &self.stacks));
            sections.push(calls::map(studied, &self.stacks));
            sections.push(calls::threads(studied));
        } else {
            sections.extend(self.profile.as_ref().map(|profile| sites::profile_table(profile, &self.stacks)));
            sections.extend(self.figures.as_ref().map(figures::sizes));
        }
        sections
    }

    fn timeline(&self) -> Section {
        let mut body = self.figures.as_ref().map_or(String::new(), figures::history);
        if let Some(studied) = &self.studied {
            body.push_str(&calls::timeline(studied, &self.stacks));
        }
        Section {
            id: "timeline",
            title: "Over time".into(),
            lead: "What was live and what was resident, from the start to the end. Move over a picture, or use the arrow keys, to read a moment."
                .into(),
            body,
        }
    }

    fn flame(&self) -> Section {
        let mut measures = self.profile.as_ref().map_or(Vec::new(), |profile| profile.measures.clone());
        if let Some(studied) = &self.studied {
            let of = |name: &str, unit, value: fn(&crate::study::Group) -> f64| Measure {
                name: name.into(),
                unit,
                values: studied
                    .sites
                    .iter()
                    .enumerate()
                    .map(|(place, group)| (StackId(place as u32), value(group)))
                    .collect(),
            };
            measures.extend([
                of("bytes live at the peak", Unit::Bytes, |group| group.at_peak),
                of("bytes live at the end", Unit::Bytes, |group| group.live),
                of("bytes allocated in all", Unit::Bytes, |group| group.bytes),
                of("blocks allocated", Unit::Count, |group| group.allocations),
                of("bytes copied by realloc", Unit::Bytes, |group| group.copied),
            ]);
        }
        Section {
            id: "flame",
            title: "Who asked for it".into(),
            lead: "Each bar is a function, as wide as the memory that it and what it calls asked for; callers stand above. Click one, or \
                   press Enter on it, to make it the whole; the arrow keys move, Escape goes back."
                .into(),
            body: crate::charts::flame::html("flames", "Functions by the memory they asked for", &self.stacks, &measures),
        }
    }
}
