//! A chunk: pages in a row, cut into runs.
//!
//! ```text
//!   page    0    1    2    3    4    5    6    7    8    9   ...
//!         +----+--------------+---------+--------------------
//!         | S  |  run of 3    |  free   |  free runs of a chunk are never neighbours
//!         +----+--------------+---------+--------------------
//!           |                   first and last page of each run know its length
//!           +-- a subpage: a run that blocks of one small size share, a bit each
//! ```
//!
//! A request takes the lowest run of the least run class that is sure to be long enough, and gives the rest back. So
//! runs are packed to the front of the chunk. Nothing of this lies in the chunk's own memory.

use std::collections::BTreeSet;
use std::ptr::NonNull;

use super::size_class::SizeClasses;
use super::slots::{Link, Linked, NONE};

/// What a page knows.
#[derive(Clone, Copy)]
struct Page {
    /// Pages of the run of which this is the first or the last page.
    run: u32,
    /// Whether that run is free.
    free: bool,
    /// The subpage of a run that is shared; on all its pages.
    subpage: u32,
}

/// Where a chunk's memory begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Base(pub(super) NonNull<u8>);

/// Pages and their runs.
pub(super) struct Chunk {
    pub(super) base: Base,
    /// The chunk list in which it is.
    pub(super) list: u8,
    pub(super) link: Link,
    pub(super) free_bytes: usize,
    pages: Box<[Page]>,
    /// First pages of free runs, by run class.
    free_runs: Box<[BTreeSet<u32>]>,
}

impl Linked for Chunk {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Chunk {
    pub(super) fn new(base: Base, classes: &SizeClasses) -> Chunk {
        let count = (classes.chunk >> classes.page_shift) as u32;
        let mut chunk = Chunk {
            base,
            list: 0,
            link: Link::ALONE,
            free_bytes: classes.chunk,
            pages: vec![Page { run: 0, free: false, subpage: NONE }; count as usize].into(),
            free_runs: (0..classes.run_classes()).map(|_| BTreeSet::new()).collect(),
        };
        chunk.insert_free(0, count, classes);
        chunk
    }

    fn mark(&mut self, first: u32, pages: u32, free: bool) {
        for page in [first, first + pages - 1] {
            self.pages[page as usize] = Page { run: pages, free, subpage: NONE };
        }
    }

    fn insert_free(&mut self, first: u32, pages: u32, classes: &SizeClasses) {
        self.mark(first, pages, true);
        self.free_runs[classes.run_class_down(pages)].insert(first);
    }

    fn remove_free(&mut self, first: u32, pages: u32, classes: &SizeClasses) {
        let was = self.free_runs[classes.run_class_down(pages)].remove(&first);
        debug_assert!(was, "a free run is in its class");
    }

    /// The first page of a run of so many pages.
    pub(super) fn take_run(&mut self, pages: u32, classes: &SizeClasses) -> Option<u32> {
        if self.free_bytes < (pages as usize) << classes.page_shift {
            return None;
        }
        let from = classes.run_class_up(pages);
        let first = self.free_runs[from..].iter_mut().find_map(BTreeSet::pop_first)?;
        let rest = self.pages[first as usize].run - pages;
        if rest > 0 {
            self.insert_free(first + pages, rest, classes);
        }
        self.mark(first, pages, false);
        self.free_bytes -= (pages as usize) << classes.page_shift;
        Some(first)
    }

    /// Gives a run back and joins it with free neighbours.
    pub(super) fn give_run(&mut self, first: u32, classes: &SizeClasses) {
        let Page { run: mut pages, free, .. } = self.pages[first as usize];
        assert!(!free && pages > 0, "page {first} of a chunk is freed and begins no run in use");
        self.free_bytes += (pages as usize) << classes.page_shift;
        // A page that is no border any more keeps the mark of a free one, so that nobody frees it again.
        self.mark(first, pages, true);
        let (mut start, end) = (first, first + pages);
        if let Some(before) = start.checked_sub(1).map(|last| self.pages[last as usize])
            && before.free
        {
            start -= before.run;
            pages += before.run;
            self.remove_free(start, before.run, classes);
        }
        if let Some(&after) = self.pages.get(end as usize)
            && after.free
        {
            pages += after.run;
            self.remove_free(end, after.run, classes);
        }
        self.insert_free(start, pages, classes);
    }

    /// Enters a subpage, or its end, on all pages of its run.
    pub(super) fn set_subpage(&mut self, first: u32, subpage: u32) {
        let pages = self.pages[first as usize].run;
        self.pages[first as usize..(first + pages) as usize]
            .iter_mut()
            .for_each(|page| page.subpage = subpage);
    }

    /// The subpage to which the page belongs.
    pub(super) fn subpage(&self, page: u32) -> Option<u32> {
        self.pages.get(page as usize).map(|page| page.subpage).filter(|&subpage| subpage != NONE)
    }

    /// Bytes in use in percent, rounded as Netty does: 100 only when nothing is free, 0 only when all is.
    pub(super) fn usage(&self, classes: &SizeClasses) -> u8 {
        match (self.free_bytes * 100 / classes.chunk) as u8 {
            0 if self.free_bytes == 0 => 100,
            0 => 99,
            free => 100 - free,
        }
    }
}
