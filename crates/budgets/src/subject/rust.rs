//! The cases of the Rust interface: each a function in which the compiler places the fast path, and nothing else.
//!
//! # Safety
//!
//! - U1: what a case frees came from the case's other half, with the same layout, and is used no more.
//! - U2: sizes and alignments are those written in [`cases`]: valid layouts, not empty.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::with_exposed_provenance_mut;

use freestone::Freestone;

use super::{Case, Function};

const CONSTANT: Layout = Layout::new::<[u64; 8]>();

/// Keeps the compiler from knowing where the value comes from, at no instruction.
#[inline(always)]
fn unknown<T>(mut pointer: *mut T) -> *mut T {
    // SAFETY: there is no assembly in it.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) pointer, options(nostack, preserves_flags)) };
    pointer
}

#[inline(always)]
fn layout(size: usize, align: usize) -> Layout {
    // SAFETY: U2.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

extern "C" fn alloc_constant() -> *mut u8 {
    // SAFETY: U2.
    unsafe { Freestone.alloc(CONSTANT) }
}

extern "C" fn dealloc_constant(block: *mut u8) {
    // SAFETY: U1.
    unsafe { Freestone.dealloc(block, CONSTANT) }
}

extern "C" fn pair_constant() {
    // SAFETY: U2.
    let block = unknown(unsafe { Freestone.alloc(CONSTANT) });
    // SAFETY: U1.
    unsafe { Freestone.dealloc(block, CONSTANT) }
}

extern "C" fn alloc_runtime(size: usize, align: usize) -> *mut u8 {
    // SAFETY: U2.
    unsafe { Freestone.alloc(layout(size, align)) }
}

extern "C" fn dealloc_runtime(block: *mut u8, size: usize, align: usize) {
    // SAFETY: U1.
    unsafe { Freestone.dealloc(block, layout(size, align)) }
}

extern "C" fn alloc_zeroed_constant() -> *mut u8 {
    // SAFETY: U2.
    unsafe { Freestone.alloc_zeroed(CONSTANT) }
}

extern "C" fn realloc_in_place(block: *mut u8, new_size: usize) -> *mut u8 {
    // SAFETY: U1, U2.
    unsafe { Freestone.realloc(block, CONSTANT, new_size) }
}

extern "C" fn box_new(value: u64) -> *mut u64 {
    Box::into_raw(Box::new(value))
}

extern "C" fn box_drop(value: *mut u64) {
    // SAFETY: U1.
    drop(unsafe { Box::from_raw(value) });
}

extern "C" fn box_pair(value: u64) {
    let raw = unknown(Box::into_raw(Box::new(value)));
    // SAFETY: U1.
    drop(unsafe { Box::from_raw(raw) });
}

/// Frees with the layout that stands in the arguments.
fn give_back(block: usize, layout: Layout) {
    assert_ne!(block, 0, "no block");
    dealloc_runtime(with_exposed_provenance_mut(block), layout.size(), layout.align());
}

fn block_of(layout: Layout) -> usize {
    alloc_runtime(layout.size(), layout.align()).expose_provenance()
}

const BOXED: Layout = Layout::new::<u64>();

/// All cases.
pub fn cases() -> Vec<Case> {
    let case = |name, function: *const (), before, after| Case {
        name,
        function: Function::at(function),
        before,
        after,
    };
    vec![
        case("alloc_constant", alloc_constant as *const (), || [0; 3], |_, block| give_back(block, CONSTANT)),
        case("dealloc_constant", dealloc_constant as *const (), || [block_of(CONSTANT), 0, 0], |_, _| ()),
        case("pair_constant", pair_constant as *const (), || [0; 3], |_, _| ()),
        case(
            "alloc_runtime",
            alloc_runtime as *const (),
            || [CONSTANT.size(), CONSTANT.align(), 0],
            |_, block| give_back(block, CONSTANT),
        ),
        case(
            "dealloc_runtime",
            dealloc_runtime as *const (),
            || [block_of(CONSTANT), CONSTANT.size(), CONSTANT.align()],
            |_, _| (),
        ),
        case(
            "alloc_zeroed_constant",
            alloc_zeroed_constant as *const (),
            || [0; 3],
            |_, block| give_back(block, CONSTANT),
        ),
        case(
            "realloc_in_place",
            realloc_in_place as *const (),
            || [block_of(CONSTANT), 60, 0],
            |_, block| give_back(block, layout(60, 8)),
        ),
        case("box_new", box_new as *const (), || [7, 0, 0], |_, block| give_back(block, BOXED)),
        case("box_drop", box_drop as *const (), || [block_of(BOXED), 0, 0], |_, _| ()),
        case("box_pair", box_pair as *const (), || [7, 0, 0], |_, _| ()),
    ]
}
