//! Threads that begin together, and the time they take.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Wall time from its making.
#[derive(Clone, Copy, Debug)]
pub struct Timer(Instant);

impl Timer {
    /// Starts.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Timer {
        Timer(Instant::now())
    }

    /// Seconds so far.
    pub fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Runs `work(0)` to `work(threads - 1)`, each on a thread, all beginning when the last thread is ready.
/// Returns the seconds from there to the end of the last, and the results in order.
pub fn team<R: Send>(threads: usize, work: impl Fn(usize) -> R + Sync) -> (f64, Vec<R>) {
    let barrier = Barrier::new(threads);
    let times = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|index| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    let result = work(index);
                    (start, Instant::now(), result)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("a panic aborts")).collect::<Vec<_>>()
    });
    let start = times.iter().map(|time| time.0).min().expect("at least one thread");
    let end = times.iter().map(|time| time.1).max().expect("at least one thread");
    ((end - start).as_secs_f64(), times.into_iter().map(|time| time.2).collect())
}
