//! What stands out in a heap profile: sums by call site at one moment, without any course over time.

use hashbrown::HashMap;

use super::Finding;
use crate::charts::flame::Measure;
use crate::quantity::bytes;
use crate::report::{Kind, Profile};
use crate::stacks::Stacks;

/// What is less is not worth a word.
const LEAST: f64 = 64.0 * 1024.0;
/// As many sites are named in one sentence.
const NAMED: usize = 3;

/// What is found in a profile. O(call sites).
pub fn of_profile(profile: &Profile, stacks: &Stacks) -> Vec<Finding> {
    let sites = |kind| profile.measure(kind).map_or_else(Sites::default, |one| Sites::of(one, stacks));
    let [live, peak, allocated, stranded, lost, idle] =
        [Kind::Live, Kind::Peak, Kind::Allocated, Kind::Stranded, Kind::Lost, Kind::Idle].map(sites);
    let mut findings = Vec::new();
    findings.extend(lost_blocks(&lost));
    findings.extend(holders(&live));
    findings.extend(fragmentation(&stranded, &live));
    findings.extend(former_peak(&peak, &live));
    findings.extend(untouched(&idle, &live));
    findings.extend(turnover(&allocated, &live, &peak));
    findings
}

/// Sums by the line that names a call site, the largest first.
#[derive(Default)]
struct Sites {
    sum: f64,
    named: Vec<(String, f64)>,
}

impl Sites {
    fn of(measure: &Measure, stacks: &Stacks) -> Sites {
        let mut sums: HashMap<String, f64> = HashMap::new();
        for &(stack, value) in &measure.values {
            *sums.entry(stacks.site(stack)).or_default() += value;
        }
        let mut named: Vec<_> = sums.into_iter().collect();
        named.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Sites { sum: named.iter().map(|(_, value)| value).sum(), named }
    }

    /// The part of the whole that the largest site has, in per cent.
    fn share(&self, value: f64) -> u64 {
        (value / self.sum.max(1.0) * 100.0).round() as u64
    }

    /// `load ← main (61 %, 73 MiB), store ← main (20 %, 24 MiB)`: those that have a twentieth at least, and the first in any case.
    fn first(&self) -> String {
        let worth = |value: f64| value >= self.sum / 20.0;
        let named =
            self.named.iter().take(NAMED).enumerate().filter(|(n, (_, value))| *n == 0 || worth(*value));
        let words = named
            .map(|(_, (name, value))| format!("{name} ({} %, {})", self.share(*value), bytes(*value as u64)));
        words.collect::<Vec<_>>().join("; ")
    }
}

fn holders(live: &Sites) -> Option<Finding> {
    (live.sum >= LEAST).then(|| Finding {
        kind: "Who holds the most",
        seen: format!("Of {} live: {}.", bytes(live.sum as u64), live.first()),
        advice: "Whether it is meant to be so much, its author knows. Whether it grows, a second profile tells, taken later: \
                 `freestone profile --base FIRST SECOND`."
            .into(),
        section: "sites",
        weight: live.sum,
    })
}

/// Blocks that nothing leads to any more.
fn lost_blocks(lost: &Sites) -> Option<Finding> {
    (lost.sum >= 1024.0).then(|| Finding {
        kind: "Leak",
        seen: format!("Nothing leads to {} of live blocks any more: {}.", bytes(lost.sum as u64), lost.first()),
        advice: "Nobody can free them. The flame graph by what nothing leads to says where they were asked for; look for the owner that forgot them.".into(),
        section: "flame",
        weight: lost.sum,
    })
}

fn fragmentation(stranded: &Sites, live: &Sites) -> Option<Finding> {
    (stranded.sum >= 4.0 * LEAST && stranded.sum >= live.sum / 8.0).then(|| Finding {
        kind: "Fragmentation",
        seen: format!(
            "{} are free and cannot go back, because live blocks of these sites lie among them: {}.",
            bytes(stranded.sum as u64),
            stranded.first()
        ),
        advice: "A few blocks that live long keep many pages. What is kept long, ask for together, before or apart from what is \
                 given back soon; in Rust a `freestone::Heap` of its own."
            .into(),
        section: "flame",
        weight: stranded.sum,
    })
}

/// What lived at the peak and does not any more.
fn former_peak(peak: &Sites, live: &Sites) -> Option<Finding> {
    (peak.sum >= 16.0 * LEAST && peak.sum >= 1.5 * live.sum).then(|| Finding {
        kind: "A peak that is past",
        seen: format!("{} were live at the peak, {} now. Then: {}.", bytes(peak.sum as u64), bytes(live.sum as u64), peak.first()),
        advice: "What the process needs at most is decided there: smaller pieces at a time, or fewer at once, lower the peak.".into(),
        section: "flame",
        weight: peak.sum - live.sum,
    })
}

fn untouched(idle: &Sites, live: &Sites) -> Option<Finding> {
    (idle.sum >= 4.0 * LEAST && idle.sum >= live.sum / 10.0).then(|| Finding {
        kind: "Nobody looked",
        seen: format!("{} of {} live were neither read nor written meanwhile: {}.", bytes(idle.sum as u64), bytes(live.sum as u64), idle.first()),
        advice: "A cache that nobody asks, or a table that was built and forgotten; a longer watch says so with more certainty.".into(),
        section: "flame",
        weight: idle.sum,
    })
}

/// Much is asked for and given back by one site.
fn turnover(allocated: &Sites, live: &Sites, peak: &Sites) -> Option<Finding> {
    let (_, most) = allocated.named.first()?;
    let kept = live.sum.max(peak.sum);
    (allocated.sum >= 16.0 * LEAST && allocated.sum >= 8.0 * kept && *most >= allocated.sum / 5.0).then(|| Finding {
        kind: "Asked for again and again",
        seen: format!(
            "{} were asked for in all, {} times what ever lived at once. Most by {}.",
            bytes(allocated.sum as u64),
            (allocated.sum / kept.max(1.0)).round(),
            allocated.first()
        ),
        advice: "Where that takes time, keep the buffer and use it again. A trace (`freestone record -- CMD`) tells how long its blocks live and how they grow."
            .into(),
        section: "flame",
        weight: allocated.sum * 0.01,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::axis::Unit;

    fn profile(figures: &[(Kind, &[(&str, f64)])]) -> (Profile, Stacks) {
        let mut stacks = Stacks::default();
        let mut profile = Profile::default();
        for (kind, sites) in figures {
            let values = sites.iter().map(|(name, value)| (stacks.enter(["main", name]), *value)).collect();
            profile.measures.push(Measure { name: "bytes".into(), unit: Unit::Bytes, values });
            profile.kinds.push(*kind);
        }
        (profile, stacks)
    }

    fn kinds(figures: &[(Kind, &[(&str, f64)])]) -> Vec<&'static str> {
        let (profile, stacks) = profile(figures);
        of_profile(&profile, &stacks).iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn who_holds_the_most_is_named_with_its_share() {
        let (profile, stacks) = profile(&[(Kind::Live, &[("load", 6e6), ("store", 3e6), ("log", 1e5)])]);
        let findings = of_profile(&profile, &stacks);
        assert_eq!(findings.len(), 1);
        let seen = &findings[0].seen;
        assert!(seen.contains("load ← main (66 %") && seen.contains("store ← main (33 %"), "{seen}");
        assert!(!seen.contains("log"), "{seen}");
    }

    #[test]
    fn what_is_little_is_not_worth_a_word() {
        assert!(kinds(&[]).is_empty());
        assert!(kinds(&[(Kind::Live, &[("load", 1e4)]), (Kind::Stranded, &[("load", 1e4)])]).is_empty());
        let usual: &[(&str, f64)] = &[("load", 1e7)];
        let all = [(Kind::Live, usual), (Kind::Peak, usual), (Kind::Allocated, usual)];
        assert_eq!(kinds(&all), ["Who holds the most"]);
    }

    #[test]
    fn each_kind_of_trouble_has_its_words() {
        let live: &[(&str, f64)] = &[("load", 1e6)];
        let all: [(Kind, &[(&str, f64)]); 6] = [
            (Kind::Live, live),
            (Kind::Peak, &[("burst", 9e6)]),
            (Kind::Allocated, &[("burst", 9e9)]),
            (Kind::Stranded, &[("load", 2e6)]),
            (Kind::Lost, &[("load", 5e5)]),
            (Kind::Idle, live),
        ];
        assert_eq!(kinds(&all).len(), 6);
        let (profile, stacks) = profile(&all);
        let ranked = super::super::ranked(of_profile(&profile, &stacks));
        assert_eq!(ranked[0].kind, "Leak");
        assert_eq!(ranked[1].kind, "Fragmentation");
        assert_eq!(ranked[2].kind, "Who holds the most");
    }
}
