//! First-class heaps: created, used, and destroyed at once with everything in them.
//!
//! A heap has slabs and large blocks of its own, under one lock, without caches. Its spans carry the address of its
//! state, so any free of one of its blocks, whoever asks, finds the heap; and dropping the heap walks its lists and
//! returns every span.
//!
//! # Safety
//!
//! - K1: the state of a heap is a live block of the general-purpose allocator from `new` to `drop`; the address in a
//!   span of state `HeapSlab` or `HeapLarge` is that of a live heap, because `drop` returns all its spans.
//! - K2: every span of a heap is in exactly one of its lists.
//! - F2 of `front.rs`.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};

use freestone_base::{CLASS_COUNT, ClassId, class_info, class_of_aligned};

use crate::central::slab;
use crate::message::Fault;
use crate::pageheap::{SpanList, SpanRef, SpanState};
use crate::slow::{self, LEVELS};
use crate::sync::Lock;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::{front, gate, record, start, tls};

struct Record {
    state: Lock<State>,
    /// Links heaps that were dropped where they could not be destroyed.
    next_doomed: AtomicPtr<Record>,
}

struct State {
    /// Slabs with free blocks.
    partial: [SpanList; CLASS_COUNT],
    /// Slabs without.
    full: SpanList,
    /// Large blocks.
    large: SpanList,
}

/// A heap of its own. Dropping it frees all its blocks at once, in O(spans), whatever is in them.
///
/// Blocks come from [`Heap::allocate`], or through `allocator_api2`'s `Allocator` for `&Heap` (features
/// `allocator-api2-02` and `allocator-api2-04`). A heap may be shared among threads; one lock serves it.
///
/// ```
/// use core::alloc::Layout;
/// let heap = freestone::Heap::new().expect("memory");
/// let block = heap.allocate(Layout::new::<[u64; 8]>()).expect("memory");
/// // SAFETY: the block is large enough, and the heap outlives this use.
/// unsafe { block.cast::<u64>().write(7) };
/// drop(heap); // the block is gone with it
/// ```
pub struct Heap {
    record: NonNull<Record>,
}

// SAFETY: the state is guarded by its lock.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    /// A new, empty heap; `None` when memory is refused.
    pub fn new() -> Option<Heap> {
        let block = front::alloc(Layout::new::<Record>(), false);
        let record = NonNull::new(block.cast::<Record>())?;
        let empty = State {
            partial: [const { SpanList::new() }; CLASS_COUNT],
            full: SpanList::new(),
            large: SpanList::new(),
        };
        // SAFETY: a fresh block of that layout.
        unsafe { record.write(Record { state: Lock::new(empty), next_doomed: AtomicPtr::new(null_mut()) }) };
        Some(Heap { record })
    }

    fn record(&self) -> &Record {
        // SAFETY: K1.
        unsafe { self.record.as_ref() }
    }

    /// A block of the heap; `None` when memory is refused. O(1) but for new slabs.
    pub fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.serve(layout, false)
    }

    /// Like [`Heap::allocate`], zeroed.
    pub fn allocate_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.serve(layout, true)
    }

    fn serve(&self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
        let class = class_of_aligned(layout.size(), layout.align());
        let Some(inside) = gate::enter_patiently() else {
            return NonNull::new(slow::allocate(
                class,
                layout.size(),
                layout.align(),
                zeroed,
                crate::counters::Call::Malloc,
            ));
        };
        start::ensure();
        let id = self.record.as_ptr().expose_provenance();
        let mut state = self.record().state.lock();
        let addr = match class {
            Some(class) => state.take_small(class, id)?,
            None => {
                let span = LEVELS.pages.alloc_heap_large(layout.size(), layout.align(), zeroed, id)?;
                state.large.push(span);
                span.first_block()
            }
        };
        drop(state);
        drop(inside);
        let block = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(addr))?;
        if zeroed && class.is_some() {
            // SAFETY: the block is ours and holds that many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        Some(block)
    }

    /// Gives one block back before the heap goes. O(1).
    ///
    /// # Safety
    /// `block` is a live block of this heap, not used afterwards.
    pub unsafe fn deallocate(&self, block: NonNull<u8>) {
        // SAFETY: F2; free finds the heap by the block's span.
        unsafe { front::free(block.as_ptr()) }
    }
}

impl State {
    fn take_small(&mut self, class: ClassId, heap: usize) -> Option<usize> {
        let list = &mut self.partial[class.index()];
        let span = match list.first() {
            Some(span) => span,
            None => {
                let span = LEVELS.pages.alloc_heap_slab(class, heap)?;
                list.push(span);
                span
            }
        };
        let mut block = [0];
        slab::take(span, class_info(class), &mut block);
        if span.free_blocks() == 0 {
            list.remove(span);
            self.full.push(span);
        }
        Some(block[0])
    }

    fn put(&mut self, span: SpanRef, addr: usize) -> Result<(), Fault> {
        if span.state() == SpanState::HeapLarge {
            if span.first_block() != addr {
                return Err(Fault::InvalidFree);
            }
            self.large.remove(span);
            LEVELS.pages.free(span);
            return Ok(());
        }
        let class = span.class();
        let was_full = span.free_blocks() == 0;
        slab::put(span, class_info(class), addr)?;
        let list = &mut self.partial[class.index()];
        if was_full {
            self.full.remove(span);
            list.push(span);
        }
        if span.free_blocks() == span.blocks() {
            list.remove(span);
            LEVELS.pages.free(span);
        }
        Ok(())
    }
}

/// Frees the block at `addr`, which lies in a span of a heap. The gate has been entered.
pub(crate) fn release(span: SpanRef, addr: usize) {
    let heap = core::ptr::with_exposed_provenance::<Record>(span.heap());
    // SAFETY: K1.
    let heap = unsafe { &*heap };
    if let Err(fault) = heap.state.lock().put(span, addr) {
        fault.abort(addr, span.class());
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        match gate::enter_patiently() {
            Some(inside) => {
                destroy(self.record());
                drop(inside);
                // SAFETY: K1: allocated with this layout, and no span leads here any more.
                unsafe { front::dealloc(self.record.as_ptr().cast(), Layout::new::<Record>()) };
            }
            None => doom(self.record()),
        }
    }
}

/// Returns every span of a heap.
fn destroy(heap: &Record) {
    let mut state = heap.state.lock();
    let State { partial, full, large } = &mut *state;
    for list in partial.iter_mut().chain([full, large]) {
        while let Some(span) = list.pop() {
            LEVELS.pages.free(span);
        }
    }
}

/// Heaps dropped by a thread that was inside already, or while the process forked. Pushed one by one and taken all at
/// once, as `deferred.rs` does.
static DOOMED: AtomicPtr<Record> = AtomicPtr::new(null_mut());

fn doom(heap: &Record) {
    let mut first = DOOMED.load(Ordering::Relaxed);
    loop {
        heap.next_doomed.store(first, Ordering::Relaxed);
        let own = core::ptr::from_ref(heap).cast_mut();
        // Release: who takes the heap finds its link (Acquire in `destroy_doomed`).
        match DOOMED.compare_exchange_weak(first, own, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Destroys the heaps that could not be destroyed where they were dropped. The gate has been entered.
#[inline]
pub(crate) fn destroy_doomed() {
    if !DOOMED.load(Ordering::Relaxed).is_null() {
        destroy_all_doomed();
    }
}

#[cold]
#[inline(never)]
fn destroy_all_doomed() {
    // The allocator's own thread does not, where calls are recorded: what is freed here is one.
    if record::is_on() && tls::current().is_cacheless() {
        return;
    }
    let mut next = DOOMED.swap(null_mut(), Ordering::Acquire);
    while let Some(record) = NonNull::new(next) {
        // SAFETY: K1: dropped, but its record not yet freed.
        let heap = unsafe { record.as_ref() };
        next = heap.next_doomed.load(Ordering::Relaxed);
        destroy(heap);
        // A sized push into a cache, or the slow path's own release; not through the gate, where we are.
        slow::release_record(record.as_ptr().cast());
    }
}

/// Resizes in place when the class stays the same; else the caller allocates, copies and deallocates.
#[cfg(any(feature = "allocator-api2-02", feature = "allocator-api2-04"))]
pub(crate) fn same_class(old: Layout, new: Layout) -> bool {
    let class = class_of_aligned(new.size(), new.align());
    class.is_some() && class == class_of_aligned(old.size(), old.align())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_serves_all_sizes_and_goes_at_once() {
        let before = LEVELS.pages.stats().slabs + LEVELS.pages.stats().large;
        let heap = Heap::new().unwrap();
        let mut blocks = Vec::new();
        for n in 0..2000usize {
            let layout = Layout::from_size_align(1 + n * 37 % 70_000, 1 << (n % 8)).unwrap();
            let block = heap.allocate_zeroed(layout).unwrap();
            assert!(block.addr().get().is_multiple_of(layout.align()));
            // SAFETY: ours, that long.
            let bytes = unsafe { core::slice::from_raw_parts_mut(block.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(n as u8);
            blocks.push((block, n as u8));
        }
        for (n, &(block, byte)) in blocks.iter().enumerate() {
            // SAFETY: live, at least one byte.
            assert_eq!(unsafe { block.as_ptr().read() }, byte);
            if n % 3 == 0 {
                // SAFETY: live, not used again.
                unsafe { heap.deallocate(block) };
            }
        }
        drop(heap);
        let after = LEVELS.pages.stats().slabs + LEVELS.pages.stats().large;
        assert!(after <= before + (1 << 20), "{before} {after}");
        LEVELS.pages.verify().unwrap();
    }
}
