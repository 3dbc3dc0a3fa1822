//! What the profile knows: call sites, and the live blocks among the samples.
//!
//! Two hash tables with linear probing (D. Knuth, TAOCP 6.4): sites by thread name and frames, blocks by address. Every
//! figure is an estimate of the whole: a sample of `n` bytes stands for `1 / (1 - exp(-(n + 1) / mean))` such requests, the inverse of the
//! chance that it was drawn (the Horvitz-Thompson estimator), which makes every sum unbiased.
//!
//! # Safety
//!
//! What is kept in arrays is made of numbers, of which zero is one.
#![allow(unsafe_code)]

use freestone_sys::linux::scratch::Zeroed;

use super::array::{Array, Word};
use super::threads::Threads;
use crate::chance;

/// Bytes of a thread's name, as the kernel has it.
pub(super) const NAME: usize = 16;

/// A sum of requests or blocks, as estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) objects: f64,
    pub(super) bytes: f64,
}

impl Sum {
    pub(super) fn add(&mut self, weight: f64, bytes: usize) {
        self.objects += weight;
        self.bytes += weight * bytes as f64;
    }
}

/// A call site: where blocks come from, and on which thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Site {
    hash: u64,
    first_frame: usize,
    pub(super) frames: usize,
    pub(super) thread: [u8; NAME],
    /// Samples taken, and live ones.
    pub(super) samples: u64,
    pub(super) live_samples: u64,
    pub(super) allocated: Sum,
    pub(super) live: Sum,
    pub(super) peak: Sum,
    /// Free bytes of slabs that the site's live blocks keep from going back.
    pub(super) stranded: f64,
    /// Of the live ones, those that nothing leads to any more, where that was looked for.
    pub(super) lost: Sum,
    /// Of the live ones, what lies on pages that nobody touched for a while, where that was looked for.
    pub(super) idle: Sum,
}

/// A live sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// 0: none.
    pub(super) addr: usize,
    pub(super) size: usize,
    /// A block of the same class that lies in an ordinary slab in its stead, or 0.
    pub(super) proxy: usize,
    pub(super) weight: f64,
    pub(super) site: u32,
}

// SAFETY: numbers, of which zero is one.
unsafe impl Zeroed for Site {}
// SAFETY: as above.
unsafe impl Zeroed for Block {}

/// All of it.
pub(super) struct Table {
    pub(super) sites: Array<Site>,
    /// Numbers of sites plus one, by hash.
    places: Array<Word>,
    frames: Array<Word>,
    blocks: Array<Block>,
    live_blocks: usize,
    pub(super) threads: Threads,
    /// Samples that were lost because memory was refused.
    pub(super) dropped: u64,
    pub(super) live: Sum,
    pub(super) peak: Sum,
}

/// How many requests a sample of `size` bytes stands for.
pub(super) fn weight(size: usize, mean: u64) -> f64 {
    let chance = -chance::exp_less_one(-(size as f64 + 1.0) / mean.max(1) as f64);
    1.0 / chance
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn place_of(addr: usize, len: usize) -> usize {
    (mix(0, addr as u64) >> 32) as usize & (len - 1)
}

impl Table {
    pub(super) const fn new() -> Table {
        Table {
            sites: Array::new(),
            places: Array::new(),
            frames: Array::new(),
            blocks: Array::new(),
            live_blocks: 0,
            threads: Threads::new(),
            dropped: 0,
            live: Sum { objects: 0.0, bytes: 0.0 },
            peak: Sum { objects: 0.0, bytes: 0.0 },
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.sites.clear();
        self.places.clear();
        self.frames.clear();
        self.blocks.clear();
        self.threads.clear();
        *self = Table::new();
    }

    /// The return addresses of a site, the innermost first.
    pub(super) fn frames_of(&self, site: &Site) -> &[Word] {
        self.frames.get(site.first_frame..site.first_frame + site.frames).unwrap_or_default()
    }

    pub(super) fn live_blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| block.addr != 0)
    }

    /// The places for blocks, empty ones too, and the sites.
    pub(super) fn blocks_and_sites(&mut self) -> (&[Block], &mut [Site]) {
        (&self.blocks, &mut self.sites)
    }

    /// The ranges of memory that the tables take.
    pub(super) fn memory(&self) -> [(usize, usize); 5] {
        let threads = self.threads.range();
        [self.sites.range(), self.places.range(), self.frames.range(), self.blocks.range(), threads]
    }

    /// The number of the site; `None` when memory is refused.
    fn site(&mut self, thread: [u8; NAME], frames: &[usize]) -> Option<u32> {
        let names = [u64::from_ne_bytes(*thread.first_chunk()?), u64::from_ne_bytes(*thread.last_chunk()?)];
        let hash = frames.iter().map(|&frame| frame as u64).chain(names).fold(frames.len() as u64, mix);
        if 2 * self.sites.len() >= self.places.len() {
            self.rehash_sites()?;
        }
        let mask = self.places.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(number) = self.places[at].0.checked_sub(1) {
            let site = &self.sites[number];
            if site.hash == hash
                && site.thread == thread
                && self.frames_of(site).iter().map(|frame| frame.0).eq(frames.iter().copied())
            {
                return Some(number as u32);
            }
            at = (at + 1) & mask;
        }
        let first_frame = self.frames.len();
        for &frame in frames {
            self.frames.extend(&[Word(frame)]).then_some(())?;
        }
        let site = Site { hash, first_frame, frames: frames.len(), thread, ..Site::default() };
        self.sites.extend(&[site]).then_some(())?;
        self.places[at] = Word(self.sites.len());
        Some(self.sites.len() as u32 - 1)
    }

    fn rehash_sites(&mut self) -> Option<()> {
        self.places.set_zeros((2 * self.places.len()).max(1024)).then_some(())?;
        let mask = self.places.len() - 1;
        for (number, site) in self.sites.iter().enumerate() {
            let mut at = site.hash as usize & mask;
            while self.places[at].0 != 0 {
                at = (at + 1) & mask;
            }
            self.places[at] = Word(number + 1);
        }
        Some(())
    }

    /// Adds a sample. `None` when memory is refused: the sample is lost, and counted.
    pub(super) fn add(&mut self, thread: [u8; NAME], frames: &[usize], block: Block) -> Option<()> {
        let added = self.try_add(thread, frames, block);
        self.dropped += u64::from(added.is_none());
        added
    }

    fn try_add(&mut self, thread: [u8; NAME], frames: &[usize], block: Block) -> Option<()> {
        let number = self.site(thread, frames)?;
        if 4 * (self.live_blocks + 1) > 3 * self.blocks.len() {
            self.rehash_blocks()?;
        }
        self.insert(Block { site: number, ..block });
        self.live_blocks += 1;
        let site = &mut self.sites[number as usize];
        site.samples += 1;
        site.allocated.add(block.weight, block.size);
        self.live.add(block.weight, block.size);
        self.note_peak();
        Some(())
    }

    fn rehash_blocks(&mut self) -> Option<()> {
        let mut old = Array::new();
        core::mem::swap(&mut old, &mut self.blocks);
        if !self.blocks.set_zeros((2 * old.len()).max(1024)) {
            self.blocks = old;
            return None;
        }
        for block in old.iter().filter(|block| block.addr != 0) {
            self.insert(*block);
        }
        old.clear();
        Some(())
    }

    fn insert(&mut self, block: Block) {
        let mask = self.blocks.len() - 1;
        let mut at = place_of(block.addr, self.blocks.len());
        while self.blocks[at].addr != 0 {
            at = (at + 1) & mask;
        }
        self.blocks[at] = block;
    }

    /// Where the block at this address is noted, if it is a sample.
    fn find(&self, addr: usize) -> Option<usize> {
        let len = self.blocks.len();
        if len == 0 {
            return None;
        }
        let mut at = place_of(addr, len);
        while self.blocks[at].addr != addr {
            if self.blocks[at].addr == 0 {
                return None;
            }
            at = (at + 1) & (len - 1);
        }
        Some(at)
    }

    /// Of the block at this address, if it is a sample, only so many bytes were wanted. What it stands for stays: it was drawn by the size
    /// that it has.
    pub(super) fn amend(&mut self, addr: usize, size: usize) {
        let Some(at) = self.find(addr) else { return };
        let Block { weight, size: old, site, .. } = self.blocks[at];
        self.blocks[at].size = size;
        let less = weight * (old as f64 - size as f64);
        self.live.bytes -= less;
        self.sites[site as usize].allocated.bytes -= less;
    }

    /// Takes the block at this address out, if it is a sample.
    pub(super) fn remove(&mut self, addr: usize) -> Option<Block> {
        let mut at = self.find(addr)?;
        let len = self.blocks.len();
        let mask = len - 1;
        let removed = self.blocks[at];
        // What follows without a gap moves up if it may: no marks of what was removed are left.
        let mut gap = at;
        loop {
            at = (at + 1) & mask;
            let block = self.blocks[at];
            if block.addr == 0 {
                break;
            }
            let home = place_of(block.addr, len);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.blocks[gap] = block;
                gap = at;
            }
        }
        self.blocks[gap] = Block::default();
        self.live_blocks -= 1;
        self.live.add(-removed.weight, removed.size);
        if self.live_blocks == 0 {
            self.live = Sum::default();
        }
        Some(removed)
    }

    /// Sums the live blocks up by site.
    pub(super) fn sum_live(&mut self) {
        for site in self.sites.iter_mut() {
            (site.live, site.live_samples, site.stranded) = (Sum::default(), 0, 0.0);
        }
        for block in self.blocks.iter().filter(|block| block.addr != 0) {
            let site = &mut self.sites[block.site as usize];
            site.live.add(block.weight, block.size);
            site.live_samples += 1;
        }
    }

    /// Whether the heap stands at a peak that is to be kept, with `more` bytes.
    pub(super) fn is_peak_with(&self, more: f64) -> bool {
        const LEAST: f64 = 65_536.0;
        self.live.bytes + more >= self.peak.bytes * (65.0 / 64.0) + LEAST
    }

    /// Keeps the sums of the highest peak, to a sixty-fourth: so seldom they are taken anew that it costs nothing to speak of.
    fn note_peak(&mut self) {
        if !self.is_peak_with(0.0) {
            return;
        }
        self.peak = self.live;
        self.sum_live();
        self.sites.iter_mut().for_each(|site| site.peak = site.live);
    }

    /// The last rise to a peak may have been too small to be kept: if the heap stands higher now than at the peak that is noted,
    /// this moment is the peak.
    pub(super) fn settle_peak(&mut self) {
        if self.live.bytes > self.peak.bytes {
            self.peak = self.live;
            self.sites.iter_mut().for_each(|site| site.peak = site.live);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(addr: usize, size: usize) -> Block {
        Block { addr, size, weight: 2.0, ..Block::default() }
    }

    /// The allocator's thread may sum up while another writes what was found lost.
    #[test]
    fn to_sum_up_does_not_forget_what_is_lost() {
        let mut table = Table::new();
        assert!(table.add([b'a'; NAME], &[7], block(16, 10)).is_some());
        table.sites.iter_mut().for_each(|site| site.lost.add(2.0, 10));
        table.sum_live();
        assert_eq!(table.sites.iter().map(|site| site.lost.bytes).sum::<f64>(), 20.0);
    }

    #[test]
    fn blocks_come_and_go_and_their_sites_stay() {
        let mut table = Table::new();
        for n in 1..=20_000usize {
            let frames = [n % 50, 7, 8];
            assert!(table.add([b'a'; NAME], &frames[..1 + n % 3], block(n * 16, 10)).is_some());
        }
        assert_eq!(table.sites.len(), 150);
        for n in (1..=20_000).rev().filter(|n| n % 4 != 0) {
            assert_eq!(table.remove(n * 16).map(|block| block.size), Some(10));
            assert_eq!(table.remove(n * 16).map(|block| block.size), None);
        }
        assert_eq!(table.live_blocks().count(), 5000);
        let total = |table: &Table| table.sites.iter().map(|site| site.allocated.bytes).sum::<f64>();
        assert_eq!(total(&table), 400_000.0);
        (4..=20_000).step_by(4).for_each(|n| table.amend(n * 16, 6));
        table.amend(5, 6);
        assert_eq!((total(&table), table.live.bytes), (360_000.0, 5000.0 * 2.0 * 6.0));
        (4..=20_000).step_by(4).for_each(|n| table.amend(n * 16, 10));
        table.sum_live();
        let live: f64 = table.sites.iter().map(|site| site.live.bytes).sum();
        assert_eq!(live, 5000.0 * 2.0 * 10.0);
        assert_eq!(table.live.bytes, live);
        let allocated: f64 = table.sites.iter().map(|site| site.allocated.objects).sum();
        assert_eq!(allocated, 40_000.0);
        assert!(table.peak.bytes > 320_000.0 && table.peak.bytes <= 400_000.0, "{:?}", table.peak);
        for site in table.sites.iter() {
            assert_eq!(table.frames_of(site).len(), site.frames);
        }
        table.clear();
        assert!(table.sites.is_empty() && table.remove(16).is_none());
    }

    #[test]
    fn a_sample_stands_for_as_many_as_its_chance_says() {
        assert!((weight(0, 1000) - 1000.5).abs() < 0.01);
        assert!((weight(999, 1000) - 1.0 / (1.0 - (-1.0f64).exp())).abs() < 1e-9);
        assert_eq!(weight(1 << 40, 1000), 1.0);
    }
}
