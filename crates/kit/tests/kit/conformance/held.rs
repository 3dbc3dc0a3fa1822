//! A live block with a pattern in it.
//!
//! # Safety
//!
//! *Held*: see the module above.
#![allow(unsafe_code)]

use freestone_kit::{Alloc, AllocError, Remap, ResizeInPlace, UsableSize};
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;

thread_local! {
    static SEED: Cell<u8> = const { Cell::new(1) };
}

/// A live block, filled with a pattern of its own over the size of its layout.
#[derive(Debug)]
pub struct Held {
    block: NonNull<u8>,
    layout: Layout,
    seed: u8,
}

impl Held {
    /// Allocates and fills a block; `None` when that is refused.
    pub fn new<A: Alloc + ?Sized>(alloc: &A, wanted: Layout) -> Option<Held> {
        let got = alloc.allocate(wanted).ok()?;
        assert!(got.len() >= wanted.size(), "{wanted:?} got {} B", got.len());
        let seed = SEED.replace(SEED.get().wrapping_mul(31).wrapping_add(7));
        // To the last byte that was given, so that what lies behind would notice.
        let mut held = Held { block: got.cast(), layout: wanted, seed };
        held.check_address();
        held.fill(0, got.len());
        Some(held)
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub fn address(&self) -> NonNull<u8> {
        self.block
    }

    /// The first byte and the last.
    pub fn ends(&self) -> [NonNull<u8>; 2] {
        // SAFETY: held; the block has that many bytes.
        [self.block, unsafe { self.block.add(self.layout.size().saturating_sub(1)) }]
    }

    fn check_address(&self) {
        let address = self.block.as_ptr().addr();
        assert!(address.is_multiple_of(self.layout.align()), "{:?} at {address:#x}", self.layout);
    }

    fn byte(&self, at: usize) -> u8 {
        (at as u8).wrapping_mul(13).wrapping_add(self.seed)
    }

    fn fill(&mut self, from: usize, to: usize) {
        for at in from..to {
            // SAFETY: held; the block has `to` bytes.
            let byte = unsafe { self.block.add(at) };
            // SAFETY: held.
            unsafe { byte.write(self.byte(at)) };
        }
    }

    /// The contents are as they were written.
    pub fn check(&self, when: &str) {
        self.check_kept(self.layout.size(), when);
    }

    fn check_kept(&self, len: usize, when: &str) {
        // SAFETY: held; that many bytes were written.
        let bytes = unsafe { std::slice::from_raw_parts(self.block.as_ptr(), len) };
        let wrong = bytes.iter().enumerate().position(|(at, &byte)| byte != self.byte(at));
        assert_eq!(wrong, None, "first wrong byte of {self:?} {when}");
    }

    pub fn free<A: Alloc + ?Sized>(self, alloc: &A) {
        // SAFETY: held, and given up by value.
        unsafe { alloc.deallocate(self.block, self.layout) }
    }

    /// Leaves it to a reset.
    pub fn forget(self) {}

    /// Grows or shrinks to `size`; with `zeroed`, what is new must be zero.
    pub fn resize<A: Alloc + ?Sized>(
        self,
        alloc: &A,
        size: usize,
        zeroed: bool,
    ) -> Result<Held, (Held, AllocError)> {
        let Ok(new) = Layout::from_size_align(size, self.layout.align()) else {
            return Err((self, AllocError));
        };
        self.change(alloc, new, zeroed)
    }

    /// Grows or shrinks to another layout.
    pub fn relayout<A: Alloc + ?Sized>(self, alloc: &A, new: Layout) -> Result<Held, (Held, AllocError)> {
        self.change(alloc, new, false)
    }

    fn change<A: Alloc + ?Sized>(
        self,
        alloc: &A,
        new: Layout,
        zeroed: bool,
    ) -> Result<Held, (Held, AllocError)> {
        let old = self.layout;
        let changed = if new.size() < old.size() {
            // SAFETY: held; the new size is less.
            unsafe { alloc.shrink(self.block, old, new) }
        } else if zeroed {
            // SAFETY: held; the new size is not less.
            unsafe { alloc.grow_zeroed(self.block, old, new) }
        } else {
            // SAFETY: held; the new size is not less.
            unsafe { alloc.grow(self.block, old, new) }
        };
        let got = match changed {
            Ok(got) => got,
            Err(error) => return Err((self, error)),
        };
        assert!(got.len() >= new.size(), "{new:?} got {} B", got.len());
        let mut held = Held { block: got.cast(), layout: new, seed: self.seed };
        held.check_address();
        held.check_kept(old.size().min(new.size()), "when it was moved");
        if zeroed && new.size() > old.size() {
            // SAFETY: held; a growth that zeroes has written them all.
            let bytes = unsafe { std::slice::from_raw_parts(held.block.as_ptr(), new.size()) };
            assert!(bytes[old.size()..].iter().all(|&byte| byte == 0), "{old:?} grown to {new:?}, not zero");
        }
        held.fill(old.size().min(new.size()), got.len());
        Ok(held)
    }

    /// Changes its size where it lies.
    pub fn resize_in_place<A: ResizeInPlace + ?Sized>(
        mut self,
        alloc: &A,
        size: usize,
    ) -> Result<Held, Held> {
        let new = Layout::from_size_align(size, self.layout.align()).unwrap();
        // SAFETY: held.
        if unsafe { alloc.resize_in_place(self.block, self.layout, new) }.is_err() {
            return Err(self);
        }
        let kept = self.layout.size().min(size);
        self.layout = new;
        self.check_kept(kept, "when it was resized in place");
        self.fill(kept, size);
        Ok(self)
    }

    /// Changes its size without a copy.
    pub fn remap<A: Remap + ?Sized>(mut self, alloc: &A, size: usize) -> Result<Held, Held> {
        let new = Layout::from_size_align(size, self.layout.align()).unwrap();
        // SAFETY: held.
        let Ok(got) = (unsafe { alloc.remap(self.block, self.layout, new) }) else { return Err(self) };
        let kept = self.layout.size().min(size);
        self.block = got.cast();
        self.layout = new;
        self.check_address();
        self.check_kept(kept, "when it was remapped");
        self.fill(kept, got.len());
        Ok(self)
    }

    /// Takes all that it may use.
    pub fn widen<A: UsableSize + ?Sized>(mut self, alloc: &A) -> Held {
        // SAFETY: held.
        let usable = unsafe { alloc.usable_size(self.block, self.layout) };
        assert!(usable >= self.layout.size(), "{self:?} has {usable} usable bytes");
        let from = self.layout.size();
        self.fill(from, usable);
        self.layout = Layout::from_size_align(usable, self.layout.align()).unwrap();
        self
    }
}
