//! Small pieces of metadata, records and magazines, several to a page: the parent may round each request up to one.
//!
//! # Safety
//!
//! *Pages*: every piece that is out lies in a page from the parent, aligned to its own length, which begins with its
//! head; a page in the list has a piece free, and goes back to the parent with the last of its pieces.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use crate::{Alloc, AllocError};

const PAGE: usize = 4096;

/// The head of a page.
#[derive(Clone, Copy)]
struct Head {
    next: Option<Page>,
    previous: Option<Page>,
    /// The first free piece; each free piece begins with the next.
    free: Option<NonNull<u8>>,
    /// Bytes of a piece.
    piece: usize,
    live: usize,
}

const HEAD: usize = size_of::<Head>();

/// The longest piece, in bytes.
pub const MOST: usize = (PAGE - HEAD) / 2;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Page(NonNull<u8>);

impl Page {
    fn get(self) -> Head {
        // SAFETY: pages.
        unsafe { self.0.cast().read() }
    }

    fn set(self, head: Head) {
        // SAFETY: pages.
        unsafe { self.0.cast().write(head) };
    }

    fn update(self, change: impl FnOnce(&mut Head)) {
        let mut head = self.get();
        change(&mut head);
        self.set(head);
    }
}

/// Pieces in pages that are partly used.
pub struct Pieces {
    partial: Cell<Option<Page>>,
    bytes: Cell<usize>,
}

fn page_layout() -> Result<Layout, AllocError> {
    Layout::from_size_align(PAGE, PAGE).map_err(|_| AllocError)
}

impl Pieces {
    pub const fn new() -> Pieces {
        Pieces { partial: Cell::new(None), bytes: Cell::new(0) }
    }

    /// Bytes of pages from the parent.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    fn enter(&self, page: Page) {
        let next = self.partial.replace(Some(page));
        page.update(|head| (head.next, head.previous) = (next, None));
        if let Some(next) = next {
            next.update(|head| head.previous = Some(page));
        }
    }

    fn leave(&self, page: Page) {
        let Head { next, previous, .. } = page.get();
        match previous {
            Some(previous) => previous.update(|head| head.next = next),
            None => self.partial.set(next),
        }
        if let Some(next) = next {
            next.update(|head| head.previous = previous);
        }
    }

    /// Takes a page and cuts it into pieces.
    fn add_page(&self, piece: usize, parent: &impl Alloc) -> Result<Page, AllocError> {
        let start = parent.allocate(page_layout()?)?.cast::<u8>();
        let mut free = None;
        for number in (0..(PAGE - HEAD) / piece).rev() {
            // SAFETY: pages: inside the new one, behind its head.
            let place = unsafe { start.add(HEAD + number * piece) };
            // SAFETY: a piece holds a word at least, and nobody else has it.
            unsafe { place.cast::<Option<NonNull<u8>>>().write(free) };
            free = Some(place);
        }
        let page = Page(start);
        page.set(Head { next: None, previous: None, free, piece, live: 0 });
        self.bytes.set(self.bytes.get() + PAGE);
        self.enter(page);
        Ok(page)
    }

    /// A piece of `bytes` bytes, at most [`MOST`], aligned to a word.
    pub fn take(&self, bytes: usize, parent: &impl Alloc) -> Result<NonNull<u8>, AllocError> {
        debug_assert!(bytes <= MOST, "{bytes}");
        let piece = bytes.next_multiple_of(align_of::<Head>());
        // A few sizes at most are in use at once.
        let mut pages = core::iter::successors(self.partial.get(), |page| page.get().next);
        let page = pages.find(|page| page.get().piece == piece);
        let page = page.map_or_else(|| self.add_page(piece, parent), Ok)?;
        let taken = page.get().free.ok_or(AllocError)?;
        // SAFETY: pages: a free piece begins with the next.
        let free = unsafe { taken.cast::<Option<NonNull<u8>>>().read() };
        page.update(|head| (head.free, head.live) = (free, head.live + 1));
        if free.is_none() {
            self.leave(page);
        }
        Ok(taken)
    }

    /// Gives a piece back.
    ///
    /// # Safety
    ///
    /// It was taken from here, out of the same parent, and nobody uses it any more.
    pub unsafe fn put(&self, piece: NonNull<u8>, parent: &impl Alloc) {
        let offset = piece.addr().get() & (PAGE - 1);
        // SAFETY: pages: aligned to their length.
        let page = Page(unsafe { piece.sub(offset) });
        let Head { free, .. } = page.get();
        // SAFETY: the caller's promise: the piece is ours again.
        unsafe { piece.cast::<Option<NonNull<u8>>>().write(free) };
        page.update(|head| (head.free, head.live) = (Some(piece), head.live - 1));
        if free.is_none() {
            self.enter(page);
        }
        if page.get().live == 0 {
            self.leave(page);
            self.bytes.set(self.bytes.get() - PAGE);
            if let Ok(layout) = page_layout() {
                // SAFETY: pages: from the parent, with that layout, and no piece of it is out.
                unsafe { parent.deallocate(page.0, layout) };
            }
        }
    }
}
