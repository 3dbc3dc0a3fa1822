//! The shadow heap: every live block of one thread and what it must contain.
//!
//! # Safety
//!
//! A block is in the shadow heap only after its range was found free of any other live block
//! (*disjoint*), and the subject promises that its bytes are mapped (*mapped*). The shadow heap
//! holds the block's token, so nobody else uses the memory. A block that breaks these rules is
//! reported before a byte of it is written.
#![allow(unsafe_code)]

use crate::block::{Block, BlockInfo, Fault};
use crate::pattern;
use crate::registry::Registry;
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// What an allocator served.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// The address.
    pub ptr: NonNull<u8>,
    /// Bytes asked for.
    pub size: usize,
    /// Alignment asked for.
    pub align: usize,
    /// Bytes that may be used, where the allocator tells.
    pub usable: Option<usize>,
    /// Whether zeros were asked for.
    pub zeroed: bool,
}

/// The live blocks of one thread.
pub struct ShadowHeap<'r> {
    /// By address; their ranges do not overlap.
    blocks: BTreeMap<usize, Block>,
    /// Addresses, the oldest block first.
    by_age: Vec<usize>,
    registry: Option<&'r Registry>,
    next_id: u64,
    live_bytes: usize,
}

impl<'r> ShadowHeap<'r> {
    /// An empty shadow heap for thread `thread`. With a registry, overlap with blocks of other
    /// threads that share it is seen too.
    pub fn new(thread: usize, registry: Option<&'r Registry>) -> Self {
        // Never 0: the pattern of id 0 begins with zeros, which a lost block would match.
        let next_id = ((thread as u64) << 40) + 1;
        ShadowHeap { blocks: BTreeMap::new(), by_age: Vec::new(), registry, next_id, live_bytes: 0 }
    }

    /// Number of live blocks.
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether no block is live.
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// Bytes in live blocks.
    pub const fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// The block that `victim` names: 0 is the newest, counted round.
    pub fn victim(&self, victim: u16) -> Option<&Block> {
        let age = victim as usize % self.by_age.len().max(1);
        let addr = self.by_age.get(self.by_age.len().checked_sub(age + 1)?)?;
        self.blocks.get(addr)
    }

    /// Checks a block just served at `step` and fills it with its pattern.
    ///
    /// # Safety
    ///
    /// The bytes asked for are mapped, readable and writable until the block is taken out again; so
    /// are the usable ones, if told.
    pub unsafe fn admit(&mut self, served: &Served, step: usize) -> Result<(), Fault> {
        let block = self.checked(served, step)?;
        if served.zeroed {
            // SAFETY: mapped, as the caller promises; disjoint, as was just checked.
            let dirty = unsafe { pattern::nonzero(block.ptr.as_ptr(), block.info.size) };
            if let Some(dirty) = dirty {
                return Err(Fault::NotZeroed { block: block.info, offset: dirty.offset, found: dirty.found });
            }
        }
        self.fill_and_keep(block);
        Ok(())
    }

    /// Checks a block to which `old` was reallocated at `step`, its old contents too, and fills it anew.
    ///
    /// # Safety
    ///
    /// As for [`admit`](ShadowHeap::admit).
    pub unsafe fn admit_moved(&mut self, old: &BlockInfo, served: &Served, step: usize) -> Result<(), Fault> {
        let block = self.checked(served, step)?;
        let kept = old.size.min(served.size);
        // SAFETY: mapped, as the caller promises, and `kept` is within the size; disjoint, as was just checked.
        let lost = unsafe { pattern::difference(block.ptr.as_ptr(), old.extent, old.id, kept) };
        if let Some(lost) = lost {
            return Err(Fault::ContentsLost {
                old: *old,
                new: block.info,
                offset: lost.offset,
                expected: lost.expected,
                found: lost.found,
            });
        }
        self.fill_and_keep(block);
        Ok(())
    }

    /// Checks a live block's contents.
    pub fn check(&self, block: &Block) -> Result<(), Fault> {
        let BlockInfo { id, extent, .. } = block.info;
        // SAFETY: mapped and disjoint since it was admitted, and the token is here.
        match unsafe { pattern::difference(block.ptr.as_ptr(), extent, id, extent) } {
            None => Ok(()),
            Some(damage) => Err(Fault::Damaged {
                block: block.info,
                offset: damage.offset,
                expected: damage.expected,
                found: damage.found,
            }),
        }
    }

    /// Checks all live blocks' contents.
    pub fn check_all(&self) -> Result<(), Fault> {
        self.blocks.values().try_for_each(|block| self.check(block))
    }

    /// Takes out a block that is about to be freed or reallocated, after a check of its contents.
    /// `None` when nothing is live.
    pub fn take(&mut self, victim: u16) -> Result<Option<Block>, Fault> {
        let Some(block) = self.release(victim) else { return Ok(None) };
        self.check(&block)?;
        if let Some(registry) = self.registry {
            registry.leave(&block.info);
        }
        Ok(Some(block))
    }

    /// Takes a block back that [`take`](ShadowHeap::take) gave out, since its reallocation was refused.
    pub fn put_back(&mut self, block: Block) -> Result<(), Fault> {
        self.check(&block)?;
        self.enter(&block.info)?;
        self.keep(block);
        Ok(())
    }

    /// Takes out a block to hand it to the shadow heap of another thread. It stays live.
    pub fn release(&mut self, victim: u16) -> Option<Block> {
        let addr = self.victim(victim)?.info.addr;
        let age = victim as usize % self.by_age.len();
        self.by_age.remove(self.by_age.len() - 1 - age);
        let block = self.blocks.remove(&addr)?;
        self.live_bytes -= block.info.extent;
        Some(block)
    }

    /// Takes in a block that another shadow heap of the same registry released.
    pub fn adopt(&mut self, block: Block) -> Result<(), Fault> {
        self.check(&block)?;
        if let Some(live) = self.overlapped(&block.info) {
            return Err(Fault::Overlap { new: block.info, live });
        }
        self.keep(block);
        Ok(())
    }

    /// Everything that can be checked without reading or writing the block.
    fn checked(&mut self, served: &Served, step: usize) -> Result<Block, Fault> {
        let Served { ptr, size, align, usable, .. } = *served;
        let extent = usable.unwrap_or(size).max(size);
        let info = BlockInfo { id: self.next_id, addr: ptr.as_ptr().addr(), size, align, extent, step };
        self.next_id += 1;
        if !info.addr.is_multiple_of(align) {
            return Err(Fault::Misaligned { block: info });
        }
        if info.addr.checked_add(extent.max(1)).is_none() {
            return Err(Fault::OutOfRange { block: info });
        }
        if let Some(usable) = usable.filter(|&usable| usable < size) {
            return Err(Fault::UsableTooSmall { block: info, usable });
        }
        self.enter(&info)?;
        Ok(Block { ptr, info })
    }

    /// Sees that a block overlaps no live one, here or in the registry, and enters it there.
    fn enter(&self, info: &BlockInfo) -> Result<(), Fault> {
        if let Some(live) = self.overlapped(info) {
            return Err(Fault::Overlap { new: *info, live });
        }
        match self.registry.map(|registry| registry.enter(info)) {
            Some(Err(live)) => Err(Fault::Overlap { new: *info, live }),
            _ => Ok(()),
        }
    }

    fn overlapped(&self, info: &BlockInfo) -> Option<BlockInfo> {
        let (_, below) = self.blocks.range(..info.end()).next_back()?;
        (below.info.end() > info.addr).then_some(below.info)
    }

    fn fill_and_keep(&mut self, block: Block) {
        // SAFETY: mapped, as the caller of `admit` promises; disjoint, as `checked` saw to.
        unsafe { pattern::fill(block.ptr.as_ptr(), block.info.extent, block.info.id) };
        self.keep(block);
    }

    fn keep(&mut self, block: Block) {
        self.live_bytes += block.info.extent;
        self.by_age.push(block.info.addr);
        self.blocks.insert(block.info.addr, block);
    }
}
