//! Allocators that a player can ask: the one that the process has, and those of the kit.
//!
//! # Safety
//!
//! - P1: what is freed or resized is what the same back end handed out, live, with the size and alignment of its last request.
//! - P2: the room of [`Nothing`] is mapped for writing as long as the process lives.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use freestone_kit::Alloc;

/// An allocator as a player sees it.
pub trait Backend: Sync {
    /// A block, null when it is refused.
    fn allocate(&self, size: usize, align: usize, zeroed: bool) -> *mut u8;

    /// Gives one back.
    ///
    /// # Safety
    /// P1.
    unsafe fn free(&self, block: *mut u8, size: usize, align: usize);

    /// Resizes one; null when it is refused, and the old one stands.
    ///
    /// # Safety
    /// P1.
    unsafe fn resize(&self, block: *mut u8, old: usize, align: usize, new: usize) -> *mut u8;
}

/// The alignment up to which `malloc` serves.
const MALLOC: usize = 16;

/// The process's own allocator, whichever library brought it.
pub struct C;

impl Backend for C {
    #[inline]
    fn allocate(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        let block = if align > MALLOC {
            // SAFETY: C's own functions; any number is allowed.
            unsafe { libc::memalign(align, size) }
        } else if zeroed {
            // SAFETY: as above.
            unsafe { libc::calloc(1, size) }
        } else {
            // SAFETY: as above.
            unsafe { libc::malloc(size) }
        };
        let block = block.cast::<u8>();
        if zeroed && align > MALLOC && !block.is_null() {
            // SAFETY: a new block of so many bytes.
            unsafe { block.write_bytes(0, size) };
        }
        block
    }

    #[inline]
    unsafe fn free(&self, block: *mut u8, _size: usize, _align: usize) {
        // SAFETY: P1.
        unsafe { libc::free(block.cast()) }
    }

    #[inline]
    unsafe fn resize(&self, block: *mut u8, old: usize, align: usize, new: usize) -> *mut u8 {
        if align <= MALLOC {
            // SAFETY: P1. For no bytes it would free.
            return unsafe { libc::realloc(block.cast(), new.max(1)) }.cast();
        }
        let to = self.allocate(new, align, false);
        if !to.is_null() {
            // SAFETY: both hold so many bytes, and both are live.
            unsafe { to.copy_from_nonoverlapping(block, old.min(new)) };
            // SAFETY: P1.
            unsafe { self.free(block, old, align) };
        }
        to
    }
}

/// One of the kit's behind a lock, since those of the textbooks are for one thread.
pub struct Kit<A>(Mutex<Anywhere<A>>);

/// What threads may pass on to each other.
struct Anywhere<A>(A);

// SAFETY: the allocators that are made here keep nothing that belongs to a thread; the lock lets in one at a time.
unsafe impl<A> Send for Anywhere<A> {}

impl<A> Kit<A> {
    pub fn new(allocator: A) -> Kit<A> {
        Kit(Mutex::new(Anywhere(allocator)))
    }

    fn lock(&self) -> MutexGuard<'_, Anywhere<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layout(size: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(size.max(1), align).ok()
}

impl<A: Alloc> Backend for Kit<A> {
    fn allocate(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        let Some(layout) = layout(size, align) else { return null_mut() };
        let kit = self.lock();
        let block = if zeroed { kit.0.allocate_zeroed(layout) } else { kit.0.allocate(layout) };
        block.map_or(null_mut(), |block| block.cast().as_ptr())
    }

    unsafe fn free(&self, block: *mut u8, size: usize, align: usize) {
        if let (Some(layout), Some(block)) = (layout(size, align), NonNull::new(block)) {
            // SAFETY: P1.
            unsafe { self.lock().0.deallocate(block, layout) };
        }
    }

    unsafe fn resize(&self, block: *mut u8, old: usize, align: usize, new: usize) -> *mut u8 {
        let (Some(old), Some(new), Some(block)) =
            (layout(old, align), layout(new, align), NonNull::new(block))
        else {
            return null_mut();
        };
        let kit = self.lock();
        let resized = if new.size() >= old.size() {
            // SAFETY: P1; the new layout is not shorter.
            unsafe { kit.0.grow(block, old, new) }
        } else {
            // SAFETY: P1; the new layout is shorter.
            unsafe { kit.0.shrink(block, old, new) }
        };
        resized.map_or(null_mut(), |block| block.cast().as_ptr())
    }
}

/// The name of [`Nothing`], which is no allocator that anybody would ask for.
pub const NOTHING: &str = "nothing";

/// What costs nothing: blocks are places that come round, one over the other, in a room of each thread's that stays in the
/// cache. What a player takes with it is its own.
pub struct Nothing {
    room: *mut u8,
    threads: AtomicUsize,
}

// SAFETY: the room is bytes that anybody may write (P2), and the rest is atomic.
unsafe impl Sync for Nothing {}

impl Nothing {
    const RING: usize = 1 << 18;
    /// Behind the rings of so many threads lies the place of all blocks that are larger than one.
    const THREADS: usize = 1 << 12;
    const ROOM: usize = 1 << 36;

    /// Maps the room.
    pub fn new() -> Result<Nothing, String> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping at an address of the kernel's choice.
        let room = unsafe { libc::mmap(null_mut(), Nothing::ROOM, protection, flags, -1, 0) };
        match room == libc::MAP_FAILED {
            true => Err(format!("no addresses: {}", std::io::Error::last_os_error())),
            false => Ok(Nothing { room: room.cast(), threads: AtomicUsize::new(0) }),
        }
    }
}

impl Backend for Nothing {
    #[inline]
    fn allocate(&self, size: usize, align: usize, _zeroed: bool) -> *mut u8 {
        thread_local! {
            /// The thread's ring, counted from 1, and the next place in it.
            static RING: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
        }
        let (mut ring, next) = RING.get();
        if ring == 0 {
            ring = self.threads.fetch_add(1, Ordering::Relaxed) % Nothing::THREADS + 1;
        }
        let at = next.next_multiple_of(align.clamp(MALLOC, Nothing::RING));
        if at + size > Nothing::RING {
            RING.set((ring, size.min(Nothing::RING)));
            let (from, to) = match size <= Nothing::RING {
                true => ((ring - 1) * Nothing::RING, ring * Nothing::RING),
                false => (Nothing::THREADS * Nothing::RING, Nothing::ROOM),
            };
            return if from + size <= to { self.room.wrapping_add(from) } else { null_mut() };
        }
        RING.set((ring, at + size));
        self.room.wrapping_add((ring - 1) * Nothing::RING + at)
    }

    unsafe fn free(&self, _block: *mut u8, _size: usize, _align: usize) {}

    unsafe fn resize(&self, _block: *mut u8, _old: usize, align: usize, new: usize) -> *mut u8 {
        self.allocate(new, align, false)
    }
}

/// The kit's allocators that a trace can be played on, by name.
pub const KIT: [&str; 9] =
    ["first-fit", "next-fit", "best-fit", "worst-fit", "segregated-fit", "buddy", "slab", "bins", "smp"];

/// What is done with a back end, whatever its type.
pub trait With {
    type Result;
    fn with(self, backend: &impl Backend) -> Self::Result;
}

/// Makes the kit's allocator of this name, over pages of the system; `None` when there is none.
pub fn with_kit<W: With>(name: &str, with: W) -> Option<W::Result> {
    use freestone_kit::page::Page;
    use freestone_kit::segregate::Segregate;
    use freestone_kit::textbook::{BestFit, FirstFit, NextFit, SegregatedFit, Textbook, WorstFit};
    use freestone_kit::{Bins, Buddy, SlabHeap, Smp};
    Some(match name {
        "first-fit" => with.with(&Kit::new(Textbook::<FirstFit, _>::new(Page))),
        "next-fit" => with.with(&Kit::new(Textbook::<NextFit, _>::new(Page))),
        "best-fit" => with.with(&Kit::new(Textbook::<BestFit, _>::new(Page))),
        "worst-fit" => with.with(&Kit::new(Textbook::<WorstFit, _>::new(Page))),
        "segregated-fit" => with.with(&Kit::new(Textbook::<SegregatedFit, _>::new(Page))),
        // Its largest block; what is larger, or aligned beyond a page, comes from the system.
        "buddy" => {
            with.with(&Kit::new(Segregate::<{ 1 << 22 }, _, _>::new(Buddy::<_, 4, 22>::new(Page), Page)))
        }
        "slab" => with.with(&Kit::new(SlabHeap::new(Page))),
        "bins" => with.with(&Kit::new(Bins::new(Page))),
        "smp" => with.with(&Kit::new(Smp::new(Page))),
        _ => return None,
    })
}
