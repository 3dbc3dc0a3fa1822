//! Time against memory, one dot for each allocator.

use super::scale::Axis;
use super::svg::{Anchor, Page, spread};
use crate::result::Role;
use crate::result::score::Scores;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 520.0;

/// The chart of the geometric means; nothing if nobody has both.
pub fn chart(time: &Scores, memory: &Scores) -> Option<String> {
    let points: Vec<(usize, f64, f64)> = (0..time.names.len())
        .filter_map(|place| Some((place, time.summary(place)?.to_peer, memory.summary(place)?.to_peer)))
        .collect();
    if points.is_empty() {
        return None;
    }
    let roles: Vec<Role> = time.names.iter().map(|(_, role)| *role).collect();
    let title = format!("Time and memory, {} interface", time.interface);
    let mut page = Page::new(WIDTH, HEIGHT, &roles);
    page.text(20.0, 28.0, 17.0, Anchor::Start, &title);
    let meaning = "geometric means over all rows; better is to the left, and further down";
    page.pale_text(20.0, 46.0, 12.0, Anchor::Start, meaning);

    let (left, right, top, bottom) = (70.0, WIDTH - 130.0, 70.0, HEIGHT - 60.0);
    let reach = |values: &dyn Fn(&(usize, f64, f64)) -> f64| {
        let least = points.iter().map(values).fold(1.0, f64::min);
        let most = points.iter().map(values).fold(1.0, f64::max);
        let space = (most - least).max(0.05) * 0.06;
        (least - space, most + space)
    };
    let (low, high) = reach(&|point| point.1);
    let across = Axis::linear(low, high, left, right);
    let (low, high) = reach(&|point| point.2);
    let upward = Axis::linear(low, high, bottom, top);
    for mark in across.marks(8) {
        page.line((across.at(mark), top), (across.at(mark), bottom), (mark - 1.0).abs() < 1e-9);
        page.pale_text(across.at(mark), bottom + 18.0, 11.0, Anchor::Middle, &format!("{mark:.2}"));
    }
    for mark in upward.marks(7) {
        page.line((left, upward.at(mark)), (right, upward.at(mark)), (mark - 1.0).abs() < 1e-9);
        page.pale_text(left - 8.0, upward.at(mark) + 4.0, 11.0, Anchor::End, &format!("{mark:.2}"));
    }
    page.pale_text(
        (left + right) / 2.0,
        HEIGHT - 18.0,
        12.0,
        Anchor::Middle,
        "wall time, times the fastest peer of each row",
    );
    page.upward_text(
        24.0,
        (top + bottom) / 2.0,
        12.0,
        "peak resident set, times the leanest peer of each row",
    );

    // Names stand beside their dots, moved up or down where dots crowd.
    let mut heights: Vec<f64> = points.iter().map(|(_, _, memory)| upward.at(*memory)).collect();
    spread(&mut heights, 15.0, top, bottom);
    for ((place, time_ratio, memory_ratio), height) in points.iter().zip(&heights) {
        let name = &time.names[*place].0;
        let (x, y) = (across.at(*time_ratio), upward.at(*memory_ratio));
        page.dot(x, y, *place, 5.5, &format!("{name}: time {time_ratio:.3}, memory {memory_ratio:.3}"));
        page.name(x + 11.0, height + 4.0, 12.0, Anchor::Start, *place, name);
    }
    Some(page.finish(&title))
}
