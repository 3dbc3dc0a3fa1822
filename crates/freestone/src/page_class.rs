//! The class that the page map shows for a block, for who frees it: found without a branch that depends on its size, and left
//! out by the compiler where it knows the answer.
//!
//! # Safety
//!
//! W1 of `pageheap/pagemap.rs`: the length is read before the array's address, and an index below that length lies in the array.
#![allow(unsafe_code)]

/// The index of the class that the page map shows for the page of `block`, which stays the same as long as the block lives. O(1).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn of(block: *mut u8) -> usize {
    use crate::front_c::Numbers;
    use crate::instances::LEVELS;

    let class: usize;
    // SAFETY: reads three words of `LEVELS` in the order that W1 wants, and a byte that W1 allows.
    unsafe {
        core::arch::asm!(
            "shr {page}, {page_shift}",
            "sub {page}, qword ptr [rip + {levels} + {base}]",
            "xor {class:e}, {class:e}",
            "cmp {page}, qword ptr [rip + {levels} + {len}]",
            "jae 2f",
            "mov {class}, qword ptr [rip + {levels} + {classes}]",
            "movzx {class:e}, byte ptr [{class} + {page}]",
            "2:",
            page = inout(reg) block.expose_provenance() => _,
            class = out(reg) class,
            levels = sym LEVELS,
            page_shift = const Numbers::PAGE_SHIFT,
            base = const Numbers::BASE_PAGE,
            len = const Numbers::LEN,
            classes = const Numbers::PAGE_CLASSES,
            options(pure, readonly, nostack)
        );
    }
    class
}

/// None: no CPU has a cache that the block could go to.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn of(_block: *mut u8) -> usize {
    freestone_base::ClassId::NONE.index()
}
