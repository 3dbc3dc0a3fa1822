//! Times malloc and free as they are in `front_c.rs` against variants of single instructions, on plain memory.
//!
//! `cargo run --release -p freestone-budgets --example variants`: the least of many short runs, in nanoseconds a pair.
//! `docs/design/fast-path.md` says what follows from it.
//!
//! # Safety
//!
//! - V1: the functions are called after `Place::fill`, by one thread; they read and write only what it has set.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
fn main() {
    x86_64::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::{asm, naked_asm};
    use std::hint::black_box;
    use std::mem::offset_of;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Instant;

    const REGION: usize = 1 << 19;
    const CLASS: usize = 4;
    const CLASSES: usize = 0x540;
    const BEGIN: u64 = 1000;
    const HELD: u64 = 200;

    /// What the functions read, in the order of `HOT` and the page map.
    #[repr(C, align(64))]
    struct Place {
        limit: AtomicUsize,
        rseq_cs: AtomicUsize,
        rseq_index: AtomicUsize,
        regions: AtomicUsize,
        base_page: AtomicUsize,
        len: AtomicUsize,
        page_classes: AtomicUsize,
        descriptor: AtomicUsize,
    }

    static PLACE: Place = Place {
        limit: AtomicUsize::new(32769),
        rseq_cs: AtomicUsize::new(0),
        rseq_index: AtomicUsize::new(0),
        regions: AtomicUsize::new(0),
        base_page: AtomicUsize::new(0),
        len: AtomicUsize::new(8),
        page_classes: AtomicUsize::new(0),
        descriptor: AtomicUsize::new(0),
    };

    macro_rules! variant {
        ($malloc:ident $free:ident [$($announce:literal)*] [$($region:literal)*] [$($pop:literal)*] [$($push:literal)*]) => {
            #[unsafe(naked)]
            extern "C" fn $malloc(size: usize) -> usize {
                naked_asm!(
                    "cmp rdi, qword ptr [rip + {place} + {limit}]",
                    "jae 9f",
                    "lea r11, [rdi + 7]",
                    "shr r11, 3",
                    $($announce,)*
                    $($region,)*
                    "add r9, qword ptr [rip + {place} + {regions}]",
                    "movzx ecx, byte ptr [r9 + r11 + {classes}]",
                    $($pop,)*
                    "ret",
                    "9:",
                    "ud2",
                    place = sym PLACE,
                    limit = const offset_of!(Place, limit),
                    rseq_cs = const offset_of!(Place, rseq_cs),
                    rseq_index = const offset_of!(Place, rseq_index),
                    descriptor = const offset_of!(Place, descriptor),
                    regions = const offset_of!(Place, regions),
                    classes = const CLASSES,
                )
            }

            #[unsafe(naked)]
            extern "C" fn $free(block: usize) {
                naked_asm!(
                    "mov rax, rdi",
                    "shr rax, 13",
                    "sub rax, qword ptr [rip + {place} + {base_page}]",
                    "cmp rax, qword ptr [rip + {place} + {len}]",
                    "jae 9f",
                    "mov rcx, qword ptr [rip + {place} + {page_classes}]",
                    "movzx ecx, byte ptr [rcx + rax]",
                    $($announce,)*
                    $($region,)*
                    "add r9, qword ptr [rip + {place} + {regions}]",
                    $($push,)*
                    "ret",
                    "9:",
                    "ud2",
                    place = sym PLACE,
                    base_page = const offset_of!(Place, base_page),
                    len = const offset_of!(Place, len),
                    page_classes = const offset_of!(Place, page_classes),
                    rseq_cs = const offset_of!(Place, rseq_cs),
                    rseq_index = const offset_of!(Place, rseq_index),
                    descriptor = const offset_of!(Place, descriptor),
                    regions = const offset_of!(Place, regions),
                )
            }
        };
    }

    variant! { malloc_now free_now
        ["mov rdx, [rip + {place} + {rseq_index}]" "mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8"]
        ["movsxd r9, dword ptr fs:[rdx]" "shl r9, 19"]
        ["mov r10d, [r9 + rcx*8 + 8]" "mov rax, [r9 + r10*8]" "test rax, rax" "jz 9f" "dec dword ptr [r9 + rcx*8 + 8]"]
        ["mov r10d, [r9 + rcx*8 + 8]" "cmp r10d, [r9 + rcx*8 + 12]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc dword ptr [r9 + rcx*8 + 8]"]
    }
    variant! { malloc_halves free_halves
        ["mov rdx, [rip + {place} + {rseq_index}]" "mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8"]
        ["movsxd r9, dword ptr fs:[rdx]" "shl r9, 19"]
        ["movzx r10d, word ptr [r9 + rcx*4 + 8]" "mov rax, [r9 + r10*8]" "test rax, rax" "jz 9f" "dec dword ptr [r9 + rcx*4 + 8]"]
        ["movzx r10d, word ptr [r9 + rcx*4 + 8]" "cmp r10w, [r9 + rcx*4 + 10]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc dword ptr [r9 + rcx*4 + 8]"]
    }
    variant! { malloc_half free_half
        ["mov rdx, [rip + {place} + {rseq_index}]" "mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8"]
        ["movsxd r9, dword ptr fs:[rdx]" "shl r9, 19"]
        ["movzx r10d, word ptr [r9 + rcx*4 + 8]" "mov rax, [r9 + r10*8]" "test rax, rax" "jz 9f" "dec word ptr [r9 + rcx*4 + 8]"]
        ["movzx r10d, word ptr [r9 + rcx*4 + 8]" "cmp r10w, [r9 + rcx*4 + 10]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc word ptr [r9 + rcx*4 + 8]"]
    }
    variant! { malloc_stored free_stored
        ["mov rdx, [rip + {place} + {rseq_index}]" "mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8"]
        ["movsxd r9, dword ptr fs:[rdx]" "shl r9, 19"]
        ["mov r10d, [r9 + rcx*8 + 8]" "mov rax, [r9 + r10*8]" "test rax, rax" "jz 9f" "dec r10d" "mov [r9 + rcx*8 + 8], r10d"]
        ["mov r10d, [r9 + rcx*8 + 8]" "cmp r10d, [r9 + rcx*8 + 12]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc r10d" "mov [r9 + rcx*8 + 8], r10d"]
    }
    variant! { malloc_multiplied free_multiplied
        ["mov rdx, [rip + {place} + {rseq_index}]" "mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8"]
        ["imul r9d, dword ptr fs:[rdx], 0x80000"]
        ["mov r10d, [r9 + rcx*8 + 8]" "mov rax, [r9 + r10*8]" "test rax, rax" "jz 9f" "dec dword ptr [r9 + rcx*8 + 8]"]
        ["mov r10d, [r9 + rcx*8 + 8]" "cmp r10d, [r9 + rcx*8 + 12]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc dword ptr [r9 + rcx*8 + 8]"]
    }
    variant! { malloc_carried free_carried
        ["mov rdx, [rip + {place} + {rseq_index}]" "mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8"]
        ["movsxd r9, dword ptr fs:[rdx]" "shl r9, 19"]
        ["mov r10d, [r9 + rcx*8 + 8]" "mov rax, [r9 + r10*8]" "cmp rax, 1" "adc dword ptr [r9 + rcx*8 + 8], -1" "test rax, rax" "jz 9f"]
        ["mov r10d, [r9 + rcx*8 + 8]" "cmp r10d, [r9 + rcx*8 + 12]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc dword ptr [r9 + rcx*8 + 8]"]
    }
    variant! { malloc_one_offset free_one_offset
        ["mov rsi, [rip + {place} + {rseq_cs}]"
         "lea r8, [rip + {place} + {descriptor}]" "mov fs:[rsi], r8" "/* {rseq_index} */"]
        ["movsxd r9, dword ptr fs:[rsi + 16]" "shl r9, 19"]
        ["mov r10d, [r9 + rcx*8 + 8]" "mov rax, [r9 + r10*8]" "test rax, rax" "jz 9f" "dec dword ptr [r9 + rcx*8 + 8]"]
        ["mov r10d, [r9 + rcx*8 + 8]" "cmp r10d, [r9 + rcx*8 + 12]" "jae 9f" "mov [r9 + r10*8 + 8], rdi"
         "inc dword ptr [r9 + rcx*8 + 8]"]
    }

    impl Place {
        /// One region with blocks of one class, numbered 0 by an area of zeros. All of it is never freed.
        fn fill(&self) {
            let words = |len: usize| Box::leak(vec![0u64; len].into_boxed_slice());
            let (region, area, blocks) = (words(REGION / 8), words(8), words(8 * 8192 / 8));
            let first = blocks.as_mut_ptr().expose_provenance().next_multiple_of(32);
            for (slot, word) in region[1 + BEGIN as usize..].iter_mut().take(HELD as usize).enumerate() {
                *word = (first + 32 * slot) as u64;
            }
            let (current, end) = (BEGIN + HELD, BEGIN + 2 * HELD);
            region[1 + CLASS] = current | end << 32;
            // As it was: both in half a word.
            let at = 8 + CLASS * 4;
            region[at / 8] = (current | end << 16) << (at % 8 * 8);
            region[CLASSES / 8..(CLASSES + 4096) / 8].fill(u64::from_ne_bytes([CLASS as u8; 8]));
            let area = area.as_mut_ptr().expose_provenance();
            self.rseq_cs.store(area.wrapping_add(8).wrapping_sub(thread_pointer()), Relaxed);
            self.rseq_index.store(area.wrapping_add(24).wrapping_sub(thread_pointer()), Relaxed);
            self.regions.store(region.as_mut_ptr().expose_provenance(), Relaxed);
            self.base_page.store(first >> 13, Relaxed);
            let classes = Box::leak(vec![CLASS as u8; 64].into_boxed_slice());
            self.page_classes.store(classes.as_mut_ptr().expose_provenance(), Relaxed);
        }
    }

    fn thread_pointer() -> usize {
        let pointer;
        // SAFETY: the first word of a thread's control block is its own address.
        unsafe { asm!("mov {0}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
        pointer
    }

    struct Variant {
        name: &'static str,
        malloc: extern "C" fn(usize) -> usize,
        free: extern "C" fn(usize),
        /// The least time so far of a pair: one after the other, and by eights.
        least: [f64; 2],
    }

    pub fn main() {
        const PAIRS: usize = 400_000;
        PLACE.fill();
        let variant = |name, malloc, free| Variant { name, malloc, free, least: [f64::MAX; 2] };
        let mut variants = [
            variant("as it is", malloc_now, free_now),
            variant("headers of two times 16 bits", malloc_halves, free_halves),
            variant("the same, commit of 16 bits", malloc_half, free_half),
            variant("commit by a separate addition and a store", malloc_stored, free_stored),
            variant("number times size of a region by one imul", malloc_multiplied, free_multiplied),
            variant("pop without a branch, by adc", malloc_carried, free_carried),
            variant("one offset instead of two", malloc_one_offset, free_one_offset),
        ];
        for _ in 0..200 {
            for Variant { malloc, free, least, .. } in &mut variants {
                let start = Instant::now();
                for _ in 0..PAIRS {
                    free(black_box(malloc(32)));
                }
                least[0] = least[0].min(start.elapsed().as_secs_f64() * 1e9 / PAIRS as f64);
                let start = Instant::now();
                for _ in 0..PAIRS / 8 {
                    let blocks: [usize; 8] = std::array::from_fn(|_| malloc(32));
                    black_box(&blocks);
                    blocks.into_iter().for_each(|block| free(block));
                }
                least[1] = least[1].min(start.elapsed().as_secs_f64() * 1e9 / PAIRS as f64);
            }
        }
        println!("{:<44} {:>8} {:>10}", "ns a pair", "pairs", "by eights");
        for Variant { name, least: [pairs, eights], .. } in &variants {
            println!("{name:<44} {pairs:>8.2} {eights:>10.2}");
        }
    }
}
