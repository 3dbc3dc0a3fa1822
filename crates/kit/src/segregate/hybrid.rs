//! A general allocator that is nothing but parts of the kit, each where it is best.

use super::Segregate;
use crate::Alloc;
use crate::bins::Bins;
use crate::memory_pool::MemoryPool;

/// A pool of blocks of `SIZE` bytes, in front of whatever serves the rest.
type Sized<const SIZE: usize, P, Rest> = Segregate<SIZE, MemoryPool<[u8; SIZE], P, 16>, Rest, 16>;

/// A general allocator for one thread at a time, over any parent:
///
/// | blocks | from | why there |
/// |---|---|---|
/// | up to 256 bytes, aligned to at most 16 | five [memory pools](crate::memory_pool), of 16 to 256 bytes | no header; constant time; the last freed first |
/// | up to 128 KiB, and all that is aligned to more | [bins](crate::bins) | sizes are close and mixed: best fit, merging |
/// | above | the parent | pages that are mapped and remapped whole |
///
/// Small blocks are thus kept from large ones, so that none of them holds a page that a large one could use.
///
/// ```
/// use freestone_kit::page::Page;
/// use freestone_kit::segregate::hybrid;
/// use freestone_kit::{Alloc, Capacity};
/// use core::alloc::Layout;
///
/// let alloc = hybrid(Page);
/// let layout = Layout::new::<[u8; 20]>();
/// let block = alloc.allocate(layout)?;
/// assert_eq!((block.len(), alloc.large().small().used()), (32, 32), "from the pool of 32 bytes");
/// // SAFETY: a live block of that layout.
/// unsafe { alloc.deallocate(block.cast(), layout) };
/// # Ok::<(), freestone_kit::AllocError>(())
/// ```
pub type Hybrid<P> = Sized<
    16,
    P,
    Sized<32, P, Sized<64, P, Sized<128, P, Sized<256, P, Segregate<{ 128 << 10 }, Bins<P>, P>>>>>,
>;

/// Joins the parts of a [`Hybrid`], all over clones of one parent.
pub fn hybrid<P: Alloc + Clone>(parent: P) -> Hybrid<P> {
    let pages = Segregate::new(Bins::new(parent.clone()), parent.clone());
    let from_256 = Segregate::new(MemoryPool::new(parent.clone()), pages);
    let from_128 = Segregate::new(MemoryPool::new(parent.clone()), from_256);
    let from_64 = Segregate::new(MemoryPool::new(parent.clone()), from_128);
    let from_32 = Segregate::new(MemoryPool::new(parent.clone()), from_64);
    Segregate::new(MemoryPool::new(parent), from_32)
}
