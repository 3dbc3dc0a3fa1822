//! One line for each row, one dot for each allocator.

use super::scale::Axis;
use super::svg::{Anchor, Page, text_width};
use crate::result::Role;
use crate::result::score::{Score, Scores};

const ROW: f64 = 19.0;
const WIDTH: f64 = 960.0;
/// Ratios beyond this are drawn as arrows, lest one of them squeeze all others.
const MOST: f64 = 4.0;

/// The chart; nothing without rows.
pub fn chart(scores: &Scores) -> Option<String> {
    let all = || scores.rows.iter().flat_map(|row| row.scores.iter().flatten());
    let roles: Vec<Role> = scores.names.iter().map(|(_, role)| *role).collect();
    let most = all().map(|score| score.to_peer).fold(0.0, f64::max);
    if most == 0.0 {
        return None;
    }
    let least = all().map(|score| score.to_peer).fold(1.0, f64::min);
    let names: Vec<(usize, &str)> =
        scores.names.iter().enumerate().map(|(place, (name, _))| (place, name.as_str())).collect();
    let longest = scores.rows.iter().map(|row| text_width(&row.name, 12.0)).fold(60.0, f64::max);
    let best = scores.metric.best();
    let title = format!("{}, {} interface", capital(scores.metric.title()), scores.interface);

    // The legend's height is known once it is drawn; two lines are the most that there are names for.
    let total: f64 = names.iter().map(|(_, name)| 34.0 + text_width(name, 12.0)).sum();
    let legend = 19.0 * (total / (WIDTH - 40.0)).ceil();
    let top = 62.0 + legend;
    let height = top + ROW * (scores.rows.len() as f64 + 1.5) + 58.0;
    let mut page = Page::new(WIDTH, height, &roles);
    page.text(20.0, 28.0, 17.0, Anchor::Start, &title);
    let meaning = format!("times the {best} peer of each row; further left is better");
    page.pale_text(20.0, 46.0, 12.0, Anchor::Start, &meaning);
    page.legend(20.0, 68.0, &names);

    let (left, right) = (42.0 + longest, WIDTH - 140.0);
    let axis = Axis::logarithmic(least * 0.97, (most * 1.03).min(MOST), left, right);
    let bottom = top + ROW * (scores.rows.len() as f64 + 1.5);
    for number in (0..scores.rows.len()).step_by(2) {
        page.band(20.0, top + ROW * number as f64, WIDTH - 40.0, ROW);
    }
    for mark in axis.marks(14) {
        page.line((axis.at(mark), top), (axis.at(mark), bottom), (mark - 1.0).abs() < 1e-9);
        page.pale_text(axis.at(mark), bottom + 17.0, 11.0, Anchor::Middle, &plain(mark));
    }
    page.pale_text(
        (left + right) / 2.0,
        bottom + 36.0,
        12.0,
        Anchor::Middle,
        &format!("times the {best} peer (logarithmic)"),
    );
    page.pale_text(WIDTH - 24.0, top - 6.0, 11.0, Anchor::End, &format!("{best} peer"));
    for (number, row) in scores.rows.iter().enumerate() {
        let y = top + ROW * (number as f64 + 0.5);
        page.text(left - 12.0, y + 4.0, 12.0, Anchor::End, &row.name);
        let value = row.scores[row.best_peer].map_or(String::new(), |score| scores.metric.show(score.median));
        page.pale_text(WIDTH - 24.0, y + 4.0, 11.0, Anchor::End, &value);
        let place = |score: &Score| (score.to_peer, scores.metric.show(score.median));
        dots(&mut page, &axis, y, scores, |at| row.scores[at].as_ref().map(place));
    }
    let y = top + ROW * (scores.rows.len() as f64 + 1.0);
    page.line((20.0, y - ROW * 0.6), (WIDTH - 20.0, y - ROW * 0.6), true);
    page.text(left - 12.0, y + 4.0, 12.0, Anchor::End, "mean");
    dots(&mut page, &axis, y, scores, |at| Some((scores.summary(at)?.to_peer, "geometric mean".into())));
    Some(page.finish(&title))
}

/// The dots of one line; the library under test is drawn last, on top.
fn dots(
    page: &mut Page,
    axis: &Axis,
    y: f64,
    scores: &Scores,
    value: impl Fn(usize) -> Option<(f64, String)>,
) {
    let mut order: Vec<usize> = (0..scores.names.len()).collect();
    order.sort_by_key(|place| scores.names[*place].1 == Role::Subject);
    let mut beyond = 0.0;
    for place in order {
        let Some((ratio, shown)) = value(place) else { continue };
        let title = format!("{}: {ratio:.3}, {shown}", scores.names[place].0);
        if ratio > MOST {
            beyond += 9.0;
            page.arrow(axis.at(MOST) + 8.0 + beyond, y, place, &title);
        } else {
            page.dot(axis.at(ratio), y, place, 4.0, &title);
        }
    }
}

fn plain(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
