//! Curves: percentiles of single calls, the cost of a call against what grows, the resident set over time.

use super::scale::Axis;
use super::svg::{Anchor, Page, spread};
use crate::result::growth::{Growth, short};
use crate::result::stats::median;
use crate::result::{Results, Role, Row};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 480.0;
/// Where the chart itself lies: left, right, top, bottom.
const FRAME: (f64, f64, f64, f64) = (70.0, WIDTH - 140.0, 74.0, HEIGHT - 60.0);

/// A contestant's curve in values.
struct Curve {
    place: usize,
    name: String,
    points: Vec<(f64, f64)>,
}

/// The percentiles of one kind of call; nothing if they were not taken.
///
/// Across stands how rare a call is: one of ten, of a hundred, and so on.
pub fn latency(results: &Results, row: &Row, kind: &str) -> Option<String> {
    let shown = results.shown(row.interface);
    let roles: Vec<Role> = shown.iter().map(|one| one.role).collect();
    let mut curves = Vec::new();
    for (place, one) in shown.iter().enumerate() {
        let Some(cell) = row.cells.get(&one.name).filter(|cell| cell.failure.is_none()) else { continue };
        let Some(first) = cell.latency.get(kind).and_then(|rounds| rounds.first()) else { continue };
        let rounds = &cell.latency[kind];
        let at = |part: f64| median(&rounds.iter().map(|round| round.at(part)).collect::<Vec<_>>());
        let most = first.count.max(2) as f64;
        let points = first.curve.iter().filter_map(|(part, _)| {
            let rareness = (1.0 / (1.0 - part).max(1e-12)).min(most);
            Some((rareness, at(*part)?.max(0.5)))
        });
        curves.push(Curve { place, name: one.name.clone(), points: points.collect() });
    }
    let most = curves.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| *x)).fold(10.0, f64::max);
    let across = Axis::logarithmic(1.0, most, FRAME.0, FRAME.1);
    let title = format!("{}: time of single calls, {kind}, {} interface", row.name, row.interface);
    let mut page =
        begin(&roles, &title, "the calls up to each percentile took at most so long; lower is better")?;
    for decade in 0..=most.log10().floor() as i32 {
        let x = across.at(10f64.powi(decade));
        page.line((x, FRAME.2), (x, FRAME.3), false);
        page.pale_text(x, FRAME.3 + 18.0, 11.0, Anchor::Middle, &percent(decade));
    }
    page.pale_text(
        (FRAME.0 + FRAME.1) / 2.0,
        HEIGHT - 18.0,
        12.0,
        Anchor::Middle,
        "percentile (rarer calls to the right)",
    );
    draw(page, curves, &across, "nanoseconds (logarithmic)", true, &title)
}

/// The percentile that leaves out one call of ten to the power of `decade`.
fn percent(decade: i32) -> String {
    match decade {
        0 => "0".into(),
        1 => "90".into(),
        2 => "99".into(),
        decade => format!("99.{}", "9".repeat(decade as usize - 2)),
    }
}

/// The cost of a call; nothing without points.
pub fn growth(growth: &Growth) -> Option<String> {
    let roles: Vec<Role> = growth.lines.iter().map(|line| line.role).collect();
    let curve = |(place, line): (usize, &crate::result::growth::Line)| Curve {
        place,
        name: line.name.clone(),
        points: line.points.clone(),
    };
    let curves: Vec<Curve> = growth.lines.iter().enumerate().map(curve).collect();
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| *x));
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if most == 0.0 {
        return None;
    }
    let across = Axis::logarithmic(least, most, FRAME.0, FRAME.1);
    let title = format!("Cost of a call against {}, {} interface", growth.axis, growth.interface);
    let mut page = begin(&roles, &title, &growth.about)?;
    for mark in across.marks(9) {
        page.line((across.at(mark), FRAME.2), (across.at(mark), FRAME.3), false);
        page.pale_text(across.at(mark), FRAME.3 + 18.0, 11.0, Anchor::Middle, &short(mark));
    }
    let label = format!("{} (logarithmic)", growth.axis);
    page.pale_text((FRAME.0 + FRAME.1) / 2.0, HEIGHT - 18.0, 12.0, Anchor::Middle, &label);
    draw(page, curves, &across, "nanoseconds of a call", false, &title)
}

/// Where the highest curve is so many times as high as most are, they are only seen on a logarithmic axis.
const TOWERING: f64 = 12.0;

/// The resident set over time; nothing if it was not followed.
pub fn course(results: &Results, row: &Row) -> Option<String> {
    const MIB: f64 = (1 << 20) as f64;
    let shown = results.shown(row.interface);
    let roles: Vec<Role> = shown.iter().map(|one| one.role).collect();
    let mut curves = Vec::new();
    for (place, one) in shown.iter().enumerate() {
        let Some(cell) = row.cells.get(&one.name).filter(|cell| cell.failure.is_none()) else { continue };
        let points = cell.course.iter().map(|(at, bytes)| (*at, (bytes / MIB).max(0.1))).collect();
        curves.push(Curve { place, name: one.name.clone(), points });
    }
    let end = curves.iter().flat_map(|curve| curve.points.last()).map(|(at, _)| *at).fold(0.0, f64::max);
    let tops = curves.iter().map(|curve| curve.points.iter().map(|(_, y)| *y).fold(0.0, f64::max));
    let tops: Vec<f64> = tops.collect();
    let towering = tops.iter().copied().fold(0.0, f64::max) > TOWERING * median(&tops)?;
    let across = Axis::linear(0.0, end, FRAME.0, FRAME.1);
    let title = format!("{}: resident set over time, {} interface", row.name, row.interface);
    let mut page = begin(&roles, &title, &row.about)?;
    for mark in across.marks(10) {
        page.line((across.at(mark), FRAME.2), (across.at(mark), FRAME.3), false);
        page.pale_text(across.at(mark), FRAME.3 + 18.0, 11.0, Anchor::Middle, &format!("{mark}"));
    }
    page.pale_text((FRAME.0 + FRAME.1) / 2.0, HEIGHT - 18.0, 12.0, Anchor::Middle, "seconds from the start");
    let label = if towering { "MiB (logarithmic)" } else { "MiB" };
    // The library under test is drawn last, on top.
    curves.sort_by_key(|curve| roles[curve.place] == Role::Subject);
    draw(page, curves, &across, label, towering, &title)
}

fn begin(roles: &[Role], title: &str, meaning: &str) -> Option<Page> {
    let mut page = Page::new(WIDTH, HEIGHT, roles);
    page.text(20.0, 28.0, 17.0, Anchor::Start, title);
    page.pale_text(20.0, 46.0, 12.0, Anchor::Start, meaning);
    (!roles.is_empty()).then_some(page)
}

/// The upward axis, the curves, and their names at the right ends.
fn draw(
    mut page: Page,
    mut curves: Vec<Curve>,
    across: &Axis,
    label: &str,
    logarithmic: bool,
    title: &str,
) -> Option<String> {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y));
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if most == 0.0 {
        return None;
    }
    let (_, _, top, bottom) = FRAME;
    // A ratio of costs can only be seen from zero.
    let upward = match logarithmic {
        true => Axis::logarithmic(least * 0.8, most * 1.2, bottom, top),
        false => Axis::linear(0.0, most * 1.06, bottom, top),
    };
    for mark in upward.marks(9) {
        page.line((FRAME.0, upward.at(mark)), (FRAME.1, upward.at(mark)), false);
        let shown = if mark >= 1000.0 || mark == 0.0 { short(mark) } else { format!("{mark}") };
        page.pale_text(FRAME.0 - 8.0, upward.at(mark) + 4.0, 11.0, Anchor::End, &shown);
    }
    page.upward_text(22.0, f64::midpoint(top, bottom), 12.0, label);
    curves.retain(|curve| !curve.points.is_empty());
    let last = |curve: &Curve| curve.points.last().map_or(bottom, |(_, y)| upward.at(*y));
    let mut heights: Vec<f64> = curves.iter().map(last).collect();
    spread(&mut heights, 15.0, top, bottom);
    for (curve, height) in curves.iter().zip(&heights) {
        let points: Vec<(f64, f64)> =
            curve.points.iter().map(|(x, y)| (across.at(*x), upward.at(*y))).collect();
        page.curve(&points, curve.place);
        if let Some((x, y)) = points.last() {
            page.dot(*x, *y, curve.place, 3.0, &curve.name);
            // Curves that end elsewhere than at the edge are led to their names.
            if *x < FRAME.1 - 1.0 {
                page.lead((*x, *y), (FRAME.1 + 10.0, *height), curve.place);
            }
        }
        page.name(FRAME.1 + 12.0, height + 4.0, 12.0, Anchor::Start, curve.place, &curve.name);
    }
    Some(page.finish(title))
}
