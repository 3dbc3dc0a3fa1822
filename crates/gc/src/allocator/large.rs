//! Large objects: each a block of the parent's, found again by a list.
//!
//! # Safety
//!
//! *Large*: the [`Frame`] of a large object lies [`FRAME`] bytes before its payload, in a block that the list holds until the object
//! is freed.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use freestone_kit::Alloc;

use crate::collector::object::{Object, WORD};

/// What lies before a large object's header.
#[repr(C)]
struct Frame {
    /// Bytes of the whole block.
    size: usize,
    marked: bool,
}

/// From the block to the payload: the frame, room, and the header word.
const FRAME: usize = 32;
const _: () = assert!(size_of::<Frame>() + WORD <= FRAME);

/// The large objects of a heap.
pub(crate) struct LargeObjects {
    objects: Vec<Object>,
    bytes: usize,
    /// So many from the first on are due to be swept.
    unswept: usize,
}

fn frame(object: Object) -> *mut Frame {
    object.payload().as_ptr().wrapping_sub(FRAME).cast()
}

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, 16).ok()
}

/// Marks a large object; says whether it was not marked yet.
pub(crate) fn mark(object: Object) -> bool {
    let fresh = !is_marked(object);
    set_marked(object, true);
    fresh
}

/// Whether a large object is marked.
pub(crate) fn is_marked(object: Object) -> bool {
    // SAFETY: large.
    unsafe { (*frame(object)).marked }
}

fn set_marked(object: Object, marked: bool) {
    // SAFETY: large.
    unsafe { (*frame(object)).marked = marked };
}

fn size(object: Object) -> usize {
    // SAFETY: large.
    unsafe { (*frame(object)).size }
}

impl LargeObjects {
    pub(crate) const fn new() -> Self {
        LargeObjects { objects: Vec::new(), bytes: 0, unswept: 0 }
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        self.objects.iter().copied()
    }

    /// A new large object with room for a payload of that many bytes; its header is the caller's to write.
    pub(crate) fn allocate(&mut self, parent: &impl Alloc, payload: usize) -> Option<Object> {
        let size = payload.checked_add(FRAME)?;
        let block = parent.allocate(layout(size)?).ok()?.cast::<u8>();
        // SAFETY: large: the block is longer than a frame and aligned.
        unsafe { block.cast::<Frame>().write(Frame { size, marked: false }) };
        // SAFETY: the payload follows.
        let payload = unsafe { block.add(FRAME) };
        // SAFETY: live as soon as the caller has written the header.
        let object = unsafe { Object::new(payload) };
        self.objects.push(object);
        self.bytes += size;
        Some(object)
    }

    /// After marking: what is there now is due to be swept.
    pub(crate) fn begin_sweep(&mut self) {
        self.unswept = self.objects.len();
    }

    /// What is not marked is freed, after `each` has seen it; the marks are cleared; at most `limit` objects are looked at. Returns
    /// whether all have been.
    pub(crate) fn sweep(&mut self, parent: &impl Alloc, limit: usize, mut each: impl FnMut(Object)) -> bool {
        let end = self.unswept.saturating_sub(limit);
        while self.unswept > end {
            self.unswept -= 1;
            let object = self.objects[self.unswept];
            if is_marked(object) {
                set_marked(object, false);
                continue;
            }
            // The last takes its place, which has been swept, or is new.
            self.objects.swap_remove(self.unswept);
            each(object);
            self.bytes -= size(object);
            free(parent, object);
        }
        self.unswept == 0
    }

    /// Forgets all marks.
    pub(crate) fn clear_marks(&self) {
        for &object in &self.objects {
            set_marked(object, false);
        }
    }
}

fn free(parent: &impl Alloc, object: Object) {
    let size = size(object);
    let Some(block) = NonNull::new(frame(object).cast::<u8>()) else { return };
    if let Some(layout) = layout(size) {
        // SAFETY: large: a live block of that layout, which nobody uses any more.
        unsafe { parent.deallocate(block, layout) };
    }
}
