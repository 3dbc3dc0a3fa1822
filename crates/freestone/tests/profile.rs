//! The heap profile against the truth: how much each call site really holds and allocated.
//!
//! # Safety
//!
//! The symbol `freestone_conf` is an `Options`.
#![allow(unsafe_code, clippy::vec_box)]

use std::hint::black_box;

use freestone::{Freestone, Options, profile};

#[global_allocator]
static GLOBAL: Freestone = Freestone;

/// Or the background thread would give back what is stranded.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static freestone_conf: Options = Options::new(c"background:0");

const MEAN: u64 = 16 << 10;

/// The figures of one line `site …`: samples, live samples, and objects and bytes that were allocated, live, and at the peak; those
/// lost, and the bytes stranded.
struct Site {
    samples: f64,
    figures: Vec<f64>,
    frames: Vec<u64>,
}

fn sites(text: &str) -> Vec<Site> {
    assert!(text.starts_with("freestone-heap-profile 1\n"), "{text}");
    let lines = text.lines().filter_map(|line| line.strip_prefix("site "));
    lines
        .map(|line| {
            let (figures, frames) = line.split_once(" :").unwrap();
            let mut words = figures.split(' ').skip(1).map(|word| word.parse::<f64>().unwrap());
            let samples = words.next().unwrap();
            words.next();
            let frames =
                frames.split_whitespace().map(|frame| u64::from_str_radix(frame, 16).unwrap()).collect();
            Site { samples, figures: words.collect(), frames }
        })
        .collect()
}

fn written() -> Vec<Site> {
    let mut text = String::new();
    profile::write(&mut text).unwrap();
    sites(&text)
}

/// The function that a site is in: of those that the test calls, the outermost.
fn function_of(site: &Site) -> usize {
    let known = [
        keeps_small as *const () as usize,
        keeps_large as *const () as usize,
        churns as *const () as usize,
        hides as *const () as usize,
        estimates_are_near_the_truth as *const () as usize,
    ];
    // The last that begins before the address, if that is near: others may lie between, but those are called by one of these.
    let around = |frame: u64| {
        let before = known.into_iter().filter(|&start| (frame as usize).wrapping_sub(start) < 800);
        before.max().filter(|&start| start != known[4])
    };
    site.frames.iter().rev().find_map(|&frame| around(frame)).unwrap_or(0)
}

/// The sum of a figure over all sites in a function.
fn of(sites: &[Site], function: usize, figure: usize) -> f64 {
    sites.iter().filter(|site| function_of(site) == function).map(|site| site.figures[figure]).sum()
}

const ALLOCATED: usize = 1;
const LIVE_OBJECTS: usize = 2;
const LIVE: usize = 3;
const PEAK: usize = 5;
const STRANDED: usize = 8;

#[inline(never)]
fn keeps_small(count: usize) -> Vec<Box<[u8; 200]>> {
    black_box((0..count).map(|_| black_box(Box::new([1; 200]))).collect())
}

const LARGE: usize = 20;

#[inline(never)]
fn keeps_large(keeper: &mut Vec<Vec<u8>>) {
    // The keeper is not allocated here, where now and then it would be a sample of its own.
    // A number that the compiler does not know, or it would make a long function of it: one body for each.
    keeper.extend((0..black_box(LARGE)).map(|_| black_box(vec![1u8; 300_000])));
    // Something to come back for: by a jump at the end this function would leave no frame.
    black_box(keeper.len());
}

#[inline(never)]
fn churns(count: usize) {
    for _ in 0..count {
        black_box(Box::new([1u8; 1000]));
    }
}

/// Whether an estimate of `count` blocks of `size` bytes is within six standard deviations: of a sum over samples that are drawn with
/// the probability p each, that is size * sqrt(count * (1 - p) / p).
fn is_near(estimate: f64, count: usize, size: usize) {
    let p = 1.0 - (-(size as f64 + 1.0) / MEAN as f64).exp();
    let exact = (count * size) as f64;
    let deviation = size as f64 * (count as f64 * (1.0 - p) / p).sqrt();
    assert!(
        (estimate - exact).abs() <= 6.0 * deviation + 1.0,
        "{estimate} for {exact}, give or take {deviation}"
    );
}

#[test]
fn estimates_are_near_the_truth() {
    let small_code = keeps_small as *const () as usize;
    let large_code = keeps_large as *const () as usize;
    let churn_code = churns as *const () as usize;
    profile::start(MEAN).unwrap();
    assert_eq!(profile::mean(), MEAN);
    let mut small = keeps_small(50_000);
    let mut large = Vec::with_capacity(LARGE);
    keeps_large(&mut large);
    churns(50_000);

    let found = written();
    assert!(found.iter().map(|site| site.samples).sum::<f64>() > 1000.0);
    is_near(of(&found, churn_code, ALLOCATED), 50_000, 1000);
    // Of blocks that come and go, one at a time lives.
    assert!(of(&found, churn_code, LIVE) <= 2.0 * (MEAN + 1000) as f64);
    // The vector that holds the boxes is of its site, too: its size is known, and it is large enough to be sampled.
    is_near(of(&found, small_code, LIVE) - 50_000.0 * 8.0, 50_000, 200);
    is_near(of(&found, large_code, LIVE), LARGE, 300_000);

    // Blocks that are freed leave the live figures and stay in the others.
    let mut n = 0;
    small.retain(|_| {
        n += 1;
        n % 10 == 0
    });
    drop(large);
    let later = written();
    is_near(of(&later, small_code, LIVE) - 50_000.0 * 8.0, 5_000, 200);
    assert_eq!(of(&later, large_code, LIVE), 0.0);
    is_near(of(&later, large_code, PEAK), 20, 300_000);
    let live = of(&later, small_code, LIVE_OBJECTS);
    assert!((1000.0..9000.0).contains(&live), "{live}");

    // What is left of each slab keeps nine tenths of it from going back: 9 MB, and no other site does that.
    let stranded = of(&later, small_code, STRANDED);
    assert!((4e6..14e6).contains(&stranded), "{stranded}");
    let others: f64 = later.iter().map(|site| site.figures[STRANDED]).sum::<f64>() - stranded;
    assert!(others < stranded / 4.0, "{others} {stranded}");

    // A vector that grows is a request at each step, and one live block.
    let mut grown: Vec<u8> = Vec::with_capacity(1 << 20);
    for step in 1..50 {
        grown.reserve_exact(step << 20);
    }
    let before = written();
    profile::stop();
    drop(grown);
    let after = written();
    let sum = |sites: &[Site]| sites.iter().map(|site| site.figures[LIVE]).sum::<f64>();
    let gone = sum(&before) - sum(&after);
    // The texts of this test come and go as well.
    assert!((gone - f64::from(49 << 20)).abs() < 1e6, "{gone}");

    // What is lost is told from what is kept.
    profile::start(MEAN).unwrap();
    let kept = keeps_small(2_000);
    hides(20);
    let mut text = String::new();
    profile::write_with_lost(&mut text).unwrap();
    assert!(text.contains("\nreachability 1\n"));
    let found = sites(&text);
    const LOST: usize = 7;
    assert!(of(&found, small_code, LOST) < 100_000.0, "{}", of(&found, small_code, LOST));
    // Some may still be in old words of the stack.
    let lost = of(&found, hides as *const () as usize, LOST);
    assert!((3e6..6.1e6).contains(&lost), "{lost}");
    black_box(&kept);
    profile::stop();
    drop((kept, small));
    samples_of_merged_classes_take_no_slabs_of_others();
    freestone::verify().unwrap();
}

/// While neighbouring classes are merged, samples and what stands for them lie in the classes that serve: they take slabs of those, and
/// once more as many of their own.
fn samples_of_merged_classes_take_no_slabs_of_others() {
    let one_of_each = || {
        let before = freestone::stats().pages.slabs;
        let blocks: Vec<Vec<u8>> = (1040..8192).step_by(64).map(Vec::with_capacity).collect();
        (freestone::stats().pages.slabs - before, blocks)
    };
    let (plain, blocks) = one_of_each();
    profile::start(1).unwrap();
    let (sampled, more) = one_of_each();
    profile::stop();
    assert!(plain > 0 && sampled < 2 * plain, "{sampled} {plain}");
    drop((blocks, more));
}

/// Leaves large blocks allocated, and their addresses nowhere.
#[inline(never)]
fn hides(count: usize) {
    hidden(count);
    clear_stack();
}

#[inline(never)]
fn hidden(count: usize) {
    for _ in 0..count {
        std::mem::forget(black_box(vec![1u8; 300_000]));
    }
}

/// Writes over what calls left on the stack below.
#[inline(never)]
fn clear_stack() {
    black_box([0u64; 4096]);
}
