//! The memory of a design at a moment, page by page: what a picture of it is drawn from.

use super::ground::{Ground, PAGE};
use super::replay::{Live, Sample};

/// How a page of the ground is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageUse {
    /// Whether the design holds it.
    pub held: bool,
    /// Bytes in it that lie in live blocks, as they were asked for; at most [`Moment::PAGE`].
    pub live: u16,
}

/// A moment of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The state in figures.
    pub sample: Sample,
    /// The pages from the ground's beginning to the last that is held.
    pub pages: Vec<PageUse>,
}

impl Moment {
    /// Bytes of a page.
    pub const PAGE: usize = PAGE;

    pub(super) fn of(ground: &Ground, sample: Sample, live: Live) -> Moment {
        let held = ground.held_ranges();
        let mut pages = vec![PageUse::default(); held.last().map_or(0, |range| range.end / PAGE)];
        for range in held {
            pages[range.start / PAGE..range.end / PAGE].iter_mut().for_each(|page| page.held = true);
        }
        for (block, bytes) in live {
            let Some(mut at) = ground.offset(block) else { continue };
            let end = at + bytes;
            while at < end {
                let next = ((at / PAGE + 1) * PAGE).min(end);
                if let Some(page) = pages.get_mut(at / PAGE) {
                    page.live = (page.live as usize + next - at).min(PAGE) as u16;
                }
                at = next;
            }
        }
        Moment { sample, pages }
    }
}
