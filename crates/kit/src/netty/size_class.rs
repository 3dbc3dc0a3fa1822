//! The sizes in which memory is handed out, after jemalloc 4.
//!
//! Four sizes to each doubling, 16 bytes apart at least, up to a whole chunk: 16, 32, 48, 64, 80, 96, 112, 128, 160, …
//! What rounding up wastes is at most a fifth of the block. Sizes below four pages are *small*: blocks of one size
//! share a run of pages. Sizes from there on are *normal*: a run of their own. Those that are a multiple of the page
//! are *run classes* too, by which free runs are sorted.

/// The smallest size and the least distance between two.
pub(super) const QUANTUM: usize = 16;

/// Size classes of a pool.
pub(super) struct SizeClasses {
    pub(super) page_shift: u32,
    pub(super) chunk: usize,
    sizes: Box<[u32]>,
    /// How many of `sizes` are small.
    pub(super) small: usize,
    /// Pages of each run class.
    runs: Box<[u32]>,
    /// The least run class with so many pages; by pages less one.
    run_of_pages: Box<[u8]>,
    /// Pages of the runs that small blocks of a class share.
    shared_run: Box<[u32]>,
}

impl SizeClasses {
    /// For pages of `1 << page_shift` bytes and chunks of `chunk` bytes, a power of two.
    pub(super) fn new(page_shift: u32, chunk: usize) -> SizeClasses {
        let page = 1_usize << page_shift;
        let mut sizes: Vec<u32> = (1..=4).map(|step| step * QUANTUM as u32).collect();
        let mut delta = QUANTUM as u32;
        while *sizes.last().expect("four at least") < chunk as u32 {
            let base = *sizes.last().expect("four at least");
            sizes.extend((1..=4).map(|step| base + step * delta));
            delta *= 2;
        }
        let runs: Box<[u32]> = sizes
            .iter()
            .filter(|&&size| (size as usize).is_multiple_of(page))
            .map(|&size| size >> page_shift)
            .collect();
        let run_of_pages = (1..=(chunk >> page_shift) as u32)
            .map(|pages| runs.partition_point(|&run| run < pages) as u8)
            .collect();
        let small = sizes.partition_point(|&size| (size as usize) < page << 2);
        let shared_run = sizes[..small].iter().map(|&size| shared_run(size as usize, page)).collect();
        SizeClasses { page_shift, chunk, sizes: sizes.into(), small, runs, run_of_pages, shared_run }
    }

    /// How many classes there are.
    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    /// Bytes of a block of the class.
    pub(super) fn size(&self, class: usize) -> usize {
        self.sizes[class] as usize
    }

    /// The least class with at least so many bytes; none for more than a chunk.
    pub(super) fn class(&self, size: usize) -> Option<usize> {
        if size > self.chunk {
            return None;
        }
        let last = size.max(1) - 1;
        // The logarithm of the least power of two that holds `size`.
        let log = (usize::BITS - last.leading_zeros()).max(6);
        let delta = if log == 6 { 4 } else { log - 3 };
        Some(((log - 6) as usize) << 2 | (last >> delta) & 3)
    }

    /// The least class for so many bytes whose size is a multiple of `align`, a power of two of at most a page.
    pub(super) fn class_aligned(&self, size: usize, align: usize) -> Option<usize> {
        let from = self.class(size.max(align.min(self.chunk)))?;
        (from..self.count()).find(|&class| self.size(class).is_multiple_of(align))
    }

    /// Whether blocks of the class share runs.
    pub(super) fn is_small(&self, class: usize) -> bool {
        class < self.small
    }

    /// Pages of the run for a block of the class, or for many small ones.
    pub(super) fn run_pages(&self, class: usize) -> u32 {
        match self.shared_run.get(class) {
            Some(&pages) => pages,
            None => self.sizes[class] >> self.page_shift,
        }
    }

    /// Run classes.
    pub(super) fn run_classes(&self) -> usize {
        self.runs.len()
    }

    /// The class in which a request for so many pages begins to look: all runs in it are long enough.
    pub(super) fn run_class_up(&self, pages: u32) -> usize {
        self.run_of_pages[pages as usize - 1] as usize
    }

    /// The class in which a free run of so many pages lies.
    pub(super) fn run_class_down(&self, pages: u32) -> usize {
        let up = self.run_class_up(pages);
        if self.runs[up] == pages { up } else { up - 1 }
    }
}

/// The shortest run without a rest, or the longest that holds no more blocks than a page holds of the smallest.
fn shared_run(size: usize, page: usize) -> u32 {
    let most = page / QUANTUM;
    let mut pages = 1;
    while pages * page / size < most && !(pages * page).is_multiple_of(size) {
        pages += 1;
    }
    while pages * page / size > most {
        pages -= 1;
    }
    pages as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_netty() {
        let classes = SizeClasses::new(13, 16 << 20);
        assert_eq!((classes.count(), classes.small, classes.run_classes()), (76, 39, 40));
        assert_eq!((classes.size(38), classes.size(39), classes.size(75)), (28 << 10, 32 << 10, 16 << 20));
        assert_eq!(classes.sizes[..9], [16, 32, 48, 64, 80, 96, 112, 128, 160]);
        let four = SizeClasses::new(13, 4 << 20);
        assert_eq!((four.count(), four.small, four.run_classes()), (68, 39, 32));
        // A run without a rest for each of the small classes.
        assert_eq!([classes.run_pages(0), classes.run_pages(2), classes.run_pages(38)], [1, 3, 7]);
    }

    #[test]
    fn a_class_is_the_least_that_holds_a_size() {
        for (shift, chunk) in [(13, 16 << 20), (12, 64 << 10), (13, 8 << 10)] {
            let classes = SizeClasses::new(shift, chunk);
            for size in (0..5000).chain((5000..=chunk).step_by(37)) {
                let Some(class) = classes.class(size) else { panic!("{size} has no class") };
                assert!(classes.size(class) >= size, "{size}: class {class}");
                assert!(
                    class == 0 || classes.size(class - 1) < size,
                    "{size}: class {class} is not the least"
                );
            }
            assert_eq!(classes.class(chunk), Some(classes.count() - 1));
            assert_eq!(classes.class(chunk + 1), None);
        }
    }

    #[test]
    fn alignments_are_met_by_the_size() {
        let classes = SizeClasses::new(13, 1 << 20);
        for align in (0..=13).map(|shift| 1 << shift) {
            for size in [0, 1, 24, 48, 100, 5000, 40_000, 1 << 20] {
                let class = classes.class_aligned(size, align).unwrap();
                assert!(classes.size(class) >= size && classes.size(class).is_multiple_of(align));
                // Every size between what was asked for and what is got leads to the same class.
                assert_eq!(classes.class_aligned(classes.size(class), align), Some(class));
            }
        }
    }

    #[test]
    fn free_runs_lie_where_every_request_fits() {
        let classes = SizeClasses::new(13, 1 << 20);
        for pages in 1..=128 {
            let (up, down) = (classes.run_class_up(pages), classes.run_class_down(pages));
            assert!(classes.runs[up] >= pages && classes.runs[down] <= pages && up - down <= 1);
        }
    }
}
