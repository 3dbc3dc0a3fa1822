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

/// Most blocks that one class keeps in transfer: four batches of the smallest classes.
const SLOTS: usize = 1024;
/// Most bytes that one class keeps in transfer.
const BYTES: usize = 128 << 10;

/// Where the addresses of one class's blocks in transfer lie. Zeros until it is used.
pub(crate) struct Room {
    slots: UnsafeCell<[usize; SLOTS]>,
    is_taken: AtomicBool,
}

// SAFETY: the slots are reached only through what `take` handed out, once.
unsafe impl Sync for Room {}

impl Room {
    pub(crate) const fn new() -> Room {
        Room { slots: UnsafeCell::new([0; SLOTS]), is_taken: AtomicBool::new(false) }
    }

    /// The room, for whoever asks first. Whoever passes it on to another thread orders that itself.
    #[allow(clippy::mut_from_ref, reason = "handed out once")]
    fn take(&'static self) -> Option<&'static mut [usize; SLOTS]> {
        if self.is_taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        // SAFETY: nobody else has got it, nor will.
        Some(unsafe { &mut *self.slots.get() })
    }
}

/// A stack of block addresses.
pub(crate) struct Transfer {
    len: usize,
    /// The fewest blocks held since [`Transfer::unused`] asked last.
    low: usize,
    room: Option<&'static mut [usize; SLOTS]>,
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

    /// Keeps all of `blocks`, or none when they do not fit. `room` names where they may lie.
    pub(crate) fn put(
        &mut self,
        info: &ClassInfo,
        blocks: &[usize],
        room: impl FnOnce() -> &'static Room,
    ) -> bool {
        let limit = SLOTS.min(BYTES / info.size as usize);
        if self.len + blocks.len() > limit {
            return false;
        }
        if self.room.is_none() {
            self.room = room().take();
        }
        let Some(room) = &mut self.room else { return false };
        room[self.len..self.len + blocks.len()].copy_from_slice(blocks);
        self.len += blocks.len();
        true
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
    fn gives_back_what_was_put_and_stays_within_bounds() {
        let info = class_info(ClassId(2));
        static ROOMS: [Room; 2] = [const { Room::new() }; 2];
        let mut transfer = Transfer::new();
        let batch: Vec<usize> = (1..=256).map(|n| n * 16).collect();
        while transfer.put(info, &batch, || &ROOMS[0]) {}
        assert_eq!(transfer.blocks().len(), SLOTS);
        let mut out = [0; 300];
        assert_eq!(transfer.take(&mut out), 300);
        assert_eq!(&out[44..], &batch[..]);
        let large = class_info(freestone_base::class_of(32 << 10).unwrap());
        let mut transfer = Transfer::new();
        assert!(!transfer.put(large, &[1 << 20, 2 << 20], || &ROOMS[0]), "the room of another");
        for block in [1 << 20, 3 << 20] {
            assert!(transfer.put(large, &[block, block + (1 << 20)], || &ROOMS[1]));
        }
        assert!(!transfer.put(large, &[5 << 20], || &ROOMS[1]));
    }
}
