//! A few figures over time, from the start to now, in a fixed number of samples.
//!
//! When all places are taken, neighbours are joined and each place stands for twice the time from then on. A joined
//! sample keeps the higher figures, so a peak is never lost.

use core::fmt::{self, Write};
use core::ops::DerefMut;

use crate::sync::Lock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{gate, start, stats};
use freestone_sys::linux::mappings;

/// Samples at most; at least half as many, once there were so many.
pub const SAMPLES: usize = 128;

/// The highest figures of a stretch of time, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    /// When the stretch began, in nanoseconds on the clock that [`tick`] is given.
    pub at_ns: u64,
    /// Resident, of the whole process.
    pub resident: u64,
    /// In live blocks.
    pub live: u64,
    /// Free and not returned to the system.
    pub free_dirty: u64,
    /// In caches and between them.
    pub cached: u64,
}

impl Sample {
    /// Takes the higher figures of two.
    fn join(&mut self, later: &Sample) {
        self.resident = self.resident.max(later.resident);
        self.live = self.live.max(later.live);
        self.free_dirty = self.free_dirty.max(later.free_dirty);
        self.cached = self.cached.max(later.cached);
    }
}

struct History {
    samples: [Sample; SAMPLES],
    count: usize,
    /// How long a sample stands for.
    stretch_ns: u64,
}

static HISTORY: Lock<History> = Lock::new(History::new());

impl History {
    const fn new() -> History {
        let nothing = Sample { at_ns: 0, resident: 0, live: 0, free_dirty: 0, cached: 0 };
        History { samples: [nothing; SAMPLES], count: 0, stretch_ns: 0 }
    }

    fn add(&mut self, sample: Sample) {
        if let Some(last) = self.samples[..self.count].last_mut()
            && sample.at_ns < last.at_ns.saturating_add(self.stretch_ns)
        {
            return last.join(&sample);
        }
        if self.count == SAMPLES {
            self.thin();
        }
        self.samples[self.count] = sample;
        self.count += 1;
    }

    fn thin(&mut self) {
        for place in 0..SAMPLES / 2 {
            let mut joined = self.samples[2 * place];
            joined.join(&self.samples[2 * place + 1]);
            self.samples[place] = joined;
        }
        self.count = SAMPLES / 2;
        let span = self.samples[self.count - 1].at_ns - self.samples[0].at_ns;
        self.stretch_ns = span / (self.count as u64 - 1);
    }
}

/// Adds the figures of this moment to the history. Called now and then by the allocator's own thread; whoever has none
/// may call it. O(classes), a few microseconds; does nothing where the gate refuses.
pub fn tick(now_ns: u64) {
    let resident = mappings::resident_roughly().unwrap_or(0) as u64;
    let Some(inside) = gate::enter_patiently() else { return };
    start::ensure();
    let stats = stats::collect();
    own().add(Sample {
        at_ns: now_ns,
        resident,
        live: stats.live_bytes as u64,
        free_dirty: stats.pages.free_dirty as u64,
        cached: stats.cached_bytes as u64,
    });
    drop(inside);
}

/// Copies the history, the oldest sample first; how many samples there are.
pub fn read(samples: &mut [Sample; SAMPLES]) -> usize {
    let Some(inside) = gate::enter_patiently() else { return 0 };
    let history = own();
    *samples = history.samples;
    let count = history.count;
    drop(history);
    drop(inside);
    count
}

/// Whether what is there is of the process that forked this one.
static STALE: AtomicBool = AtomicBool::new(false);

/// Has everything forgotten, in a fork's child, whose run begins. Without the lock: a signal handler may have forked
/// where the thread that it interrupted holds it.
pub(crate) fn restart() {
    STALE.store(true, Ordering::Relaxed);
}

/// The history, of this process only. The gate has been entered.
fn own() -> impl DerefMut<Target = History> {
    let mut history = HISTORY.lock();
    if STALE.swap(false, Ordering::Relaxed) {
        (history.count, history.stretch_ns) = (0, 0);
    }
    history
}

/// The history as a member of a JSON object, behind a comma; nothing where there is none. Times are from `started_ns`
/// on.
pub(super) fn write_json(out: &mut dyn Write, started_ns: u64) -> fmt::Result {
    let mut separator = ",\"history\":[";
    let mut from = 0;
    let mut samples = [Sample::default(); 16];
    // In parts, since all together are too many for a small stack.
    loop {
        let count = part(from, &mut samples);
        if count == 0 {
            break;
        }
        for sample in &samples[..count] {
            let Sample { at_ns, resident, live, free_dirty, cached } = sample;
            let at_ns = at_ns.saturating_sub(started_ns);
            write!(out, "{separator}[{at_ns},{resident},{live},{free_dirty},{cached}]")?;
            separator = ",";
        }
        from += count;
    }
    if from > 0 { out.write_str("]") } else { Ok(()) }
}

fn part(from: usize, samples: &mut [Sample]) -> usize {
    let Some(inside) = gate::enter_patiently() else { return 0 };
    let history = own();
    let rest = &history.samples[from.min(history.count)..history.count];
    let count = rest.len().min(samples.len());
    samples[..count].copy_from_slice(&rest[..count]);
    drop(history);
    drop(inside);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64) -> Sample {
        Sample { at_ns: at, resident: at % 1000, live: 5, free_dirty: 0, cached: 1 }
    }

    #[test]
    fn it_spans_the_whole_run_and_keeps_every_peak() {
        let mut history = History::new();
        for at in 0..100_000 {
            history.add(sample(at));
            if at == 777 {
                history.add(Sample { resident: 1 << 40, ..sample(at) });
            }
        }
        assert!((SAMPLES / 2..=SAMPLES).contains(&history.count), "{}", history.count);
        let samples = &history.samples[..history.count];
        assert_eq!(samples[0].at_ns, 0);
        assert!(samples[history.count - 1].at_ns > 95_000);
        assert_eq!(samples.iter().map(|sample| sample.resident).max(), Some(1 << 40));
        assert!(samples.windows(2).all(|pair| pair[0].at_ns < pair[1].at_ns));
        let longest = samples.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns).max().unwrap();
        assert!(longest < 100_000 / SAMPLES as u64 * 5, "{longest}");
    }

    #[test]
    fn a_clock_that_stands_still_fills_nothing() {
        let mut history = History::new();
        (0..1000).for_each(|_| history.add(sample(7)));
        assert!(history.count <= SAMPLES);
    }

    #[test]
    fn ticks_are_found_again() {
        tick(1);
        tick(2);
        let mut samples = [Sample::default(); SAMPLES];
        let count = read(&mut samples);
        assert!(count >= 1 && samples[0].resident > 0);
    }
}
