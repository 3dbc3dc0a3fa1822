//! Blocks of one layout by two lists.
//!
//! # Safety
//!
//! The invariants of the [module above](super): *segments*, *two lists*, *one thread*.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::cookie::{Cookie, Origin, Told};
use crate::{Alloc, AllocError};

/// What lies before a block, at its end, so that the cookie is the word right before the block.
#[repr(C)]
pub(super) struct Head {
    next: Option<NonNull<Head>>,
    /// Kept on the closed list only.
    prev: Option<NonNull<Head>>,
    pub(super) cookie: Cookie,
}

impl Head {
    /// The head of the block at `block`.
    ///
    /// # Safety
    ///
    /// There are as many bytes before the block, in one allocation with it.
    unsafe fn of(block: NonNull<u8>) -> NonNull<Head> {
        // SAFETY: the caller's promise.
        unsafe { block.cast::<Head>().sub(1) }
    }

    /// The block behind a head.
    fn block(head: NonNull<Head>) -> NonNull<u8> {
        // SAFETY: a head is always followed by its block.
        unsafe { head.add(1) }.cast()
    }
}

/// The beginning of a segment; the blocks with their heads follow.
struct Segment {
    next: Option<NonNull<Segment>>,
}

/// The two lists, for a parent that comes with every call, always the same.
pub(super) struct RawList<const GROWTH: usize> {
    origin: Origin,
    block: Layout,
    open: Cell<Option<NonNull<Head>>>,
    closed: Cell<Option<NonNull<Head>>>,
    segments: Cell<Option<NonNull<Segment>>>,
    live: Cell<usize>,
    cut: Cell<usize>,
}

impl<const GROWTH: usize> RawList<GROWTH> {
    pub(super) const fn new(origin: Origin, block: Layout) -> Self {
        const { assert!(GROWTH > 0, "a list that grows by no block never has one") };
        RawList {
            origin,
            block,
            open: Cell::new(None),
            closed: Cell::new(None),
            segments: Cell::new(None),
            live: Cell::new(0),
            cut: Cell::new(0),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.block
    }

    pub(super) fn live(&self) -> usize {
        self.live.get()
    }

    pub(super) fn blocks(&self) -> usize {
        self.cut.get()
    }

    pub(super) fn held(&self) -> usize {
        self.cut.get() / GROWTH * self.segment_layout().map_or(0, |(layout, _, _)| layout.size())
    }

    /// The layout of a segment, where its first block lies, and the distance between blocks.
    fn segment_layout(&self) -> Result<(Layout, usize, usize), AllocError> {
        let align = self.block.align().max(align_of::<Head>());
        let front = (size_of::<Segment>() + size_of::<Head>()).next_multiple_of(align);
        // From block to block: the block, and the next one's head, right before an aligned place.
        let stride =
            self.block.size().checked_add(size_of::<Head>() + align - 1).ok_or(AllocError)? & !(align - 1);
        let all = stride.checked_mul(GROWTH).and_then(|bytes| bytes.checked_add(front)).ok_or(AllocError)?;
        let layout = Layout::from_size_align(all, align).map_err(|_| AllocError)?;
        Ok((layout, front, stride))
    }

    /// Fetches a segment and puts its blocks onto the open list, the first at its head.
    #[cold]
    fn grow<A: Alloc>(&self, parent: &A) -> Result<(), AllocError> {
        let (layout, front, stride) = self.segment_layout()?;
        let segment = parent.allocate(layout)?.cast::<Segment>();
        // SAFETY: a new block, with room for it before the first block's head.
        unsafe { segment.write(Segment { next: self.segments.get() }) };
        self.segments.set(Some(segment));
        for index in (0..GROWTH).rev() {
            // SAFETY: by the layout the segment has so many blocks, each with a head before it.
            let block = unsafe { segment.cast::<u8>().add(front + index * stride) };
            let cookie = Cookie::new(self.origin, false, block.as_ptr().addr());
            // SAFETY: the same.
            let head = unsafe { Head::of(block) };
            // SAFETY: the same; nobody uses the segment yet.
            unsafe { head.write(Head { next: self.open.get(), prev: None, cookie }) };
            self.open.set(Some(head));
        }
        self.cut.set(self.cut.get() + GROWTH);
        Ok(())
    }

    /// As [`FreeList::take`].
    pub(super) fn take<A: Alloc>(&self, parent: &A) -> Result<NonNull<u8>, AllocError> {
        if self.open.get().is_none() {
            self.grow(parent)?;
        }
        let head = self.open.get().ok_or(AllocError)?;
        let block = Head::block(head);
        let cookie = Cookie::new(self.origin, true, block.as_ptr().addr());
        let next = self.closed.get();
        // SAFETY: *two lists*.
        self.open.set(unsafe { head.as_ref() }.next);
        // SAFETY: *two lists*; the head is on neither now.
        unsafe { head.write(Head { next, prev: None, cookie }) };
        Self::set_prev(next, Some(head));
        self.closed.set(Some(head));
        self.live.set(self.live.get() + 1);
        Ok(block)
    }

    fn set_prev(head: Option<NonNull<Head>>, prev: Option<NonNull<Head>>) {
        if let Some(mut head) = head {
            // SAFETY: *two lists*, *one thread*.
            unsafe { head.as_mut() }.prev = prev;
        }
    }

    /// As [`FreeList::give`].
    ///
    /// # Safety
    ///
    /// As for [`FreeList::give`].
    pub(super) unsafe fn give(&self, block: NonNull<u8>) {
        // SAFETY: the caller's promise: there is a head before the block.
        let head = unsafe { Head::of(block) };
        // SAFETY: the same.
        let Head { next, prev, cookie } = unsafe { head.read() };
        match cookie.read(block.as_ptr().addr()) {
            Told::Out(origin) if origin == self.origin => {}
            Told::Free(_) => panic!("the block at {block:p} was given back to its list twice"),
            _ => panic!("{block:p}, given back to a list, is no block of it"),
        }
        match prev {
            // SAFETY: *two lists*, *one thread*.
            Some(mut prev) => unsafe { prev.as_mut() }.next = next,
            None => self.closed.set(next),
        }
        Self::set_prev(next, prev);
        let cookie = Cookie::new(self.origin, false, block.as_ptr().addr());
        // SAFETY: *two lists*; the head is on neither now.
        unsafe { head.write(Head { next: self.open.get(), prev: None, cookie }) };
        self.open.set(Some(head));
        self.live.set(self.live.get() - 1);
    }

    pub(super) fn out(&self) -> Out<'_> {
        Out { next: self.closed.get(), list: PhantomData }
    }

    /// Whether `address` lies in a block.
    pub(super) fn holds(&self, address: usize) -> bool {
        let Ok((layout, front, stride)) = self.segment_layout() else { return false };
        let mut segment = self.segments.get();
        while let Some(at) = segment {
            let offset = address.wrapping_sub(at.as_ptr().addr());
            if offset < layout.size() {
                return offset >= front && (offset - front) % stride < self.block.size();
            }
            // SAFETY: *segments*.
            segment = unsafe { at.as_ref() }.next;
        }
        false
    }

    pub(super) fn clear(&mut self) {
        let mut next = self.closed.get();
        while let Some(head) = next {
            // SAFETY: *two lists*.
            next = unsafe { head.as_ref() }.next;
            // SAFETY: the block is out, and nobody has the list but this method.
            unsafe { self.give(Head::block(head)) };
        }
    }

    /// Gives all segments back.
    ///
    /// # Safety
    ///
    /// `parent` is the one that every segment is from, and nobody uses a block any more.
    pub(super) unsafe fn release<A: Alloc>(&mut self, parent: &A) {
        let Ok((layout, _, _)) = self.segment_layout() else { return };
        let mut segment = self.segments.take();
        while let Some(at) = segment {
            // SAFETY: *segments*; it is read before it is freed.
            segment = unsafe { at.as_ref() }.next;
            // SAFETY: *segments*; the caller's promise.
            unsafe { parent.deallocate(at.cast(), layout) };
        }
        *self = Self::new(self.origin, self.block);
    }
}

/// Blocks of one layout, `GROWTH` of them fetched at a time; see the [module](super).
pub struct FreeList<A: Alloc, const GROWTH: usize = 64> {
    pub(super) raw: RawList<GROWTH>,
    parent: A,
}

// SAFETY: what the list points to is its own (*segments*), so it may move to another thread with its parent; whoever has a
// block of it out answers for that.
unsafe impl<A: Alloc + Send, const GROWTH: usize> Send for FreeList<A, GROWTH> {}

impl<A: Alloc> FreeList<A> {
    /// A list of blocks of `layout` that grows by 64, empty: the parent is asked for nothing yet.
    pub const fn new(layout: Layout, parent: A) -> Self {
        Self::growing(layout, parent)
    }
}

impl<A: Alloc, const GROWTH: usize> FreeList<A, GROWTH> {
    /// A list of blocks of `layout` that grows by `GROWTH`, empty: the parent is asked for nothing yet.
    pub const fn growing(layout: Layout, parent: A) -> Self {
        FreeList { raw: RawList::new(Origin::ALONE, layout), parent }
    }

    /// The layout of every block.
    pub fn layout(&self) -> Layout {
        self.raw.layout()
    }

    /// The parent.
    pub const fn parent(&self) -> &A {
        &self.parent
    }

    /// How many blocks are out.
    pub fn live(&self) -> usize {
        self.raw.live()
    }

    /// How many blocks there are, in the list and out.
    pub fn blocks(&self) -> usize {
        self.raw.blocks()
    }

    /// The bytes held from the parent.
    pub fn held(&self) -> usize {
        self.raw.held()
    }

    /// A block, its contents arbitrary: the last one that was given back.
    ///
    /// # Errors
    ///
    /// [`AllocError`] when the list is empty and its parent refuses.
    pub fn take(&self) -> Result<NonNull<u8>, AllocError> {
        self.raw.take(&self.parent)
    }

    /// Gives a block back.
    ///
    /// # Panics
    ///
    /// When its cookie says that it is free already, or that it is no block of this kind of list. That is found only as
    /// far as the word before it is still its cookie.
    ///
    /// # Safety
    ///
    /// `block` was [taken](Self::take) from this list and not given back since.
    pub unsafe fn give(&self, block: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.raw.give(block) }
    }

    /// The blocks that are out, the last one taken first.
    pub fn out(&self) -> Out<'_> {
        self.raw.out()
    }

    /// Takes back every block that is out; the segments stay. What borrowed from the list is gone already.
    pub fn clear(&mut self) {
        self.raw.clear();
    }
}

impl<A: Alloc, const GROWTH: usize> Drop for FreeList<A, GROWTH> {
    fn drop(&mut self) {
        // SAFETY: one parent for all, and no block outlives its list.
        unsafe { self.raw.release(&self.parent) };
    }
}

/// The blocks of a list that are out. Whoever gives blocks back in between sees free ones among them.
pub struct Out<'l> {
    next: Option<NonNull<Head>>,
    list: PhantomData<&'l ()>,
}

impl Iterator for Out<'_> {
    type Item = NonNull<u8>;

    fn next(&mut self) -> Option<NonNull<u8>> {
        let head = self.next?;
        // SAFETY: *two lists*: the list is borrowed, and even a block that was given back meanwhile keeps its head.
        self.next = unsafe { head.as_ref() }.next;
        Some(Head::block(head))
    }
}
