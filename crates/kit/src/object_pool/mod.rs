//! A pool of objects that are dear to make, after Go's `sync.Pool` and what Hertz adds to it.
//!
//! # What it is
//!
//! A store of objects for reuse, which anybody may empty: it promises speed and nothing else. Each CPU
//! has a shard with one *private* object and a *shared* queue. [`get`](ObjectPool::get) takes the private object, else
//! the one put last into its own queue, else steals the oldest from another CPU's, else takes a *victim*, else
//! makes one. [`age`](ObjectPool::age) drops the victims and makes victims of all that lie in the pool: an
//! object goes after two ages without use, so that the pool follows the load without forgetting all at once.
//!
//! From Hertz' pool of request contexts: an object is [reset](Recycle::reset) when it comes back, so that nobody meets
//! the data of another; one that has grown beyond a limit is dropped (it would keep the worst case alive for ever); and
//! a user can [exile](Pooled::exile) one, when something may still refer to its insides.
//!
//! # Where it comes from
//!
//! Go's `sync/pool.go` and `sync/poolqueue.go` (private slot and sharding 2013; lock-free queues and the victim
//! generation in Go 1.13, 2019). ByteDance's Hertz (2022), `RequestContext`. What differs: Go ages at each garbage
//! collection; here a user calls `age`, or [sets a time](Options::age_every), at which whoever comes by does it. Go
//! pins a goroutine to its processor; here a shard has a mark, see the file `shard.rs`.
//!
//! # When to use it, and when not
//!
//! For buffers, contexts, parsers: things whose making costs more than some 20 ns, which
//! many threads need for a short time. Not for objects that must come back (connections), since any may be dropped;
//! for a bound on how many there are ([`BoundedPool`](crate::BoundedPool)); for plain memory, which the
//! allocator keeps at hand by itself.
//!
//! # Costs
//!
//! A get or a put that meets the private object: one exchange and one store on the CPU's own cache line. From
//! or to the own queue: one more atomic operation. A steal: one compare-and-exchange on another's line; a look
//! at every shard when nothing is found. `age`: the number of victims. Memory: 512 bytes a CPU, and up to
//! 16 for each object of the most that ever lay in a queue.
//!
//! # Example
//!
//! ```
//! use freestone_kit::ObjectPool;
//!
//! static BUFFERS: ObjectPool<Vec<u8>> = ObjectPool::new(Vec::new);
//!
//! let mut buffer = BUFFERS.get();
//! buffer.extend_from_slice(b"work");
//! drop(buffer);
//! // The same memory, empty again.
//! let again = BUFFERS.get();
//! assert!(again.is_empty() && again.capacity() >= 4);
//! ```

mod chain;
mod cpu;
mod guard;
mod recycle;
mod shard;
mod stats;

use std::boxed::Box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu::current_cpu;
use shard::{Pin, Shard};
use stats::{Counters, count};

pub use guard::Pooled;
pub use recycle::Recycle;
pub use stats::ObjectPoolStats;

/// After so many puts into a queue somebody looks at the clock.
const PUTS_BETWEEN_LOOKS: u64 = 64;

/// How often all shards are tried before an object that came back is dropped: about as long as it takes to make one.
const ROUNDS: usize = 8;

/// What may be set of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Objects that [retain](Recycle::retained) more bytes than this are dropped when they come back. At first: no
    /// limit.
    pub most_retained: usize,
    /// Time from one age to the next. At first: none, the pool ages when it is told to.
    pub age_every: Option<Duration>,
    /// Shards; 0 stands for one each CPU that the process may run on.
    pub shards: usize,
}

impl Options {
    /// No limit, no clock, a shard each CPU.
    pub const DEFAULT: Options = Options { most_retained: usize::MAX, age_every: None, shards: 0 };
}

impl Default for Options {
    fn default() -> Options {
        Options::DEFAULT
    }
}

/// A pool of `T`s, made by an `F`.
pub struct ObjectPool<T, F = fn() -> T> {
    make: F,
    options: Options,
    shards: OnceLock<Box<[Shard<T>]>>,
    /// When the clock began.
    start: OnceLock<Instant>,
    /// Nanoseconds from `start` to the last age.
    aged: AtomicU64,
    ageing: AtomicBool,
    counters: Counters,
}

impl<T: Recycle + Send, F: Fn() -> T> ObjectPool<T, F> {
    /// An empty pool. Takes no memory before its first use.
    pub const fn new(make: F) -> ObjectPool<T, F> {
        ObjectPool::with_options(make, Options::DEFAULT)
    }

    /// An empty pool with options.
    pub const fn with_options(make: F, options: Options) -> ObjectPool<T, F> {
        ObjectPool {
            make,
            options,
            shards: OnceLock::new(),
            start: OnceLock::new(),
            aged: AtomicU64::new(0),
            ageing: AtomicBool::new(false),
            counters: Counters::new(),
        }
    }

    /// An object, used or new. It goes back when it is dropped.
    ///
    /// # Panics
    ///
    /// When `make` does.
    pub fn get(&self) -> Pooled<'_, T, F> {
        Pooled::new(self, self.take())
    }

    /// An object, used or new, that does not go back by itself.
    ///
    /// # Panics
    ///
    /// When `make` does.
    pub fn take(&self) -> Box<T> {
        let shards = self.shards();
        let own = own_of(shards.len());
        let near = shards[own].pin().and_then(|pin| pin.get());
        near.or_else(|| self.look_around(shards, own)).unwrap_or_else(|| {
            count(&self.counters.made);
            Box::new((self.make)())
        })
    }

    /// Puts an object into the pool, reset, unless it is oversize. It need not come from there.
    ///
    /// # Panics
    ///
    /// When the object's reset or its drop does; it is then dropped and the pool is as it was.
    pub fn put(&self, mut object: Box<T>) {
        let shards = self.shards();
        let own = own_of(shards.len());
        if object.retained() > self.options.most_retained {
            count(&self.counters.oversize);
            return;
        }
        object.reset();
        let put = match shards[own].pin().or_else(|| pin_another(shards, own)) {
            Some(pin) => pin.put(object),
            None => Err(object),
        };
        match put {
            Ok(Some(puts)) if puts % PUTS_BETWEEN_LOOKS == 0 => self.look_at_the_clock(),
            Ok(_) => {}
            Err(refused) => {
                count(&self.counters.refused);
                drop(refused);
            }
        }
    }

    /// The long way: other shards, then victims.
    #[cold]
    fn look_around(&self, shards: &[Shard<T>], own: usize) -> Option<Box<T>> {
        self.look_at_the_clock();
        let others = |from: usize| (from..shards.len()).map(|step| &shards[(own + step) % shards.len()]);
        if let Some(object) = others(1).find_map(|shard| shard.steal(false)) {
            count(&self.counters.stolen);
            return Some(object);
        }
        // Victims last, so that they age out if that can be.
        let victim = shards[own].pin().and_then(|pin| pin.scrape(true));
        let victim = victim.or_else(|| others(0).find_map(|shard| shard.steal(true)));
        if victim.is_some() {
            count(&self.counters.victims);
            return victim;
        }
        // Go leaves others their private objects, which it cannot take from a running processor. Here the mark makes
        // that safe, and a thread that has moved to another CPU finds the object it has just put back.
        let private = others(1).find_map(|shard| {
            let pin = shard.pin()?;
            pin.scrape(false).or_else(|| pin.scrape(true))
        });
        if private.is_some() {
            count(&self.counters.stolen);
        }
        private
    }

    /// Drops the victims and makes victims of all that lie in the pool now. Objects in use are not concerned. While
    /// another thread is at it, does nothing.
    ///
    /// # Panics
    ///
    /// When the drop of an object does.
    pub fn age(&self) {
        // Acquire and Release: one ager after another.
        if self.ageing.swap(true, Ordering::Acquire) {
            return;
        }
        let mut dropped = Vec::new();
        for shard in self.shards() {
            let pin = loop {
                match shard.pin() {
                    Some(pin) => break pin,
                    None => std::thread::yield_now(),
                }
            };
            dropped.append(&mut pin.age());
        }
        self.counters.aged.fetch_add(dropped.len() as u64, Ordering::Relaxed);
        self.ageing.store(false, Ordering::Release);
        // At the very end: an object's drop may take its time, may use the pool, and may panic.
        drop(dropped);
    }

    fn look_at_the_clock(&self) {
        let Some(every) = self.options.age_every else { return };
        let now = self.start.get_or_init(Instant::now).elapsed().as_nanos() as u64;
        let aged = self.aged.load(Ordering::Relaxed);
        let due = now.saturating_sub(aged) >= every.as_nanos() as u64;
        // Relaxed: only one of those who come at once is to go.
        if due && self.aged.compare_exchange(aged, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.age();
        }
    }

    /// What the pool has done so far. Each figure is right by itself.
    pub fn stats(&self) -> ObjectPoolStats {
        self.counters.read(self.shards.get().into_iter().flatten().map(|shard| &shard.counters))
    }

    fn count_exile(&self) {
        count(&self.counters.exiled);
    }

    #[inline]
    fn shards(&self) -> &[Shard<T>] {
        self.shards.get_or_init(|| {
            let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
            let count = if self.options.shards == 0 { cpus() } else { self.options.shards };
            (0..count).map(|_| Shard::new()).collect()
        })
    }
}

/// The number of the shard of this CPU.
#[inline]
fn own_of(shards: usize) -> usize {
    let cpu = current_cpu();
    // Nearly always it is that already, and a division is slow.
    if cpu < shards { cpu } else { cpu % shards }
}

/// The next shard without a user. All are tried some times, since a user is gone in no time unless he is interrupted;
/// if there is still none, one object is of no account.
#[cold]
fn pin_another<T>(shards: &[Shard<T>], own: usize) -> Option<Pin<'_, T>> {
    for _ in 0..ROUNDS {
        let next = (1..=shards.len()).find_map(|step| shards[(own + step) % shards.len()].pin());
        if next.is_some() {
            return next;
        }
        std::hint::spin_loop();
    }
    None
}

impl<T, F> std::fmt::Debug for ObjectPool<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectPool").field("options", &self.options).finish_non_exhaustive()
    }
}
