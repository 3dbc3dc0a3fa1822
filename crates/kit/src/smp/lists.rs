//! What a slot guards: a free list and a slab being cut for every class, and the directory of its slabs.
//!
//! # Safety
//!
//! The invariants of the [module above](super): *locked*, *free*, *fresh*, *slabs*.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use super::CLASSES;
use crate::{Alloc, AllocError};

/// A free block.
struct Node {
    next: Option<NonNull<Node>>,
}

/// Addresses of slabs in a directory; it takes a little less than a page.
const ENTRIES: usize = 500;

/// Where slabs are, so that they can be given back.
struct Directory {
    next: Option<NonNull<Directory>>,
    len: usize,
    slabs: [NonNull<u8>; ENTRIES],
}

/// The lists of one slot.
pub(super) struct Lists {
    free: [Option<NonNull<Node>>; CLASSES],
    next: [*mut u8; CLASSES],
    end: [*mut u8; CLASSES],
    directory: Option<NonNull<Directory>>,
    slabs: usize,
}

// SAFETY: all that it points to is its own, and it is used by one thread at a time (*locked*).
unsafe impl Send for Lists {}

impl Lists {
    pub(super) const fn new() -> Lists {
        Lists {
            free: [None; CLASSES],
            next: [null_mut(); CLASSES],
            end: [null_mut(); CLASSES],
            directory: None,
            slabs: 0,
        }
    }

    /// How many slabs this slot fetched.
    pub(super) fn slabs(&self) -> usize {
        self.slabs
    }

    /// The block of a class that was freed last, else a fresh one.
    #[inline]
    pub(super) fn take(&mut self, class: usize, size: usize) -> Option<NonNull<u8>> {
        if let Some(node) = self.free[class] {
            // SAFETY: *free*.
            self.free[class] = unsafe { node.read() }.next;
            return Some(node.cast());
        }
        let block = self.next[class];
        if block == self.end[class] {
            return None;
        }
        // Within the slab, whose length is a multiple of the size.
        self.next[class] = block.wrapping_add(size);
        NonNull::new(block)
    }

    /// Puts a block onto the free list of its class.
    ///
    /// # Safety
    ///
    /// `block` is a block of that class of the allocator, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn give(&mut self, class: usize, block: NonNull<u8>) {
        let node = block.cast::<Node>();
        // SAFETY: a link fits into the least block.
        unsafe { node.write(Node { next: self.free[class] }) };
        self.free[class] = Some(node);
    }

    /// Fetches a slab for a class that has nothing fresh left.
    pub(super) fn add_slab<A: Alloc>(
        &mut self,
        class: usize,
        layout: Layout,
        parent: &A,
    ) -> Result<(), AllocError> {
        let mut directory = self.directory_with_room(parent)?;
        let slab = parent.allocate(layout)?.cast::<u8>();
        // SAFETY: *slabs*: the directory is this slot's own.
        let directory = unsafe { directory.as_mut() };
        directory.slabs[directory.len] = slab;
        directory.len += 1;
        self.slabs += 1;
        self.next[class] = slab.as_ptr();
        self.end[class] = slab.as_ptr().wrapping_add(layout.size());
        Ok(())
    }

    fn directory_with_room<A: Alloc>(&mut self, parent: &A) -> Result<NonNull<Directory>, AllocError> {
        // SAFETY: *slabs*: the directory is this slot's own.
        let room = self.directory.filter(|directory| unsafe { directory.as_ref() }.len < ENTRIES);
        if let Some(directory) = room {
            return Ok(directory);
        }
        let directory = parent.allocate(Layout::new::<Directory>())?.cast::<Directory>();
        let empty = Directory { next: self.directory, len: 0, slabs: [NonNull::dangling(); ENTRIES] };
        // SAFETY: a new block of that layout.
        unsafe { directory.write(empty) };
        self.directory = Some(directory);
        Ok(directory)
    }

    /// Gives all slabs and directories back.
    ///
    /// # Safety
    ///
    /// `layout` and `parent` are those of every [`add_slab`](Self::add_slab), and nobody uses a block any more.
    pub(super) unsafe fn release<A: Alloc>(&mut self, layout: Layout, parent: &A) {
        let mut next = self.directory;
        while let Some(at) = next {
            // SAFETY: *slabs*.
            let directory = unsafe { at.as_ref() };
            next = directory.next;
            for &slab in &directory.slabs[..directory.len] {
                // SAFETY: *slabs*; the caller's promise.
                unsafe { parent.deallocate(slab, layout) };
            }
            // SAFETY: *slabs*; it is read no more.
            unsafe { parent.deallocate(at.cast(), Layout::new::<Directory>()) };
        }
        *self = Lists::new();
    }
}
