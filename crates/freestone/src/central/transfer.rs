//! The transfer cache: blocks on their way from one cache to another, kept as addresses.
//!
//! A consumer's overflow becomes a producer's refill by copying words; neither the blocks nor their slab's
//! bits are touched. Bounded in blocks and in bytes, so that it cannot pin much.

use freestone_base::ClassInfo;

/// Most blocks that one class keeps in transfer: four batches of the smallest classes.
const SLOTS: usize = 1024;
/// Most bytes that one class keeps in transfer.
const BYTES: usize = 128 << 10;

/// A stack of block addresses.
#[repr(C)]
pub(crate) struct Transfer {
    len: usize,
    /// The fewest blocks held since [`Transfer::unused`] asked last.
    low: usize,
    slots: [usize; SLOTS],
}

impl Transfer {
    pub(crate) const fn new() -> Transfer {
        Transfer { len: 0, low: 0, slots: [0; SLOTS] }
    }

    pub(crate) fn blocks(&self) -> &[usize] {
        &self.slots[..self.len]
    }

    /// Keeps all of `blocks`, or none when they do not fit.
    pub(crate) fn put(&mut self, info: &ClassInfo, blocks: &[usize]) -> bool {
        let limit = SLOTS.min(BYTES / info.size as usize);
        if self.len + blocks.len() > limit {
            return false;
        }
        self.slots[self.len..self.len + blocks.len()].copy_from_slice(blocks);
        self.len += blocks.len();
        true
    }

    /// Takes up to `out.len()` blocks, the last put first; returns how many.
    pub(crate) fn take(&mut self, out: &mut [usize]) -> usize {
        let taken = self.len.min(out.len());
        out[..taken].copy_from_slice(&self.slots[self.len - taken..self.len]);
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
        let mut transfer = Transfer::new();
        let batch: Vec<usize> = (1..=256).map(|n| n * 16).collect();
        while transfer.put(info, &batch) {}
        assert_eq!(transfer.blocks().len(), SLOTS);
        let mut out = [0; 300];
        assert_eq!(transfer.take(&mut out), 300);
        assert_eq!(&out[44..], &batch[..]);
        let large = class_info(freestone_base::class_of(32 << 10).unwrap());
        let mut transfer = Transfer::new();
        assert!(transfer.put(large, &[1 << 20, 2 << 20]) && transfer.put(large, &[3 << 20, 4 << 20]));
        assert!(!transfer.put(large, &[5 << 20]));
    }
}
