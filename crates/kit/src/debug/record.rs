//! The records of blocks and of the regions that they lie in.

use core::ptr::NonNull;

use super::trace::TraceId;

/// No record, no region.
pub(super) const NONE: u32 = u32::MAX;

/// Bytes that nobody may write before and behind a packed block, at least.
pub(super) const ZONE: usize = 16;

/// What packed blocks share, in bytes.
pub(super) const PACKED: usize = 64 << 10;

/// The most pages of a packed region: an OS page has 4 KiB or more.
pub(super) const MOST_PAGES: usize = PACKED / 4096;

/// Larger blocks lie alone.
pub(super) const MOST_PACKED: usize = 8 << 10;

/// The life of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Live,
    /// Freed; its address is kept.
    Freed,
    /// Freed; its address went back to the parent.
    Gone,
    /// The record is not in use.
    Vacant,
}

/// A block.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) address: usize,
    pub(super) size: usize,
    pub(super) align: usize,
    pub(super) life: Life,
    /// It serves the making of a report: no leak.
    pub(super) internal: bool,
    /// A report has told what is wrong with its bytes.
    pub(super) told: bool,
    pub(super) region: u32,
    /// The next of its region, or the next that is not in use.
    pub(super) next: u32,
    /// Guarded bytes before it.
    pub(super) front: usize,
    /// Bytes from its beginning to the end of the guarded bytes behind it.
    pub(super) room: usize,
    pub(super) allocated: TraceId,
    pub(super) allocated_by: u32,
    pub(super) freed: TraceId,
    pub(super) freed_by: u32,
}

impl Record {
    /// Where the block ends.
    pub(super) fn end(&self) -> usize {
        self.address + self.size
    }

    /// Whether the block holds the address; an empty one holds its own.
    pub(super) fn holds(&self, address: usize) -> bool {
        (self.address..self.address + self.size.max(1)).contains(&address)
    }
}

/// What a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Blocks side by side; the next one goes to `cursor`, unless no more fit.
    Packed { cursor: usize, retired: bool },
    /// One block, with its first and last page closed if that could be done.
    Alone { guarded: bool },
    /// The entry is not in use.
    Vacant,
}

/// Memory from the parent in which blocks lie.
#[derive(Clone, Copy)]
pub(super) struct Region {
    pub(super) base: NonNull<u8>,
    pub(super) len: usize,
    pub(super) align: usize,
    pub(super) kind: Kind,
    pub(super) live: u32,
    /// Its blocks, the newest first.
    pub(super) first: u32,
    /// The next in quarantine, or the next that is not in use.
    pub(super) next: u32,
    /// All of it is closed.
    pub(super) closed: bool,
    /// It is in quarantine.
    pub(super) buried: bool,
    /// Blocks, guarded bytes included, that lie on each page of a packed region and are live.
    pub(super) pages: [u16; MOST_PAGES],
    /// The pages of a packed region that are closed, a bit each.
    pub(super) gone: u16,
}

impl Region {
    pub(super) fn holds(&self, address: usize) -> bool {
        self.kind != Kind::Vacant && address.wrapping_sub(self.base.as_ptr().addr()) < self.len
    }

    /// The pointer to an address inside.
    pub(super) fn pointer(&self, address: usize) -> *mut u8 {
        self.base.as_ptr().with_addr(address)
    }
}
