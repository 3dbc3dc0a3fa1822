//! The debug allocator as an allocator.
//!
//! # Safety
//!
//! A block that is handed out is live in the state, which keeps it apart from all others, where it is, and accessible.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

use super::report::Occasion;
use super::threads::{Keep, Threads};
use super::{Debug, State};
use crate::foreign::implement_allocator;
use crate::{Alloc, AllocError, AllocStats, Allocated, Owns, ResizeInPlace, Stats, UsableSize};

/// The block of a record.
fn block(state: &State, at: u32) -> Allocated {
    let record = state.records.get(at);
    let pointer = NonNull::new(state.pointer(record.region, record.address)).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(pointer, record.size))
}

impl<A: Alloc, T: Threads> Debug<A, T> {
    fn change(&self, old_block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        let address = old_block.as_ptr().addr();
        let result = self.act(Occasion::Resize, |state, scene, found| {
            state.resize(address, old, new, scene, found).and_then(|at| block(state, at))
        });
        self.log(|| match result {
            Ok(block) => {
                format!(
                    "resize {address:#x} from {} to {} bytes: {:p}",
                    old.size(),
                    new.size(),
                    block.cast::<u8>()
                )
            }
            Err(_) => format!("resize {address:#x} from {} to {} bytes: refused", old.size(), new.size()),
        });
        result
    }
}

// SAFETY: see the module's header; `deallocate` and the others unwind only to report that their conditions were broken.
unsafe impl<A: Alloc, T: Threads> Alloc for Debug<A, T> {
    fn allocate(&self, layout: Layout) -> Allocated {
        let result = self.act(Occasion::Allocation, |state, scene, found| {
            state.allocate(layout, 0, scene, found).and_then(|at| block(state, at))
        });
        self.log(|| match result {
            Ok(block) => format!(
                "allocate {} bytes, align {}: {:p}",
                layout.size(),
                layout.align(),
                block.cast::<u8>()
            ),
            Err(_) => format!("allocate {} bytes, align {}: refused", layout.size(), layout.align()),
        });
        result
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let address = block.as_ptr().addr();
        self.log(|| format!("free {} bytes, align {}: {address:#x}", layout.size(), layout.align()));
        self.act(Occasion::Free, |state, scene, found| {
            if let Some(at) = state.expect(address, layout, scene, found) {
                state.release(at, scene, found);
            }
        });
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        self.change(block, old, new)
    }

    unsafe fn shrink(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Allocated {
        self.change(block, old, new)
    }
}

// SAFETY: only addresses inside regions of this allocator.
unsafe impl<A: Alloc, T: Threads> Owns for Debug<A, T> {
    /// One step a region.
    fn owns(&self, address: NonNull<u8>) -> bool {
        self.state.with(|kept| kept.0.owns(address.as_ptr().addr()))
    }
}

// SAFETY: not a byte more than was asked for.
unsafe impl<A: Alloc, T: Threads> UsableSize for Debug<A, T> {
    unsafe fn usable_size(&self, _: NonNull<u8>, layout: Layout) -> usize {
        layout.size()
    }
}

// SAFETY: the state resizes what fits between the canaries, and else nothing.
unsafe impl<A: Alloc, T: Threads> ResizeInPlace for Debug<A, T> {
    /// Shrinks always, and grows again as far as the block ever was.
    unsafe fn resize_in_place(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<(), AllocError> {
        let address = block.as_ptr().addr();
        let result = self.act(Occasion::Resize, |state, scene, found| {
            let at = state.expect(address, old, scene, found).ok_or(AllocError)?;
            if !state.fits_in_place(at, new.size(), scene.config) {
                return Err(AllocError);
            }
            state.resize_in_place(at, new.size(), scene);
            Ok(())
        });
        self.log(|| {
            let how = if result.is_ok() { "done" } else { "refused" };
            format!("resize {address:#x} in place from {} to {} bytes: {how}", old.size(), new.size())
        });
        result
    }
}

impl<A: Alloc, T: Threads> Stats for Debug<A, T> {
    fn stats(&self) -> AllocStats {
        self.state.with(|kept| kept.0.stats)
    }
}

implement_allocator!(impl[A: Alloc, T: Threads] Debug<A, T>);
