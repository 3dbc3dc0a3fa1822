//! The usual paths of hardened mode as whole functions in assembly, by AVX-512: `malloc` and `calloc` of blocks of up to
//! 1,280 bytes, `free` of up to 4 KiB. The same steps as in `mod.rs`, with no register saved and few branches that depend on
//! the size. What is not as it should be, was never handed out or is longer goes to the functions there, which begin anew.
//!
//! A wrongly foreseen branch costs 20 cycles or more here, since it depends on a mark and a class that may have to come from the second-level
//! cache: so how a block is looked at and cleared follows from a table ([`Near`](super::settings::Near)), and its canary, which is all of the
//! slack and lies in the last 16 bytes, or 64, is compared behind a mask that is worked out.
//!
//! # Safety
//!
//! G2 of `mod.rs`; V1 of `wide.rs`, which [`Settings::WIDE`] is looked at for first; Q1 and Q2 of `cache/rseq.rs`, R2 and R3 of
//! `cache/region.rs`, X1 of `pageheap/shadow.rs`, Y1 of `yard.rs`. A block in a cache lies in a slab, so that there is a chunk with its mark.
#![allow(unsafe_code)]

use core::mem::offset_of;

use freestone_base::{ClassId, MAX_SMALL, PAGE_SHIFT};

use super::marks::{EXACT, FREED, FULL, Key, NEAR};
use super::settings::{Near, Settings};
use super::{
    calloc_plainly, flush, free_plainly, free_sized_plainly, hand_on_elsewhere, hand_out, hand_out_long,
    malloc_plainly, yard,
};
use crate::cache::region::{CLASSES_OFFSET, HEADERS_OFFSET, REGION_SHIFT};
use crate::cache::rseq::{YARD_HEAD, YARD_SHIFT};
use crate::counters::Call;
use crate::front_c::Numbers;
use crate::hot::Hot;
use crate::pageheap::shadow;

/// As [`hand_out`], for what is popped and was not freed.
extern "C" fn hand_out_fresh(size: usize, block: usize, class: usize) -> *mut u8 {
    hand_out(block, ClassId(class as u8), size, false, Call::Malloc)
}

/// The same of zeros.
extern "C" fn hand_out_cleared(size: usize, block: usize, class: usize) -> *mut u8 {
    hand_out(block, ClassId(class as u8), size, true, Call::Calloc)
}

/// As [`hand_out_long`].
extern "C" fn hand_out_far(size: usize, block: usize, class: usize) -> *mut u8 {
    hand_out_long(block, ClassId(class as u8), size)
}

/// As [`flush`].
#[cold]
extern "C" fn flush_one(class: usize, block: usize) {
    flush(ClassId(class as u8), block);
}

/// As [`hand_on_elsewhere`].
#[cold]
extern "C" fn hand_on_without(class: usize, block: usize) {
    hand_on_elsewhere(ClassId(class as u8), block);
}

/// Has `r11` hold the key of the block in the register named (`Key::new`); `rdx` is used.
macro_rules! key {
    ($block:literal) => {
        concat!(
            "mov r11, qword ptr [rip + {settings} + {secret}]
            xor r11, ",
            $block,
            "
            movabs rdx, {factor}
            imul r11, rdx
            mov rdx, r11
            shr rdx, 32
            xor r11, rdx
            movabs rdx, {highest}
            or r11, rdx"
        )
    };
}

/// Has `k1` hold a bit for each of the last 64 bytes that is slack, which is one more than the register named.
macro_rules! full_mask {
    ($slack:literal) => {
        concat!(
            "movabs rdx, 0x8000000000000000
            sarx rdx, rdx, ",
            $slack,
            "
            kmovq k1, rdx"
        )
    };
}

/// Leaves for `{plain}` unless the slack, `r8d`, is canary of which the key is `r11`; has the mark at `r9` say that the block is free, and
/// `zmm16` be zero.
macro_rules! near_canary {
    () => {
        "cmp r8d, {near_slack}
        ja {plain}
        mov edx, 0xffff0000
        shrx edx, edx, r8d
        kmovw k1, edx
        vpbroadcastq xmm16, r11
        vpcmpub k1{{k1}}, xmm16, xmmword ptr [rdi + rax - 16], 4
        kortestw k1, k1
        jnz {plain}
        mov byte ptr [r9], {freed}
        vpxord xmm16, xmm16, xmm16"
    };
}

/// Defines a malloc: what is not in the cache goes to `$plain`, what was never handed out to `$fresh`, and what takes longer to `$far`.
macro_rules! define_malloc {
    ($(#[$attribute:meta])* $name:ident, $plain:path, $fresh:path, $far:path) => {
        $(#[$attribute])*
        #[unsafe(naked)]
        pub(crate) extern "C" fn $name(size: usize) -> *mut u8 {
            core::arch::naked_asm!(
                ".cfi_startproc",
                crate::rseq_descriptor!("r9"),
                "cmp byte ptr [rip + {settings} + {wide}], 0",
                "je {plain}",
                "cmp rdi, {max_small}",
                "jae {plain}",
                // Of one byte more, as a multiple of eight, and sixteen at the least.
                "mov r11, rdi",
                "shr r11, 3",
                "cmp r11, 1",
                "adc r11, 1",
                "mov rdx, qword ptr [rip + {index}]",
                "mov r10, qword ptr [rip + {hot} + {rseq_cs}]",
                "lea r8, [rip + 22b]",
                "33:",
                "mov qword ptr fs:[r10], r8",
                "44:",
                "movsxd r9, dword ptr fs:[rdx]",
                "45:",
                "shl r9, {region_shift}",
                "add r9, qword ptr [rip + {hot} + {regions}]",
                "movzx ecx, byte ptr [r9 + r11 + {classes}]",
                "mov esi, dword ptr [r9 + rcx*8 + {headers}]",
                "mov rax, qword ptr [r9 + rsi*8]",
                "test rax, rax",
                "jz {plain}",
                "mov rsi, qword ptr [r9 + rsi*8 - 8]",
                "dec dword ptr [r9 + rcx*8 + {headers}]",
                "55:",
                // The next one will be looked at all over before it is handed out.
                "prefetcht0 byte ptr [rsi]",
                // Its mark.
                "mov r8, qword ptr [rip + {levels} + {base_page}]",
                "shl r8, {page_shift}",
                "mov rsi, rax",
                "sub rsi, r8",
                "mov r8, rsi",
                "shr r8, {shadowed_shift}",
                "mov r9, qword ptr [rip + {table} + {entries}]",
                "mov r8, qword ptr [r9 + r8*8]",
                "shr esi, 4",
                "and esi, {marks}",
                "add rsi, r8",
                "cmp byte ptr [rsi], {freed}",
                "jne 8f",
                // Is it zero?
                "lea r9, [rip + {settings}]",
                "lea r9, [r9 + rcx*8 + {near}]",
                "movzx r10d, word ptr [r9 + {last}]",
                "movzx r11d, byte ptr [r9 + {step}]",
                "cmp byte ptr [r9 + {kind}], 1",
                "ja 4f",
                "jb 9f",
                "kmovb k1, byte ptr [r9 + {words}]",
                "vmovdqu64 ymm16{{k1}}{{z}}, ymmword ptr [rax]",
                "vmovdqu64 ymm17{{k1}}{{z}}, ymmword ptr [rax + r11]",
                "vporq ymm16{{k1}}, ymm16, ymmword ptr [rax + r10]",
                "sub r10, r11",
                "vporq ymm17{{k1}}, ymm17, ymmword ptr [rax + r10]",
                "3:",
                "vporq zmm16, zmm16, zmm17",
                "vptestmq k1, zmm16, zmm16",
                "kortestb k1, k1",
                "jnz 8f",
                // The canary: all of the slack.
                key!("rax"),
                "movzx r9d, word ptr [r9 + {size}]",
                "mov r10d, r9d",
                "sub r10d, edi",
                "mov ecx, 0xffff0000",
                "shrx ecx, ecx, r10d",
                "kmovw k1, ecx",
                "vpbroadcastq xmm16, r11",
                "vmovdqu8 xmm16{{k1}}{{z}}, xmm16",
                "vmovdqu64 xmmword ptr [rax + r9 - 16], xmm16",
                "add r10d, {exact}",
                "mov byte ptr [rsi], r10b",
                "ret",
                // The same of a longer one.
                "4:",
                "cmp byte ptr [r9 + {kind}], 3",
                "jae 5f",
                "vmovdqu64 zmm16, zmmword ptr [rax]",
                "vmovdqu64 zmm17, zmmword ptr [rax + r11]",
                "vporq zmm16, zmm16, zmmword ptr [rax + r10]",
                "sub r10, r11",
                "vporq zmm17, zmm17, zmmword ptr [rax + r10]",
                "jmp 3b",
                "5:",
                "ja 6f",
                "vmovdqu64 zmm16, zmmword ptr [rax]",
                "vmovdqu64 zmm17, zmmword ptr [rax + 64]",
                "vporq zmm16, zmm16, zmmword ptr [rax + 128]",
                "vporq zmm17, zmm17, zmmword ptr [rax + 192]",
                "vporq zmm16, zmm16, zmmword ptr [rax + r10]",
                "vporq zmm17, zmm17, zmmword ptr [rax + r10 + 64]",
                "vporq zmm16, zmm16, zmmword ptr [rax + r10 + 128]",
                "vporq zmm17, zmm17, zmmword ptr [rax + r10 + 192]",
                "7:",
                "vporq zmm16, zmm16, zmm17",
                "vptestmq k1, zmm16, zmm16",
                "kortestb k1, k1",
                "jnz 8f",
                key!("rax"),
                "movzx r9d, word ptr [r9 + {size}]",
                "mov r10d, r9d",
                "sub r10d, edi",
                "lea ecx, [r10 - 1]",
                full_mask!("rcx"),
                "vpbroadcastq zmm16, r11",
                "vmovdqu8 zmm16{{k1}}{{z}}, zmm16",
                "vmovdqu64 zmmword ptr [rax + r9 - 64], zmm16",
                "add r10d, {exact}",
                "mov byte ptr [rsi], r10b",
                "ret",
                "6:",
                "cmp byte ptr [r9 + {kind}], 5",
                "jae 9f",
                "add r10, rax",
                "vmovdqu64 zmm16, zmmword ptr [r10 - 192]",
                "vmovdqu64 zmm17, zmmword ptr [r10 - 128]",
                "vporq zmm16, zmm16, zmmword ptr [r10 - 64]",
                "vporq zmm17, zmm17, zmmword ptr [r10]",
                "mov r8, rax",
                "77:",
                "vporq zmm16, zmm16, zmmword ptr [r8]",
                "vporq zmm17, zmm17, zmmword ptr [r8 + 64]",
                "vporq zmm16, zmm16, zmmword ptr [r8 + 128]",
                "vporq zmm17, zmm17, zmmword ptr [r8 + 192]",
                "add r8, 256",
                "lea r11, [r8 + 192]",
                "cmp r11, r10",
                "jbe 77b",
                "jmp 7b",
                // Never handed out, or not as it should be: found out there.
                "8:",
                "mov rsi, rax",
                "mov edx, ecx",
                "jmp {fresh}",
                "9:",
                "mov rsi, rax",
                "mov edx, ecx",
                "jmp {far}",
                ".cfi_endproc",
                settings = sym super::settings::SETTINGS,
                wide = const Settings::WIDE,
                secret = const Settings::SECRET,
                near = const Settings::NEAR,
                kind = const offset_of!(Near, kind),
                last = const offset_of!(Near, last),
                step = const offset_of!(Near, step),
                words = const offset_of!(Near, words),
                size = const offset_of!(Near, size),
                plain = sym $plain,
                fresh = sym $fresh,
                far = sym $far,
                max_small = const MAX_SMALL,
                hot = sym crate::hot::HOT,
                index = sym crate::cache::cpu::INDEX,
                rseq_cs = const offset_of!(Hot, rseq_cs),
                regions = const offset_of!(Hot, regions),
                region_shift = const REGION_SHIFT,
                classes = const CLASSES_OFFSET,
                headers = const HEADERS_OFFSET,
                levels = sym crate::instances::LEVELS,
                base_page = const Numbers::BASE_PAGE,
                page_shift = const PAGE_SHIFT,
                table = sym shadow::TABLE,
                entries = const shadow::Table::ENTRIES,
                shadowed_shift = const shadow::SHADOWED.trailing_zeros(),
                marks = const shadow::CLASSES - 1,
                freed = const FREED,
                exact = const EXACT,
                factor = const Key::FACTOR as i64,
                highest = const Key::HIGHEST as i64,
            )
        }
    };
}

define_malloc! {
    /// malloc of `size` bytes. The mode is on, as usual.
    malloc, malloc_plainly, hand_out_fresh, hand_out_far
}

define_malloc! {
    /// The same of fewer than [`CLEAN`](super::CLEAN) bytes, which are zero: a block that was freed was looked at whole.
    calloc, calloc_plainly, hand_out_cleared, hand_out_cleared
}

/// Defines a free: with the lines in the place of `$told`, which may leave for `{plain}`, when `eax` is the bytes of the block and `r8d` its
/// slack.
macro_rules! define_free {
    ($(#[$attribute:meta])* $name:ident, ($($arguments:tt)*), $plain:path, [$($told:literal),*]) => {
        $(#[$attribute])*
        #[unsafe(naked)]
        pub(crate) extern "C" fn $name($($arguments)*) {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {settings} + {wide}], 0",
                "je {plain}",
                // It is cleared below, and its canary may lie in the same line.
                "prefetcht0 byte ptr [rdi]",
                // Its mark and its class.
                "mov rax, qword ptr [rip + {levels} + {base_page}]",
                "shl rax, {page_shift}",
                "mov rdx, rdi",
                "sub rdx, rax",
                "mov rax, rdx",
                "shr rax, {shadowed_shift}",
                "cmp rax, qword ptr [rip + {table} + {len}]",
                "jae {plain}",
                "mov rcx, qword ptr [rip + {table} + {entries}]",
                "mov r9, qword ptr [rcx + rax*8]",
                "test r9, r9",
                "jz {plain}",
                "test dil, 15",
                "jnz {plain}",
                "and edx, {within}",
                "mov eax, edx",
                "shr edx, {page_shift}",
                "shr eax, 4",
                "movzx ecx, byte ptr [r9 + rdx + {classes}]",
                "add r9, rax",
                "movzx r8d, byte ptr [r9]",
                // Its slack, far too long a one if it is not live.
                "sub r8d, {exact}",
                "lea r10, [rip + {settings}]",
                "lea r10, [r10 + rcx*8 + {near}]",
                "movzx eax, word ptr [r10 + {size}]",
                $($told,)*
                key!("rdi"),
                "cmp byte ptr [r10 + {kind}], 1",
                "ja 4f",
                "jb {plain}",
                near_canary!(),
                "kmovb k1, byte ptr [r10 + {words}]",
                "movzx eax, word ptr [r10 + {last}]",
                "movzx edx, byte ptr [r10 + {step}]",
                "vmovdqu64 ymmword ptr [rdi]{{k1}}, ymm16",
                "vmovdqu64 ymmword ptr [rdi + rdx]{{k1}}, ymm16",
                "vmovdqu64 ymmword ptr [rdi + rax]{{k1}}, ymm16",
                "sub rax, rdx",
                "vmovdqu64 ymmword ptr [rdi + rax]{{k1}}, ymm16",
                "jmp 3f",
                "4:",
                "cmp byte ptr [r10 + {kind}], 3",
                "jae 5f",
                near_canary!(),
                "movzx eax, word ptr [r10 + {last}]",
                "movzx edx, byte ptr [r10 + {step}]",
                "vmovdqu64 zmmword ptr [rdi], zmm16",
                "vmovdqu64 zmmword ptr [rdi + rdx], zmm16",
                "vmovdqu64 zmmword ptr [rdi + rax], zmm16",
                "sub rax, rdx",
                "vmovdqu64 zmmword ptr [rdi + rax], zmm16",
                "jmp 3f",
                "5:",
                "cmp r8d, {full_slack}",
                "ja {plain}",
                "dec r8d",
                full_mask!("r8"),
                "vpbroadcastq zmm16, r11",
                "vpcmpub k1{{k1}}, zmm16, zmmword ptr [rdi + rax - 64], 4",
                "kortestq k1, k1",
                "jnz {plain}",
                "mov byte ptr [r9], {freed}",
                "vpxord xmm16, xmm16, xmm16",
                "movzx eax, word ptr [r10 + {last}]",
                "add rax, rdi",
                "cmp byte ptr [r10 + {kind}], 3",
                "ja 6f",
                "vmovdqu64 zmmword ptr [rdi], zmm16",
                "vmovdqu64 zmmword ptr [rdi + 64], zmm16",
                "vmovdqu64 zmmword ptr [rdi + 128], zmm16",
                "vmovdqu64 zmmword ptr [rdi + 192], zmm16",
                "vmovdqu64 zmmword ptr [rax], zmm16",
                "vmovdqu64 zmmword ptr [rax + 64], zmm16",
                "vmovdqu64 zmmword ptr [rax + 128], zmm16",
                "vmovdqu64 zmmword ptr [rax + 192], zmm16",
                "jmp 3f",
                "6:",
                "mov rdx, rdi",
                "77:",
                "vmovdqu64 zmmword ptr [rdx], zmm16",
                "vmovdqu64 zmmword ptr [rdx + 64], zmm16",
                "vmovdqu64 zmmword ptr [rdx + 128], zmm16",
                "vmovdqu64 zmmword ptr [rdx + 192], zmm16",
                "add rdx, 256",
                "lea rsi, [rdx + 192]",
                "cmp rsi, rax",
                "jbe 77b",
                "vmovdqu64 zmmword ptr [rax - 192], zmm16",
                "vmovdqu64 zmmword ptr [rax - 128], zmm16",
                "vmovdqu64 zmmword ptr [rax - 64], zmm16",
                "vmovdqu64 zmmword ptr [rax], zmm16",
                "3:",
                // Into the yard, as `rseq::exchange` does.
                "imul eax, ecx, {part}",
                "movzx r10d, byte ptr [r10 + {turns}]",
                "mov rdx, qword ptr [rip + {index}]",
                "mov r11, qword ptr [rip + {hot} + {rseq_cs}]",
                crate::rseq_descriptor!("r9"),
                "lea r8, [rip + 22b]",
                "33:",
                "mov qword ptr fs:[r11], r8",
                "44:",
                "movsxd r9, dword ptr fs:[rdx]",
                "45:",
                "test r9, r9",
                "js 8f",
                "mov rsi, qword ptr [rip + {yards}]",
                "test rsi, rsi",
                "jz 8f",
                "shl r9, {yard_shift}",
                "add r9, rsi",
                "add r9, rax",
                "mov rsi, qword ptr [r9]",
                "shr rsi, 3",
                "imul rsi, qword ptr [rip + {settings} + {secret_turns}]",
                "shr rsi, 61",
                "xor rsi, qword ptr [r9]",
                "and rsi, r10",
                "inc qword ptr [r9]",
                "lea r9, [r9 + rsi*8 + {yard_head}]",
                "mov rsi, qword ptr [r9]",
                "mov qword ptr [r9], rdi",
                "55:",
                "test rsi, rsi",
                "jz 7f",
                // What was there goes to the cache.
                crate::rseq_descriptor!("r9"),
                "lea r8, [rip + 22b]",
                "33:",
                "mov qword ptr fs:[r11], r8",
                "44:",
                "movsxd r9, dword ptr fs:[rdx]",
                "45:",
                "shl r9, {region_shift}",
                "add r9, qword ptr [rip + {hot} + {regions}]",
                "mov r10d, dword ptr [r9 + rcx*8 + {headers}]",
                "cmp r10d, dword ptr [r9 + rcx*8 + {headers} + 4]",
                "jae 9f",
                "mov qword ptr [r9 + r10*8 + 8], rsi",
                "inc dword ptr [r9 + rcx*8 + {headers}]",
                "55:",
                "7:",
                "ret",
                "8:",
                "mov rsi, rdi",
                "mov edi, ecx",
                "jmp {without}",
                "9:",
                "mov edi, ecx",
                "jmp {full}",
                ".cfi_endproc",
                settings = sym super::settings::SETTINGS,
                wide = const Settings::WIDE,
                secret = const Settings::SECRET,
                secret_turns = const Settings::TURNS,
                near = const Settings::NEAR,
                kind = const offset_of!(Near, kind),
                last = const offset_of!(Near, last),
                step = const offset_of!(Near, step),
                words = const offset_of!(Near, words),
                size = const offset_of!(Near, size),
                turns = const offset_of!(Near, turns),
                plain = sym $plain,
                without = sym hand_on_without,
                full = sym flush_one,
                levels = sym crate::instances::LEVELS,
                base_page = const Numbers::BASE_PAGE,
                page_shift = const PAGE_SHIFT,
                table = sym shadow::TABLE,
                entries = const shadow::Table::ENTRIES,
                len = const shadow::Table::LEN,
                shadowed_shift = const shadow::SHADOWED.trailing_zeros(),
                within = const shadow::SHADOWED - 1,
                classes = const shadow::CLASSES,
                exact = const EXACT,
                near_slack = const NEAR,
                full_slack = const FULL,
                freed = const FREED,
                factor = const Key::FACTOR as i64,
                highest = const Key::HIGHEST as i64,
                part = const yard::BYTES,
                yards = sym yard::YARDS,
                yard_shift = const YARD_SHIFT,
                yard_head = const YARD_HEAD,
                hot = sym crate::hot::HOT,
                index = sym crate::cache::cpu::INDEX,
                rseq_cs = const offset_of!(Hot, rseq_cs),
                regions = const offset_of!(Hot, regions),
                region_shift = const REGION_SHIFT,
                headers = const HEADERS_OFFSET,
            )
        }
    };
}

define_free! {
    /// free. The mode is on, as usual. Anything but a live block, or null, ends the process, as does a block whose canary is not as it
    /// should be.
    free, (addr: usize), free_plainly, []
}

define_free! {
    /// The same of a block of which the caller says how many bytes were asked for.
    free_sized, (addr: usize, size: usize), free_sized_plainly, [
        "mov edx, eax",
        "sub edx, r8d",
        "cmp rdx, rsi",
        "jne {plain}"
    ]
}

#[cfg(test)]
mod tests {
    use freestone_base::{class_info, class_of_aligned};

    use super::super::CLEAN;
    use super::*;

    #[test]
    fn what_is_handed_out_here_has_a_slack_that_is_canary_all_through() {
        for size in 0..CLEAN {
            // As `malloc` reckons it: one byte more, as a multiple of eight.
            let room = ((size / 8).max(1) + 1) * 8;
            let class = class_of_aligned(room, 16).unwrap();
            let capacity = class_info(class).size as usize;
            let most = if capacity <= 256 { NEAR } else { FULL };
            assert!(capacity < CLEAN + 16 && (1..=most).contains(&(capacity - size)), "{size}: {capacity}");
        }
    }
}
