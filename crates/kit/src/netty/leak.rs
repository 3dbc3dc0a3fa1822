//! Buffers that were forgotten, and where they came from.
//!
//! A buffer that is dropped goes back, so it takes a cycle of references or a `forget` to leak one. Since a buffer
//! borrows its pool, whatever is still out when the pool is dropped can never come back: that is the proof, and then
//! the leaks are reported. While the pool is at work, [`suspects`](super::BufferPool::suspects) names those that are
//! out for long.

use std::backtrace::Backtrace;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::fmt;
use std::string::String;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::vec::Vec;

use crate::sync::Lock;

/// How closely buffers are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeakLevel {
    /// Not at all.
    Disabled,
    /// One buffer of 128; a leak is reported without telling where.
    Simple,
    /// One buffer of 128, with the stack of its making and of the last times it was touched.
    Advanced,
    /// Every buffer, with the same.
    Paranoid,
}

/// One buffer of so many is watched, unless all are. A power of two.
const SAMPLE: u64 = 128;

/// So many touches are kept; beyond, the last one is replaced.
const TOUCHES: usize = 4;

/// Something that happened to a watched buffer.
#[derive(Clone, Debug)]
pub struct Touch {
    /// What the program said about it, or what was done.
    pub hint: String,
    /// Where in the program.
    pub stack: Arc<Backtrace>,
}

/// A buffer that is out, perhaps for ever.
#[derive(Clone, Debug)]
pub struct Leak {
    /// Bytes of its block.
    pub bytes: usize,
    /// How long ago it was made.
    pub age: Duration,
    /// Its making, the first touches and the last; empty at [`LeakLevel::Simple`].
    pub touches: Vec<Touch>,
    /// Touches that were not kept.
    pub dropped: usize,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LEAK: a buffer of {} bytes was not given back before its pool ended", self.bytes)?;
        if self.touches.is_empty() {
            return f.write_str(" (LeakLevel::Advanced tells where it was made)");
        }
        for touch in &self.touches {
            write!(f, "\n{}:\n{}", touch.hint, touch.stack)?;
        }
        if self.dropped > 0 {
            write!(f, "\n{} more touches were not kept", self.dropped)?;
        }
        Ok(())
    }
}

struct History {
    touches: Vec<Touch>,
    dropped: usize,
}

/// What is known of a watched buffer.
pub(super) struct Watched {
    number: u64,
    bytes: usize,
    made: Instant,
    history: Option<Lock<History>>,
}

impl Watched {
    pub(super) fn touch(&self, hint: &str) {
        let Some(history) = &self.history else { return };
        let touch = Touch { hint: hint.into(), stack: Arc::new(Backtrace::force_capture()) };
        let mut history = history.lock();
        if history.touches.len() > TOUCHES {
            history.touches.pop();
            history.dropped += 1;
        }
        history.touches.push(touch);
    }

    fn leak(&self) -> Leak {
        let (touches, dropped) = self.history.as_ref().map_or((Vec::new(), 0), |history| {
            let history = history.lock();
            (history.touches.clone(), history.dropped)
        });
        Leak { bytes: self.bytes, age: self.made.elapsed(), touches, dropped }
    }
}

/// Who is told of leaks.
pub(super) type Sink = Box<dyn Fn(&Leak) + Send + Sync>;

/// Watches the buffers of a pool.
pub(super) struct Detector {
    level: LeakLevel,
    made: AtomicU64,
    out: Lock<BTreeMap<u64, Arc<Watched>>>,
    pub(super) sink: Sink,
}

impl Detector {
    pub(super) fn new(level: LeakLevel) -> Detector {
        Detector {
            level,
            made: AtomicU64::new(0),
            out: Lock::new(BTreeMap::new()),
            sink: Box::new(|leak| std::eprintln!("{leak}")),
        }
    }

    /// Begins to watch a buffer, if it is its turn.
    pub(super) fn watch(&self, bytes: usize) -> Option<Arc<Watched>> {
        if self.level == LeakLevel::Disabled {
            return None;
        }
        // Relaxed: only the number counts.
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        if self.level < LeakLevel::Paranoid && !number.is_multiple_of(SAMPLE) {
            return None;
        }
        let history = (self.level >= LeakLevel::Advanced)
            .then(|| Lock::new(History { touches: Vec::new(), dropped: 0 }));
        let watched = Arc::new(Watched { number, bytes, made: Instant::now(), history });
        watched.touch("made");
        self.out.lock().insert(number, watched.clone());
        Some(watched)
    }

    /// The buffer has come back.
    pub(super) fn closed(&self, watched: &Watched) {
        self.out.lock().remove(&watched.number);
    }

    /// Watched buffers that have been out for so long, the oldest first.
    pub(super) fn older_than(&self, age: Duration) -> Vec<Leak> {
        let out: Vec<_> = self.out.lock().values().cloned().collect();
        out.iter().map(|watched| watched.leak()).filter(|leak| leak.age >= age).collect()
    }
}

impl Drop for Detector {
    /// Reports. Nobody can have a buffer any more.
    fn drop(&mut self) {
        for watched in std::mem::take(self.out.get_mut()).values() {
            (self.sink)(&watched.leak());
        }
    }
}
