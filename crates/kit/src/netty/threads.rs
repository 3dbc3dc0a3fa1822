//! Which cache belongs to this thread.
//!
//! Each pool has a list of caches that only grows; a thread remembers its place in the list of each pool that it has
//! used. When it exits, its caches are left to others.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::cache::ThreadCache;

/// Places in the first part of a list; each part is twice as long as the one before.
const FIRST: usize = 16;
const PARTS: usize = 20;

/// The number of the last pool. Zero is none.
static POOLS: AtomicU64 = AtomicU64::new(0);

/// Caches next to each other; those that are not there yet are empty.
type Part = Box<[OnceLock<Arc<ThreadCache>>]>;

/// Caches of a pool, by place. A cache that is there stays there.
pub(super) struct Caches {
    /// No other pool of this process has or had this number.
    pool: u64,
    parts: [OnceLock<Part>; PARTS],
    count: AtomicUsize,
    /// Shared with the threads' memory, which may live longer: caches without an owner that may hold blocks.
    ends: Arc<Ends>,
}

/// What exiting threads and dying pools tell each other.
#[derive(Default)]
struct Ends {
    threads: AtomicUsize,
    pool: AtomicBool,
}

/// A thread's right to a cache.
struct Lease {
    pool: u64,
    place: usize,
    cache: Arc<ThreadCache>,
    ends: Arc<Ends>,
}

/// All of a thread.
struct Leases(RefCell<Vec<Lease>>);

std::thread_local! {
    /// The last one used: pool and place. Without a destructor, so that it can always be read.
    static LAST: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
    static LEASES: Leases = const { Leases(RefCell::new(Vec::new())) };
}

impl Drop for Leases {
    fn drop(&mut self) {
        LAST.set((0, 0));
        for lease in self.0.get_mut().drain(..) {
            lease.cache.release();
            // Release pairs with the Acquire in `orphans`.
            lease.ends.threads.fetch_add(1, Ordering::Release);
        }
    }
}

fn part_of(place: usize) -> (usize, usize) {
    let part = (place / FIRST + 1).ilog2() as usize;
    (part, place - FIRST * ((1 << part) - 1))
}

impl Caches {
    pub(super) fn new() -> Caches {
        Caches {
            pool: POOLS.fetch_add(1, Ordering::Relaxed) + 1,
            parts: [const { OnceLock::new() }; PARTS],
            count: AtomicUsize::new(0),
            ends: Arc::default(),
        }
    }

    fn at(&self, place: usize) -> Option<&ThreadCache> {
        let (part, index) = part_of(place);
        self.parts[part].get()?[index].get().map(Arc::as_ref)
    }

    /// All that there are.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ThreadCache> {
        (0..self.count.load(Ordering::Relaxed)).filter_map(|place| self.at(place))
    }

    /// This thread's cache, of which it is the owner. If it has none, one that nobody owns, with `adopt` for its
    /// contents, or else a new one from `make`. None while the thread exits.
    #[inline]
    pub(super) fn own(
        &self,
        adopt: impl FnOnce(&ThreadCache),
        make: impl FnOnce() -> ThreadCache,
    ) -> Option<&ThreadCache> {
        let (pool, place) = LAST.get();
        if pool == self.pool { self.at(place) } else { self.own_slow(adopt, make) }
    }

    #[cold]
    fn own_slow(
        &self,
        adopt: impl FnOnce(&ThreadCache),
        make: impl FnOnce() -> ThreadCache,
    ) -> Option<&ThreadCache> {
        let known = |leases: &Leases| {
            let leases = leases.0.borrow();
            leases.iter().find(|lease| lease.pool == self.pool).map(|lease| lease.place)
        };
        let place = LEASES.try_with(known).ok()?;
        let place = match place {
            Some(place) => place,
            None => self.lease(adopt, make)?,
        };
        LAST.set((self.pool, place));
        self.at(place)
    }

    fn lease(&self, adopt: impl FnOnce(&ThreadCache), make: impl FnOnce() -> ThreadCache) -> Option<usize> {
        let free = (0..self.count.load(Ordering::Relaxed))
            .find(|&place| self.at(place).is_some_and(|cache| !cache.is_taken() && cache.claim()));
        let place = match free {
            Some(place) => {
                if let Some(cache) = self.at(place) {
                    adopt(cache);
                }
                place
            }
            None => self.add(make())?,
        };
        let (part, index) = part_of(place);
        let cache = self.parts[part].get()?[index].get()?.clone();
        LEASES
            .try_with(|leases| {
                let mut leases = leases.0.borrow_mut();
                leases.retain(|lease| !lease.ends.pool.load(Ordering::Relaxed));
                leases.push(Lease { pool: self.pool, place, cache, ends: self.ends.clone() });
            })
            .ok()?;
        Some(place)
    }

    fn add(&self, cache: ThreadCache) -> Option<usize> {
        let place = self.count.fetch_add(1, Ordering::Relaxed);
        let (part, index) = part_of(place);
        let part =
            self.parts.get(part)?.get_or_init(|| (0..FIRST << part).map(|_| OnceLock::new()).collect());
        part[index].set(Arc::new(cache)).ok()?;
        Some(place)
    }

    /// Whether a thread has exited since the last time, and so left a cache behind.
    pub(super) fn orphans(&self) -> bool {
        // Acquire pairs with the Release of the exiting thread.
        self.ends.threads.load(Ordering::Relaxed) > 0 && self.ends.threads.swap(0, Ordering::Acquire) > 0
    }
}

impl Drop for Caches {
    fn drop(&mut self) {
        // Relaxed: the threads throw away what they remember when they come by, or do not.
        self.ends.pool.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fill_the_parts_one_after_the_other() {
        let mut next = (0, 0);
        for place in 0..2000 {
            assert_eq!(part_of(place), next, "place {place}");
            next = if next.1 + 1 == FIRST << next.0 { (next.0 + 1, 0) } else { (next.0, next.1 + 1) };
        }
    }
}
