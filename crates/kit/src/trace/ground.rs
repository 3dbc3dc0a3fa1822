//! The system as a trace sees it: pages of one range of addresses, lowest first.
//!
//! # Safety
//!
//! *Ground*: the range is a block of [`Page`] until the ground is dropped; a part of it is in `free` or is a block,
//! never both.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr::NonNull;

use crate::alloc::nothing;
use crate::page::Page;
use crate::{Alloc, AllocError, Allocated};

/// Bytes of an OS page.
pub(super) const PAGE: usize = 4096;

/// The alignment of the ground, and the largest that its blocks can have.
const MOST_ALIGN: usize = 1 << 26;

/// A parent that behaves alike in every run: it hands out whole pages, the lowest that are free, and counts them.
/// Runs can be compared since nothing depends on where the system happens to map.
pub struct Ground {
    base: NonNull<u8>,
    layout: Layout,
    /// Free ranges by offset, with their bytes.
    free: RefCell<BTreeMap<usize, usize>>,
    held: Cell<usize>,
    peak: Cell<usize>,
}

impl Ground {
    /// A ground of `bytes` bytes, rounded up to pages; the system backs them as they are touched.
    ///
    /// # Errors
    ///
    /// When the system has no such range of addresses.
    pub fn new(bytes: usize) -> Result<Ground, AllocError> {
        let bytes = bytes.checked_next_multiple_of(PAGE).ok_or(AllocError)?;
        // So that offsets are aligned as addresses are.
        let layout = Layout::from_size_align(bytes, MOST_ALIGN).map_err(|_| AllocError)?;
        let base = Page.allocate(layout)?.cast();
        let free = RefCell::new(BTreeMap::from([(0, bytes)]));
        Ok(Ground { base, layout, free, held: Cell::new(0), peak: Cell::new(0) })
    }

    /// Bytes of pages that are out now.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// The most that [`held`](Ground::held) ever was.
    pub fn peak(&self) -> usize {
        self.peak.get()
    }

    /// The ranges of pages that are out now, in bytes from the ground's beginning, the lowest first. O(free ranges).
    ///
    /// ```
    /// use freestone_kit::Alloc;
    /// use freestone_kit::trace::Ground;
    /// use std::alloc::Layout;
    ///
    /// let ground = Ground::new(1 << 20)?;
    /// let block = ground.allocate(Layout::new::<[u8; 5000]>())?;
    /// assert_eq!(ground.held_ranges(), [0..8192]);
    /// assert_eq!(ground.offset(block.cast()), Some(0));
    /// # Ok::<(), freestone_kit::AllocError>(())
    /// ```
    pub fn held_ranges(&self) -> Vec<Range<usize>> {
        let free = self.free.borrow();
        let starts = std::iter::once(0).chain(free.iter().map(|(start, len)| start + len));
        let ends = free.keys().copied().chain(std::iter::once(self.layout.size()));
        starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end).collect()
    }

    /// How far from the ground's beginning an address lies, if it does in it.
    pub fn offset(&self, address: NonNull<u8>) -> Option<usize> {
        let offset = address.addr().get().checked_sub(self.base.addr().get())?;
        (offset < self.layout.size()).then_some(offset)
    }

    fn pages(layout: Layout) -> Result<usize, AllocError> {
        layout.size().checked_next_multiple_of(PAGE).ok_or(AllocError)
    }
}

// SAFETY: ground: a range leaves `free` when it becomes a block, and comes back when that is freed.
unsafe impl Alloc for Ground {
    /// # Errors
    ///
    /// [`AllocError`] also for alignments above 64 MiB.
    fn allocate(&self, layout: Layout) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        if layout.align() > MOST_ALIGN {
            return Err(AllocError);
        }
        let bytes = Self::pages(layout)?;
        let mut free = self.free.borrow_mut();
        let found = free.iter().find_map(|(&start, &len)| {
            let aligned = start.checked_next_multiple_of(layout.align())?;
            let end = aligned.checked_add(bytes)?;
            (end <= start + len).then_some((start, len, aligned))
        });
        let (start, len, aligned) = found.ok_or(AllocError)?;
        free.remove(&start);
        let end = aligned + bytes;
        let pieces = [(start, aligned - start), (end, start + len - end)];
        free.extend(pieces.into_iter().filter(|(_, len)| *len > 0));
        self.held.set(self.held.get() + bytes);
        self.peak.set(self.peak.get().max(self.held.get()));
        // SAFETY: ground: inside the range.
        let block = unsafe { self.base.add(aligned) };
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        let Ok(mut bytes) = Self::pages(layout) else { return };
        self.held.set(self.held.get() - bytes);
        let mut start = block.addr().get() - self.base.addr().get();
        let mut free = self.free.borrow_mut();
        if let Some(behind) = free.remove(&(start + bytes)) {
            bytes += behind;
        }
        if let Some((&before, &len)) = free.range(..start).next_back()
            && before + len == start
        {
            start = before;
            bytes += len;
        }
        free.insert(start, bytes);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // SAFETY: ground: with that layout.
        unsafe { Page.deallocate(self.base, self.layout) };
    }
}
