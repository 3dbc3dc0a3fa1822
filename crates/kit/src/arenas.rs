//! Several instances of one allocator, shared among threads: ptmalloc's arenas.
//!
//! # What it is
//!
//! [`Arenas`] makes a concurrent allocator out of any allocator for one thread at a time: `N` instances of it, each
//! behind a lock. A thread keeps to one arena. When it finds that one taken, it moves to the next that is free, and
//! stays there; only when all are taken, one more is opened, up to `N`, and after that it waits for its own. So
//! threads spread over the arenas by themselves, as many as are at work at once.
//!
//! ```text
//! thread 1 ──┐
//! thread 2 ──┴──► | lock | arena 0 |
//! thread 3 ─────► | lock | arena 1 |          not open yet: | lock | arena 2 |
//!
//! block:  | the caller's bytes | tag: which arena, 2 B |
//! ```
//!
//! Any thread may free any block: a tag behind the block says which arena it came from. The tag also shows an
//! overrun, which is named when the block is freed.
//!
//! # Where it comes from
//!
//! Wolfram Gloger's ptmalloc (1996 on), which became the malloc of glibc: `arena_get`, `arena_get2` and, when an
//! arena has no memory left, `arena_get_retry`. There the arena follows from the block's address, which binds it to
//! one layout of heaps in memory; the tag makes it work over everything.
//!
//! # When to use it
//!
//! To share [`Bins`](crate::bins::Bins) or another general heap among a few threads. One lock around it
//! ([`locked`](crate::locked)) does where the lock is seldom contended. Memory that one arena has free does not serve
//! the others, and a block freed by another thread takes the lock of its arena: for producers and consumers at a high
//! rate [`Magazines`](crate::slab::Magazines) or [`smp`](crate::smp) fit better.
//!
//! # Costs
//!
//! What the instance costs, an uncontended lock, and two bytes a block.
//!
//! ```
//! use freestone_kit::arenas::Arenas;
//! use freestone_kit::bins::Bins;
//! use freestone_kit::buddy::Buddy;
//! use freestone_kit::Alloc;
//! use std::alloc::Layout;
//! use std::mem::MaybeUninit;
//!
//! let mut memory = vec![[MaybeUninit::uninit(); 1 << 18]; 2];
//! let mut parts = memory.iter_mut();
//! let arenas: Arenas<_, 2> =
//!     Arenas::from_fn(|_| Bins::new(Buddy::<_, 12, 18>::over(parts.next().unwrap())));
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| {
//!             let block = arenas.allocate(Layout::new::<u64>()).unwrap();
//!             // SAFETY: the block is live, and has that layout.
//!             unsafe { arenas.deallocate(block.cast(), Layout::new::<u64>()) };
//!         });
//!     }
//! });
//! ```
//!
//! # Safety
//!
//! *Tag*: behind each live block, in the same block of its arena, lies the tag, written when the block got its size.
//! The block with its tag is a block of that arena, for exactly that layout, since no more than was asked for is ever
//! granted.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::NonNull;

use crate::alloc::{moved, nothing};
use crate::foreign::implement_allocator;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Guard, Lock};
use crate::{Alloc, AllocError, AllocStats, Allocated, ResizeInPlace, Stats};

/// Two cache lines, since processors fetch them in pairs: a thread at one arena does not slow down one at another.
#[repr(align(128))]
struct Slot<A>(Lock<A>);

/// `N` instances of `A`, shared among threads. See the [module](self).
///
/// An instance must be able to go from thread to thread:
///
/// ```compile_fail
/// # use freestone_kit::arenas::Arenas;
/// fn shared<T: Sync>(_: T) {}
/// # struct Heap(*mut u8);
/// # unsafe impl freestone_kit::Alloc for Heap {
/// #     fn allocate(&self, _: std::alloc::Layout) -> freestone_kit::Allocated { Err(freestone_kit::AllocError) }
/// #     unsafe fn deallocate(&self, _: std::ptr::NonNull<u8>, _: std::alloc::Layout) {}
/// # }
/// // `Heap` holds a raw pointer, and says nothing about threads.
/// shared(Arenas::new([Heap(std::ptr::null_mut())]));
/// ```
pub struct Arenas<A, const N: usize> {
    slots: [Slot<A>; N],
    /// How many of them threads may use so far. Only a hint: what an arena holds is guarded by its lock.
    open: AtomicUsize,
    /// Times that a thread left a taken arena for another.
    moves: AtomicUsize,
}

/// What an [`Arenas`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenasStats {
    /// Arenas opened so far.
    pub open: usize,
    /// Times that a thread found its arena taken and moved to another.
    pub moves: usize,
}

/// Bytes of the tag.
const TAG: usize = 2;
/// A byte that an overrun is unlikely to leave as it was.
const MARK: u8 = 0xa7;

/// The layout with the arena: the tag behind the caller's bytes.
fn tagged(layout: Layout) -> Result<Layout, AllocError> {
    let size = layout.size().checked_add(TAG).ok_or(AllocError)?;
    Layout::from_size_align(size, layout.align()).map_err(|_| AllocError)
}

#[cfg(feature = "std")]
std::thread_local! {
    /// The number of the thread's arena, the same for every `Arenas`: moving on from a taken one in one of them is a
    /// good guess for the others.
    static HOME: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The arena that this thread used last, if it is known. Destructors of other thread-locals may still allocate when
/// this one is gone; they get any arena.
#[cfg(feature = "std")]
fn home() -> Option<usize> {
    HOME.try_with(Cell::get).ok().flatten()
}

#[cfg(feature = "std")]
fn set_home(arena: usize) {
    let _ = HOME.try_with(|home| home.set(Some(arena)));
}

/// Without thread-locals, a thread is told by where its stack lies.
#[cfg(not(feature = "std"))]
fn home() -> Option<usize> {
    let here = Cell::new(0_u8);
    Some((core::ptr::from_ref(&here).addr() >> 16).wrapping_mul(0x9e37_79b9) >> 16)
}

#[cfg(not(feature = "std"))]
fn set_home(_: usize) {}

impl<A, const N: usize> Arenas<A, N> {
    /// Shares these instances, the first of which is open from the start.
    pub fn new(instances: [A; N]) -> Self {
        const { assert!(0 < N && N <= 256, "1 to 256 arenas") };
        let slots = instances.map(|instance| Slot(Lock::new(instance)));
        Arenas { slots, open: AtomicUsize::new(1), moves: AtomicUsize::new(0) }
    }

    /// Shares the instances that `make` makes, given their numbers.
    pub fn from_fn(make: impl FnMut(usize) -> A) -> Self {
        Self::new(core::array::from_fn(make))
    }

    /// What it did so far.
    pub fn arenas_stats(&self) -> ArenasStats {
        // Relaxed: figures, by which nobody reaches anything.
        ArenasStats { open: self.open.load(Ordering::Relaxed), moves: self.moves.load(Ordering::Relaxed) }
    }

    /// Looks at an arena while its lock is held; `None` when there is none of that number.
    pub fn with<R>(&self, arena: usize, look: impl FnOnce(&A) -> R) -> Option<R> {
        Some(look(&self.slots.get(arena)?.0.lock()))
    }

    /// The thread's arena, or one to which it moves.
    fn enter(&self) -> (usize, Guard<'_, A>) {
        // Relaxed: an arena is ready whether open or not; its lock is what publishes its contents.
        let open = self.open.load(Ordering::Relaxed);
        let home = home().unwrap_or_else(|| {
            let any = self.moves.load(Ordering::Relaxed) % open;
            set_home(any);
            any
        }) % open;
        match self.slots[home].0.try_lock() {
            Some(guard) => (home, guard),
            None => self.enter_slow(home, open),
        }
    }

    /// The thread's arena is taken: to the next that is not, else to a new one, else wait.
    #[cold]
    fn enter_slow(&self, home: usize, open: usize) -> (usize, Guard<'_, A>) {
        for step in 1..open {
            let arena = (home + step) % open;
            if let Some(guard) = self.slots[arena].0.try_lock() {
                self.moved(arena);
                return (arena, guard);
            }
        }
        // Relaxed, as in `enter`. Two threads that find all taken at once open one arena for both, or two: either
        // will do.
        if open < N
            && self.open.compare_exchange(open, open + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.moved(open);
            return (open, self.slots[open].0.lock());
        }
        (home, self.slots[home].0.lock())
    }

    fn moved(&self, arena: usize) {
        set_home(arena);
        self.moves.fetch_add(1, Ordering::Relaxed);
    }
}

impl<A: Alloc, const N: usize> Arenas<A, N> {
    /// Marks a block of `arena` as such.
    ///
    /// # Safety
    ///
    /// The arena served this block for `tagged(layout)`.
    unsafe fn mark(block: NonNull<u8>, layout: Layout, arena: usize) -> NonNull<[u8]> {
        // SAFETY: tag: the block is so long.
        let tag = unsafe { block.add(layout.size()) };
        // SAFETY: tag: two bytes lie behind the caller's.
        unsafe { tag.cast::<[u8; TAG]>().write_unaligned([arena as u8, MARK]) };
        NonNull::slice_from_raw_parts(block, layout.size())
    }

    /// The arena of a block.
    ///
    /// # Panics
    ///
    /// When the tag was overwritten.
    ///
    /// # Safety
    ///
    /// The block is live, and `layout` is what it was asked for.
    unsafe fn arena_of(block: NonNull<u8>, layout: Layout) -> usize {
        // SAFETY: tag: the block is so long.
        let tag = unsafe { block.add(layout.size()) };
        // SAFETY: tag: written when the block got its size.
        let [arena, mark] = unsafe { tag.cast::<[u8; TAG]>().read_unaligned() };
        let arena = usize::from(arena);
        assert!(
            mark == MARK && arena < N,
            "overrun: the tag behind the block at {block:p} of {} B was overwritten, or that is not its size",
            layout.size()
        );
        arena
    }

    fn serve(&self, layout: Layout, serve: impl Fn(&A, Layout) -> Allocated) -> Allocated {
        if layout.size() == 0 {
            return Ok(nothing(layout));
        }
        let wanted = tagged(layout)?;
        let (mut arena, guard) = self.enter();
        let mut served = serve(&guard, wanted);
        drop(guard);
        if served.is_err() {
            // Another may have memory where this one has none. One lock at a time, so that nobody waits in a circle.
            let others = (0..N).filter(|&other| other != arena);
            for other in others {
                served = serve(&self.slots[other].0.lock(), wanted);
                if served.is_ok() {
                    arena = other;
                    break;
                }
            }
        }
        // SAFETY: served by that arena for that layout.
        Ok(unsafe { Self::mark(served?.cast(), layout, arena) })
    }

    /// Lets the arena of a block change its size, moving it or not; `None` for a size of zero.
    ///
    /// # Safety
    ///
    /// The block is live and fits `old`; `resize` does to the arena's block what it is called for.
    unsafe fn resize(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
        resize: impl FnOnce(&A, Layout, Layout) -> Allocated,
    ) -> Allocated {
        if old.size() == 0 || new.size() == 0 {
            return Err(AllocError);
        }
        let (outer_old, outer_new) = (tagged(old)?, tagged(new)?);
        // SAFETY: the caller's promise.
        let arena = unsafe { Self::arena_of(block, old) };
        let resized = resize(&self.slots[arena].0.lock(), outer_old, outer_new)?;
        // SAFETY: it is a block of that arena for that layout now.
        Ok(unsafe { Self::mark(resized.cast(), new, arena) })
    }
}

// SAFETY: tag: each block is one of an arena's, which keeps the contract, and goes back to that arena under its lock.
unsafe impl<A: Alloc, const N: usize> Alloc for Arenas<A, N> {
    fn allocate(&self, layout: Layout) -> Allocated {
        self.serve(layout, A::allocate)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        self.serve(layout, A::allocate_zeroed)
    }

    /// # Panics
    ///
    /// When the tag behind the block was overwritten.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        let arena = unsafe { Self::arena_of(block, layout) };
        // The layout was valid when the block was allocated.
        if let Ok(layout) = tagged(layout) {
            // SAFETY: tag: a block of that arena with that layout.
            unsafe { self.slots[arena].0.lock().deallocate(block, layout) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise; with the tag it is not shorter either.
        let grow = |arena: &A, old, new| unsafe { arena.grow(block, old, new) };
        // SAFETY: the caller's promise.
        let grown = unsafe { self.resize(block, old, new, grow) };
        // SAFETY: the caller's promise; nothing has changed.
        grown.or_else(|_| unsafe { moved(self, block, old, new) })
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        // SAFETY: the caller's promise; with the tag it is not longer either.
        let shrink = |arena: &A, old, new| unsafe { arena.shrink(block, old, new) };
        // SAFETY: the caller's promise.
        let shrunk = unsafe { self.resize(block, old, new, shrink) };
        // SAFETY: the caller's promise; nothing has changed.
        shrunk.or_else(|_| unsafe { moved(self, block, old, new) })
    }
}

// SAFETY: what the arena did in place is in place; the tag moves with the end of the block.
unsafe impl<A: ResizeInPlace, const N: usize> ResizeInPlace for Arenas<A, N> {
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let stay = |arena: &A, old, new: Layout| {
            // SAFETY: the caller's promise.
            unsafe { arena.resize_in_place(block, old, new) }?;
            Ok(NonNull::slice_from_raw_parts(block, new.size()))
        };
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new, stay) }.map(|_| ())
    }
}

impl<A: Stats, const N: usize> Stats for Arenas<A, N> {
    /// The sums over all arenas, each looked at in turn. Bytes include the tags; the peak is the sum of the peaks.
    fn stats(&self) -> AllocStats {
        let all = self.slots.iter().map(|slot| slot.0.lock().stats());
        all.fold(AllocStats::default(), AllocStats::plus)
    }
}

implement_allocator!(impl[A: Alloc, const N: usize] Arenas<A, N>);
