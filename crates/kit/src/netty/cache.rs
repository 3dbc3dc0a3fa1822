//! Blocks that a thread keeps for its next requests.
//!
//! Per class a queue: the thread takes from it; whoever frees a block that the thread allocated puts it back there,
//! also another thread. So a thread that only allocates, and others that only free, need no lock. After a number of
//! allocations the thread *trims*: from each queue goes what was not used since the last time.
//!
//! # Safety
//!
//! *Owner*: who changed `owner` from free to taken is the only one to take from the queues, until he sets it to free
//! (Release), which the next one sees (Acquire).
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::OnceLock;

use super::Config;
use super::queue::Queue;
use super::size_class::SizeClasses;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The queue of one class.
struct Class {
    /// Made when the first block comes.
    queue: OnceLock<Queue>,
    capacity: usize,
    /// Requests served since the last trim. The owner's.
    served: AtomicU32,
}

/// The cache of one thread. Outlives the thread, for the next one.
pub(super) struct ThreadCache {
    /// The arena of the thread that has it.
    pub(super) arena: AtomicUsize,
    taken: AtomicBool,
    classes: Box<[Class]>,
    /// Requests until the next trim. The owner's.
    until_trim: AtomicU32,
    trim_every: u32,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// A counter that the owner alone changes.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

impl ThreadCache {
    /// Belongs to the caller.
    pub(super) fn new(classes: &SizeClasses, config: &Config, arena: usize) -> ThreadCache {
        let most = config.most_cached_bytes.min(config.chunk);
        let queues =
            (0..classes.count()).take_while(|&class| classes.is_small(class) || classes.size(class) <= most);
        let capacity = |class| {
            if classes.is_small(class) { config.small_cached } else { config.normal_cached }
        };
        ThreadCache {
            arena: AtomicUsize::new(arena),
            taken: AtomicBool::new(true),
            classes: queues
                .map(|class| Class {
                    queue: OnceLock::new(),
                    capacity: capacity(class),
                    served: AtomicU32::new(0),
                })
                .collect(),
            until_trim: AtomicU32::new(config.trim_every),
            trim_every: config.trim_every,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Makes the caller the owner, if there is none.
    pub(super) fn claim(&self) -> bool {
        // Acquire pairs with the Release in `release`.
        self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// By the owner: he is it no longer.
    pub(super) fn release(&self) {
        self.taken.store(false, Ordering::Release);
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// A block of the class, and whether it is time to trim.
    ///
    /// # Safety
    ///
    /// *Owner*.
    pub(super) unsafe fn take(&self, class: usize) -> (Option<NonNull<u8>>, bool) {
        let Some(cached) = self.classes.get(class) else { return (None, false) };
        // SAFETY: the owner is the taker.
        let block = cached.queue.get().and_then(|queue| unsafe { queue.poll() });
        if block.is_some() {
            cached.served.store(cached.served.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            add(&self.hits);
        } else {
            add(&self.misses);
        }
        let until = self.until_trim.load(Ordering::Relaxed) - 1;
        self.until_trim.store(if until == 0 { self.trim_every } else { until }, Ordering::Relaxed);
        (block, until == 0)
    }

    /// Keeps a block, if there is room and somebody to use it. By any thread.
    pub(super) fn offer(&self, class: usize, block: NonNull<u8>) -> bool {
        let Some(cached) = self.classes.get(class).filter(|cached| cached.capacity > 0) else { return false };
        // Relaxed: where the owner goes at this moment, the block waits for the next, or for who looks for memory.
        self.is_taken() && cached.queue.get_or_init(|| Queue::new(cached.capacity)).offer(block)
    }

    /// Hands out what was not used since the last trim.
    ///
    /// # Safety
    ///
    /// *Owner*.
    pub(super) unsafe fn trim(&self, mut free: impl FnMut(usize, NonNull<u8>)) {
        for (class, cached) in self.classes.iter().enumerate() {
            let served = cached.served.swap(0, Ordering::Relaxed) as usize;
            let Some(queue) = cached.queue.get() else { continue };
            for _ in served..cached.capacity {
                // SAFETY: the owner is the taker.
                let Some(block) = (unsafe { queue.poll() }) else { break };
                free(class, block);
            }
        }
    }

    /// Hands out everything.
    ///
    /// # Safety
    ///
    /// *Owner*.
    pub(super) unsafe fn drain(&self, mut free: impl FnMut(usize, NonNull<u8>)) {
        for (class, cached) in self.classes.iter().enumerate() {
            let Some(queue) = cached.queue.get() else { continue };
            // SAFETY: the owner is the taker.
            while let Some(block) = unsafe { queue.poll() } {
                free(class, block);
            }
        }
    }

    /// Bytes in the queues, about.
    pub(super) fn bytes(&self, classes: &SizeClasses) -> usize {
        let each =
            |(class, cached): (usize, &Class)| cached.queue.get().map_or(0, Queue::len) * classes.size(class);
        self.classes.iter().enumerate().map(each).sum()
    }

    /// Requests that it served, and that it could not.
    pub(super) fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}
