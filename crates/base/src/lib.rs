//! Units, size classes and small building blocks of the Freestone memory manager.
//!
//! Everything here is `no_std` and knows nothing of the operating system. The crates above
//! (`freestone-sys`, `freestone`, …) speak in these units.
#![cfg_attr(not(any(test, loom)), no_std)]

pub mod ledger;
pub mod live;
pub mod size_class;
pub mod text;
pub mod trace;
pub mod units;

pub use size_class::{
    CLASS_COUNT, ClassId, ClassInfo, MAX_MEDIUM, MAX_SHARING, MAX_SMALL, block_size, class_info, class_of,
    class_of_aligned,
};
pub use units::{Bytes, PAGE_SHIFT, PAGE_SIZE, PageCount, PageId};
