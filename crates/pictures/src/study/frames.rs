//! When moments are taken, and figures over time.

use super::Survey;

/// Moments at which the whole heap is looked at.
pub const FRAMES: usize = 64;

/// Stretches of time of the timeline.
pub const BUCKETS: usize = 480;

/// What moments are told by: time, or calls where no times are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub timed: bool,
    first: u64,
    span: u64,
    /// Frames taken so far.
    pub frames: usize,
}

impl Clock {
    pub fn new(survey: Survey) -> Clock {
        let timed = survey.is_timed();
        let span = if timed { survey.last - survey.first } else { survey.calls.saturating_sub(1) };
        Clock { timed, first: survey.first, span: span.max(1), frames: 0 }
    }

    pub fn span(&self) -> u64 {
        self.span
    }

    pub fn at(&self, time: u64, calls: u64) -> u64 {
        let at = if self.timed { time.saturating_sub(self.first) } else { calls };
        at.min(self.span)
    }

    /// Whether the next frame lies before `now`. The last is taken at the end, after all calls.
    pub fn is_frame_due(&self, now: u64) -> bool {
        let due = (self.frames as u128 + 1) * u128::from(self.span) / FRAMES as u128;
        self.frames + 1 < FRAMES && u128::from(now) > due
    }
}

/// Figures of each stretch of the timeline.
#[derive(Clone, Debug)]
pub struct Buckets {
    span: u64,
    last: usize,
    live: u64,
    /// The most bytes that were live.
    pub most: Vec<u64>,
    /// Calls that allocated or resized.
    pub calls: Vec<u64>,
    /// Bytes asked for.
    pub bytes: Vec<u64>,
}

impl Buckets {
    pub(super) fn new(span: u64) -> Buckets {
        let count = BUCKETS.min(span.max(1) as usize);
        let zeros = vec![0; count];
        Buckets {
            span: span.max(1),
            last: 0,
            live: 0,
            most: zeros.clone(),
            calls: zeros.clone(),
            bytes: zeros,
        }
    }

    fn place(&self, now: u64) -> usize {
        let place = u128::from(now) * self.most.len() as u128 / u128::from(self.span);
        (place as usize).min(self.most.len() - 1)
    }

    pub(super) fn note(&mut self, now: u64, live: u64) {
        let place = self.place(now);
        // What was live before is live until now.
        for quiet in self.last + 1..=place {
            self.most[quiet] = self.live;
        }
        self.most[place] = self.most[place].max(live);
        (self.last, self.live) = (place.max(self.last), live);
    }

    pub(super) fn allocated(&mut self, now: u64, bytes: u64) {
        let place = self.place(now);
        self.calls[place] += 1;
        self.bytes[place] = self.bytes[place].saturating_add(bytes);
    }

    pub(super) fn finish(mut self) -> Buckets {
        let from = self.last + 1;
        self.most[from..].fill(self.live);
        self
    }

    /// The moment at which a stretch begins.
    pub fn begin(&self, place: usize) -> u64 {
        (place as u128 * u128::from(self.span) / self.most.len() as u128) as u64
    }
}
