//! The heap profile's estimates against an exact trace: one run of a program is recorded, each call with its stack, and profiled
//! at once; then the program is run again, profiled alone, as it is in production. At several mean distances between samples.
//!
//! Of each call site, the figure is to be within what is stated of it (`docs/profiles.md`): a request of `n` bytes is drawn with the
//! probability `p = 1 - exp(-(n + 1) / mean)` and stands for `1 / p`, so a sum of them has the variance `Σ n² (1 - p) / p`. Of
//! every site, however few its samples are, by Bernstein's inequality; of those with many samples, by the mean square of the deviations.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use freestone_profile::{Mapping, Measure, Places, Raw, Symbols};
use freestone_trace::{Call, Trace};

use crate::programs::{self, Scratch, Service, command, done};

/// Mean distances between samples, in bytes: for short runs, and for long ones.
const MEANS: [u64; 2] = [600, 9000];
const LONG_MEANS: [u64; 3] = [8 << 10, 64 << 10, 512 << 10];
/// A trace has no more frames of a stack, the allocator's own among them.
const FRAMES: usize = 48;
/// What a class serves at most, and at most where a block grows into it by a resize.
const LARGE: u64 = 256 << 10;
const GROWN_LARGE: u64 = 32 << 10;
/// The chance that one figure is beyond its bound though all is right.
const CHANCE: f64 = 1e-9;
/// From so many expected samples on, deviations are distributed nearly normally.
const MANY: f64 = 25.0;

/// What is known exactly of requests, and how far an estimate of it may be off.
#[derive(Clone, Copy, Default)]
struct Exact {
    sum: f64,
    variance: f64,
    /// The most that one sample counts.
    most: f64,
    samples: f64,
}

impl Exact {
    /// `times` requests of so many bytes, each counted as `each`; fewer than none take some away again.
    fn add(&mut self, times: f64, bytes: u64, each: f64, mean: u64) {
        let p = -(-(bytes as f64 + 1.0) / mean as f64).exp_m1();
        self.sum += times * each;
        self.variance += times * each * each * (1.0 - p) / p;
        self.most = self.most.max(each / p);
        self.samples += times * p;
    }

    /// How far an estimate can be off but with the chance [`CHANCE`]: the `t` of `2 exp(-t² / 2 (variance + most t / 3)) = CHANCE`.
    fn bound(&self) -> f64 {
        let log = (2.0 / CHANCE).ln();
        let half = log * self.most / 3.0;
        half + (half * half + 2.0 * log * self.variance.max(0.0)).sqrt()
    }

    /// The deviation in units of the stated one, where that says something.
    fn deviation(&self, estimate: f64) -> Option<f64> {
        (self.samples >= MANY && self.variance > 0.0).then(|| (estimate - self.sum) / self.variance.sqrt())
    }
}

const MEASURES: [Measure; 4] =
    [Measure::AllocatedObjects, Measure::AllocatedBytes, Measure::LiveObjects, Measure::LiveBytes];

/// The figures of a call site, as in [`MEASURES`].
type Figures<T> = [T; 4];
/// By the stack, the innermost function first, each with its line.
type Sites<T> = HashMap<Vec<String>, Figures<T>>;

fn names(places: &Places, stack: &[usize]) -> Vec<String> {
    let frames = places.frames(stack).take(FRAMES);
    frames.map(|frame| format!("{} {}:{}", frame.function, frame.file, frame.line)).collect()
}

/// What a trace says of the process with the most calls, for a profile of this mean distance, and the process's number.
fn exact(path: &str, mean: u64) -> (Sites<Exact>, u32) {
    let trace = Trace::open(Path::new(path)).unwrap();
    let all = 0..trace.processes().len();
    let process = all.max_by_key(|&place| trace.events(place).unwrap().count()).unwrap();
    assert_eq!(trace.processes()[process].stack_every, 1);
    let lists = trace.mappings(process).unwrap();
    let mappings = lists.iter().rev().flat_map(|list| Mapping::parse_list(list)).collect();
    let (mut symbols, mut places) = (Symbols::new(), Places::new(mappings));
    let mut known: HashMap<Vec<u64>, usize> = HashMap::new();
    let mut sites: Vec<(Vec<String>, Figures<Exact>)> = Vec::new();
    // Of each thread, the stack of its next call; of each block, its bytes, its site and whether it is beyond the classes.
    let (mut next, mut blocks) = (HashMap::new(), HashMap::new());
    let mut calls = trace.calls(process).unwrap();
    while let Some(timed) = calls.next() {
        let request = match timed.call {
            Call::Stack => {
                let site = *known.entry(calls.frames().to_vec()).or_insert_with_key(|frames| {
                    let stack = places.of_stack(&mut symbols, frames);
                    sites.push((names(&places, &stack), Default::default()));
                    sites.len() - 1
                });
                next.insert(timed.thread, site);
                continue;
            }
            Call::Allocate { block, size, .. } => Some((block, size, size > LARGE)),
            Call::Resize { block, was, size, addr } => {
                let large = blocks.get(&block).is_some_and(|&(_, _, large)| large);
                if addr == was.addr && !large {
                    // Stays the same block, of the size that was asked for first.
                    next.remove(&timed.thread);
                    continue;
                }
                let grows = size > was.size && size > GROWN_LARGE;
                Some((block, size, size > LARGE || grows || addr == was.addr))
            }
            Call::Free { block, .. } => {
                leave(&mut blocks, &mut sites, block, mean);
                None
            }
            _ => None,
        };
        if let Some((block, size, large)) = request {
            leave(&mut blocks, &mut sites, block, mean);
            let Some(site) = next.remove(&timed.thread) else { panic!("a call without a stack") };
            count(&mut sites[site].1, 1.0, size, mean, 0..4);
            blocks.insert(block, (size, site, large));
        }
    }
    let mut merged: Sites<Exact> = HashMap::new();
    for (name, figures) in sites {
        let there = merged.entry(name).or_default();
        for (sum, part) in there.iter_mut().zip(figures) {
            sum.sum += part.sum;
            sum.variance += part.variance;
            sum.samples += part.samples;
            sum.most = sum.most.max(part.most);
        }
    }
    (merged, trace.processes()[process].pid)
}

fn count(figures: &mut Figures<Exact>, times: f64, size: u64, mean: u64, which: std::ops::Range<usize>) {
    for place in which {
        let each = if MEASURES[place].is_bytes() { size as f64 } else { 1.0 };
        figures[place].add(times, size, each, mean);
    }
}

/// The block, if it is known, is not live any more.
fn leave(
    blocks: &mut HashMap<u32, (u64, usize, bool)>,
    sites: &mut [(Vec<String>, Figures<Exact>)],
    block: u32,
    mean: u64,
) {
    if let Some((size, site, _)) = blocks.remove(&block) {
        count(&mut sites[site].1, -1.0, size, mean, 2..4);
    }
}

/// What a profile estimates.
fn estimated(path: &Path, mean: u64) -> Sites<f64> {
    let raw = Raw::parse(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(raw.damage.is_none() && raw.dropped == 0 && raw.mean == mean, "{:?}", raw.damage);
    let (mut symbols, mut places) = (Symbols::new(), Places::new(raw.mappings.clone()));
    let mut sites: Sites<f64> = HashMap::new();
    for site in &raw.sites {
        let stack = places.of_stack(&mut symbols, &site.frames);
        let figures = sites.entry(names(&places, &stack)).or_default();
        let found = [site.allocated.0, site.allocated.1, site.live.0, site.live.1];
        figures.iter_mut().zip(found).for_each(|(sum, part)| *sum += part);
    }
    sites
}

/// The deviations of the figures that rest on many samples, each in units of the one that is stated. Panics where any is beyond its bound.
fn compare(what: &str, exact: &Sites<Exact>, estimated: &Sites<f64>) -> Vec<f64> {
    let strange: Vec<_> = estimated.keys().filter(|name| !exact.contains_key(*name)).collect();
    assert!(strange.is_empty(), "{what}: call sites that are in no call of the trace: {strange:#?}");
    let mut deviations = Vec::new();
    let mut beyond = Vec::new();
    for (name, figures) in exact {
        for (place, truth) in figures.iter().enumerate() {
            let estimate = estimated.get(name).map_or(0.0, |found| found[place]);
            if (estimate - truth.sum).abs() > truth.bound() + 1.0 {
                let measure = MEASURES[place].meaning();
                beyond.push(format!(
                    "{measure}: {estimate:.0} for {:.0} ± {:.0} {name:#?}",
                    truth.sum,
                    truth.bound()
                ));
            }
            // Of blocks of one size, bytes and objects deviate alike.
            if MEASURES[place].is_bytes() {
                deviations.extend(truth.deviation(estimate));
            }
        }
    }
    assert!(beyond.is_empty(), "{what}: {}", beyond.join("\n"));
    deviations
}

/// Has the mean square of the deviations be 1, as it is where the stated ones are right. What is live at a site was allocated there, so two
/// figures each may deviate together, and there are half as many that do not. Seven standard deviations: a chance of some 1e-6.
fn judge(what: &str, deviations: &[f64]) {
    let count = deviations.len() as f64;
    let within = |most: f64| {
        deviations.iter().filter(|deviation| deviation.abs() <= most).count() as f64 / count * 100.0
    };
    let square = deviations.iter().map(|deviation| deviation * deviation).sum::<f64>() / count;
    println!(
        "{what}: of {count} sums of bytes that rest on {MANY} samples or more, {:.0} % within one stated deviation, {:.0} % within two; \
         mean square {square:.2}",
        within(1.0),
        within(2.0)
    );
    assert!(count >= 10.0, "{what}: too few figures to judge: {count}");
    let most = 1.0 + 7.0 * (2.0 / (count / 2.0)).sqrt();
    assert!((0.1..most).contains(&square), "{what}: {square}, at most {most}: {deviations:?}");
}

/// Both runs of a preloaded program at one mean distance; the deviations.
fn preloaded(name: &str, words: &[&str], mean: u64) -> Vec<f64> {
    let scratch = Scratch::new(&format!("{name}-{mean}"));
    let (trace, profile) = (scratch.path("both.trace"), scratch.path("alone.heap"));
    let conf = format!("heap_profile:{},sample:{mean}", scratch.folder().display());
    let record = ["record", "-q", "--stacks", "1", "--conf", &conf, "-o", &trace, "--"];
    done(&mut command(&[&record[..], words].concat()));
    let (truth, pid) = exact(&trace, mean);
    let same = estimated(&scratch.folder().join(format!("{pid}.heap")), mean);
    let mut deviations = compare(&format!("{name}, one run, {mean}"), &truth, &same);

    let run = ["run", "-q", "--conf", &format!("sample:{mean}"), "--profile", &profile, "--"];
    done(&mut command(&[&run[..], words].concat()));
    let alone = estimated(Path::new(&profile), mean);
    deviations.extend(compare(&format!("{name}, two runs, {mean}"), &truth, &alone));
    deviations
}

/// Both runs of the service that brings the allocator along, at one mean distance; the deviations, unless it is missing.
fn brought_along(rounds: u32, mean: u64) -> Option<Vec<f64>> {
    let scratch = Scratch::new(&format!("service-{mean}"));
    let (trace, profile, dir) = (scratch.path("both.trace"), scratch.path("a.heap"), scratch.path(""));
    let service = Service::start(&format!("control:1,sample:{mean},record:{dir},record_sample:1"))?;
    service.profiled(&profile, rounds);
    done(&mut command(&["record", "-q", "--recover", &dir, "-o", &trace]));
    let (truth, _) = exact(&trace, mean);
    let mut deviations = compare("the service, one run", &truth, &estimated(Path::new(&profile), mean));
    let service = Service::start(&format!("control:1,sample:{mean}"))?;
    service.profiled(&profile, rounds);
    deviations.extend(compare("the service, two runs", &truth, &estimated(Path::new(&profile), mean)));
    Some(deviations)
}

fn judge_service(rounds: u32, means: &[u64]) {
    let found: Option<Vec<_>> = means.iter().map(|&mean| brought_along(rounds, mean)).collect();
    if let Some(deviations) = found {
        judge("a service in Rust", &deviations.concat());
    }
}

fn judge_preloaded(name: &str, words: Option<Vec<String>>, means: &[u64]) {
    if let Some(words) = words {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let deviations: Vec<_> = means.iter().map(|&mean| preloaded(name, &words, mean)).collect();
        judge(&format!("a program in {name}"), &deviations.concat());
    }
}

#[test]
fn of_a_service_in_rust_that_brings_the_allocator_along() {
    judge_service(1, &MEANS);
}

#[test]
fn of_a_program_in_cpp() {
    let scratch = Scratch::new("cpp");
    judge_preloaded("C++", programs::cpp(&scratch, 100), &MEANS);
}

#[test]
fn of_a_program_in_python() {
    judge_preloaded("Python", programs::python(2000), &MEANS);
}

/// `cargo test --release -p freestone-cli --test instruments -- --ignored --nocapture`, some minutes.
#[test]
#[ignore = "takes minutes"]
fn of_longer_runs_at_the_usual_distances() {
    judge_service(30, &LONG_MEANS);
    let scratch = Scratch::new("cpp-long");
    judge_preloaded("C++", programs::cpp(&scratch, 4000), &LONG_MEANS);
    judge_preloaded("Python", programs::python(200_000), &LONG_MEANS);
}
