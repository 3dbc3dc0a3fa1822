//! The fast paths of C's `malloc` and `free` as whole functions in assembly (x86-64), for whoever defines the symbols; and
//! what takes the place of malloc and of Rust's calls while requests are observed.
//!
//! The same steps as in `front.rs`, without what a compiler adds around inline assembly: no result tested twice, no
//! register saved, a miss leaves by a jump with the arguments still in place. `docs/design/fast-path.md` explains both
//! functions line by line. They are macros because a symbol must be defined in the crate that exports it.
//!
//! # Safety
//!
//! As `front.rs`, and Q1, Q2 of `cache/rseq.rs`, R2 and R3 of `cache/region.rs`.
#![allow(unsafe_code)]

use core::mem::offset_of;

use freestone_sys::Linux;

use crate::cache::region;
use crate::hot::Hot;
use crate::pageheap::{PageHeap, PageMap};
use crate::slow::Levels;

/// The numbers that the two functions are made of: offsets in bytes, and logarithms.
#[derive(Clone, Copy, Debug)]
pub struct Numbers;

/// Where the page map lies in `LEVELS`.
const MAP: usize = offset_of!(Levels, pages) + offset_of!(PageHeap<Linux>, map);

impl Numbers {
    /// In `HOT`: the limit of small requests.
    pub const LIMIT: usize = offset_of!(Hot, limit);
    /// In `HOT`: where the thread's announcement goes.
    pub const RSEQ_CS: usize = offset_of!(Hot, rseq_cs);
    /// In `HOT`: where the cache's number is.
    pub const RSEQ_INDEX: usize = offset_of!(Hot, rseq_index);
    /// In `HOT`: the region of cache 0.
    pub const REGIONS: usize = offset_of!(Hot, regions);
    /// In `HOT`: the sizes that are counted down end there.
    pub const COUNTED_END: usize = offset_of!(Hot, counted_end);
    /// In `HOT`: where the thread's countdown is.
    pub const COUNTDOWN: usize = offset_of!(Hot, countdown);
    /// In `HOT`: what is on.
    pub const INSTRUMENTS: usize = offset_of!(Hot, instruments);
    /// What is on where usual requests of hardened mode have functions of their own.
    pub const HARDENED_AS_USUAL: u8 = crate::start::HARDENED_AS_USUAL;
    /// In `HOT`: blocks below this address have to be looked at.
    pub const FLOOR: usize = offset_of!(Hot, floor);
    /// Sizes of small blocks end there.
    pub const SMALL_END: usize = freestone_base::MAX_SMALL + 1;
    /// In `LEVELS`: the window's first page.
    pub const BASE_PAGE: usize = MAP + offset_of!(PageMap, base_page);
    /// In `LEVELS`: pages of which the page map shows the class.
    pub const LEN: usize = MAP + offset_of!(PageMap, shown);
    /// In `LEVELS`: the class of each page.
    pub const PAGE_CLASSES: usize = MAP + offset_of!(PageMap, classes);
    /// In a region: the headers.
    pub const HEADERS: usize = region::HEADERS_OFFSET;
    /// In a region: the class of each size.
    pub const CLASSES: usize = region::CLASSES_OFFSET;
    /// Logarithm of a region's size.
    pub const REGION_SHIFT: u32 = region::REGION_SHIFT;
    /// Logarithm of a page's size.
    pub const PAGE_SHIFT: u32 = freestone_base::PAGE_SHIFT;
}

/// The beginning of both functions' sequences: announces in the thread's area (the register named; the cache's number is at
/// `rdx`, or the second register named) and leads `r9` to the region.
#[macro_export]
#[doc(hidden)]
macro_rules! begin_sequence {
    ($area:literal) => {
        $crate::begin_sequence!($area, "rdx")
    };
    ($area:literal, $index:literal) => {
        concat!(
            "mov ",
            $index,
            ", qword ptr [rip + {hot} + {rseq_index}]
            mov ",
            $area,
            ", qword ptr [rip + {hot} + {rseq_cs}]
            lea r8, [rip + 22b]
            33:
            mov qword ptr fs:[",
            $area,
            "], r8
            44:
            movsxd r9, dword ptr fs:[",
            $index,
            "]
            45:
            shl r9, {region_shift}
            add r9, qword ptr [rip + {hot} + {regions}]"
        )
    };
}

/// Has the processor fetch the block that the next request of the class but one gets, if nothing is freed before. Where a program builds objects it
/// has dropped others a while ago, and would wait for each line of theirs that it writes to. Stands behind a pop, whose registers still hold what they held.
/// Of a stack that has no such block it reads what lies below in the region, its sentinel among it: a fetch faults nowhere.
#[macro_export]
#[doc(hidden)]
macro_rules! fetch_ahead {
    () => {
        "mov r10, qword ptr [r9 + r10*8 - 16]
        prefetcht0 byte ptr [r10]"
    };
}

/// Defines a function `(size: usize) -> *mut u8` with the fast path of malloc, exported as the given symbol; what
/// misses goes to the function `slow`, of the same type. `@fetching` has the next blocks fetched.
#[macro_export]
#[doc(hidden)]
macro_rules! define_malloc {
    ($(#[$attribute:meta])* $name:ident, $symbol:literal, $slow:path) => {
        $crate::define_malloc! { @with $(#[$attribute])* $name, $symbol, $slow, [] }
    };
    (@fetching $(#[$attribute:meta])* $name:ident, $symbol:literal, $slow:path) => {
        $crate::define_malloc! { @with $(#[$attribute])* $name, $symbol, $slow, [$crate::fetch_ahead!()] }
    };
    (@with $(#[$attribute:meta])* $name:ident, $symbol:literal, $slow:path, [$($after:expr)?]) => {
        $(#[$attribute])*
        #[unsafe(export_name = $symbol)]
        #[unsafe(naked)]
        pub extern "C-unwind" fn $name(size: usize) -> *mut u8 {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::rseq_descriptor!("r9"),
                "cmp rdi, qword ptr [rip + {hot} + {limit}]",
                "jae {slow}",
                "lea r11, [rdi + 7]",
                "shr r11, 3",
                $crate::begin_sequence!("rsi"),
                "movzx ecx, byte ptr [r9 + r11 + {classes}]",
                "mov r10d, dword ptr [r9 + rcx*8 + {headers}]",
                "mov rax, qword ptr [r9 + r10*8]",
                "test rax, rax",
                "jz {slow}",
                "dec dword ptr [r9 + rcx*8 + {headers}]",
                "55:",
                $($after,)?
                "ret",
                ".cfi_endproc",
                hot = sym $crate::raw::HOT,
                slow = sym $slow,
                limit = const $crate::raw::Numbers::LIMIT,
                rseq_index = const $crate::raw::Numbers::RSEQ_INDEX,
                rseq_cs = const $crate::raw::Numbers::RSEQ_CS,
                regions = const $crate::raw::Numbers::REGIONS,
                region_shift = const $crate::raw::Numbers::REGION_SHIFT,
                classes = const $crate::raw::Numbers::CLASSES,
                headers = const $crate::raw::Numbers::HEADERS,
            )
        }
    };
}

/// Defines the function that has what the fast path of malloc left: medium blocks, and all that is slow. While requests are observed, that is every
/// small one: it is counted down, and popped as the fast path does unless its turn has come, or the block is one that must be looked at.
/// The functions named are for a medium block, for one whose turn has come, for one that was counted and could not be popped, for the usual
/// one of hardened mode, and for what is left.
///
/// The countdown is one instruction, which subtracts one more than the size: the comparison has left the carry flag set. Where the turn
/// has come it is taken back, for who counts on; a signal handler in between finds no count, and draws another.
#[macro_export]
#[doc(hidden)]
macro_rules! define_malloc_slow {
    ($(#[$attribute:meta])* $name:ident, $abi:literal,
     $medium:path, $due:path, $counted:path, $harden:path, $unusual:path) => {
        $(#[$attribute])*
        #[cold]
        #[unsafe(naked)]
        pub extern $abi fn $name(size: usize) -> *mut u8 {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::rseq_descriptor!("r9"),
                "cmp rdi, {small_end}",
                "jae {medium}",
                "cmp di, word ptr [rip + {hot} + {counted_end}]",
                "jae 3f",
                "movsxd rcx, dword ptr [rip + {hot} + {countdown}]",
                "sbb dword ptr fs:[rcx], edi",
                "jle 2f",
                "lea r11, [rdi + 7]",
                "shr r11, 3",
                $crate::begin_sequence!("rsi"),
                "movzx ecx, byte ptr [r9 + r11 + {classes}]",
                "mov r10d, dword ptr [r9 + rcx*8 + {headers}]",
                "mov rax, qword ptr [r9 + r10*8]",
                "cmp rax, qword ptr [rip + {hot} + {floor}]",
                "jb {counted}",
                "dec dword ptr [r9 + rcx*8 + {headers}]",
                "55:",
                "ret",
                "2:",
                "lea eax, [rdi + 1]",
                "add dword ptr fs:[rcx], eax",
                "jmp {due}",
                "3:",
                "cmp byte ptr [rip + {hot} + {instruments}], {hardened}",
                "je {harden}",
                "jmp {unusual}",
                ".cfi_endproc",
                hot = sym $crate::raw::HOT,
                medium = sym $medium,
                due = sym $due,
                counted = sym $counted,
                harden = sym $harden,
                unusual = sym $unusual,
                small_end = const $crate::raw::Numbers::SMALL_END,
                counted_end = const $crate::raw::Numbers::COUNTED_END,
                countdown = const $crate::raw::Numbers::COUNTDOWN,
                instruments = const $crate::raw::Numbers::INSTRUMENTS,
                hardened = const $crate::raw::Numbers::HARDENED_AS_USUAL,
                floor = const $crate::raw::Numbers::FLOOR,
                rseq_index = const $crate::raw::Numbers::RSEQ_INDEX,
                rseq_cs = const $crate::raw::Numbers::RSEQ_CS,
                regions = const $crate::raw::Numbers::REGIONS,
                region_shift = const $crate::raw::Numbers::REGION_SHIFT,
                classes = const $crate::raw::Numbers::CLASSES,
                headers = const $crate::raw::Numbers::HEADERS,
            )
        }
    };
}

crate::define_malloc_slow! {
    /// What the fast path of malloc leaves.
    malloc_slow, "C",
    crate::front::malloc_medium, crate::front::malloc_due, crate::front::malloc_counted, crate::harden::malloc,
    crate::front::malloc_unusual
}

/// What the fast path of Rust's `alloc` leaves, of an alignment of 16 at most: medium blocks, as with malloc, and all that is slow. While requests are
/// observed, a small one is counted down, and popped as the fast path does unless its turn has come, or the block is one that must be looked at. Its
/// class stands so many bytes behind `WORDS_OFFSET` as `entry` says, which the compiler knows where it knows the layout.
#[cold]
#[unsafe(naked)]
pub(crate) extern "C" fn alloc_missed(size: usize, align: usize, entry: usize) -> *mut u8 {
    core::arch::naked_asm!(
        ".cfi_startproc",
        crate::rseq_descriptor!("r9"),
        "cmp rdi, {small_end}",
        "jae {medium}",
        "cmp di, word ptr [rip + {hot} + {counted_end}]",
        "jae 3f",
        "movsxd rcx, dword ptr [rip + {hot} + {countdown}]",
        "sbb dword ptr fs:[rcx], edi", // one more than the size, as in define_malloc_slow
        "jle 2f",
        crate::begin_sequence!("r10", "r11"),
        "movzx ecx, byte ptr [r9 + rdx + {words}]",
        "mov eax, dword ptr [r9 + rcx*8 + {headers}]",
        "mov rax, qword ptr [r9 + rax*8]",
        "cmp rax, qword ptr [rip + {hot} + {floor}]",
        "jb {counted}",
        "dec dword ptr [r9 + rcx*8 + {headers}]",
        "55:",
        "ret",
        "2:", // taken back, as in define_malloc_slow
        "lea eax, [rdi + 1]",
        "add dword ptr fs:[rcx], eax",
        "jmp {due}",
        "3:",
        "cmp byte ptr [rip + {hot} + {instruments}], {hardened}",
        "je {harden}",
        "jmp {due}",
        ".cfi_endproc",
        hot = sym crate::hot::HOT,
        medium = sym crate::front::malloc_medium,
        small_end = const Numbers::SMALL_END,
        due = sym crate::front::alloc_due,
        counted = sym crate::front::alloc_counted,
        counted_end = const Numbers::COUNTED_END,
        countdown = const Numbers::COUNTDOWN,
        instruments = const Numbers::INSTRUMENTS,
        hardened = const Numbers::HARDENED_AS_USUAL,
        harden = sym crate::harden::malloc,
        floor = const Numbers::FLOOR,
        rseq_index = const Numbers::RSEQ_INDEX,
        rseq_cs = const Numbers::RSEQ_CS,
        regions = const Numbers::REGIONS,
        region_shift = const Numbers::REGION_SHIFT,
        words = const region::WORDS_OFFSET,
        headers = const Numbers::HEADERS,
    )
}

/// What the fast path of Rust's `dealloc` leaves, which goes by the size: where that may be wrong, because a block is watched, its
/// address tells the class. At other times the cache that was full is so here, too.
///
/// # Safety
/// F2 of `front.rs`; size and alignment are the allocation's.
#[cold]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn dealloc_missed(block: *mut u8, size: usize, align: usize) {
    core::arch::naked_asm!(
        ".cfi_startproc",
        crate::rseq_descriptor!("r9"),
        "mov rax, rdi",
        "shr rax, {page_shift}",
        "sub rax, qword ptr [rip + {levels} + {base_page}]",
        "cmp rax, qword ptr [rip + {levels} + {len}]",
        "jae {slow}",
        "mov rcx, qword ptr [rip + {levels} + {page_classes}]",
        "movzx ecx, byte ptr [rcx + rax]",
        "mov rax, rdx", // the alignment
        crate::begin_sequence!("r11"),
        "mov r10d, dword ptr [r9 + rcx*8 + {headers}]",
        "cmp r10d, dword ptr [r9 + rcx*8 + {headers} + 4]",
        "jae 2f",
        "mov qword ptr [r9 + r10*8 + 8], rdi",
        "inc dword ptr [r9 + rcx*8 + {headers}]",
        "55:",
        "ret",
        "2:",
        "mov rdx, rax",
        "jmp {slow}",
        ".cfi_endproc",
        levels = sym crate::instances::LEVELS,
        slow = sym crate::front::dealloc_slow,
        page_shift = const Numbers::PAGE_SHIFT,
        base_page = const Numbers::BASE_PAGE,
        len = const Numbers::LEN,
        page_classes = const Numbers::PAGE_CLASSES,
        hot = sym crate::hot::HOT,
        rseq_index = const Numbers::RSEQ_INDEX,
        rseq_cs = const Numbers::RSEQ_CS,
        regions = const Numbers::REGIONS,
        region_shift = const Numbers::REGION_SHIFT,
        headers = const Numbers::HEADERS,
    )
}

/// Defines a function `(block: *mut u8)` with the fast path of free, exported as the given symbol. With a second argument, named
/// and passed on in its register to `slow`, it is a free with a size. `@with` takes instructions that come first, with their
/// operands, and no symbol.
#[macro_export]
#[doc(hidden)]
macro_rules! define_free {
    ($(#[$attribute:meta])* $name:ident, $symbol:literal) => {
        $crate::define_free! { $(#[$attribute])* $name, $symbol, $crate::raw::free_slow, }
    };
    ($(#[$attribute:meta])* $name:ident, $symbol:literal, $slow:path, $($size:ident)?) => {
        $crate::define_free! {
            @with $(#[$attribute])* #[unsafe(export_name = $symbol)] $name, $slow, $($size)?, [] []
        }
    };
    (@with $(#[$attribute:meta])* $name:ident, $slow:path, $($size:ident)?,
     [$($before:literal),*] [$($operands:tt)*]) => {
        $(#[$attribute])*
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name(block: *mut u8 $(, $size: usize)?) {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $crate::rseq_descriptor!("r9"),
                $($before,)*
                "mov rax, rdi",
                "shr rax, {page_shift}",
                "sub rax, qword ptr [rip + {levels} + {base_page}]",
                "cmp rax, qword ptr [rip + {levels} + {len}]",
                "jae {slow}",
                "mov rcx, qword ptr [rip + {levels} + {page_classes}]",
                "movzx ecx, byte ptr [rcx + rax]",
                $crate::begin_sequence!("r11"),
                "mov r10d, dword ptr [r9 + rcx*8 + {headers}]",
                "cmp r10d, dword ptr [r9 + rcx*8 + {headers} + 4]",
                "jae {slow}",
                "mov qword ptr [r9 + r10*8 + 8], rdi",
                "inc dword ptr [r9 + rcx*8 + {headers}]",
                "55:",
                "ret",
                ".cfi_endproc",
                hot = sym $crate::raw::HOT,
                levels = sym $crate::raw::LEVELS,
                slow = sym $slow,
                page_shift = const $crate::raw::Numbers::PAGE_SHIFT,
                base_page = const $crate::raw::Numbers::BASE_PAGE,
                len = const $crate::raw::Numbers::LEN,
                page_classes = const $crate::raw::Numbers::PAGE_CLASSES,
                rseq_index = const $crate::raw::Numbers::RSEQ_INDEX,
                rseq_cs = const $crate::raw::Numbers::RSEQ_CS,
                regions = const $crate::raw::Numbers::REGIONS,
                region_shift = const $crate::raw::Numbers::REGION_SHIFT,
                headers = const $crate::raw::Numbers::HEADERS,
                $($operands)*
            )
        }
    };
}
