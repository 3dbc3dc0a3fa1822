//! The transfer cache: blocks on their way from one cache to another, kept as addresses.
//!
//! A consumer's overflow becomes a producer's refill by copying words; neither the blocks nor their slab's
//! bits are touched. Bounded in blocks and in bytes, so that it cannot pin much.
//!
//! The room for the addresses lies apart from the rest of the central list, so that lists of classes which pass nothing on
//! share pages.
//!
//! # Safety
//!
//! A room is handed out once, so that whoever got it is its only user.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use freestone_base::ClassInfo;

use crate::sync::atomic::{AtomicBool, Ordering};

/// Slots in a usual room, the most blocks that a class keeps in transfer: four batches of the smallest classes.
pub(crate) const SLOTS: usize = 1024;
/// Slots in the room of a class of which programs hold many.
pub(crate) const MANY_SLOTS: usize = 1 << 14;
/// Most bytes that one class keeps in transfer.
const BYTES: usize = 128 << 10;
/// The same where there are many slots, while blocks are freed in a long run: the program likely begins anew, and slabs would be
/// taken apart and put together for nothing.
const MOST_BYTES: usize = 512 << 10;

/// What a batch that was kept makes of the stock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stock {
    /// Nothing new.
    Usual,
    /// It went beyond what is kept while no long run comes.
    Grown,
}

/// Where the addresses of one class's blocks in transfer lie. Zeros until it is used.
#[repr(C)]
pub(crate) struct Room<const N: usize> {
    /// First, so that a room of which little is used takes one OS page.
    is_taken: AtomicBool,
    slots: UnsafeCell<[usize; N]>,
}

// SAFETY: the slots are reached only through what `take` handed out, once.
unsafe impl<const N: usize> Sync for Room<N> {}

impl<const N: usize> Room<N> {
    pub(crate) const fn new() -> Room<N> {
        Room { slots: UnsafeCell::new([0; N]), is_taken: AtomicBool::new(false) }
    }

    /// The room, for whoever asks first. Whoever passes it on to another thread orders that itself.
    #[allow(clippy::mut_from_ref, reason = "handed out once")]
    pub(crate) fn take(&'static self) -> Option<&'static mut [usize]> {
        if self.is_taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: nobody else has got it, nor will.
        Some(unsafe { &mut *self.slots.get() })
    }
}

/// Whether most of `blocks` lie near the one before, as far as a sample tells. A program that works through such blocks touches one page
/// after the other; with blocks from all over the heap it waits for each, so those are better put in order by their slabs'
/// bits. O(1).
pub(crate) fn lie_together(blocks: &[usize]) -> bool {
    /// Bytes.
    const NEAR: usize = 512 << 10;
    const SAMPLES: usize = 16;
    let step = (blocks.len() / SAMPLES).max(2);
    let pairs = blocks.chunks_exact(step);
    let (all, far) = (pairs.len(), pairs.filter(|pair| pair[0].abs_diff(pair[1]) > NEAR).count());
    far <= all / 4
}

/// A stack of block addresses.
pub(crate) struct Transfer {
    len: usize,
    /// The fewest blocks held since [`Transfer::unused`] asked last.
    low: usize,
    room: Option<&'static mut [usize]>,
}

impl Transfer {
    pub(crate) const fn new() -> Transfer {
        Transfer { len: 0, low: 0, room: None }
    }

    pub(crate) fn blocks(&self) -> &[usize] {
        match &self.room {
            Some(room) => &room[..self.len],
            None => &[],
        }
    }

    /// Keeps all of `blocks`, or none when they do not fit; `many` says that they come in a long run. `room` names where they
    /// may lie.
    pub(crate) fn put(
        &mut self,
        info: &ClassInfo,
        blocks: &[usize],
        many: bool,
        room: impl FnOnce() -> Option<&'static mut [usize]>,
    ) -> Option<Stock> {
        let size = info.size as usize;
        let usual = SLOTS.min(BYTES / size);
        let limit = if many { MOST_BYTES / size } else { usual };
        let before = self.len;
        if before + blocks.len() > limit {
            return None;
        }
        if self.room.is_none() {
            self.room = room();
        }
        let room = self.room.as_mut().filter(|room| before + blocks.len() <= room.len())?;
        room[self.len..self.len + blocks.len()].copy_from_slice(blocks);
        self.len += blocks.len();
        Some(if before <= usual && self.len > usual { Stock::Grown } else { Stock::Usual })
    }

    /// Takes up to `out.len()` blocks, the last put first; returns how many.
    pub(crate) fn take(&mut self, out: &mut [usize]) -> usize {
        let Some(room) = &self.room else { return 0 };
        let taken = self.len.min(out.len());
        out[..taken].copy_from_slice(&room[self.len - taken..self.len]);
        self.len -= taken;
        self.low = self.low.min(self.len);
        taken
    }

    /// How many blocks were there all the time since this was asked last.
    pub(crate) fn unused(&mut self) -> usize {
        core::mem::replace(&mut self.low, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freestone_base::{ClassId, class_info};

    #[test]
    fn a_batch_lies_together_or_all_over() {
        let near: Vec<usize> = (1..=256).map(|n| n * 16).collect();
        assert!(lie_together(&near) && lie_together(&near[..2]));
        let back: Vec<usize> = near.iter().rev().copied().collect();
        assert!(lie_together(&back));
        let far: Vec<usize> = (1..=256).map(|n| (n * 37 % 256) << 16).collect();
        assert!(!lie_together(&far) && !lie_together(&far[..2]));
    }

    #[test]
    fn gives_back_what_was_put_and_stays_within_bounds() {
        let info = class_info(ClassId(2));
        static ROOMS: [Room<MANY_SLOTS>; 2] = [const { Room::new() }; 2];
        let mut transfer = Transfer::new();
        let batch: Vec<usize> = (1..=256).map(|n| n * 16).collect();
        while transfer.put(info, &batch, false, || ROOMS[0].take()) == Some(Stock::Usual) {}
        assert_eq!(transfer.blocks().len(), SLOTS);
        assert_eq!(transfer.put(info, &batch, true, || ROOMS[0].take()), Some(Stock::Grown));
        while transfer.put(info, &batch, true, || ROOMS[0].take()) == Some(Stock::Usual) {}
        assert_eq!(transfer.blocks().len(), MANY_SLOTS);
        let mut out = [0; 300];
        assert_eq!(transfer.take(&mut out), 300);
        assert_eq!(&out[44..], &batch[..]);
        let large = class_info(freestone_base::class_of(32 << 10).unwrap());
        let mut transfer = Transfer::new();
        assert!(
            transfer.put(large, &[1 << 20, 2 << 20], false, || ROOMS[0].take()).is_none(),
            "the room of another"
        );
        for block in [1 << 20, 3 << 20] {
            assert!(transfer.put(large, &[block, block + (1 << 20)], false, || ROOMS[1].take()).is_some());
        }
        assert!(transfer.put(large, &[5 << 20], false, || ROOMS[1].take()).is_none());
    }
}
