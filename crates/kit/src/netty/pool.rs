//! The pool: from a request through the thread's cache and its arena to the parent, and back.
//!
//! # Safety
//!
//! 1. *Chunks*: each region of the index is a block of the parent, allocated with the layout that belongs to it.
//! 2. *Places*: a place that an arena hands out lies within its chunk, is as long as its class, and is nobody else's
//!    until it comes back.
//! 3. *Cached*: a block in a queue belongs to the queue: it came out of an arena and has not gone back.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::arena::{Arena, Place};
use super::cache::ThreadCache;
use super::chunk::Base;
use super::leak::{Detector, Leak};
use super::size_class::{QUANTUM, SizeClasses};
use super::threads::Caches;
use super::{Buf, Config};
use crate::sync::Lock;
use crate::{Alloc, AllocError};

/// A block of the parent: a chunk of an arena, or one huge block.
pub(super) struct Region {
    pub(super) base: Base,
    pub(super) layout: Layout,
    /// Arena and chunk; none for a huge block.
    pub(super) chunk: Option<(usize, u32)>,
}

// SAFETY: *chunks*: the region belongs to the pool, not to a thread.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

/// The arena of a cache without a thread.
const NO_ARENA: usize = usize::MAX;

/// An arena with its lock, on lines of its own.
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) arena: Lock<Arena>,
    /// Threads that use it.
    pub(super) users: AtomicUsize,
}

// SAFETY: *chunks*: what an arena has of pointers belongs to the pool.
unsafe impl Send for Shard {}
// SAFETY: the same, behind a lock.
unsafe impl Sync for Shard {}

/// Pooled memory for byte buffers. See the [module](super).
pub struct BufferPool<A: Alloc> {
    pub(super) config: Config,
    pub(super) classes: SizeClasses,
    pub(super) shards: Box<[Shard]>,
    pub(super) caches: Caches,
    /// By address. Taken after the lock of an arena, if both are.
    pub(super) index: RwLock<BTreeMap<usize, Region>>,
    pub(super) leaks: Detector,
    pub(super) huge_allocations: AtomicU64,
    pub(super) huge_deallocations: AtomicU64,
    pub(super) parent: A,
}

impl<A: Alloc> BufferPool<A> {
    /// An empty pool. Takes no memory of the parent yet.
    ///
    /// # Panics
    ///
    /// When the configuration is not as [`Config`] says.
    pub fn new(config: Config, parent: A) -> BufferPool<A> {
        config.check();
        let classes = SizeClasses::new(config.page.trailing_zeros(), config.chunk);
        let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = if config.arenas == 0 { 2 * cpus() } else { config.arenas };
        let shard = || Shard { arena: Lock::new(Arena::new(&classes)), users: AtomicUsize::new(0) };
        BufferPool {
            shards: (0..arenas).map(|_| shard()).collect(),
            classes,
            caches: Caches::new(),
            index: RwLock::new(BTreeMap::new()),
            leaks: Detector::new(config.leaks),
            huge_allocations: AtomicU64::new(0),
            huge_deallocations: AtomicU64::new(0),
            parent,
            config,
        }
    }

    /// Tells leaks to `sink`, which otherwise go to standard error.
    #[must_use]
    pub fn with_leak_sink(mut self, sink: impl Fn(&Leak) + Send + Sync + 'static) -> BufferPool<A> {
        self.leaks.sink = Box::new(sink);
        self
    }

    /// An empty buffer with room for so many bytes, which grows when it must.
    ///
    /// # Errors
    ///
    /// When the parent has no memory.
    pub fn buffer(&self, capacity: usize) -> Result<Buf<'_, A>, AllocError> {
        Buf::new(self, capacity, isize::MAX as usize)
    }

    /// The same; it grows to `most` bytes and no further.
    ///
    /// # Errors
    ///
    /// When the parent has no memory.
    ///
    /// # Panics
    ///
    /// When `capacity` is more than `most`.
    pub fn buffer_up_to(&self, capacity: usize, most: usize) -> Result<Buf<'_, A>, AllocError> {
        assert!(capacity <= most, "a buffer of {capacity} bytes that may have {most} at most");
        Buf::new(self, capacity, most.min(isize::MAX as usize))
    }

    /// Watched buffers that have been out for at least so long, the oldest first.
    pub fn suspects(&self, age: Duration) -> Vec<Leak> {
        self.leaks.older_than(age)
    }

    /// Gives the unused blocks of this thread's cache back to the arenas.
    pub fn trim_thread(&self) {
        if let Some(cache) = self.cache() {
            self.drain(cache);
        }
        self.adopt_orphans(false);
    }

    /// This thread's cache; none while the thread exits.
    fn cache(&self) -> Option<&ThreadCache> {
        self.caches.own(
            |cache| {
                self.clear_orphan(cache);
                cache.arena.store(self.least_used(), Ordering::Relaxed);
            },
            || ThreadCache::new(&self.classes, &self.config, self.least_used()),
        )
    }

    /// The arena with the fewest threads, which now has one more.
    fn least_used(&self) -> usize {
        let users = |shard: &Shard| shard.users.load(Ordering::Relaxed);
        let arena = (0..self.shards.len()).min_by_key(|&arena| users(&self.shards[arena])).unwrap_or(0);
        self.shards[arena].users.fetch_add(1, Ordering::Relaxed);
        arena
    }

    /// A block of the class, and the cache to which it is to go back.
    pub(super) fn take(&self, class: usize) -> Result<(NonNull<u8>, Option<&ThreadCache>), AllocError> {
        let cache = self.cache();
        let Some(own) = cache else { return Ok((self.take_shared(0, class, None)?, None)) };
        // SAFETY: the cache of this thread, hence its owner's call.
        let (block, time_to_trim) = unsafe { own.take(class) };
        if time_to_trim {
            // SAFETY: the same.
            unsafe { own.trim(|class, block| self.give_shared(class, block)) };
        }
        let block = match block {
            Some(block) => block,
            None => self.take_shared(own.arena.load(Ordering::Relaxed), class, cache)?,
        };
        Ok((block, cache))
    }

    /// From the arena; if it is out of memory, from wherever there is some.
    fn take_shared(
        &self,
        arena: usize,
        class: usize,
        own: Option<&ThreadCache>,
    ) -> Result<NonNull<u8>, AllocError> {
        if let Some(block) = self.take_present(arena, class) {
            return Ok(block);
        }
        if self.adopt_orphans(false)
            && let Some(block) = self.take_present(arena, class)
        {
            return Ok(block);
        }
        if let Some(block) = self.take_growing(arena, class) {
            return Ok(block);
        }
        if let Some(own) = own {
            self.drain(own);
        }
        self.adopt_orphans(true);
        let arenas = (0..self.shards.len()).map(|step| (arena + step) % self.shards.len());
        arenas.into_iter().find_map(|arena| self.take_present(arena, class)).ok_or(AllocError)
    }

    /// From the chunks that the arena has.
    fn take_present(&self, arena: usize, class: usize) -> Option<NonNull<u8>> {
        let mut arena = self.shards[arena].arena.lock();
        let place = arena.take(class, &self.classes)?;
        Some(address(arena.base(place.chunk), place.offset))
    }

    /// From the chunks that the arena has, or from a new one.
    fn take_growing(&self, number: usize, class: usize) -> Option<NonNull<u8>> {
        // The lock is held meanwhile, so that threads that come together do not bring a chunk each.
        let mut arena = self.shards[number].arena.lock();
        let place = match arena.take(class, &self.classes) {
            Some(place) => place,
            None => {
                let layout = self.chunk_layout()?;
                let base = Base(self.parent.allocate(layout).ok()?.cast());
                let chunk = arena.add_chunk(base, &self.classes);
                self.enter(Region { base, layout, chunk: Some((number, chunk)) });
                arena.take(class, &self.classes).expect("a new chunk has room for every class")
            }
        };
        Some(address(arena.base(place.chunk), place.offset))
    }

    fn chunk_layout(&self) -> Option<Layout> {
        Layout::from_size_align(self.config.chunk, self.config.page).ok()
    }

    fn enter(&self, region: Region) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.insert(region.base.0.as_ptr().addr(), region);
    }

    fn remove(&self, base: NonNull<u8>) -> Option<Region> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(&base.as_ptr().addr())
    }

    /// Gives a block of the class back: into `cache` if it will have it, else to the arena.
    pub(super) fn give(&self, class: usize, block: NonNull<u8>, cache: Option<&ThreadCache>) {
        if !cache.is_some_and(|cache| cache.offer(class, block)) {
            self.give_shared(class, block);
        }
    }

    /// The same for a block of which nobody knows whose it was.
    pub(super) fn give_here(&self, class: usize, block: NonNull<u8>) {
        self.give(class, block, self.cache());
    }

    fn give_shared(&self, class: usize, block: NonNull<u8>) {
        let address = block.as_ptr().addr();
        let (base, arena, chunk) = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let (&base, region) = index.range(..=address).next_back().expect("a block of this pool is freed");
            let (arena, chunk) = region.chunk.expect("a pooled block is freed with its own size");
            (base, arena, chunk)
        };
        let place = Place { chunk, offset: address - base };
        assert!(place.offset < self.config.chunk, "a block of another pool is freed");
        let unused = self.shards[arena].arena.lock().give(place, class, &self.classes);
        // Outside of the lock: nobody has a block of that chunk any more, nor can get one.
        if let Some(Base(base)) = unused
            && let Some(region) = self.remove(base)
        {
            // SAFETY: *chunks*.
            unsafe { self.parent.deallocate(region.base.0, region.layout) };
        }
    }

    /// A block that is not pooled.
    pub(super) fn take_huge(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let block = self.parent.allocate(layout)?.cast();
        self.enter(Region { base: Base(block), layout, chunk: None });
        self.huge_allocations.fetch_add(1, Ordering::Relaxed);
        Ok(block)
    }

    pub(super) fn give_huge(&self, block: NonNull<u8>) {
        let region = self.remove(block).expect("a block of this pool is freed");
        self.huge_deallocations.fetch_add(1, Ordering::Relaxed);
        // SAFETY: *chunks*.
        unsafe { self.parent.deallocate(region.base.0, region.layout) };
    }

    pub(super) fn huge_layout(bytes: usize) -> Result<Layout, AllocError> {
        Layout::from_size_align(bytes, QUANTUM).map_err(|_| AllocError)
    }

    fn drain(&self, own: &ThreadCache) {
        // SAFETY: for this thread's cache, or one that this thread has claimed.
        unsafe { own.drain(|class, block| self.give_shared(class, block)) };
    }

    /// Empties the caches of threads that have exited, if any has since the last time, or in any case: a block may have
    /// come later. Whether it did.
    fn adopt_orphans(&self, in_any_case: bool) -> bool {
        if !self.caches.orphans() && !in_any_case {
            return false;
        }
        for cache in self.caches.iter().filter(|cache| !cache.is_taken() && cache.claim()) {
            self.clear_orphan(cache);
            cache.release();
        }
        true
    }

    /// Takes a cache that this thread has claimed out of its last thread's arena, and everything out of it.
    fn clear_orphan(&self, cache: &ThreadCache) {
        self.drain(cache);
        let arena = cache.arena.swap(NO_ARENA, Ordering::Relaxed);
        if let Some(shard) = self.shards.get(arena) {
            shard.users.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn address(base: Base, offset: usize) -> NonNull<u8> {
    // SAFETY: *places*: within the chunk.
    unsafe { base.0.add(offset) }
}

impl<A: Alloc> Drop for BufferPool<A> {
    /// Everything goes back to the parent, what was leaked, too: who could still use it would have kept the pool alive.
    fn drop(&mut self) {
        let index = self.index.get_mut().unwrap_or_else(PoisonError::into_inner);
        for region in std::mem::take(index).into_values() {
            // SAFETY: *chunks*.
            unsafe { self.parent.deallocate(region.base.0, region.layout) };
        }
    }
}
