//! Fault injection: the same work over and over, each time with one more system call granted.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Whether the refusal that was armed came to pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The work made the call, and it was refused.
    Met,
    /// The work was done with fewer calls.
    NotMet,
}

/// Attempts after which [`fail_each`] takes the work for endless.
const MOST_ATTEMPTS: usize = 1 << 20;

/// Names the attempt when the work panics: its own message does not know which call was refused.
struct Attempt(usize);

impl Drop for Attempt {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fail_each: panicked with call {} refused", self.0);
        }
    }
}

/// Runs `work` with the n-th system call refused for n = 0, 1, 2, … until it is done without
/// meeting the refusal; returns how many calls were refused, one in each run.
///
/// `work(n)` starts afresh, arms the refusal of its n-th call, does the work, checks whatever
/// must hold although a call was refused, and says whether the refusal was met.
///
/// ```
/// use freestone_testkit::{Refuser, fail_each};
///
/// let refused = fail_each(|n| {
///     let system = Refuser::armed(n);
///     // Three calls to the system, each of which may be refused.
///     let granted = (0..3).filter(|_| system.grants()).count();
///     assert!(granted >= 2);
///     system.refusal()
/// });
/// assert_eq!(refused, 3);
/// ```
///
/// # Panics
///
/// When a million attempts were not enough.
pub fn fail_each(mut work: impl FnMut(usize) -> Refusal) -> usize {
    for n in 0..MOST_ATTEMPTS {
        let attempt = Attempt(n);
        let refusal = work(n);
        drop(attempt);
        if refusal == Refusal::NotMet {
            return n;
        }
    }
    panic!("after {MOST_ATTEMPTS} attempts the work still meets the refusal");
}

/// Counts calls and refuses one of them; for systems that have no such switch of their own.
#[derive(Debug)]
pub struct Refuser {
    calls: AtomicUsize,
    refused: usize,
}

impl Refuser {
    /// Will refuse the n-th call, counted from 0.
    pub const fn armed(n: usize) -> Refuser {
        Refuser { calls: AtomicUsize::new(0), refused: n }
    }

    /// Counts a call; false when it is the one to refuse.
    pub fn grants(&self) -> bool {
        // Relaxed: the counter alone decides, nothing is published through it.
        self.calls.fetch_add(1, Relaxed) != self.refused
    }

    /// Whether the call to refuse was made.
    pub fn refusal(&self) -> Refusal {
        if self.calls.load(Relaxed) > self.refused { Refusal::Met } else { Refusal::NotMet }
    }
}
