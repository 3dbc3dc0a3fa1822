//! An arena: chunks sorted by how full they are, and the subpages with room. Bookkeeping alone; the memory is
//! elsewhere.
//!
//! ```text
//!                 1-24 %         1-49        25-74        50-99        75-99        100
//!   new chunk -> qInit ------> q000 <-----> q025 <-----> q050 <-----> q075 <-----> q100
//!                  never given    |
//!                  back           v below 1 %: back to the parent
//! ```
//!
//! A chunk moves up when it is used beyond the upper bound of its list, down when below the lower. The bounds
//! overlap, so that a chunk does not go to and fro with each block. Requests try `q050` first, which keeps the chunks
//! that are half used full and lets those that are nearly empty run dry.

use super::chunk::{Base, Chunk};
use super::size_class::SizeClasses;
use super::slots::{List, NONE, Slots};
use super::subpage::Subpage;

/// Lower and upper bound of the lists' usage in percent; 0 for the lower: a chunk stays though it is empty.
pub(super) const LISTS: [(usize, usize); 6] = [(0, 25), (1, 50), (25, 75), (50, 100), (75, 100), (100, 101)];
const Q_INIT: usize = 0;
const Q_000: usize = 1;
/// The order in which lists are tried. Chunks in the last list are full.
const TRIED: [usize; 5] = [3, 2, 1, 0, 4];

/// Where a block lies: the chunk's number, and bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chunk: u32,
    pub(super) offset: usize,
}

/// Traffic between an arena and the rest.
#[derive(Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) small: u64,
    pub(super) normal: u64,
}

/// What the lock of an arena guards.
pub(super) struct Arena {
    chunks: Slots<Chunk>,
    lists: [List; 6],
    subpages: Slots<Subpage>,
    /// Subpages with free blocks, by class.
    roomy: Box<[List]>,
    pub(super) allocations: Traffic,
    pub(super) deallocations: Traffic,
    /// Bytes of blocks that are out, in the caches or in use.
    pub(super) out: usize,
}

impl Traffic {
    fn count(&mut self, small: bool) {
        *(if small { &mut self.small } else { &mut self.normal }) += 1;
    }
}

/// Free bytes up to which a chunk is fuller than its list allows; none for the last list.
fn too_full(list: usize, chunk: usize) -> Option<usize> {
    match LISTS[list].1 {
        101 => None,
        100 => Some(0),
        upper => Some(percent_above(chunk, upper)),
    }
}

/// Free bytes beyond which a chunk is emptier than its list allows; none for the first list.
fn too_empty(list: usize, chunk: usize) -> Option<usize> {
    match LISTS[list].0 {
        0 => None,
        100 => Some(0),
        lower => Some(percent_above(chunk, lower)),
    }
}

/// The most free bytes of a chunk whose usage, rounded, is still above so many percent.
fn percent_above(chunk: usize, percent: usize) -> usize {
    // In hundred-millionths of a percent, as 1 % of usage begins where the first page is taken.
    (chunk as u128 * (10_099_999_999 - percent as u128 * 100_000_000) / 10_000_000_000) as usize
}

impl Arena {
    pub(super) fn new(classes: &SizeClasses) -> Arena {
        Arena {
            chunks: Slots::new(),
            lists: [List::EMPTY; 6],
            subpages: Slots::new(),
            roomy: vec![List::EMPTY; classes.small].into(),
            allocations: Traffic::default(),
            deallocations: Traffic::default(),
            out: 0,
        }
    }

    /// A block of the class, if the chunks have one.
    pub(super) fn take(&mut self, class: usize, classes: &SizeClasses) -> Option<Place> {
        let small = classes.is_small(class);
        let place = if small { self.take_small(class, classes) } else { self.take_normal(class, classes) }?;
        self.allocations.count(small);
        self.out += classes.size(class);
        Some(place)
    }

    fn take_small(&mut self, class: usize, classes: &SizeClasses) -> Option<Place> {
        let number = match self.roomy[class].first() {
            Some(number) => number,
            None => self.add_subpage(class, classes)?,
        };
        let subpage = &mut self.subpages[number];
        let block = subpage.take();
        let offset =
            ((subpage.first_page as usize) << classes.page_shift) + block as usize * classes.size(class);
        let place = Place { chunk: subpage.chunk, offset };
        if subpage.is_full() {
            subpage.listed = false;
            self.roomy[class].remove(&mut self.subpages, number);
        }
        Some(place)
    }

    fn add_subpage(&mut self, class: usize, classes: &SizeClasses) -> Option<u32> {
        let pages = classes.run_pages(class);
        let (chunk, first_page) = self.take_run(pages, classes)?;
        let blocks = ((pages as usize) << classes.page_shift) / classes.size(class);
        let mut subpage = Subpage::new(chunk, first_page, class, blocks as u32);
        subpage.listed = true;
        let number = self.subpages.insert(subpage);
        self.chunks[chunk].set_subpage(first_page, number);
        self.roomy[class].push(&mut self.subpages, number);
        Some(number)
    }

    fn take_normal(&mut self, class: usize, classes: &SizeClasses) -> Option<Place> {
        let (chunk, page) = self.take_run(classes.run_pages(class), classes)?;
        Some(Place { chunk, offset: (page as usize) << classes.page_shift })
    }

    fn take_run(&mut self, pages: u32, classes: &SizeClasses) -> Option<(u32, u32)> {
        let bytes = (pages as usize) << classes.page_shift;
        for list in TRIED {
            // What a chunk of this list may have free at most.
            if bytes > too_empty(list, classes.chunk).unwrap_or(classes.chunk) {
                continue;
            }
            let mut at = self.lists[list].first();
            while let Some(number) = at {
                let chunk = &mut self.chunks[number];
                if let Some(page) = chunk.take_run(pages, classes) {
                    self.settle(number, classes);
                    return Some((number, page));
                }
                at = Some(chunk.link.next()).filter(|&next| next != NONE);
            }
        }
        None
    }

    /// Moves a chunk to the list where it belongs after its usage has changed. The list that it left last must not be
    /// the one for good: a chunk that is emptier than `q000` allows belongs to none, and `false` is the answer.
    fn settle(&mut self, number: u32, classes: &SizeClasses) -> bool {
        let chunk = &self.chunks[number];
        let (was, free) = (chunk.list as usize, chunk.free_bytes);
        let mut list = was;
        while too_full(list, classes.chunk).is_some_and(|least| free <= least) {
            list += 1;
        }
        while too_empty(list, classes.chunk).is_some_and(|most| free > most) {
            if list == Q_000 {
                self.lists[was].remove(&mut self.chunks, number);
                return false;
            }
            list -= 1;
        }
        if list != was {
            self.lists[was].remove(&mut self.chunks, number);
            self.chunks[number].list = list as u8;
            self.lists[list].push(&mut self.chunks, number);
        }
        true
    }

    /// Enters a new chunk.
    pub(super) fn add_chunk(&mut self, base: Base, classes: &SizeClasses) -> u32 {
        let number = self.chunks.insert(Chunk::new(base, classes));
        self.lists[Q_INIT].push(&mut self.chunks, number);
        number
    }

    pub(super) fn base(&self, chunk: u32) -> Base {
        self.chunks[chunk].base
    }

    /// Takes a block of the class back. Returns the chunk's memory when nobody needs the chunk any more.
    ///
    /// # Panics
    ///
    /// When there is no such block or it is free.
    pub(super) fn give(&mut self, place: Place, class: usize, classes: &SizeClasses) -> Option<Base> {
        let small = classes.is_small(class);
        let page = (place.offset >> classes.page_shift) as u32;
        let free_run = if small {
            self.give_small(place, page, class, classes)
        } else {
            assert!(
                place.offset.is_multiple_of(1 << classes.page_shift),
                "a run is freed by a wrong address"
            );
            Some(page)
        };
        self.deallocations.count(small);
        self.out -= classes.size(class);
        let first = free_run?;
        self.chunks[place.chunk].give_run(first, classes);
        if self.settle(place.chunk, classes) {
            return None;
        }
        Some(self.chunks.remove(place.chunk).base)
    }

    /// The first page of the run, if it is needed no more.
    fn give_small(&mut self, place: Place, page: u32, class: usize, classes: &SizeClasses) -> Option<u32> {
        let number =
            self.chunks[place.chunk].subpage(page).expect("a small block is freed where there is none");
        let subpage = &mut self.subpages[number];
        assert_eq!(subpage.class, class, "a small block is freed with a wrong size");
        let from = place.offset - ((subpage.first_page as usize) << classes.page_shift);
        assert!(from.is_multiple_of(classes.size(class)), "a small block is freed by a wrong address");
        subpage.give((from / classes.size(class)) as u32);
        if !subpage.listed {
            subpage.listed = true;
            self.roomy[class].push(&mut self.subpages, number);
        }
        // The last subpage with room is kept, though it is empty: the next block would need it again.
        let only = self.roomy[class].first() == Some(number) && self.subpages[number].link.next() == NONE;
        if !self.subpages[number].is_empty() || only {
            return None;
        }
        self.roomy[class].remove(&mut self.subpages, number);
        let first = self.subpages.remove(number).first_page;
        self.chunks[place.chunk].set_subpage(first, NONE);
        Some(first)
    }

    /// The chunks with the list of each.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter()
    }

    /// The subpages from which blocks are taken.
    pub(super) fn roomy(&self) -> impl Iterator<Item = &Subpage> {
        self.subpages.iter().filter(|subpage| subpage.listed)
    }
}

#[cfg(test)]
mod tests;
