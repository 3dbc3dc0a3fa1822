//! Mark-compact: what is live slides together, in its order.
//!
//! # What it is
//!
//! Objects are allocated by a pointer that moves through chunks. A collection marks what is live in bit maps beside the chunks, one
//! bit for each 16 bytes; from them it computes where each live object will be: for each 1 KiB the new address of the first object
//! that begins in it, and from there on the live bytes in between, counted in the map. Then every pointer is replaced by what is
//! computed so, and the objects move down. No second space is needed, nothing is written into the objects, and neighbours remain
//! neighbours.
//!
//! # Where it comes from
//!
//! The sliding order after Styger's LISP 2 collector (1967); bit map and offsets after Abuaiadh and others 2004 and the Compressor
//! (Kermany and Petrank 2006).
//!
//! # Costs
//!
//! | operation | cost |
//! |---|---|
//! | allocate | an addition and a comparison |
//! | collect | what is live three times: marked, pointers replaced, moved; the maps of all chunks once |
//! | memory | a header word an object, sizes rounded up to 16; during a collection 1/43 for the maps |
//!
//! Large objects lie apart and do not move.
//!
//! # Safety
//!
//! *Reached*: while marking, objects are where they were, and the visitor is shown live ones only. *Slide*: an object's new place is
//! never behind its old one, in the order of the chunks, since what lies before it needs no more room than it did: so objects that
//! are moved in that order overwrite only what has been moved or is dead. Pointers are replaced before anything moves.
#![allow(unsafe_code)]

use core::ptr::{NonNull, null_mut};

use freestone_kit::Alloc;

use super::base::Base;
use super::kind::{
    Fixed, Kind, ShapeOf, extent_of, is_large, lies_apart, shape_of, size_in_chunk, size_of_new,
};
use super::object::{Object, WORD};
use super::{Collector, GcConfig, Pending, Roots, Visitor, attempt_all, sealed};
use crate::allocator::Global;
use crate::allocator::chunk::{CHUNK, Chunk, Chunks, LEAD};
use crate::allocator::large::{self, LargeObjects};
use crate::allocator::metered::Metered;

/// Bytes that a bit of the maps stands for; objects are as long as some of these, and their payloads aligned to it.
const GRAIN: usize = 16;
/// Words of a chunk's map.
const WORDS: usize = CHUNK / GRAIN / 64;

/// Slides what is live together.
pub struct MarkCompact<A: Alloc + 'static = Global> {
    base: Base,
    parent: Metered<A>,
    space: Chunks,
    slider: Slider,
    /// Objects with a destructor.
    drops: Vec<Object>,
    large: LargeObjects,
    large_taken: u64,
    /// Bytes given out before the last collection, less what was live then.
    taken: u64,
    /// Pointers are being replaced, or objects moved.
    moving: bool,
}

/// The maps, and what is to be followed.
#[doc(hidden)]
#[derive(Default)]
pub struct Slider {
    /// A bit for each grain of a live object.
    live: Vec<u64>,
    /// A bit for the grain in which a live object's payload begins.
    starts: Vec<u64>,
    /// For each word of `starts`: where the first object of it goes, less the live grains of the word before it.
    places: Vec<*mut u8>,
    stack: Vec<Object>,
    pending: Vec<Pending<Slider>>,
    bytes: usize,
    /// Marking is done: pointers are replaced.
    replacing: bool,
}

/// An object's bytes in a chunk of this collector.
#[inline]
fn slot(size: usize) -> usize {
    size.next_multiple_of(GRAIN)
}

/// Where an object's bit is in the maps.
#[inline]
fn place_of(object: Object) -> (usize, u32) {
    let chunk = Chunk::number_of(object);
    let grain = (object.address() % CHUNK) / GRAIN;
    (chunk * WORDS + grain / 64, (grain % 64) as u32)
}

impl Slider {
    fn begin(&mut self, chunks: usize) {
        self.live.clear();
        self.live.resize(chunks * WORDS, 0);
        self.starts.clear();
        self.starts.resize(chunks * WORDS, 0);
        self.places.clear();
        self.places.resize(chunks * WORDS, null_mut());
        self.bytes = 0;
        self.replacing = false;
    }

    fn end(&mut self) {
        *self = Slider::default();
    }

    #[inline]
    fn is_marked(&self, object: Object) -> bool {
        let (word, bit) = place_of(object);
        self.starts[word] & (1 << bit) != 0
    }

    /// Marks an object of so many bytes; says whether it was not marked yet.
    #[inline]
    fn mark(&mut self, object: Object, size: usize) -> bool {
        let (mut word, bit) = place_of(object);
        let start = 1 << bit;
        if self.starts[word] & start != 0 {
            return false;
        }
        self.starts[word] |= start;
        self.bytes += size;
        let mut grains = size / GRAIN;
        let mut from = bit as usize;
        while grains > 0 {
            let here = grains.min(64 - from);
            let ones = if here == 64 { u64::MAX } else { ((1 << here) - 1) << from };
            self.live[word] |= ones;
            (word, from, grains) = (word + 1, 0, grains - here);
        }
        true
    }

    /// Where a live object will be.
    #[inline]
    fn destination(&self, object: Object) -> Object {
        let (word, bit) = place_of(object);
        let before = (self.live[word] & ((1 << bit) - 1)).count_ones() as usize;
        let at = self.places[word].wrapping_add(before * GRAIN);
        // SAFETY: the place lies in a chunk, so it is not null.
        let payload = unsafe { NonNull::new_unchecked(at) };
        // SAFETY: live: the object will be there before anybody looks.
        unsafe { Object::new(payload) }
    }
}

impl sealed::Sealed for Slider {}

impl Visitor for Slider {
    #[inline]
    fn edge<K: Kind>(&mut self, place: &mut Object) {
        let object = *place;
        let apart = is_large::<K>(object);
        if self.replacing {
            if !apart {
                *place = self.destination(object);
            }
            return;
        }
        let size = slot(size_in_chunk::<K>(object));
        let fresh = if apart {
            let fresh = large::mark(object);
            self.bytes += if fresh { size } else { 0 };
            fresh
        } else {
            self.mark(object, size)
        };
        if fresh && K::TRACES {
            self.stack.push(object);
        }
    }

    fn fate(&self, object: Object, _tiny: bool) -> Option<Object> {
        if extent_of(object).is_large(object) {
            // Its mark is still there when pointers are replaced.
            return large::is_marked(object).then_some(object);
        }
        if self.replacing {
            return Some(self.destination(object));
        }
        self.is_marked(object).then_some(object)
    }

    fn ephemeron(&mut self, pending: Pending<Self>) {
        if !(pending.attempt)(pending.object, self) {
            self.pending.push(pending);
        }
    }
}

impl<A: Alloc + 'static> MarkCompact<A> {
    fn mark(&mut self) {
        loop {
            while let Some(object) = self.slider.stack.pop() {
                // SAFETY: reached.
                unsafe { (shape_of::<Self>(object).trace)(object, &mut self.slider) };
            }
            if !attempt_all(&mut self.slider, |slider| &mut slider.pending) {
                return;
            }
        }
    }

    /// Runs the destructors of what is not marked.
    fn drop_dead(&mut self) {
        let mut drops = core::mem::take(&mut self.drops);
        drops.retain(|&object| {
            let live = self.slider.is_marked(object);
            if !live {
                self.base.drop_object::<Self>(object);
            }
            live
        });
        self.drops = drops;
    }

    /// Computes where everything goes, in the order in which it lies. Returns the chunks up to where they will be filled.
    fn plan(&mut self, chunks: &[Chunk]) -> Vec<Chunk> {
        let slider = &mut self.slider;
        let mut filled: Vec<Chunk> = Vec::new();
        let mut to = chunks.iter().copied();
        // Both are addresses of payloads.
        let (mut at, mut limit) = (null_mut::<u8>(), 0);
        for (word, &starts) in slider.starts.iter().enumerate() {
            if starts == 0 {
                continue;
            }
            let (first, last) = (starts.trailing_zeros(), 63 - starts.leading_zeros());
            let begin = chunks[word / WORDS].block.as_ptr().wrapping_add((word % WORDS) * 64 * GRAIN);
            // SAFETY: live: a marked object begins there.
            let object = unsafe { object_at(begin.wrapping_add(last as usize * GRAIN)) };
            let behind =
                slot(extent_of(object).size_in_chunk(object)).saturating_sub((64 - last as usize) * GRAIN);
            let len = (slider.live[word] >> first).count_ones() as usize * GRAIN + behind;
            if at.is_null() || at.addr() - WORD + len > limit {
                if let Some(full) = filled.last_mut() {
                    full.end = at.wrapping_sub(WORD);
                }
                let Some(next) = to.next() else { unreachable!("what is live lay in these chunks") };
                filled.push(next);
                at = next.start().wrapping_add(LEAD + WORD);
                limit = next.limit().addr();
            }
            let before = (slider.live[word] & ((1 << first) - 1)).count_ones() as usize;
            slider.places[word] = at.wrapping_sub(before * GRAIN);
            at = at.wrapping_add(len);
        }
        if let Some(last) = filled.last_mut() {
            last.end = at.wrapping_sub(WORD);
        }
        filled
    }

    /// Shows every live object in a chunk, in order.
    fn each_live(starts: &[u64], chunks: &[Chunk], mut each: impl FnMut(Object)) {
        for (word, &starts) in starts.iter().enumerate() {
            let mut starts = starts;
            while starts != 0 {
                let grain = (word % WORDS) * 64 + starts.trailing_zeros() as usize;
                let at = chunks[word / WORDS].block.as_ptr().wrapping_add(grain * GRAIN);
                // SAFETY: live: a marked object begins there.
                each(unsafe { object_at(at) });
                starts &= starts - 1;
            }
        }
    }

    fn replace(&mut self, roots: &mut dyn Roots<Self>, chunks: &[Chunk]) {
        self.slider.replacing = true;
        roots.trace(&mut self.slider);
        roots.settle_before_move(&|object, tiny| self.slider.fate(object, tiny));
        let starts = core::mem::take(&mut self.slider.starts);
        let slider = &mut self.slider;
        let mut trace = |object| {
            let shape = shape_of::<Self>(object);
            if shape.traces {
                // SAFETY: reached.
                unsafe { (shape.trace)(object, slider) };
            }
        };
        Self::each_live(&starts, chunks, &mut trace);
        self.large.objects().filter(|&object| large::is_marked(object)).for_each(&mut trace);
        self.slider.starts = starts;
    }

    fn slide(&mut self, chunks: &[Chunk]) {
        for object in &mut self.drops {
            *object = self.slider.destination(*object);
        }
        let slider = &self.slider;
        Self::each_live(&slider.starts, chunks, |object| {
            let to = slider.destination(object);
            if to != object {
                let size = extent_of(object).size_in_chunk(object);
                self.base.stats.moved_bytes += size as u64;
                slide_one(object, to, size);
            }
        });
    }
}

/// # Safety
///
/// Live: an object's payload begins there.
unsafe fn object_at(at: *mut u8) -> Object {
    // SAFETY: it lies in a chunk, so it is not null.
    let payload = unsafe { NonNull::new_unchecked(at) };
    // SAFETY: the caller's promise.
    unsafe { Object::new(payload) }
}

/// Moves an object with its header; the places may overlap.
fn slide_one(from: Object, to: Object, size: usize) {
    let source = from.payload().as_ptr().wrapping_sub(WORD);
    let destination = to.payload().as_ptr().wrapping_sub(WORD);
    // SAFETY: slide: what is there has been moved or is dead, and that many bytes are in the chunk.
    unsafe { destination.copy_from(source, size) };
}

impl<A: Alloc + 'static> sealed::Sealed for MarkCompact<A> {}

// SAFETY: all that can be reached is marked; every pointer to what moves is replaced before it does.
unsafe impl<A: Alloc + 'static> Collector for MarkCompact<A> {
    type Parent = A;
    type Marker = Slider;
    type Young = Slider;
    const NAME: &'static str = "mark-compact";
    const MOVES: bool = true;

    fn build(config: GcConfig, parent: A) -> Self {
        MarkCompact {
            base: Base::new(config),
            parent: Metered::new(parent, config.hard_limit),
            space: Chunks::with_lead(),
            slider: Slider::default(),
            drops: Vec::new(),
            large: LargeObjects::new(),
            large_taken: 0,
            taken: 0,
            moving: false,
        }
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    #[inline]
    fn allocate<K: Kind>(&mut self, len: usize) -> Option<Object> {
        let (size, apart) = if K::STRIDE == 0 {
            (Fixed::<K>::IN_CHUNK, Fixed::<K>::LARGE)
        } else {
            let size = size_of_new::<K>(len);
            (size, lies_apart(size, K::ALIGN))
        };
        let object = if apart {
            self.large_taken += size as u64;
            self.large.allocate(&self.parent, size - WORD)?
        } else {
            self.space.allocate(&self.parent, slot(size), false)?
        };
        object.set_header(core::ptr::from_ref(ShapeOf::<Self, K>::get()).cast());
        if K::DROPS && !apart {
            self.drops.push(object);
        }
        Some(object)
    }

    fn allocated_bytes(&self) -> u64 {
        self.taken + self.space.used_bytes() as u64 + self.large_taken
    }

    fn held_bytes(&self) -> usize {
        self.parent.held_bytes()
    }

    #[inline]
    fn barrier(&mut self, _object: Object) {}

    unsafe fn collect(&mut self, roots: &mut dyn Roots<Self>) {
        let allocated = self.allocated_bytes();
        self.space.number();
        self.slider.begin(self.space.count());
        roots.trace(&mut self.slider);
        self.mark();
        if roots.rescue(&mut self.slider) {
            self.mark();
        }
        self.base.clear_ephemerons(self.slider.pending.drain(..));
        roots.settle(&|object, tiny| self.slider.fate(object, tiny));
        self.drop_dead();

        self.moving = true;
        let chunks = self.space.take();
        let filled = self.plan(&chunks);
        self.replace(roots, &chunks);
        self.slide(&chunks);
        self.space.recycle(chunks[filled.len()..].to_vec());
        self.space.restore(filled);
        self.moving = false;

        self.large.begin_sweep();
        self.large.sweep(&self.parent, usize::MAX, |object| self.base.drop_object::<Self>(object));
        self.taken = allocated - self.large_taken - self.space.used_bytes() as u64;
        let live = self.slider.bytes;
        self.slider.end();
        self.base.stats.collections += 1;
        self.base.pace(live, allocated);
        let spare = self.base.growth(live) / CHUNK + 1;
        self.space.trim(&self.parent, spare);
    }

    fn abandon(&mut self) -> bool {
        self.slider.end();
        self.large.clear_marks();
        // Some pointers are replaced, and some are not.
        !self.moving
    }

    unsafe fn destroy(&mut self) {
        for object in core::mem::take(&mut self.drops) {
            self.base.drop_object::<Self>(object);
        }
        self.large.clear_marks();
        self.large.begin_sweep();
        self.large.sweep(&self.parent, usize::MAX, |object| self.base.drop_object::<Self>(object));
        self.space.free(&self.parent);
    }
}
