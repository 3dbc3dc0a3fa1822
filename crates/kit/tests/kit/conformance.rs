//! What every allocator of the kit must keep, whatever it is: the contract of `Alloc`, checked from outside.
//!
//! * [`check`] for any allocator, with [`Serves`] to say how much it can serve.
//! * [`check_resize_in_place`], [`check_remap`], [`check_owns`], [`check_usable_size`], [`check_reset`],
//!   [`check_capacity`] for the traits beside it.
//! * [`check_over_failing_parent`] for whatever takes memory from a parent.
//! * [`hunt`], [`hunt_threads`]: random sequences against the shadow heap.
//!
//! # Safety
//!
//! *Held*: a [`Held`] owns a live block of the allocator given with every call on it, and remembers the layout that it
//! fits; what frees it takes it by value.
// Not every build of the kit has a user for every check.
#![allow(unsafe_code, dead_code, unused_imports)]

mod held;
mod parent;
mod subject;
mod suite_tests;

pub use held::Held;
pub use parent::Parent;
pub use subject::{OnAlloc, hunt, hunt_threads};

use freestone_kit::{Alloc, Capacity, Owns, Remap, Reset, ResizeInPlace, UsableSize};
use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

/// Whether this build can tell the files and lines of its functions, as one without debug information cannot.
#[inline(never)]
pub fn has_lines() -> bool {
    std::backtrace::Backtrace::force_capture().to_string().contains("conformance.rs:")
}

/// What an allocator says it serves.
#[derive(Clone, Copy, Debug)]
pub struct Serves {
    /// Every size up to this, in bytes; above, it may refuse.
    pub size: usize,
    /// Every alignment up to this, in bytes; above, it may refuse.
    pub align: usize,
    /// Live bytes in all, rounding and padding included, that it must be able to serve; beyond, it may refuse.
    pub total: usize,
}

impl Serves {
    /// All that a machine with memory enough can serve.
    pub const ALL: Serves = Serves { size: 1 << 20, align: 1 << 16, total: usize::MAX };

    /// All, up to so many bytes a block.
    pub const fn up_to(size: usize, align: usize) -> Serves {
        Serves { size, align, total: usize::MAX }
    }

    /// All as long as no more than so many bytes are live.
    pub const fn within(total: usize) -> Serves {
        Serves { size: total / 8, align: 64, total }
    }

    fn must(&self, layout: Layout) -> bool {
        layout.size() <= self.size && layout.align() <= self.align
    }
}

pub fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

const SIZES: [usize; 18] =
    [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 100, 255, 1000, 4096, 5000, 32 << 10, 200_000];
const ALIGNS: [usize; 10] = [1, 2, 8, 16, 32, 64, 256, 4096, 8192, 1 << 16];

/// The whole contract of `Alloc`. Leaves nothing live.
pub fn check<A: Alloc + ?Sized>(alloc: &A, serves: Serves) {
    zero_size(alloc);
    every_size_and_alignment(alloc, serves);
    blocks_apart(alloc, serves);
    zeroed(alloc, serves);
    grow_and_shrink(alloc, serves);
    change_of_alignment(alloc, serves);
    impossible(alloc);
}

/// A block, if one must or can be had.
fn hold<A: Alloc + ?Sized>(alloc: &A, wanted: Layout, serves: Serves) -> Option<Held> {
    let held = Held::new(alloc, wanted);
    assert!(held.is_some() || !serves.must(wanted) || wanted.size() * 4 > serves.total, "refused {wanted:?}");
    held
}

fn zero_size<A: Alloc + ?Sized>(alloc: &A) {
    for align in [1, 8, 64, 4096] {
        // What was never allocated: `into_boxed_slice` of an empty vector makes such a block, and frees it.
        let nobodys = NonNull::without_provenance(std::num::NonZeroUsize::new(align).unwrap());
        // SAFETY: a block of size zero.
        unsafe { alloc.deallocate(nobodys, layout(0, align)) };
        // SAFETY: a block of size zero.
        if let Ok(grown) = unsafe { alloc.grow(nobodys, layout(0, align), layout(24, align)) } {
            // SAFETY: a live block of that layout.
            unsafe { alloc.deallocate(grown.cast(), layout(24, align)) };
        }
        let Ok(block) = alloc.allocate(layout(0, align)) else { continue };
        assert!(block.cast::<u8>().as_ptr().addr().is_multiple_of(align), "size 0, align {align}: {block:?}");
        // SAFETY: a live block of that layout.
        let Ok(grown) = (unsafe { alloc.grow_zeroed(block.cast(), layout(0, align), layout(24, align)) })
        else {
            // SAFETY: the block is as it was.
            unsafe { alloc.deallocate(block.cast(), layout(0, align)) };
            continue;
        };
        // SAFETY: 24 bytes at least, all zero.
        let bytes = unsafe { std::slice::from_raw_parts(grown.cast::<u8>().as_ptr(), 24) };
        assert!(bytes.iter().all(|&byte| byte == 0), "grown from nothing and not zero");
        // SAFETY: a live block of that layout.
        match unsafe { alloc.shrink(grown.cast(), layout(24, align), layout(0, align)) } {
            // SAFETY: a live block of that layout.
            Ok(none) => unsafe { alloc.deallocate(none.cast(), layout(0, align)) },
            // SAFETY: the block is as it was.
            Err(_) => unsafe { alloc.deallocate(grown.cast(), layout(24, align)) },
        }
    }
}

fn every_size_and_alignment<A: Alloc + ?Sized>(alloc: &A, serves: Serves) {
    for align in ALIGNS {
        for size in SIZES {
            let Some(held) = hold(alloc, layout(size, align), serves) else { continue };
            held.check("after it was allocated");
            held.free(alloc);
        }
    }
}

fn blocks_apart<A: Alloc + ?Sized>(alloc: &A, serves: Serves) {
    let mut all: Vec<Held> = Vec::new();
    let most = (serves.total / 4).min(2 << 20);
    let mut live = 0;
    for round in 0..200_usize {
        let size = SIZES[round * 7 % SIZES.len()].min(serves.size);
        let align = ALIGNS[round * 3 % 5].min(serves.align);
        if live + size + align <= most {
            all.extend(hold(alloc, layout(size, align), serves));
            live += size + align;
        }
        if round % 3 == 2 && !all.is_empty() {
            let held = all.swap_remove(round * 31 % all.len());
            live = live.saturating_sub(held.layout().size() + held.layout().align());
            held.check("among others");
            held.free(alloc);
        }
    }
    for held in &all {
        held.check("at the end, among others");
    }
    all.into_iter().for_each(|held| held.free(alloc));
}

fn zeroed<A: Alloc + ?Sized>(alloc: &A, serves: Serves) {
    for size in SIZES {
        // Dirty memory first, so that zeros do not come by chance.
        let Some(dirty) = hold(alloc, layout(size, 8), serves) else { continue };
        dirty.free(alloc);
        let Ok(block) = alloc.allocate_zeroed(layout(size, 8)) else {
            assert!(!serves.must(layout(size, 8)), "zeroed: {size} refused");
            continue;
        };
        // SAFETY: a live block with all its bytes written by the allocator.
        let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>().as_ptr(), size) };
        assert_eq!(bytes.iter().position(|&byte| byte != 0), None, "{size} bytes, zeroed");
        // SAFETY: a live block of that layout.
        unsafe { alloc.deallocate(block.cast(), layout(size, 8)) };
    }
}

fn grow_and_shrink<A: Alloc + ?Sized>(alloc: &A, serves: Serves) {
    for align in [1, 16, 256] {
        if align > serves.align {
            continue;
        }
        let Some(mut held) = hold(alloc, layout(1, align), serves) else { continue };
        let neighbour = hold(alloc, layout(24, 8), serves);
        for (step, &size) in SIZES[1..].iter().chain(SIZES[1..].iter().rev()).enumerate() {
            let must = serves.must(layout(size, align)) && size * 8 <= serves.total;
            held = held.resize(alloc, size, step % 2 == 0).unwrap_or_else(|(held, _)| {
                assert!(!must, "a change of size to {size} at align {align} was refused");
                held
            });
            held.check("after its size was changed");
        }
        if let Some(neighbour) = neighbour {
            neighbour.check("while its neighbour changed its size");
            neighbour.free(alloc);
        }
        held.free(alloc);
    }
}

fn change_of_alignment<A: Alloc + ?Sized>(alloc: &A, serves: Serves) {
    let Some(held) = hold(alloc, layout(40, 1), serves) else { return };
    let (Ok(held) | Err((held, _))) = held.relayout(alloc, layout(80, 64));
    held.check("after its alignment rose");
    let (Ok(held) | Err((held, _))) = held.relayout(alloc, layout(80, 128));
    let (Ok(held) | Err((held, _))) = held.relayout(alloc, layout(20, 256));
    let (Ok(held) | Err((held, _))) = held.relayout(alloc, layout(20, 1));
    held.check("after its alignment fell");
    held.free(alloc);
}

fn impossible<A: Alloc + ?Sized>(alloc: &A) {
    for align in [1, 16, 4096] {
        let most = layout(isize::MAX as usize - (align - 1), align);
        // A black box: a compiler may leave out a `malloc` whose block nobody uses, and say that it was served.
        assert!(black_box(alloc.allocate(most)).is_err(), "{most:?} was served");
        assert!(black_box(alloc.allocate_zeroed(most)).is_err(), "{most:?} was served zeroed");
    }
    let Some(held) = Held::new(alloc, layout(8, 1)) else { return };
    let most = layout(isize::MAX as usize, 1);
    let (held, _) = held.relayout(alloc, most).expect_err("an impossible growth was done");
    held.check("after an impossible growth");
    held.free(alloc);
}

/// Resizing in place keeps the address, the contents, and the neighbours.
pub fn check_resize_in_place<A: ResizeInPlace + ?Sized>(alloc: &A, serves: Serves) {
    let mut done = 0;
    for (from, to) in [(64, 24), (64, 64), (100, 101), (24, 64), (5000, 4000), (0, 8), (5000, 50_000), (8, 0)]
    {
        let Some(held) = hold(alloc, layout(from, 8), serves) else { continue };
        let neighbour = if done % 2 == 1 { hold(alloc, layout(64, 8), serves) } else { None };
        let (Ok(held) | Err(held)) = held.resize_in_place(alloc, to).inspect(|_| done += 1);
        held.check("after a resize in place");
        if let Some(neighbour) = neighbour {
            neighbour.check("while its neighbour changed its size in place");
            neighbour.free(alloc);
        }
        held.free(alloc);
    }
    assert!(done > 0, "not one resize in place was done");
}

/// Remapping keeps the contents.
pub fn check_remap<A: Remap + ?Sized>(alloc: &A, serves: Serves) {
    for (from, to) in [(64, 24), (24, 64), (5000, 100_000), (100_000, 5000), (4096, 8192)] {
        let Some(held) = hold(alloc, layout(from, 8), serves) else { continue };
        let (Ok(held) | Err(held)) = held.remap(alloc, to);
        held.check("after a remap");
        held.free(alloc);
    }
}

/// An allocator owns its live blocks, first byte to last, and neither a local variable nor another's block.
pub fn check_owns<A: Owns + ?Sized>(alloc: &A, serves: Serves) {
    let local = 0_u64;
    assert!(!alloc.owns(NonNull::from(&local).cast()), "a local variable is owned");
    let foreign = Box::new(0_u64);
    assert!(!alloc.owns(NonNull::from(&*foreign).cast()), "another's block is owned");
    for size in SIZES {
        let Some(held) = hold(alloc, layout(size.max(1), 8), serves) else { continue };
        assert!(held.ends().iter().all(|&end| alloc.owns(end)), "a block of {size} is not owned");
        held.free(alloc);
    }
}

/// The usable size is at least what was asked for, can be written, and fits the block.
pub fn check_usable_size<A: UsableSize + ?Sized>(alloc: &A, serves: Serves) {
    for size in SIZES {
        let Some(held) = hold(alloc, layout(size, 8), serves) else { continue };
        let neighbour = hold(alloc, layout(size, 8), serves);
        let held = held.widen(alloc);
        held.check("after all its usable bytes were written");
        if let Some(neighbour) = neighbour {
            neighbour.check("while the usable bytes of its neighbour were written");
            neighbour.free(alloc);
        }
        held.free(alloc);
    }
}

/// After a reset as much can be had as before the first block.
pub fn check_reset<A: Alloc + Reset>(alloc: &mut A, serves: Serves) {
    let wanted = layout(serves.size.min(4000), 8);
    let mut counts = [0_usize; 4];
    for count in &mut counts {
        let room = serves.total.min(1 << 20) / 2;
        while *count * wanted.size() < room {
            let Some(held) = hold(&*alloc, wanted, serves) else { break };
            held.check("before a reset");
            held.forget();
            *count += 1;
        }
        alloc.reset();
    }
    assert!(counts.iter().all(|&count| count == counts[0]), "blocks between resets: {counts:?}");
    check(&*alloc, serves);
}

/// What is used rises with each block, never beyond the capacity, and falls back when blocks go in turn.
pub fn check_capacity<A: Alloc + Capacity>(alloc: &A, serves: Serves) {
    let before = alloc.used();
    let Some(held) = hold(alloc, layout(serves.size.min(100), 8), serves) else { return };
    assert!(alloc.used() > before && alloc.used() <= alloc.capacity());
    assert_eq!(alloc.remaining(), alloc.capacity() - alloc.used());
    held.free(alloc);
    assert_eq!(alloc.used(), before, "what the last block took was not given back");
}

/// Builds the allocator over a parent that refuses everything from its nth call on, for every n until nothing is
/// refused: whatever the refusal hit, contents are kept, nothing is freed twice or with a wrong layout, and when the
/// allocator is gone the parent has everything back. `build` may fail when the parent does.
pub fn check_over_failing_parent<A: Alloc>(build: impl Fn(Parent) -> Option<A>, serves: Serves) {
    for granted in 0..500 {
        let parent = Parent::granting(granted);
        if let Some(alloc) = build(parent.clone()) {
            work(&alloc, serves);
            drop(alloc);
        }
        assert_eq!(parent.live(), (0, 0), "blocks and bytes of the parent lost after {granted} calls");
        if !parent.refused_any() {
            return;
        }
    }
}

/// A bit of everything that copes with refusals.
fn work<A: Alloc>(alloc: &A, serves: Serves) {
    let mut all: Vec<Held> = Vec::new();
    for round in 0..60_usize {
        let size = SIZES[round * 7 % SIZES.len()].min(serves.size);
        match round % 5 {
            3 if !all.is_empty() => {
                let held = all.swap_remove(round % all.len());
                let (Ok(held) | Err((held, _))) = held.resize(alloc, size.max(1), round % 2 == 0);
                held.check("after a change of size that may have been refused");
                all.push(held);
            }
            4 if !all.is_empty() => all.swap_remove(round % all.len()).free(alloc),
            _ => all.extend(Held::new(alloc, layout(size, ALIGNS[round % 6].min(serves.align)))),
        }
    }
    all.iter().for_each(|held| held.check("after the parent refused"));
    all.into_iter().for_each(|held| held.free(alloc));
}
