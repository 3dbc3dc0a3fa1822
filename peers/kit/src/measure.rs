//! Rounds, interleaved: in each, every contestant of a row does its work once, beginning with another one each time.

use std::time::{Duration, Instant};

/// One that does a row's work.
pub struct Contestant {
    pub name: &'static str,
    pub ours: bool,
    run: Box<dyn FnMut()>,
    times: Vec<Duration>,
}

/// A piece of work, and those who do it.
pub struct Row {
    pub ground: &'static str,
    pub work: &'static str,
    /// Operations in one run of the work.
    operations: usize,
    pub contestants: Vec<Contestant>,
}

impl Row {
    pub fn new(ground: &'static str, work: &'static str, operations: usize) -> Row {
        Row { ground, work, operations, contestants: Vec::new() }
    }

    pub fn ours(mut self, name: &'static str, run: impl FnMut() + 'static) -> Row {
        self.contestants.push(Contestant { name, ours: true, run: Box::new(run), times: Vec::new() });
        self
    }

    pub fn peer(mut self, name: &'static str, run: impl FnMut() + 'static) -> Row {
        self.contestants.push(Contestant { name, ours: false, run: Box::new(run), times: Vec::new() });
        self
    }

    /// One round. What a contestant left in the CPU's caches is the next one's trouble, in turn.
    pub fn round(&mut self, round: usize) {
        let count = self.contestants.len();
        for turn in 0..count {
            let contestant = &mut self.contestants[(round + turn) % count];
            let start = Instant::now();
            (contestant.run)();
            contestant.times.push(start.elapsed());
        }
    }

    /// The median time of one operation in nanoseconds, without the first round, which warms up.
    pub fn nanoseconds(&self, contestant: &Contestant) -> f64 {
        let mut times = contestant.times[1..].to_vec();
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / self.operations as f64
    }

    /// The fastest of ours, or of the peers.
    pub fn best(&self, ours: bool) -> &Contestant {
        let of_that_side = self.contestants.iter().filter(|contestant| contestant.ours == ours);
        of_that_side
            .min_by(|one, other| self.nanoseconds(one).total_cmp(&self.nanoseconds(other)))
            .expect("both sides take part in every row")
    }
}
