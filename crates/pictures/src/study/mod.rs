//! Figures of a list of calls: what was live and where, who asked for it, for how long.
//!
//! The calls are read twice. A [`Survey`] finds out how many there are and when the first and the last was made; then a
//! [`Study`] takes everything in one pass, with [`FRAMES`] moments at equal distances for the heap map and
//! [`BUCKETS`] stretches for the timeline. A call costs O(1) but for the moments, which cost O(pages in use) each.
//! Memory: 64 bytes for a live block, half a KiB for a call site, and the map.
//!
//! ```
//! use freestone_pictures::event::{Call, Event};
//! use freestone_pictures::study::study;
//!
//! let call = |time, call| Event { time, thread: 0, call, stack: None };
//! let events = [
//!     call(0, Call::Allocate { address: 0x1000, size: 100 }),
//!     call(5, Call::Allocate { address: 0x2000, size: 50 }),
//!     call(9, Call::Free { address: 0x1000, untouched: 0 }),
//! ];
//! let studied = study(&events);
//! assert_eq!((studied.peak.bytes, studied.end.bytes, studied.calls), (150, 50, 3));
//! ```

mod frames;
mod group;
mod pages;

use hashbrown::HashMap;

use crate::event::{Call, Event};
use crate::stacks::StackId;
use frames::Clock;
pub use frames::{BUCKETS, Buckets, FRAMES};
pub use group::{Group, LIFETIMES, Pace, SHORT, lifetime_label};
use pages::Pages;
pub(crate) use pages::total;
pub use pages::{HeapMap, OS_PAGE, Stranded};

/// Sizes fall into classes by their power of two: class 0 holds 0 and 1 B, class n what is above 2^(n-1) and not above 2^n.
pub const SIZES: usize = 48;

/// The class of a size.
pub fn size_of_class(size: u64) -> usize {
    (64 - size.saturating_sub(1).leading_zeros() as usize).min(SIZES - 1)
}

/// What must be known before a study begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many calls there are.
    pub calls: u64,
    /// The time of the first in nanoseconds.
    pub first: u64,
    /// The time of the last.
    pub last: u64,
}

impl Survey {
    /// Takes in one more call.
    pub fn note(&mut self, event: &Event) {
        self.first = if self.calls == 0 { event.time } else { self.first.min(event.time) };
        self.last = self.last.max(event.time);
        self.calls += 1;
    }

    /// Whether times are known; if not, moments are told by the number of calls before them.
    pub fn is_timed(&self) -> bool {
        self.last > self.first
    }
}

/// Live blocks at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Their bytes, as they were asked for.
    pub bytes: u64,
    /// Their number.
    pub blocks: u64,
    /// When: nanoseconds from the first call, or the number of calls before.
    pub at: u64,
}

/// What a thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Which.
    pub thread: u32,
    /// Its calls.
    pub calls: u64,
    /// Blocks that it allocated.
    pub allocations: u64,
    /// Blocks that it gave back and that another thread had allocated.
    pub foreign_frees: u64,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    size: u64,
    /// On the study's clock.
    born: u64,
    born_call: u64,
    copied: u64,
    thread: u32,
    site: u32,
    weight: f32,
    grown: u32,
}

/// No call site.
const NOWHERE: u32 = u32::MAX;

/// A study under way.
#[derive(Debug)]
pub struct Study {
    clock: Clock,
    blocks: HashMap<u64, Block>,
    live: Live,
    peak: Live,
    peaks: u32,
    buckets: Buckets,
    sites: Vec<Group>,
    sizes: Vec<Group>,
    site_frames: Vec<Vec<f32>>,
    size_frames: Vec<Vec<f32>>,
    /// How many calls there are in all, and the sites' and the sizes' live bytes after equal numbers of them.
    survey: Survey,
    marks: [Vec<Vec<f32>>; 2],
    pages: Pages,
    threads: HashMap<u32, Thread>,
    calls: u64,
    strangers: u64,
    is_sampled: bool,
}

/// What a study found.
#[derive(Debug)]
pub struct Studied {
    /// Calls in all.
    pub calls: u64,
    /// Whether moments are nanoseconds, and not numbers of calls.
    pub timed: bool,
    /// From the first call to the last.
    pub span: u64,
    /// When most bytes were live.
    pub peak: Live,
    /// After the last call.
    pub end: Live,
    /// Live bytes and calls over time.
    pub buckets: Buckets,
    /// Call sites; the place is the number of the stack. Empty when no stack was taken.
    pub sites: Vec<Group>,
    /// Blocks by the class of their size.
    pub sizes: Vec<Group>,
    /// Live bytes of each call site at each of the [`FRAMES`] moments; later sites may be missing in earlier ones.
    pub site_frames: Vec<Vec<f32>>,
    /// The same by size.
    pub size_frames: Vec<Vec<f32>>,
    /// Live bytes of each call site after equal numbers of calls, as many times.
    pub site_marks: Vec<Vec<f32>>,
    /// The same by size.
    pub size_marks: Vec<Vec<f32>>,
    /// The heap at each moment.
    pub map: HeapMap,
    /// What sparse pages held back at the worst of these moments.
    pub stranded: Stranded,
    /// Threads, those with most calls first.
    pub threads: Vec<Thread>,
    /// Frees and resizes of blocks of which no allocation is known.
    pub strangers: u64,
}

/// Live bytes of groups at this moment.
fn live_of(groups: &[Group]) -> Vec<f32> {
    groups.iter().map(|group| group.live as f32).collect()
}

/// Studies calls that are all at hand.
pub fn study(events: &[Event]) -> Studied {
    let mut survey = Survey::default();
    events.iter().for_each(|event| survey.note(event));
    let mut study = Study::new(survey);
    events.iter().for_each(|event| study.note(event));
    study.finish()
}

impl Study {
    /// A study of the calls that were surveyed; they are to be given to [`note`](Study::note) in the same order.
    pub fn new(survey: Survey) -> Study {
        let clock = Clock::new(survey);
        Study {
            blocks: HashMap::new(),
            live: Live::default(),
            peak: Live::default(),
            peaks: 0,
            buckets: Buckets::new(clock.span()),
            sites: Vec::new(),
            sizes: (0..SIZES).map(|_| Group::default()).collect(),
            site_frames: Vec::new(),
            size_frames: Vec::new(),
            survey,
            marks: [const { Vec::new() }; 2],
            pages: Pages::default(),
            threads: HashMap::new(),
            calls: 0,
            strangers: 0,
            is_sampled: false,
            clock,
        }
    }

    /// A study of calls of which only some have a stack, each drawn for itself: a block that is resized by one that was not drawn is
    /// none of those that its site stands for any more, else blocks with many resizes would count more than others.
    pub fn sampled(self) -> Study {
        Study { is_sampled: true, ..self }
    }

    /// Takes in the next call. O(1), and O(pages in use) at each of the [`FRAMES`] moments.
    pub fn note(&mut self, event: &Event) {
        let now = self.clock.at(event.time, self.calls);
        while self.clock.is_frame_due(now) {
            self.frame();
        }
        while self.is_mark_due() {
            self.mark();
        }
        self.calls += 1;
        let thread = self.threads.entry(event.thread).or_default();
        thread.thread = event.thread;
        thread.calls += 1;
        match event.call {
            Call::Allocate { address, size } => {
                self.thread(event).allocations += 1;
                self.allocate(event, now, address, size);
                self.buckets.allocated(now, size);
            }
            Call::Free { address, untouched } => match self.remove(address) {
                Some(block) => {
                    if untouched > 0 {
                        self.groups(&block).for_each(|(group, weight)| group.untouched(untouched, weight));
                    }
                    self.thread(event).foreign_frees += u64::from(block.thread != event.thread);
                    self.ended(&block, Some(now));
                }
                None => self.strangers += 1,
            },
            Call::Resize { from, to, size } => {
                self.resize(event, now, from, to, size);
                self.buckets.allocated(now, size);
            }
        }
        self.live.at = now;
        if self.live.bytes > self.peak.bytes {
            self.peak = self.live;
            self.peaks = self.peaks.wrapping_add(1);
        }
        self.buckets.note(now, self.live.bytes);
    }

    fn thread(&mut self, event: &Event) -> &mut Thread {
        self.threads.entry(event.thread).or_default()
    }

    /// The site of a call, with its weight.
    fn site(&mut self, stack: Option<(StackId, f32)>) -> (u32, f32) {
        let Some((StackId(site), weight)) = stack else { return (NOWHERE, 0.0) };
        if self.sites.len() <= site as usize {
            self.sites.resize_with(site as usize + 1, Group::default);
        }
        (site, weight)
    }

    /// Both groups of a block, each with the weight with which it counts there.
    fn groups(&mut self, block: &Block) -> impl Iterator<Item = (&mut Group, f64)> {
        let size = (&mut self.sizes[size_of_class(block.size)], 1.0);
        let site = self.sites.get_mut(block.site as usize).map(|site| (site, f64::from(block.weight)));
        std::iter::once(size).chain(site)
    }

    fn allocate(&mut self, event: &Event, now: u64, address: u64, size: u64) {
        if let Some(lost) = self.remove(address) {
            // Its free was not recorded.
            self.ended(&lost, Some(now));
        }
        let (site, weight) = self.site(event.stack);
        let block = Block {
            size,
            born: now,
            born_call: self.calls,
            copied: 0,
            thread: event.thread,
            site,
            weight,
            grown: 0,
        };
        self.groups_allocated(&block);
        self.enter(address, block);
    }

    fn groups_allocated(&mut self, block: &Block) {
        let bytes = block.size as f64;
        self.groups(block).for_each(|(group, weight)| group.allocated(bytes, weight));
    }

    fn enter(&mut self, address: u64, block: Block) {
        let peaks = self.peaks;
        let bytes = block.size as f64;
        self.groups(&block).for_each(|(group, weight)| group.enter(bytes, weight, peaks));
        self.live.bytes = self.live.bytes.saturating_add(block.size);
        self.live.blocks += 1;
        self.pages.enter(address, block.size);
        self.blocks.insert(address, block);
    }

    fn remove(&mut self, address: u64) -> Option<Block> {
        let block = self.blocks.remove(&address)?;
        let peaks = self.peaks;
        let bytes = block.size as f64;
        self.groups(&block).for_each(|(group, weight)| group.leave(bytes, weight, peaks));
        self.live.bytes = self.live.bytes.saturating_sub(block.size);
        self.live.blocks -= 1;
        self.pages.leave(address, block.size);
        Some(block)
    }

    /// A block's life is over; without a moment, it still lives at the end.
    fn ended(&mut self, block: &Block, now: Option<u64>) {
        let (timed, calls) = (self.clock.timed, self.calls);
        let age = now.map(|now| now.saturating_sub(block.born));
        let is_short = age.is_some() && calls.saturating_sub(block.born_call) <= SHORT;
        let grown = (block.grown, block.copied, block.size);
        self.groups(block).for_each(|(group, weight)| {
            group.ended(age, timed, is_short, weight);
            group.grown(grown, weight);
        });
    }

    fn resize(&mut self, event: &Event, now: u64, from: u64, to: u64, size: u64) {
        let Some(mut block) = self.remove(from) else {
            self.strangers += 1;
            return self.allocate(event, now, to, size);
        };
        if from != to
            && let Some(lost) = self.remove(to)
        {
            self.ended(&lost, Some(now));
        }
        let copied = if from == to { 0 } else { block.size.min(size) };
        block.copied = block.copied.saturating_add(copied);
        let grown = size.saturating_sub(block.size) as f64;
        block.grown += u32::from(size > block.size);
        block.size = size;
        let (site, weight) = self.site(event.stack);
        if site != NOWHERE || self.is_sampled {
            (block.site, block.weight) = (site, weight);
        }
        self.groups(&block).for_each(|(group, weight)| group.resized(copied as f64, grown, weight));
        self.enter(to, block);
    }

    /// Whether the next mark lies before the next call. The last is taken at the end.
    fn is_mark_due(&self) -> bool {
        let next = self.marks[0].len() as u128 + 1;
        next < FRAMES as u128
            && u128::from(self.calls) * FRAMES as u128 >= next * u128::from(self.survey.calls)
    }

    fn mark(&mut self) {
        self.marks[0].push(live_of(&self.sites));
        self.marks[1].push(live_of(&self.sizes));
    }

    fn frame(&mut self) {
        self.clock.frames += 1;
        self.site_frames.push(live_of(&self.sites));
        self.size_frames.push(live_of(&self.sizes));
        if self.pages.frame(self.clock.frames - 1) {
            let blocks = self.blocks.iter().map(|(&address, block)| {
                (address, block.size, (block.site != NOWHERE).then_some(block.site), block.weight)
            });
            self.pages.blame(blocks);
        }
    }

    /// The figures.
    pub fn finish(mut self) -> Studied {
        while self.clock.frames < FRAMES {
            self.frame();
        }
        while self.marks[0].len() < FRAMES {
            self.mark();
        }
        let left: Vec<Block> = self.blocks.values().copied().collect();
        let span = self.clock.span();
        for block in &left {
            self.ended(block, None);
            let part =
                |at: u64, whole: u64| (u128::from(at) * 16 / u128::from(whole.max(1))).min(15) as usize;
            let (time, calls) = (part(block.born, span), part(block.born_call, self.calls));
            let bytes = block.size as f64;
            self.groups(block).for_each(|(group, weight)| {
                group.born[Pace::Time as usize][time] += bytes * weight;
                group.born[Pace::Calls as usize][calls] += bytes * weight;
            });
        }
        let peaks = self.peaks;
        self.sites.iter_mut().chain(&mut self.sizes).for_each(|group| group.settle(peaks));
        let (map, stranded) = self.pages.finish();
        let [site_marks, size_marks] = self.marks;
        let mut threads: Vec<Thread> = self.threads.into_values().collect();
        threads.sort_by_key(|thread| (std::cmp::Reverse(thread.calls), thread.thread));
        Studied {
            calls: self.calls,
            timed: self.clock.timed,
            span,
            peak: self.peak,
            end: self.live,
            buckets: self.buckets.finish(),
            sites: self.sites,
            sizes: self.sizes,
            site_frames: self.site_frames,
            size_frames: self.size_frames,
            site_marks,
            size_marks,
            map,
            stranded,
            threads,
            strangers: self.strangers,
        }
    }
}
