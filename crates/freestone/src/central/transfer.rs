//! The transfer cache: blocks on their way from one cache to another, kept as addresses.
//!
//! A consumer's overflow becomes a producer's refill by copying words; neither the blocks nor their slab's
//! bits are touched. Bounded in blocks and in bytes, so that it cannot pin much.
//!
//! The room for the addresses lies apart from the rest of the central list, so that lists of classes which pass nothing on
//! share pages.

use freestone_base::ClassInfo;

/// The most blocks that a class usually keeps in transfer: four batches of the smallest classes.
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

/// The most blocks of a class that are kept; `many`: that come in a long run. Of a long room a batch's worth stays free, so that the next
/// one can be looked at there.
fn limit(info: &ClassInfo, many: bool) -> usize {
    if many {
        (MOST_BYTES / info.size as usize).min(MANY_SLOTS - info.batch as usize)
    } else {
        usual_limit(info)
    }
}

/// The same where no long run comes.
pub(crate) const fn usual_limit(info: &ClassInfo) -> usize {
    let blocks = BYTES / info.size as usize;
    if blocks < SLOTS { blocks } else { SLOTS }
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

    /// How many blocks lie here.
    pub(crate) fn len(&self) -> usize {
        self.len
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
        let (before, count) = (self.len, blocks.len());
        if self.room.is_none() && before + count <= limit(info, many) {
            self.room = room();
        }
        let place = self.room.as_mut()?.get_mut(before..before + count)?;
        place.copy_from_slice(blocks);
        self.admit(info, count, many)
    }

    /// Whether so many blocks more may be kept, if they come in a long run.
    pub(crate) fn may_admit(&self, info: &ClassInfo, count: usize) -> bool {
        self.len + count <= limit(info, true)
    }

    /// Counts `count` blocks that lie behind those that are kept, in the room: keeps all, or none.
    pub(crate) fn admit(&mut self, info: &ClassInfo, count: usize, many: bool) -> Option<Stock> {
        let (before, usual) = (self.len, limit(info, false));
        if before + count > limit(info, many) {
            return None;
        }
        self.len += count;
        Some(if before <= usual && self.len > usual { Stock::Grown } else { Stock::Usual })
    }

    /// The room, if there is one, with space for `count` blocks behind those that are kept. To be returned at once.
    pub(crate) fn lend(&mut self, count: usize) -> Option<&'static mut [usize]> {
        self.room.take_if(|room| self.len + count <= room.len())
    }

    /// Takes the room back that was lent; `count` blocks were written behind those that are kept, and are about to be taken.
    pub(crate) fn return_with(&mut self, room: &'static mut [usize], count: usize) {
        self.room = Some(room);
        self.len += count;
    }

    /// Takes the room back that was lent.
    pub(crate) fn return_room(&mut self, room: &'static mut [usize]) {
        self.room = Some(room);
    }

    /// The `count` blocks put last, the last one last; none where there are fewer.
    pub(crate) fn top(&self, count: usize) -> &[usize] {
        match &self.room {
            Some(room) if count <= self.len => &room[self.len - count..self.len],
            _ => &[],
        }
    }

    /// Gives up the last of the `count` blocks on [`top`](Transfer::top), and of the others the first `kept`.
    pub(crate) fn remove(&mut self, count: usize, kept: usize) {
        let Some(room) = &mut self.room else { return };
        let base = self.len - count;
        room.copy_within(base + kept..self.len - 1, base);
        self.len -= kept + 1;
        self.low = self.low.min(self.len);
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
        fn new_room() -> Option<&'static mut [usize]> {
            Some(vec![0; MANY_SLOTS].leak())
        }
        let mut transfer = Transfer::new();
        let batch: Vec<usize> = (1..=256).map(|n| n * 16).collect();
        while transfer.put(info, &batch, false, new_room) == Some(Stock::Usual) {}
        assert_eq!(transfer.blocks().len(), SLOTS);
        assert_eq!(transfer.put(info, &batch, true, new_room), Some(Stock::Grown));
        while transfer.put(info, &batch, true, new_room) == Some(Stock::Usual) {}
        assert_eq!(transfer.blocks().len(), MANY_SLOTS - info.batch as usize);
        let mut out = [0; 300];
        assert_eq!(transfer.take(&mut out), 300);
        assert_eq!(&out[44..], &batch[..]);
        // What is written behind the blocks counts once it is admitted.
        let before = transfer.len();
        let room = transfer.lend(3).expect("room for three");
        assert!(transfer.lend(1).is_none() && transfer.top(1).is_empty());
        room[before..before + 3].copy_from_slice(&[16, 32, 48]);
        transfer.return_room(room);
        assert_eq!(transfer.admit(info, 3, true), Some(Stock::Usual));
        assert_eq!(transfer.top(3), [16, 32, 48]);
        // Of the three the last goes and the first; the second stays.
        transfer.remove(3, 1);
        assert_eq!((transfer.len(), transfer.top(1)), (before + 1, [32].as_slice()));
        assert!(transfer.top(before + 2).is_empty());
        assert!(transfer.lend(MANY_SLOTS).is_none());
        let large = class_info(freestone_base::class_of(32 << 10).unwrap());
        let mut transfer = Transfer::new();
        assert!(transfer.put(large, &[1 << 20, 2 << 20], false, || None).is_none(), "no room");
        for block in [1 << 20, 3 << 20] {
            assert!(transfer.put(large, &[block, block + (1 << 20)], false, new_room).is_some());
        }
        assert!(transfer.put(large, &[5 << 20], false, new_room).is_none());
    }
}
