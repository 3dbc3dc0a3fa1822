//! The suite itself: it passes an allocator that is right, and sees the faults of three that are not.
//!
//! # Safety
//!
//! Each allocator here hands on to [`Parent`], whose blocks hold what was asked of it; the faulty ones are at fault in
//! ways that touch no memory which is not theirs.
#![allow(unsafe_code)]

use super::{Parent, Serves, check, check_over_failing_parent, hunt, layout};
use crate::conformance::OnAlloc;
use freestone_kit::{Alloc, Allocated};
use freestone_testkit::Mix;
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;

#[test]
fn an_allocator_that_is_right_passes() {
    let parent = Parent::new();
    check(&parent, Serves::ALL);
    assert_eq!(parent.live(), (0, 0));
    check_over_failing_parent(Some, Serves::ALL);
    hunt(30, Mix::All, || OnAlloc::here(Parent::new()));
}

/// How an allocator is at fault.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// It takes fresh memory for zeros.
    NotZeroed,
    /// It loses every tenth block that it is given back.
    Leaks,
    /// It forgets the alignment.
    Misaligned,
}

struct Faulty(Parent, Fault, Cell<usize>);

// SAFETY: broken on purpose, see the module's header.
unsafe impl Alloc for Faulty {
    fn allocate(&self, wanted: Layout) -> Allocated {
        if self.1 != Fault::Misaligned {
            return self.0.allocate(wanted);
        }
        let block = self.0.allocate(layout(wanted.size() + 1, 1))?;
        // SAFETY: one byte more was asked for.
        Ok(NonNull::slice_from_raw_parts(unsafe { block.cast::<u8>().add(1) }, wanted.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        self.2.set(self.2.get() + 1);
        if self.1 == Fault::Misaligned || (self.1 == Fault::Leaks && self.2.get().is_multiple_of(10)) {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(block, layout) }
    }

    fn allocate_zeroed(&self, layout: Layout) -> Allocated {
        let block = self.allocate(layout)?;
        if self.1 != Fault::NotZeroed {
            // SAFETY: a new block of that size.
            unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        }
        Ok(block)
    }
}

#[test]
#[should_panic(expected = "bytes, zeroed")]
fn memory_that_is_not_zeroed_is_seen() {
    check(&Faulty(Parent::new(), Fault::NotZeroed, Cell::new(0)), Serves::ALL);
}

#[test]
#[should_panic(expected = "align 8: Pointer")]
fn a_wrong_alignment_is_seen() {
    check(&Faulty(Parent::new(), Fault::Misaligned, Cell::new(0)), Serves::ALL);
}

#[test]
#[should_panic(expected = "of the parent lost")]
fn a_leak_is_seen() {
    check_over_failing_parent(|parent| Some(Faulty(parent, Fault::Leaks, Cell::new(0))), Serves::ALL);
}
