//! What stands out in a trace.

use hashbrown::HashMap;

use super::Finding;
use crate::quantity::{bytes, count, rough};
use crate::stacks::{StackId, Stacks};
use crate::study::{Group, Pace, SHORT, Studied};

/// What is less is not worth a word.
const LEAST_BYTES: f64 = 64.0 * 1024.0;
const LEAST_CALLS: f64 = 1000.0;

/// What is found in the calls of a program.
pub fn of_trace(studied: &Studied, stacks: &Stacks) -> Vec<Finding> {
    let places = places(studied, stacks);
    let mut findings = leaks(studied, &places);
    findings.extend(fragmentation(studied, stacks));
    findings.extend(chains(studied, &places));
    findings.extend(short_lives(studied, &places));
    findings.extend(tails(&places));
    findings
}

/// Blocks of which one speaks in one sentence: those of call sites that go by the same name, or of a range of sizes.
struct Place {
    /// As the object of a sentence.
    at: String,
    group: Group,
    /// Live bytes at moments in equal distances, by [`Pace`].
    courses: [Vec<f32>; 2],
}

fn places(studied: &Studied, stacks: &Stacks) -> Vec<Place> {
    let names = Names::new(studied, stacks);
    let mut all: Vec<Place> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (number, group) in names.groups(studied).iter().enumerate() {
        let at = names.where_at(number);
        let place = *known.entry(at.clone()).or_insert_with(|| {
            all.push(Place { at, group: Group::default(), courses: [const { Vec::new() }; 2] });
            all.len() - 1
        });
        let place = &mut all[place];
        place.group.add(group);
        for (course, frames) in place.courses.iter_mut().zip([names.frames(studied), names.marks(studied)]) {
            course.resize(frames.len(), 0.0);
            let live = frames.iter().map(|frame| frame.get(number).copied().unwrap_or(0.0));
            course.iter_mut().zip(live).for_each(|(sum, part)| *sum += part);
        }
    }
    all
}

/// Names a group: a call site where there are any, else a range of sizes.
pub(crate) struct Names<'a> {
    stacks: &'a Stacks,
    by_site: bool,
}

impl<'a> Names<'a> {
    pub fn new(studied: &Studied, stacks: &'a Stacks) -> Names<'a> {
        Names { stacks, by_site: !studied.sites.is_empty() }
    }

    pub fn groups<'s>(&self, studied: &'s Studied) -> &'s [Group] {
        if self.by_site { &studied.sites } else { &studied.sizes }
    }

    pub fn frames<'s>(&self, studied: &'s Studied) -> &'s [Vec<f32>] {
        if self.by_site { &studied.site_frames } else { &studied.size_frames }
    }

    fn marks<'s>(&self, studied: &'s Studied) -> &'s [Vec<f32>] {
        if self.by_site { &studied.site_marks } else { &studied.size_marks }
    }

    pub fn name(&self, place: usize) -> String {
        if self.by_site { self.stacks.site(StackId(place as u32)) } else { size_label(place) }
    }

    /// As the object of a sentence: `at load ← main`, `in blocks of 33 to 64 B`.
    fn where_at(&self, place: usize) -> String {
        if self.by_site {
            format!("at {}", self.name(place))
        } else {
            format!("in blocks of {}", self.name(place))
        }
    }
}

/// What a class of sizes is called.
///
/// ```
/// use freestone_pictures::findings::size_label;
/// assert_eq!(size_label(0), "0 to 1 B");
/// assert_eq!(size_label(6), "33 to 64 B");
/// assert_eq!(size_label(13), "above 4 KiB to 8 KiB");
/// ```
pub fn size_label(class: usize) -> String {
    let whole = |bytes_| bytes(bytes_).replace(".0 ", " ");
    match class {
        0 => "0 to 1 B".into(),
        1 => "2 B".into(),
        n if n <= 10 => format!("{} to {} B", (1_u64 << (n - 1)) + 1, 1_u64 << n),
        n => format!("above {} to {}", whole(1 << (n - 1)), whole(1 << n)),
    }
}

/// What grew in every part of the run, by time or by calls. Both, because a program that waits, or is kept from its processor, does
/// not grow meanwhile, and one that works through much at once makes most of its calls then.
fn leaks(studied: &Studied, places: &[Place]) -> Vec<Finding> {
    let least = LEAST_BYTES.max(studied.peak.bytes as f64 * 0.02);
    let found = places.iter().filter_map(|place| {
        let group = &place.group;
        let highest = f64::from(place.courses[0].iter().copied().fold(0.0, f32::max));
        let lives_on = group.live > highest * 0.5;
        let (pace, history) = [Pace::Time, Pace::Calls]
            .into_iter()
            .zip(&place.courses)
            .find(|(pace, course)| {
                Group::grows(course) && (!lives_on || group.survivors_are_of_all_ages(*pace))
            })
            .filter(|_| highest >= least)?;
        let since = history.iter().position(|&live| live > 0.0).unwrap_or(0);
        let early = f64::from(history[since + (history.len() - since) / 4]);
        let fate = if lives_on {
            format!("{} in {} still live at the end", bytes(group.live as u64), blocks(group.live_blocks))
        } else {
            "all of it was given back only at the end".into()
        };
        let advice = if lives_on {
            "A leak, or a cache without a bound: look at who should give these blocks back, or bound it."
        } else {
            "Nothing is lost, but nothing bounds it either: in a run that lasts longer it will be more."
        };
        Some(Finding {
            kind: if lives_on { "Leak or unbounded cache" } else { "Growth without a bound" },
            seen: format!(
                "Memory allocated {} grew {}, from {} after a quarter of {} to {}; {fate}.",
                place.at,
                if since * 8 < history.len() {
                    "all through the run"
                } else {
                    "from its first block to the end"
                },
                bytes(early as u64),
                if pace == Pace::Time { "that time" } else { "the calls in that time" },
                bytes(highest as u64),
            ),
            advice: advice.into(),
            section: "timeline",
            weight: highest * if lives_on { 2.0 } else { 0.5 },
        })
    });
    found.collect()
}

fn blocks(number: f64) -> String {
    let number = number.round() as u64;
    format!("{} {}", count(number), if number == 1 { "block" } else { "blocks" })
}

/// A quarter of the bytes on OS pages with small live blocks lies free.
fn fragmentation(studied: &Studied, stacks: &Stacks) -> Vec<Finding> {
    let stranded = &studied.stranded;
    let held = stranded.bytes as f64;
    // Small heaps never fill their pages.
    if held < 4.0 * LEAST_BYTES || held < stranded.live as f64 * 0.33 {
        return Vec::new();
    }
    let names = Names::new(studied, stacks);
    // Of call sites that go by the same name together.
    let mut held_at: HashMap<String, f64> = HashMap::new();
    let by_site = stranded.by_site.iter().map(|&(site, bytes)| (site as usize, bytes));
    let by_size = stranded.by_size.iter().copied();
    let parts: Vec<(usize, f64)> = if names.by_site { by_site.collect() } else { by_size.collect() };
    for (place, part) in parts {
        *held_at.entry(names.where_at(place)).or_default() += part;
    }
    let most = held_at.into_iter().max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
    let who = most.map_or(String::new(), |(at, part)| {
        format!(" Most of it ({}) is held back by blocks allocated {at}.", bytes(part as u64))
    });
    let when = studied.span as u128 * (stranded.frame as u128 + 1) / studied.map.frames.len().max(1) as u128;
    let when = super::super::report::moment(studied.timed, when as u64);
    vec![Finding {
        kind: "Fragmentation",
        seen: format!(
            "{} lay free on OS pages that could not go back, because some block on each was live: {when}, beside {} live.{who}",
            bytes(stranded.bytes),
            bytes(stranded.live),
        ),
        advice: "Blocks that live long among others that do not keep whole pages: allocate them apart (a heap or an arena of their \
                 own), or at once, or free them with the rest."
            .into(),
        section: "map",
        weight: held,
    }]
}

fn chains(studied: &Studied, places: &[Place]) -> Vec<Finding> {
    let all_bytes: f64 = studied.sizes.iter().map(|group| group.bytes + group.copied).sum();
    let found = places.iter().filter_map(|place| {
        let group = &place.group;
        let is_much = group.chain_steps >= studied.calls as f64 * 0.02 || group.chain_copied >= all_bytes * 0.02;
        if group.chain_steps < LEAST_CALLS || !is_much {
            return None;
        }
        Some(Finding {
            kind: "Growing in steps",
            seen: format!(
                "{} allocated {} grew in {} steps of realloc each on average; {} were copied for that.",
                blocks(group.chains),
                place.at,
                rough_steps(group.chain_steps / group.chains.max(1.0)),
                bytes(group.chain_copied as u64),
            ),
            advice: format!(
                "Nine of ten end below {}: reserving that at once (with_capacity, reserve) saves {} calls and the copies.",
                bytes(group.usual_chain_size()),
                rough(group.chain_steps)
            ),
            section: "churn",
            weight: group.chain_copied * 0.25 + group.chain_steps * 64.0,
        })
    });
    found.collect()
}

fn rough_steps(steps: f64) -> String {
    format!("{steps:.0}")
}

fn short_lives(studied: &Studied, places: &[Place]) -> Vec<Finding> {
    let found = places.iter().filter_map(|place| {
        let group = &place.group;
        if group.short < LEAST_CALLS || group.short < studied.calls as f64 * 0.04 {
            return None;
        }
        let mean = group.bytes / group.allocations.max(1.0);
        Some(Finding {
            kind: "Short-lived blocks",
            seen: format!(
                "{} blocks, {} each on average, were allocated {} and given back within {SHORT} calls: {:.0} % of all blocks from there.",
                rough(group.short),
                bytes(mean as u64),
                place.at,
                group.short / group.ended_blocks().max(1.0) * 100.0,
            ),
            advice: "A buffer that is kept and cleared, or an array on the stack, would save these calls.".into(),
            section: "churn",
            // Two calls of some 10 ns each weigh like touching a cache line.
            weight: group.short * 48.0,
        })
    });
    found.collect()
}

fn tails(places: &[Place]) -> Vec<Finding> {
    let found = places.iter().filter_map(|place| {
        let group = &place.group;
        if group.tails < 1.0 || group.untouched < 16.0 * LEAST_BYTES {
            return None;
        }
        Some(Finding {
            kind: "Never touched",
            seen: format!(
                "{} at the ends of {} allocated {} were never touched.",
                bytes(group.untouched as u64),
                blocks(group.tails),
                place.at,
            ),
            advice: "They cost addresses, not memory; but asking for less would let the allocator reuse what it has.".into(),
            section: "churn",
            weight: group.untouched * 0.05,
        })
    });
    found.collect()
}
