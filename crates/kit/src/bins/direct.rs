//! Blocks beyond the mmap border: each the parent's own, with a record before it so that the heap knows it.
//!
//! # Safety
//!
//! *Direct*: before each live direct block, inside the same block of the parent, lies its record, which the heap alone
//! writes; all records are in the list, and nothing else is.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use super::chunk::UNIT;
use crate::{Alloc, AllocError};

#[derive(Clone, Copy)]
struct Record {
    next: Option<Direct>,
    previous: Option<Direct>,
    /// The layout with the parent.
    bytes: usize,
    align: usize,
}

const RECORD: usize = size_of::<Record>();

/// A direct block, by its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Direct(NonNull<u8>);

/// All direct blocks of a heap.
pub struct Directs {
    first: Cell<Option<Direct>>,
    bytes: Cell<usize>,
}

/// Bytes before a block of that alignment.
fn offset(align: usize) -> usize {
    RECORD.max(align)
}

/// The layout with the parent of a block with that layout.
fn outer(layout: Layout) -> Result<Layout, AllocError> {
    let align = layout.align().max(UNIT);
    let bytes = layout.size().checked_add(offset(align)).ok_or(AllocError)?;
    Layout::from_size_align(bytes, align).map_err(|_| AllocError)
}

impl Direct {
    /// The direct block that begins there.
    ///
    /// # Safety
    ///
    /// One of this heap does.
    pub unsafe fn new(block: NonNull<u8>) -> Direct {
        Direct(block)
    }

    fn place(self) -> NonNull<Record> {
        // SAFETY: direct.
        unsafe { self.0.sub(RECORD).cast() }
    }

    fn record(self) -> Record {
        // SAFETY: direct.
        unsafe { self.place().read() }
    }

    fn set_record(self, record: Record) {
        // SAFETY: direct.
        unsafe { self.place().write(record) };
    }

    /// Where the parent's block begins.
    fn base(self) -> NonNull<u8> {
        // SAFETY: direct: the block lies so far behind.
        unsafe { self.0.sub(offset(self.record().align)) }
    }

    fn layout(self) -> Result<Layout, AllocError> {
        let Record { bytes, align, .. } = self.record();
        Layout::from_size_align(bytes, align).map_err(|_| AllocError)
    }

    /// Bytes that the caller may use.
    pub fn usable(self) -> usize {
        let Record { bytes, align, .. } = self.record();
        bytes - offset(align)
    }

    pub fn given(self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.0, self.usable())
    }

    fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.0.addr().get()) < self.usable()
    }
}

impl Directs {
    pub const fn new() -> Directs {
        Directs { first: Cell::new(None), bytes: Cell::new(0) }
    }

    fn iter(&self) -> impl Iterator<Item = Direct> {
        core::iter::successors(self.first.get(), |direct| direct.record().next)
    }

    /// Bytes taken from the parent.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub fn owns(&self, address: usize) -> bool {
        self.iter().any(|direct| direct.contains(address))
    }

    /// Enters a new block of the parent.
    fn enter(&self, base: NonNull<[u8]>, layout: Layout) -> Direct {
        // SAFETY: inside the parent's block, whose length includes the offset.
        let direct = Direct(unsafe { base.cast::<u8>().add(offset(layout.align())) });
        let next = self.first.replace(Some(direct));
        direct.set_record(Record { next, previous: None, bytes: layout.size(), align: layout.align() });
        if let Some(next) = next {
            next.set_record(Record { previous: Some(direct), ..next.record() });
        }
        self.bytes.set(self.bytes.get() + layout.size());
        direct
    }

    fn leave(&self, direct: Direct) {
        let Record { next, previous, bytes, .. } = direct.record();
        match previous {
            Some(previous) => previous.set_record(Record { next, ..previous.record() }),
            None => self.first.set(next),
        }
        if let Some(next) = next {
            next.set_record(Record { previous, ..next.record() });
        }
        self.bytes.set(self.bytes.get() - bytes);
    }

    pub fn allocate(&self, parent: &impl Alloc, layout: Layout, zeroed: bool) -> Result<Direct, AllocError> {
        let outer = outer(layout)?;
        let base = if zeroed { parent.allocate_zeroed(outer) } else { parent.allocate(outer) }?;
        Ok(self.enter(base, outer))
    }

    pub fn deallocate(&self, parent: &impl Alloc, direct: Direct) {
        let (base, layout) = (direct.base(), direct.layout());
        self.leave(direct);
        if let Ok(layout) = layout {
            // SAFETY: direct: the parent's block, with the layout that it has there.
            unsafe { parent.deallocate(base, layout) };
        }
    }

    /// Lets the parent change the size of a block, who may know how to without copying. The alignment stays.
    pub fn resize(&self, parent: &impl Alloc, direct: Direct, layout: Layout) -> Result<Direct, AllocError> {
        let (old, new) = (direct.layout()?, outer(layout)?);
        if old.align() != new.align() {
            return Err(AllocError);
        }
        let base = direct.base();
        self.leave(direct);
        let moved = if new.size() >= old.size() {
            // SAFETY: direct; the new layout is not shorter.
            unsafe { parent.grow(base, old, new) }
        } else {
            // SAFETY: direct; the new layout is shorter.
            unsafe { parent.shrink(base, old, new) }
        };
        match moved {
            Ok(base) => Ok(self.enter(base, new)),
            Err(error) => {
                self.enter(NonNull::slice_from_raw_parts(base, old.size()), old);
                Err(error)
            }
        }
    }

    pub fn release_all(&self, parent: &impl Alloc) {
        while let Some(direct) = self.first.get() {
            self.deallocate(parent, direct);
        }
    }
}
