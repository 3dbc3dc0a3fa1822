//! What an address is: a live block of a class, with what is noted about it, or something else.

use freestone_base::size_class::MALLOC_ALIGN;
use freestone_base::{ClassId, class_info};

use super::marks::{self, FREED, Key};
use super::random;
use super::settings::SETTINGS;
use crate::message::Fault;
use crate::pageheap::{SpanRef, SpanState, shadow};
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicU8, Ordering};

/// What an address is that is no live block of a class.
pub(super) enum Found {
    /// Where a block begins that is not live; its mark.
    Dead(ClassId, u8),
    /// Inside a slab, but not where a block begins.
    Inside(ClassId),
    /// In no slab of the global allocator.
    Elsewhere(Option<SpanRef>),
}

impl Found {
    /// What lies at `addr`, which [`Place::find`] refused.
    #[cold]
    #[inline(never)]
    pub(super) fn at(addr: usize) -> Found {
        let span = match LEVELS.pages.page_map().span_of(addr) {
            Some(span) if span.is(SpanState::Slab) => span,
            other => return Found::Elsewhere(other),
        };
        let class = span.class();
        let offset = addr.wrapping_sub(span.first_block());
        let (info, known) = (class_info(class), shadow::find(LEVELS.pages.page_map(), addr));
        // Of an offset below the first block, which wraps round, or beyond the last, this is any number; but only that of the
        // block that lies there passes both tests.
        let block = info.block_starting_at(offset);
        match known {
            Some((mark, _)) if block.is_some_and(|block| block < span.blocks()) => {
                Found::Dead(class, mark.load(Ordering::Relaxed))
            }
            _ => Found::Inside(class),
        }
    }

    /// Ends the process if a small block should lie at `addr`, by the fault of a block that was `freed` or one that is
    /// `fresh`; else returns the span of what lies there.
    pub(super) fn elsewhere(addr: usize, freed: Fault, fresh: Fault) -> Option<SpanRef> {
        match Found::at(addr) {
            Found::Dead(class, FREED) => freed.abort(addr, class),
            Found::Dead(class, _) => fresh.abort(addr, class),
            Found::Inside(class) => Fault::InvalidFree.abort(addr, class),
            Found::Elsewhere(span) => span,
        }
    }
}

/// Where a block of a class lies, and what is noted about it.
pub(super) struct Place {
    pub(super) addr: usize,
    pub(super) class: ClassId,
    /// Its bytes.
    pub(super) capacity: usize,
    pub(super) mark: &'static AtomicU8,
}

impl Place {
    /// The live block at `addr`, and its mark; `None` where there is none, of a class.
    #[inline(always)]
    pub(super) fn find(addr: usize) -> Option<(Place, u8)> {
        let (mark, class) = shadow::find(LEVELS.pages.page_map(), addr)?;
        let noted = mark.load(Ordering::Relaxed);
        if !marks::is_live(noted) || !addr.is_multiple_of(MALLOC_ALIGN) {
            return None;
        }
        // Whoever has a live block's address got it from somebody, which orders.
        let class = ClassId(class.load(Ordering::Relaxed));
        Some((Place { addr, class, capacity: SETTINGS.size(class), mark }, noted))
    }

    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        Key::new(SETTINGS.secret(), self.addr)
    }

    /// Whether blocks of this size are cleared when freed, so that they read as zeros when handed out.
    #[inline]
    pub(super) fn is_cleared<const USUAL: bool>(&self) -> bool {
        USUAL || self.capacity() <= SETTINGS.zero()
    }

    /// Whether a free block is cleared, and looked at whole when it is handed out: then it is zero, whatever was done to it.
    pub(super) fn is_surely_zero(&self) -> bool {
        self.is_cleared::<false>() && self.capacity() <= SETTINGS.whole()
    }

    /// Whether a freed block was cleared, and is looked at.
    pub(super) fn is_looked_at(&self) -> bool {
        SETTINGS.whole() > 0 && self.is_cleared::<false>()
    }

    /// Whether a freed block is as it was left, as far as it is looked at.
    #[inline]
    pub(super) fn is_untouched(&self) -> bool {
        !self.is_looked_at() || marks::is_zero(self.addr, self.capacity(), SETTINGS.whole(), random::next)
    }

    /// The same, looked at whole.
    pub(super) fn is_all_zero(&self) -> bool {
        marks::is_zero(self.addr, self.capacity(), self.capacity(), random::next)
    }

    pub(super) fn fail(&self, fault: Fault) -> ! {
        fault.abort(self.addr, self.class)
    }

    /// The bytes that were asked for of a block whose mark is that of a live one, all of it as it should be.
    #[inline(always)]
    pub(super) fn inspect<const USUAL: bool>(&self, mark: u8) -> usize {
        let key = self.key();
        match marks::requested(self.addr, mark, self.capacity(), key) {
            Some(size)
                if !(USUAL || SETTINGS.canary())
                    || marks::is_whole(self.addr, size, self.capacity(), key) =>
            {
                size
            }
            _ => self.fail(Fault::Overrun),
        }
    }

    /// Writes the canary for a request of `size` bytes, and the mark of a live block. The bytes before the canary stay as they
    /// are if they are to be `kept`; else a few are zero afterwards.
    #[inline(always)]
    pub(super) fn bring_to_life(&self, size: usize, kept: bool) {
        let mark = marks::set(self.addr, size, self.capacity(), self.key(), kept);
        self.mark.store(mark, Ordering::Relaxed);
    }
}
