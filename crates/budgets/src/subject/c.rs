//! The cases of the C library: its symbols, as a preloaded program finds them.

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Case, Function};
use crate::table::SELF_CHECK;

const SMALL: usize = 32;
const MEDIUM: usize = 100_000;
const LARGE: usize = 300_000;

fn call(symbol: &CStr, arguments: [usize; 3]) -> usize {
    Function::named(symbol).call(arguments)
}

fn block_of(size: usize) -> usize {
    call(c"malloc", [size, 0, 0])
}

fn give_back(block: usize) {
    assert_ne!(block, 0, "no block");
    call(c"free", [block, 0, 0]);
}

/// A case that makes a block; the result is freed.
fn makes(name: &'static str, symbol: &CStr, before: fn() -> [usize; 3]) -> Case {
    Case { name, function: Function::named(symbol), before, after: |_, block| give_back(block) }
}

/// A case that frees the block that it is passed first.
fn frees(name: &'static str, symbol: &CStr, before: fn() -> [usize; 3]) -> Case {
    Case { name, function: Function::named(symbol), before, after: |_, _| () }
}

/// What `posix_memalign` writes to.
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Five instructions are executed, one of them three times over.
#[unsafe(naked)]
extern "C" fn self_check() {
    core::arch::naked_asm!("cld", "mov ecx, 3", "rep scasb", "jmp 2f", "nop", "2:", "ret")
}

/// All cases.
pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: SELF_CHECK.name,
            function: Function::at(self_check as *const ()),
            before: || [PLACE.as_ptr().expose_provenance(), 0, 0],
            after: |_, _| (),
        },
        makes("malloc_8", c"malloc", || [8, 0, 0]),
        makes("malloc_32", c"malloc", || [SMALL, 0, 0]),
        makes("malloc_1000", c"malloc", || [1000, 0, 0]),
        makes("malloc_32k", c"malloc", || [32 << 10, 0, 0]),
        makes("malloc_100k", c"malloc", || [MEDIUM, 0, 0]),
        makes("malloc_300k", c"malloc", || [LARGE, 0, 0]),
        frees("free_32", c"free", || [block_of(SMALL), 0, 0]),
        frees("free_32k", c"free", || [block_of(32 << 10), 0, 0]),
        frees("free_100k", c"free", || [block_of(MEDIUM), 0, 0]),
        frees("free_300k", c"free", || [block_of(LARGE), 0, 0]),
        makes("calloc_32", c"calloc", || [1, SMALL, 0]),
        makes("realloc_in_place", c"realloc", || [block_of(64), 60, 0]),
        makes("aligned_alloc_64", c"aligned_alloc", || [64, 256, 0]),
        Case {
            name: "posix_memalign_64",
            function: Function::named(c"posix_memalign"),
            before: || [PLACE.as_ptr().expose_provenance(), 64, 256],
            after: |_, _| give_back(PLACE.load(Ordering::Relaxed)),
        },
        frees("free_sized_32", c"free_sized", || [block_of(SMALL), SMALL, 0]),
        makes("new_32", c"_Znwm", || [SMALL, 0, 0]),
        makes("new_array_32", c"_Znam", || [SMALL, 0, 0]),
        makes("new_nothrow_32", c"_ZnwmRKSt9nothrow_t", || [SMALL, 0, 0]),
        frees("delete_32", c"_ZdlPv", || [block_of(SMALL), 0, 0]),
        frees("delete_array_32", c"_ZdaPv", || [block_of(SMALL), 0, 0]),
        frees("delete_sized_32", c"_ZdlPvm", || [block_of(SMALL), SMALL, 0]),
    ]
}
