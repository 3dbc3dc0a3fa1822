//! How a pool stands.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::arena::LISTS;
use super::pool::BufferPool;
use crate::Alloc;

/// Figures of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkMetrics {
    /// Bytes in use, in percent: 0 only if none is, 100 only if all are.
    pub usage: u8,
    /// Bytes that are free.
    pub free_bytes: usize,
}

/// Figures of the chunks of about the same usage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChunkListMetrics {
    /// Below so many percent a chunk moves to the list before. 0: it stays.
    pub min_usage: usize,
    /// From so many percent on a chunk moves to the next list. 101: there is none.
    pub max_usage: usize,
    /// The chunks.
    pub chunks: Vec<ChunkMetrics>,
}

/// Figures of a run that small blocks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubpageMetrics {
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Blocks in all.
    pub blocks: usize,
    /// Blocks that are free.
    pub free: usize,
}

/// Figures of an arena. What a thread's cache serves does not reach it and is not counted here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaMetrics {
    /// Threads that use it.
    pub threads: usize,
    /// Small blocks that it handed out.
    pub small_allocations: u64,
    /// Normal blocks that it handed out.
    pub normal_allocations: u64,
    /// Small blocks that came back.
    pub small_deallocations: u64,
    /// Normal blocks that came back.
    pub normal_deallocations: u64,
    /// Bytes of blocks that are out: in use, or in the caches.
    pub out_bytes: usize,
    /// `qInit`, `q000`, `q025`, `q050`, `q075`, `q100`.
    pub chunk_lists: Vec<ChunkListMetrics>,
    /// Runs of small blocks that have some free.
    pub subpages: Vec<SubpageMetrics>,
}

/// Figures of a pool. Those of each arena are of one moment; under concurrency the rest may be a little apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// The arenas.
    pub arenas: Vec<ArenaMetrics>,
    /// Caches that belong to a living thread.
    pub thread_caches: usize,
    /// Bytes in the caches of threads, living and gone.
    pub cached_bytes: usize,
    /// Requests that the caches served.
    pub cache_hits: u64,
    /// Requests that they could have served and could not.
    pub cache_misses: u64,
    /// Huge blocks that were allocated.
    pub huge_allocations: u64,
    /// Huge blocks that came back.
    pub huge_deallocations: u64,
    /// Bytes that the pool has from its parent, chunks and huge blocks.
    pub held_bytes: usize,
    /// Bytes of blocks in use, by their class: Netty's *pinned* memory.
    pub pinned_bytes: usize,
}

impl<A: Alloc> BufferPool<A> {
    /// The figures now. Looks at every chunk and every subpage, each arena under its lock.
    pub fn metrics(&self) -> PoolMetrics {
        let arenas: Vec<ArenaMetrics> =
            (0..self.shards.len()).map(|arena| self.arena_metrics(arena)).collect();
        let (mut held, mut huge) = (0, 0);
        for region in self.index.read().unwrap_or_else(PoisonError::into_inner).values() {
            held += region.layout.size();
            huge += if region.chunk.is_none() { region.layout.size() } else { 0 };
        }
        let cached: usize = self.caches.iter().map(|cache| cache.bytes(&self.classes)).sum();
        let counts = self.caches.iter().map(|cache| cache.hits_and_misses());
        let (cache_hits, cache_misses) = counts.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let out: usize = arenas.iter().map(|arena| arena.out_bytes).sum();
        PoolMetrics {
            arenas,
            thread_caches: self.caches.iter().filter(|cache| cache.is_taken()).count(),
            cached_bytes: cached,
            cache_hits,
            cache_misses,
            huge_allocations: self.huge_allocations.load(Ordering::Relaxed),
            huge_deallocations: self.huge_deallocations.load(Ordering::Relaxed),
            held_bytes: held,
            pinned_bytes: out.saturating_sub(cached) + huge,
        }
    }

    fn arena_metrics(&self, number: usize) -> ArenaMetrics {
        let shard = &self.shards[number];
        let arena = shard.arena.lock();
        let mut lists: Vec<ChunkListMetrics> = LISTS
            .iter()
            .map(|&(min_usage, max_usage)| ChunkListMetrics { min_usage, max_usage, chunks: Vec::new() })
            .collect();
        for chunk in arena.chunks() {
            let metrics = ChunkMetrics { usage: chunk.usage(&self.classes), free_bytes: chunk.free_bytes };
            lists[chunk.list as usize].chunks.push(metrics);
        }
        let subpages = arena.roomy().map(|subpage| SubpageMetrics {
            block_bytes: self.classes.size(subpage.class),
            blocks: subpage.blocks() as usize,
            free: subpage.free() as usize,
        });
        ArenaMetrics {
            threads: shard.users.load(Ordering::Relaxed),
            small_allocations: arena.allocations.small,
            normal_allocations: arena.allocations.normal,
            small_deallocations: arena.deallocations.small,
            normal_deallocations: arena.deallocations.normal,
            out_bytes: arena.out,
            chunk_lists: lists,
            subpages: subpages.collect(),
        }
    }
}
