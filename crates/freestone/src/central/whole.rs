//! Slabs that stay with their class though all their blocks are free, as hardened mode has them: which of them are wanted.
//!
//! What the page heap does with free pages (`scavenge.rs`): as many as were in use within the last two looks keep their memory.

/// What is known of a class's whole slabs, all in its lists or being swept.
#[derive(Default)]
pub(super) struct Whole {
    /// There are so many,
    now: usize,
    /// so many of them swept.
    swept: usize,
    /// The fewest since the scavenger looked last, and in the time before.
    least: usize,
    before: usize,
    /// So many may be swept until it looks again.
    idle: usize,
}

impl Whole {
    pub(super) const fn new() -> Whole {
        Whole { now: 0, swept: 0, least: 0, before: 0, idle: 0 }
    }

    /// A slab became whole.
    #[inline]
    pub(super) fn come(&mut self) {
        self.now += 1;
    }

    /// A whole slab is to serve; whether it was swept.
    #[inline]
    pub(super) fn leave(&mut self, swept: bool) {
        self.now -= 1;
        self.swept -= swept as usize;
        self.least = self.least.min(self.now);
    }

    /// The scavenger looks; where memory is short, nothing is wanted.
    pub(super) fn look(&mut self, short: bool) {
        let idle = if short { self.now } else { self.least.min(self.before) };
        self.idle = idle.saturating_sub(self.swept);
        self.before = self.least;
        self.least = self.now;
    }

    /// Takes one that is idle out, or whichever, to be swept; whether there is one that may be.
    pub(super) fn pick(&mut self, whichever: bool) -> bool {
        let may = whichever && self.now > self.swept || self.idle > 0;
        if may {
            self.now -= 1;
            self.idle = self.idle.saturating_sub(1);
        }
        may
    }

    /// One that was taken out has been swept.
    pub(super) fn come_swept(&mut self) {
        self.now += 1;
        self.swept += 1;
    }

    pub(super) fn count(&self) -> usize {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(whole: &mut Whole) -> usize {
        let mut slabs = 0;
        while whole.pick(false) {
            whole.come_swept();
            slabs += 1;
        }
        slabs
    }

    #[test]
    fn what_was_in_use_within_the_last_two_looks_is_wanted() {
        let mut whole = Whole::new();
        (0..10).for_each(|_| whole.come());
        // They were in use until now, so in the time before, too.
        let mut swept = [0; 2].map(|_| {
            whole.look(false);
            sweep(&mut whole)
        });
        assert_eq!(swept, [0, 0]);
        // Four of them are taken and come back, again and again.
        for _ in 0..5 {
            (0..4).for_each(|_| whole.leave(false));
            (0..4).for_each(|_| whole.come());
            whole.look(false);
            swept = [swept[0] + sweep(&mut whole), whole.count()];
        }
        assert_eq!(swept, [6, 10]);
        whole.look(false);
        assert_eq!(sweep(&mut whole), 0);
        whole.look(false);
        assert_eq!(sweep(&mut whole), 4);
    }

    #[test]
    fn where_memory_is_short_all_go_and_those_that_serve_again_count_as_not_swept() {
        let mut whole = Whole::new();
        (0..3).for_each(|_| whole.come());
        whole.look(true);
        assert_eq!(sweep(&mut whole), 3);
        whole.leave(true);
        whole.come();
        whole.look(true);
        assert_eq!((sweep(&mut whole), whole.count()), (1, 3));
    }
}
