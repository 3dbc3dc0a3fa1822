//! Where restartable sequences are not written for the processor: nothing is ever cached this way, and the
//! allocator uses per-thread caches.
//!
//! # Safety
//!
//! As `rseq.rs` has it; these touch nothing.
#![allow(unsafe_code)]

use freestone_base::ClassId;

use super::region::{Header, Region};

pub(crate) const SUPPORTED: bool = false;
pub(crate) const SIGNATURE: u32 = 0;

pub(crate) fn in_register(number: usize) -> usize {
    number
}

pub(crate) fn is_open(_entry: usize) -> bool {
    false
}

pub(crate) unsafe fn pop(_index: usize, _class: usize) -> *mut u8 {
    core::ptr::null_mut()
}

pub(crate) unsafe fn pop_at(_index: usize, _at: usize) -> *mut u8 {
    core::ptr::null_mut()
}

pub(crate) unsafe fn pop_and_peek(_index: usize, _class: usize) -> (usize, usize) {
    (0, 0)
}

pub(crate) unsafe fn pop_and_peek_at(_index: usize, _at: usize) -> (usize, usize, ClassId) {
    (0, 0, ClassId::NONE)
}

pub(crate) unsafe fn push(_index: usize, _class: usize, _block: usize) -> bool {
    false
}

pub(crate) unsafe fn pop_batch(_index: usize, _class: ClassId, _out: &mut [usize]) -> usize {
    0
}

pub(crate) unsafe fn push_batch(_index: usize, _class: ClassId, _blocks: &[usize]) -> usize {
    0
}

pub(crate) unsafe fn replace_header(
    _index: usize,
    _region: Region,
    _class: ClassId,
    _old: Header,
    _new: Header,
) -> bool {
    false
}

pub(crate) const NO_YARD: usize = 1;
pub(crate) const YARD_SHIFT: u32 = 17;

pub(crate) const YARD_HEAD: usize = 64;

pub(crate) unsafe fn exchange(_index: usize, _at: usize, _mask: usize, _block: usize) -> usize {
    NO_YARD
}

pub(crate) unsafe fn cache_number(_index: usize) -> i32 {
    -1
}
