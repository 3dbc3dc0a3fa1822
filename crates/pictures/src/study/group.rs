//! What is known of the blocks of one call site, or of one range of sizes.

/// A block is short-lived when it is given back within so many calls of the process.
pub const SHORT: u64 = 64;

/// Lifetimes fall into so many ranges, each ten times the one before; the last holds what lives to the end.
pub const LIFETIMES: usize = 10;

/// Growth in at least so many steps makes a chain.
const STEPS: u32 = 3;

/// Blocks that belong together. Where stacks are taken of some calls only, all figures are estimates.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Bytes that are live now; after the study: at the end.
    pub live: f64,
    /// Blocks that are live now; after the study: at the end.
    pub live_blocks: f64,
    /// Bytes that were live when most bytes of the whole program were.
    pub at_peak: f64,
    peaks: u32,
    /// Bytes asked for, from start to end; of a resize what it adds.
    pub bytes: f64,
    /// Blocks allocated, from start to end.
    pub allocations: f64,
    /// Those of them that were given back within [`SHORT`] calls.
    pub short: f64,
    /// Blocks by how long they lived; see [`lifetime_label`].
    pub lifetimes: [f64; LIFETIMES],
    /// Changes of size.
    pub resizes: f64,
    /// Bytes that these had to copy.
    pub copied: f64,
    /// Blocks that grew three times or more.
    pub chains: f64,
    /// How often these grew, together.
    pub chain_steps: f64,
    /// Bytes that growing copied in them.
    pub chain_copied: f64,
    /// The chains by the power of two that holds their final size.
    pub chain_sizes: Vec<f64>,
    /// Bytes at the ends of blocks that were never touched, as far as it is known.
    pub untouched: f64,
    /// The blocks with such an end.
    pub tails: f64,
    /// Bytes of blocks that live at the end, by the sixteenth in which they were allocated: of the time, and of the calls.
    pub born: [[f64; 16]; 2],
}

/// By which of [`Group::born`] is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Equal stretches of time.
    Time = 0,
    /// Equal numbers of calls of the whole program, which stand still while it waits, or is kept from working.
    Calls = 1,
}

impl Group {
    /// Before the live bytes change: what they were at the last peak, if there was one since they changed last.
    fn settle_peak(&mut self, peaks: u32) {
        if self.peaks != peaks {
            self.at_peak = self.live;
            self.peaks = peaks;
        }
    }

    pub(super) fn allocated(&mut self, bytes: f64, weight: f64) {
        self.allocations += weight;
        self.bytes += bytes * weight;
    }

    pub(super) fn enter(&mut self, bytes: f64, weight: f64, peaks: u32) {
        self.settle_peak(peaks);
        self.live += bytes * weight;
        self.live_blocks += weight;
    }

    pub(super) fn leave(&mut self, bytes: f64, weight: f64, peaks: u32) {
        self.settle_peak(peaks);
        self.live = (self.live - bytes * weight).max(0.0);
        self.live_blocks = (self.live_blocks - weight).max(0.0);
    }

    pub(super) fn resized(&mut self, copied: f64, grown: f64, weight: f64) {
        self.resizes += weight;
        self.bytes += grown * weight;
        self.copied += copied * weight;
    }

    pub(super) fn ended(&mut self, age: Option<u64>, timed: bool, is_short: bool, weight: f64) {
        let place = age.map_or(LIFETIMES - 1, |age| lifetime_place(age, timed));
        self.lifetimes[place] += weight;
        if is_short {
            self.short += weight;
        }
    }

    pub(super) fn grown(&mut self, (steps, copied, size): (u32, u64, u64), weight: f64) {
        if steps < STEPS {
            return;
        }
        self.chains += weight;
        self.chain_steps += f64::from(steps) * weight;
        self.chain_copied += copied as f64 * weight;
        let place = super::size_of_class(size);
        if self.chain_sizes.len() <= place {
            self.chain_sizes.resize(place + 1, 0.0);
        }
        self.chain_sizes[place] += weight;
    }

    pub(super) fn untouched(&mut self, bytes: u64, weight: f64) {
        self.untouched += bytes as f64 * weight;
        self.tails += weight;
    }

    /// Takes in another, which goes by the same name.
    pub fn add(&mut self, other: &Group) {
        for (sum, part) in [
            (&mut self.live, other.live),
            (&mut self.live_blocks, other.live_blocks),
            (&mut self.at_peak, other.at_peak),
            (&mut self.bytes, other.bytes),
            (&mut self.allocations, other.allocations),
            (&mut self.short, other.short),
            (&mut self.resizes, other.resizes),
            (&mut self.copied, other.copied),
            (&mut self.chains, other.chains),
            (&mut self.chain_steps, other.chain_steps),
            (&mut self.chain_copied, other.chain_copied),
            (&mut self.untouched, other.untouched),
            (&mut self.tails, other.tails),
        ] {
            *sum += part;
        }
        let add = |sums: &mut [f64], parts: &[f64]| {
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        };
        self.chain_sizes.resize(self.chain_sizes.len().max(other.chain_sizes.len()), 0.0);
        add(&mut self.chain_sizes, &other.chain_sizes);
        add(&mut self.lifetimes, &other.lifetimes);
        add(self.born.as_flattened_mut(), other.born.as_flattened());
    }

    pub(super) fn settle(&mut self, peaks: u32) {
        self.settle_peak(peaks);
    }

    /// Blocks whose fate is known: those that were given back, and those that live at the end. A block counts where it is last, so in
    /// a group by size they may be more than were [allocated](Group::allocations).
    pub fn ended_blocks(&self) -> f64 {
        self.lifetimes.iter().sum()
    }

    /// The size, a power of two in bytes, within which nine of ten chains end.
    pub fn usual_chain_size(&self) -> u64 {
        let mut sum = 0.0;
        let place = self.chain_sizes.iter().position(|count| {
            sum += count;
            sum >= self.chains * 0.9
        });
        1 << place.unwrap_or(0)
    }

    /// Whether live bytes grew all the time since there were any: the mark of a leak, or of a cache without a bound. `frames` are its live
    /// bytes at moments in equal distances, of time or of calls.
    ///
    /// That time must be a quarter of the whole at least: a program that ends with its work is no leak.
    pub fn grows(frames: &[f32]) -> bool {
        let first = frames.iter().position(|&live| live > 0.0).unwrap_or(frames.len());
        let since = &frames[first..];
        if since.len() < frames.len().div_ceil(4).max(8) {
            return false;
        }
        // Setting up is no growth, and what is cleared up at the end grew all the same.
        let points = [3, 6, 9, 12, 15].map(|part| f64::from(since[since.len() * part / 16]));
        let top = points[points.len() - 1];
        points.windows(2).all(|pair| pair[1] - pair[0] > top * 0.04) && points[0] < top * 0.6
    }

    /// Whether what lives at the end was allocated evenly over time, since anything was: nothing of a kind that comes and goes.
    pub fn survivors_are_of_all_ages(&self, pace: Pace) -> bool {
        let born = &self.born[pace as usize];
        let first = born.iter().position(|&bytes| bytes > 0.0).unwrap_or(born.len());
        let (early, late) = born[first..].split_at((born.len() - first) / 2);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        !early.is_empty() && mean(early) > mean(late) * 0.4
    }
}

fn lifetime_place(age: u64, timed: bool) -> usize {
    // From a microsecond on, or from a call on.
    let age = if timed { age / 1000 } else { age / 10 };
    let digits = age.checked_ilog10().map_or(0, |log| log as usize + 1);
    digits.min(LIFETIMES - 2)
}

/// What the range of a lifetime is called.
///
/// ```
/// use freestone_pictures::study::{LIFETIMES, lifetime_label};
/// assert_eq!(lifetime_label(0, true), "under 1 µs");
/// assert_eq!(lifetime_label(4, true), "1 to 10 ms");
/// assert_eq!(lifetime_label(2, false), "100 to 1,000 calls");
/// assert_eq!(lifetime_label(LIFETIMES - 1, true), "live at the end");
/// ```
pub fn lifetime_label(place: usize, timed: bool) -> &'static str {
    const TIMES: [&str; LIFETIMES] = [
        "under 1 µs",
        "1 to 10 µs",
        "10 to 100 µs",
        "0.1 to 1 ms",
        "1 to 10 ms",
        "10 to 100 ms",
        "0.1 to 1 s",
        "1 to 10 s",
        "above 10 s",
        "live at the end",
    ];
    const CALLS: [&str; LIFETIMES] = [
        "under 10 calls",
        "10 to 100 calls",
        "100 to 1,000 calls",
        "1,000 to 10,000 calls",
        "10 to 100 thousand calls",
        "0.1 to 1 million calls",
        "1 to 10 million calls",
        "10 to 100 million calls",
        "above 100 million calls",
        "live at the end",
    ];
    if timed { TIMES[place.min(LIFETIMES - 1)] } else { CALLS[place.min(LIFETIMES - 1)] }
}
