//! Objects in spans, and large ones apart: the memory of the collectors that do not move (or not the old).
//!
//! # Safety
//!
//! *Live*, as in [`object`](super::object): objects are marked and swept that this space has allocated.
#![allow(unsafe_code)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use freestone_kit::Alloc;

use super::Collector;
use super::base::Base;
use super::kind::{
    CELL, Fixed, Kind, Shape, ShapeOf, extent_of, is_large, lies_apart, size_in_chunk, size_of_new,
};
use super::object::{FILLER, Object, WORD};
use crate::allocator::class::{CELLS, CLASS_TABLE, Class, class_of};
use crate::allocator::large::{self, LargeObjects};
use crate::allocator::metered::Metered;
use crate::allocator::span::{self, span_of};
use crate::allocator::spans::Spans;

/// Objects in spans and apart.
pub(crate) struct Space<A: Alloc> {
    pub(crate) spans: Spans<Metered<A>>,
    pub(crate) large: LargeObjects,
    /// Bytes of large objects since the heap began.
    large_taken: u64,
    /// The second half of the cell that was begun last.
    half: Option<NonNull<u8>>,
}

/// The class of a value's block, at compile time.
struct BlockOf<K>(PhantomData<K>);

impl<K: Kind> BlockOf<K> {
    const NUMBER: usize = if Fixed::<K>::LARGE { 0 } else { class_for(Fixed::<K>::IN_CHUNK, K::ALIGN) };
    const CLASS: Class = CLASS_TABLE[Self::NUMBER];
}

/// The class of the block of a small object. One that is aligned to 16 has a filler before its header.
#[inline]
const fn class_for(size: usize, align: usize) -> usize {
    if align > WORD { class_of(size + WORD, true) } else { class_of(size, false) }
}

impl<A: Alloc> Space<A> {
    pub(crate) fn new(parent: A, limit: usize) -> Self {
        Space {
            spans: Spans::new(Metered::new(parent, limit)),
            large: LargeObjects::new(),
            large_taken: 0,
            half: None,
        }
    }

    pub(crate) fn parent(&self) -> &Metered<A> {
        self.spans.parent()
    }

    pub(crate) fn large_taken_bytes(&self) -> u64 {
        self.large_taken
    }

    pub(crate) fn taken_bytes(&self) -> u64 {
        self.spans.taken_bytes() + self.large_taken
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.parent().held_bytes()
    }

    /// An object whose payload the caller writes at once.
    #[inline]
    pub(crate) fn allocate<C: Collector, K: Kind>(&mut self, base: &mut Base, len: usize) -> Option<Object> {
        let shape = ShapeOf::<C, K>::get();
        let (class, apart) = if K::STRIDE == 0 {
            (BlockOf::<K>::NUMBER, Fixed::<K>::LARGE)
        } else {
            let size = size_of_new::<K>(len);
            let apart = lies_apart(size, K::ALIGN);
            (if apart { 0 } else { class_for(size, K::ALIGN) }, apart)
        };
        if apart {
            return self.allocate_large(shape, K::SIZE + len * K::STRIDE);
        }
        self.allocate_small(base, shape, class)
    }

    /// The same; a tiny object lies in a cell, without a header.
    #[inline]
    pub(crate) fn allocate_in_place<C: Collector, K: Kind>(
        &mut self,
        base: &mut Base,
        len: usize,
    ) -> Option<Object> {
        if !Fixed::<K>::TINY {
            return self.allocate::<C, K>(base, len);
        }
        let cell = match self.half.take() {
            Some(half) if Fixed::<K>::HALF => half,
            other => {
                let cell = self.spans.allocate(CELLS, |_| ())?;
                // SAFETY: a cell is that long.
                self.half = if Fixed::<K>::HALF { Some(unsafe { cell.add(CELL / 2) }) } else { other };
                cell
            }
        };
        // SAFETY: live, as one without a header: of its kind nobody reads one.
        Some(unsafe { Object::new(cell) })
    }

    /// Before a collection: what allocation has taken and not used is given back.
    pub(crate) fn retire(&mut self) {
        self.half = None;
        self.spans.retire();
    }

    #[inline]
    fn allocate_small<C: Collector>(
        &mut self,
        base: &mut Base,
        shape: &'static Shape<C>,
        class: usize,
    ) -> Option<Object> {
        let block = self.spans.allocate(class, |object| base.drop_object::<C>(object))?;
        let mut head = WORD;
        if shape.extent.align > WORD {
            // SAFETY: the block is new, aligned, and longer than that.
            unsafe { block.cast::<usize>().write(FILLER) };
            head += WORD;
        }
        // SAFETY: the payload lies in the block.
        let payload = unsafe { block.add(head) };
        // SAFETY: live: the header is written next.
        let object = unsafe { Object::new(payload) };
        object.set_header(core::ptr::from_ref(shape).cast());
        if shape.drop.is_some() {
            span_of(object).set_drops();
        }
        Some(object)
    }

    #[cold]
    fn allocate_large<C: Collector>(&mut self, shape: &'static Shape<C>, payload: usize) -> Option<Object> {
        let object = self.large.allocate(self.spans.parent(), payload)?;
        object.set_header(core::ptr::from_ref(shape).cast());
        self.large_taken += payload as u64;
        Some(object)
    }

    /// After marking: all is due to be swept.
    pub(crate) fn begin_sweep(&mut self) {
        self.half = None;
        self.spans.begin_sweep();
        self.large.begin_sweep();
    }

    /// Sweeps at most so many spans, and as many large objects; says whether all is swept.
    pub(crate) fn sweep<C: Collector>(&mut self, base: &mut Base, limit: usize) -> bool {
        let large = self.large.sweep(self.spans.parent(), limit, |object| base.drop_object::<C>(object));
        self.spans.sweep(limit, |object| base.drop_object::<C>(object)) && large
    }

    /// Forgets all marks.
    pub(crate) fn clear_marks(&mut self) {
        self.spans.clear_marks();
        self.large.clear_marks();
    }

    /// Drops all objects; those that are dead and not swept yet are among them.
    pub(crate) fn drop_all<C: Collector>(&mut self, base: &mut Base) {
        self.clear_marks();
        self.begin_sweep();
        self.sweep::<C>(base, usize::MAX);
    }
}

/// Marks an object; returns its bytes if it was not marked yet.
#[inline]
pub(crate) fn mark<K: Kind, const CELLED: bool>(object: Object) -> Option<usize> {
    if CELLED && Fixed::<K>::TINY {
        return span::mark_cell(object, CLASS_TABLE[CELLS]).then_some(CELL);
    }
    if is_large::<K>(object) {
        return large::mark(object).then(|| size_in_chunk::<K>(object));
    }
    let class = if K::STRIDE == 0 { BlockOf::<K>::CLASS } else { span_of(object).class() };
    span::mark(object, class).then_some(class.size as usize)
}

/// Whether an object is marked; one in a cell, if `celled`. It is also if the other half of its cell is.
pub(crate) fn is_marked_as(object: Object, celled: bool) -> bool {
    if celled { span::is_cell_marked(object, CLASS_TABLE[CELLS]) } else { is_marked(object) }
}

/// Whether an object with a header is marked.
pub(crate) fn is_marked(object: Object) -> bool {
    if extent_of(object).is_large(object) {
        return large::is_marked(object);
    }
    span::is_marked(object, span_of(object).class())
}
