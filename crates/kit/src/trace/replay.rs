//! Runs a trace on an allocator, and measures.
//!
//! # Safety
//!
//! *Slots*: a slot holds a live block of the allocator with the layout that it fits, or nothing.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::format::{Event, Trace};
use crate::{Alloc, Allocated};

/// How much room an allocator's live blocks take.
pub trait Footprint: Alloc {
    /// Bytes that live blocks take, with their tags and with what rounding and alignment add; not what lies free
    /// between them.
    fn taken_bytes(&self) -> usize;
}

/// The state after some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Calls so far.
    pub calls: usize,
    /// Bytes of live blocks, as they were asked for.
    pub asked: usize,
    /// Bytes that these take ([`Footprint::taken_bytes`]).
    pub taken: usize,
    /// Bytes that the allocator holds from its parent.
    pub held: usize,
}

/// `part` of `whole`, which may be nothing.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Sample {
    /// Internal fragmentation: the part of the bytes taken that nobody asked for.
    pub fn internal(&self) -> f64 {
        share(self.taken.saturating_sub(self.asked), self.taken)
    }

    /// External fragmentation: the part of the bytes held that no live block takes. The allocator's own records are
    /// in it.
    pub fn external(&self) -> f64 {
        share(self.held.saturating_sub(self.taken), self.held)
    }
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The state at regular intervals, the last at the end of the trace.
    pub samples: Vec<Sample>,
    /// The state when most bytes were live.
    pub fullest: Sample,
    /// Calls that were refused; what became of their blocks is left out.
    pub refused: usize,
}

impl Replayed {
    fn mean(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).sum::<f64>() / self.samples.len().max(1) as f64
    }

    /// The mean of [`Sample::internal`] over the samples.
    pub fn mean_internal(&self) -> f64 {
        self.mean(Sample::internal)
    }

    /// The mean of [`Sample::external`] over the samples.
    pub fn mean_external(&self) -> f64 {
        self.mean(Sample::external)
    }
}

/// The live blocks of a replay.
struct Player<'a, A: Alloc> {
    alloc: &'a A,
    slots: Vec<Option<(NonNull<u8>, Layout)>>,
    asked: usize,
    refused: usize,
}

impl<'a, A: Alloc> Player<'a, A> {
    fn new(alloc: &'a A, trace: &Trace) -> Self {
        Player { alloc, slots: vec![None; trace.slots()], asked: 0, refused: 0 }
    }

    /// Enters what a call returned; touches it, since a program would.
    fn enter(&mut self, slot: usize, layout: Layout, allocated: Allocated) -> bool {
        let Ok(block) = allocated else {
            self.refused += 1;
            return false;
        };
        // SAFETY: a new block of at least one byte.
        unsafe { block.cast::<u8>().write(slot as u8) };
        self.slots[slot] = Some((block.cast(), layout));
        self.asked += layout.size();
        true
    }

    fn play(&mut self, event: &Event) {
        // C gives a block even for no bytes.
        let layout = |size: usize, align| Layout::from_size_align(size.max(1), align).ok();
        match *event {
            Event::Allocate { slot, size, align } => {
                let Some(layout) = layout(size, align) else {
                    self.refused += 1;
                    return;
                };
                self.enter(slot, layout, self.alloc.allocate(layout));
            }
            Event::Free { slot } => self.free(slot),
            Event::Resize { slot, size } => {
                let Some((block, old)) = self.slots[slot] else { return };
                let Some(new) = layout(size, old.align()) else {
                    self.refused += 1;
                    return;
                };
                let resized = if new.size() >= old.size() {
                    // SAFETY: slots; the new layout is not shorter.
                    unsafe { self.alloc.grow(block, old, new) }
                } else {
                    // SAFETY: slots; the new layout is shorter.
                    unsafe { self.alloc.shrink(block, old, new) }
                };
                if self.enter(slot, new, resized) {
                    self.asked -= old.size();
                }
            }
        }
    }

    fn free(&mut self, slot: usize) {
        if let Some((block, layout)) = self.slots[slot].take() {
            self.asked -= layout.size();
            // SAFETY: slots; and it holds the block no longer.
            unsafe { self.alloc.deallocate(block, layout) };
        }
    }
}

impl<A: Alloc> Drop for Player<'_, A> {
    fn drop(&mut self) {
        (0..self.slots.len()).for_each(|slot| self.free(slot));
    }
}

/// Replays a trace on an allocator, and takes so many samples; `held` says what it holds from its parent at the
/// moment. What is live at the end is freed.
///
/// ```
/// use freestone_kit::bins::Bins;
/// use freestone_kit::trace::{Ground, Trace, TraceWriter, replay};
///
/// let mut writer = TraceWriter::new("ten blocks");
/// let blocks: Vec<usize> = (1..=10).map(|n| writer.allocate(n * 100, 16)).collect();
/// blocks.into_iter().step_by(2).for_each(|block| writer.free(block));
/// let trace = Trace::parse(writer.bytes())?;
///
/// let ground = Ground::new(1 << 20)?;
/// let replayed = replay(&trace, &Bins::new(&ground), || ground.held(), 5);
/// assert_eq!((replayed.fullest.calls, replayed.fullest.asked), (10, 5500));
/// assert_eq!(replayed.samples.len(), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replay<A: Footprint>(trace: &Trace, alloc: &A, held: impl Fn() -> usize, samples: usize) -> Replayed {
    replay_seen(trace, alloc, held, samples, 0, |_, _| {})
}

/// The live blocks at a moment: where each lies, and its bytes as they were asked for.
pub(super) type Live<'a> = &'a mut dyn Iterator<Item = (NonNull<u8>, usize)>;

/// The same, and shows so many moments on the way, at regular intervals.
pub(super) fn replay_seen<A: Footprint>(
    trace: &Trace,
    alloc: &A,
    held: impl Fn() -> usize,
    samples: usize,
    moments: usize,
    mut seen: impl FnMut(Sample, Live),
) -> Replayed {
    let mut player = Player::new(alloc, trace);
    let mut replayed = Replayed::default();
    let calls = trace.events().len();
    for (n, event) in trace.events().iter().enumerate() {
        player.play(event);
        let passes = |times: usize| (n + 1) * times / calls > n * times / calls;
        if passes(moments) {
            let sample =
                Sample { calls: n + 1, asked: player.asked, taken: alloc.taken_bytes(), held: held() };
            seen(sample, &mut player.slots.iter().flatten().map(|(block, layout)| (*block, layout.size())));
        }
        let is_due = passes(samples);
        let is_fullest = player.asked > replayed.fullest.asked;
        if is_due || is_fullest {
            let sample =
                Sample { calls: n + 1, asked: player.asked, taken: alloc.taken_bytes(), held: held() };
            if is_due {
                replayed.samples.push(sample);
            }
            if is_fullest {
                replayed.fullest = sample;
            }
        }
    }
    replayed.refused = player.refused;
    replayed
}

/// The time that a replay takes, without samples.
pub fn time<A: Alloc>(trace: &Trace, alloc: &A) -> Duration {
    let mut player = Player::new(alloc, trace);
    let start = Instant::now();
    trace.events().iter().for_each(|event| player.play(event));
    start.elapsed()
}
