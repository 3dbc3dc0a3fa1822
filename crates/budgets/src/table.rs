//! The budgets: the one place to change when a fast path gains or loses an instruction.

/// The program in which a case is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A program with `libfreestone_malloc.so` preloaded. Counted is the function, from its first instruction
    /// through its `ret`; the call and the procedure linkage table are not.
    C,
    /// The same with a cache a thread, as where there are no restartable sequences.
    Thread,
    /// A Rust program with `Freestone` as its global allocator. Counted is what the compiler puts into the calling function,
    /// which does nothing else; that function's `ret` is not.
    Rust,
}

/// One fast path and how many instructions it may take.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The name of the subject's case.
    pub name: &'static str,
    /// Where it is counted.
    pub subject: Subject,
    /// The most instructions that it may take: what it takes at present.
    pub budget: usize,
    /// What is called.
    pub what: &'static str,
}

const fn c(name: &'static str, budget: usize, what: &'static str) -> Budget {
    Budget { name, subject: Subject::C, budget, what }
}

const fn thread(name: &'static str, budget: usize, what: &'static str) -> Budget {
    Budget { name, subject: Subject::Thread, budget, what }
}

const fn rust(name: &'static str, budget: usize, what: &'static str) -> Budget {
    Budget { name, subject: Subject::Rust, budget, what }
}

/// All budgets. Those of the assembly in `front_c.rs` hold with any compiler; the others with the one that the table was
/// last adapted to, Rust 1.95.
pub const BUDGETS: &[Budget] = &[
    c("malloc_8", 18, "malloc(8)"),
    c("malloc_32", 18, "malloc(32)"),
    c("malloc_1000", 18, "malloc(1000)"),
    c("malloc_32k", 18, "malloc(32 KiB), the largest small block"),
    c("malloc_100k", 28, "malloc(100 KB), a medium block"),
    c("malloc_300k", 220, "malloc(300 KB), a large block whose span lies ready"),
    c("free_32", 20, "free of 32 bytes"),
    c("free_32k", 20, "free of 32 KiB"),
    c("free_100k", 20, "free of 100 KB"),
    c("free_300k", 250, "free of 300 KB, whose span is to lie ready"),
    c("calloc_32", 29, "calloc(1, 32), without libc's memset"),
    c("realloc_in_place", 28, "realloc of 64 bytes to 60, the same class"),
    c("aligned_alloc_64", 64, "aligned_alloc(64, 256)"),
    c("posix_memalign_64", 78, "posix_memalign(64, 256)"),
    c("free_sized_32", 20, "C23's free_sized of 32 bytes"),
    c("new_32", 20, "operator new(32)"),
    c("new_array_32", 29, "operator new[](32)"),
    c("new_nothrow_32", 29, "operator new(32, nothrow)"),
    c("delete_32", 20, "operator delete of 32 bytes"),
    c("delete_array_32", 22, "operator delete[] of 32 bytes"),
    c("delete_sized_32", 22, "operator delete(block, 32)"),
    thread("malloc_32", 40, "malloc(32) from the thread's cache"),
    thread("malloc_32k", 58, "malloc(32 KiB) from the thread's cache"),
    thread("free_32", 44, "free of 32 bytes into the thread's cache"),
    rust("alloc_constant", 20, "alloc of a constant layout, [u64; 8]"),
    rust("dealloc_constant", 13, "dealloc of a constant layout, [u64; 8]"),
    rust("pair_constant", 35, "both in one function, which aligns its stack for the slow paths"),
    rust("alloc_runtime", 24, "alloc of a layout known at run time"),
    rust("dealloc_runtime", 22, "dealloc of a layout known at run time"),
    rust("alloc_zeroed_constant", 25, "alloc_zeroed of a constant layout, [u64; 8]"),
    rust("realloc_in_place", 11, "realloc of 64 bytes to 60, the same class"),
    rust("box_new", 23, "Box::new of a u64, as the global allocator"),
    rust("box_drop", 20, "drop of a Box<u64>, as the global allocator"),
    rust("box_pair", 43, "Box::new and drop of a u64 in one function"),
];

/// What an allocation and its release take together, and shall take one day.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// What the two are.
    pub what: &'static str,
    /// The full names of the two.
    pub of: [&'static str; 2],
    /// The sum to reach.
    pub goal: usize,
}

/// The pairs that have a goal.
pub const PAIRS: &[Pair] = &[
    Pair { what: "malloc and free of a small block", of: ["c::malloc_32", "c::free_32"], goal: 38 },
    Pair {
        what: "alloc and dealloc of a constant layout",
        of: ["rust::alloc_constant", "rust::dealloc_constant"],
        goal: 26,
    },
];

/// Not a budget but a check of the counting itself: five instructions, one of them repeated.
pub const SELF_CHECK: Budget = c("self_check", 5, "a function of five instructions");

impl Budget {
    /// The name with the subject's before it.
    pub fn full_name(&self) -> String {
        let subject = match self.subject {
            Subject::C => "c",
            Subject::Thread => "thread",
            Subject::Rust => "rust",
        };
        format!("{subject}::{}", self.name)
    }
}
