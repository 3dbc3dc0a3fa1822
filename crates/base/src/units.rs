//! The units in which the allocator counts: bytes, pages, page numbers.
//!
//! A *page* is Freestone's own unit of [`PAGE_SIZE`] bytes, not the kernel's page (an *OS page*).

use core::fmt;

/// Base-two logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 13;
/// Bytes in one Freestone page: 8 KiB.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Bytes(pub usize);

/// A number of pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct PageCount(pub usize);

/// The number of a page: its address divided by [`PAGE_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct PageId(pub usize);

impl Bytes {
    /// The pages that hold this many bytes, rounded up; `None` when the sum would not fit.
    ///
    /// ```
    /// use freestone_base::{Bytes, PageCount, PAGE_SIZE};
    /// assert_eq!(Bytes(1).pages(), Some(PageCount(1)));
    /// assert_eq!(Bytes(PAGE_SIZE + 1).pages(), Some(PageCount(2)));
    /// assert_eq!(Bytes(usize::MAX).pages(), None);
    /// ```
    #[inline]
    pub const fn pages(self) -> Option<PageCount> {
        match self.0.checked_add(PAGE_SIZE - 1) {
            Some(sum) => Some(PageCount(sum >> PAGE_SHIFT)),
            None => None,
        }
    }
}

impl PageCount {
    /// The bytes in this many pages.
    #[inline]
    pub const fn bytes(self) -> usize {
        self.0 << PAGE_SHIFT
    }
}

impl PageId {
    /// The page that contains `addr`.
    #[inline]
    pub const fn containing(addr: usize) -> PageId {
        PageId(addr >> PAGE_SHIFT)
    }

    /// The address of the first byte of the page.
    #[inline]
    pub const fn addr(self) -> usize {
        self.0 << PAGE_SHIFT
    }

    /// The page `n` pages further up.
    #[inline]
    pub const fn add(self, n: PageCount) -> PageId {
        PageId(self.0 + n.0)
    }
}

impl fmt::Display for Bytes {
    /// Prints with a binary unit: `512 B`, `1.5 KiB`, `3.0 GiB`.
    ///
    /// ```
    /// use freestone_base::Bytes;
    /// assert_eq!(Bytes(512).to_string(), "512 B");
    /// assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
    /// assert_eq!(Bytes(3 << 30).to_string(), "3.0 GiB");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut unit = 0;
        let mut tenths = (self.0 as u128 * 10).div_ceil(1024);
        while tenths >= 10240 && unit + 1 < UNITS.len() {
            tenths = tenths.div_ceil(1024);
            unit += 1;
        }
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_round_up_and_refuse_overflow() {
        assert_eq!(Bytes(0).pages(), Some(PageCount(0)));
        assert_eq!(Bytes(PAGE_SIZE).pages(), Some(PageCount(1)));
        assert_eq!(Bytes(usize::MAX - PAGE_SIZE + 2).pages(), None);
    }

    #[test]
    fn page_ids_and_addresses_agree() {
        let page = PageId::containing(5 * PAGE_SIZE + 17);
        assert_eq!(page, PageId(5));
        assert_eq!(page.addr(), 5 * PAGE_SIZE);
        assert_eq!(page.add(PageCount(2)).addr(), 7 * PAGE_SIZE);
    }
}
