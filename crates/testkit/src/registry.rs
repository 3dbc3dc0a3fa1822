//! All live blocks of all threads, to see at once when two threads are served the same memory.

use crate::block::BlockInfo;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Bytes of address space that one shard covers in a row.
const REGION: usize = 64 << 10;
const SHARDS: usize = 256;

/// From the first address of a piece of a block to its end and the block.
type Pieces = BTreeMap<usize, (usize, BlockInfo)>;

/// The live blocks of a run, sharded by address. A block that crosses regions lies in each of
/// them in a piece of its own.
pub struct Registry {
    shards: Vec<Mutex<Pieces>>,
}

impl Default for Registry {
    fn default() -> Self {
        Registry::new()
    }
}

/// The pieces `(start, end)` of a block, one for each region it touches.
fn pieces(block: &BlockInfo) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (start, end) = (block.addr, block.end());
    let cut = move |region: usize| (start.max(region * REGION), end.min((region + 1).saturating_mul(REGION)));
    (start / REGION..=(end - 1) / REGION).map(cut)
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Registry {
        Registry { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    fn with_shard<R>(&self, addr: usize, work: impl FnOnce(&mut Pieces) -> R) -> R {
        let shard = &self.shards[addr / REGION % SHARDS];
        work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Enters a block, or returns a live one that it overlaps.
    pub fn enter(&self, block: &BlockInfo) -> Result<(), BlockInfo> {
        for (start, end) in pieces(block) {
            self.with_shard(start, |shard| {
                if let Some((_, (other_end, other))) = shard.range(..end).next_back()
                    && *other_end > start
                {
                    return Err(*other);
                }
                shard.insert(start, (end, *block));
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Strikes a block off. Call it before the block is freed: afterwards another thread may
    /// already be served the same memory.
    pub fn leave(&self, block: &BlockInfo) {
        for (start, _) in pieces(block) {
            self.with_shard(start, |shard| shard.remove(&start));
        }
    }

    /// Whether no block is live.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(id: u64, addr: usize, extent: usize) -> BlockInfo {
        BlockInfo { id, addr, size: extent, align: 1, extent, step: 0 }
    }

    #[test]
    fn overlap_is_seen_from_both_sides_and_across_regions() {
        let registry = Registry::new();
        let large = block(1, REGION * 3 + 100, REGION * 4);
        registry.enter(&large).unwrap();
        registry.enter(&block(2, large.addr - 100, 100)).unwrap();
        registry.enter(&block(3, large.end(), 100)).unwrap();
        for (addr, extent) in [
            (large.addr - 1, 2),
            (large.end() - 1, 1),
            (REGION * 5, 8),
            (REGION * 6 - 4, 8),
            (large.addr, large.extent),
        ] {
            let seen = registry.enter(&block(4, addr, extent)).unwrap_err();
            assert!([1, 2].contains(&seen.id), "{seen}");
        }
    }

    #[test]
    fn what_left_may_be_entered_again() {
        let registry = Registry::new();
        for id in 0..10 {
            let block = block(id, REGION - 10, REGION * 2);
            registry.enter(&block).unwrap();
            registry.leave(&block);
        }
        assert!(registry.is_empty());
    }
}
