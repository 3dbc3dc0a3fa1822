//! The fast paths. One screen for taking a block, one for giving it back.
//!
//! ```text
//! take ── size below the gate? ── class by table ── pop ── block
//!   └ no, or the pop missed ──────────────────────────────── slow::allocate
//! give ── page in the window? ── class by page map ── push ── done
//!   └ no, or the push missed ─────────────────────────────── slow::release
//! ```
//!
//! Everything unusual fails a test that the usual case needs anyway: before start, in per-thread mode, and while calls
//! are counted the size limit is zero and the cache's number -1, which is always empty and full; while requests are
//! observed the limit is zero; the class of a large block and of a watched one is 0, and class 0 is always full; null lies
//! outside every window.
//!
//! # Safety
//!
//! - F1: when `HOT.limit` is not zero, or the page map covers a page, or a block was handed out, everything else in
//!   `HOT` is set.
//! - F2: a block that is given back was handed out by this allocator, is live, and is not used afterwards.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::hint::assert_unchecked;

use freestone_base::size_class::{CLASS_TABLE, MALLOC_ALIGN, TELLING_MAX, WORD_CLASS_TABLE, class_of_medium};
use freestone_base::{ClassId, MAX_SHARING, MAX_SMALL, PAGE_SIZE, class_of, class_of_aligned};

use crate::cache::region::TO_CLASSES;
use crate::cache::{rseq, thread};
use crate::counters::Call;
use crate::debug::{self, Told};
use crate::harden;
use crate::hot::HOT;
use crate::observe::{self, Request};
use crate::page_class;
use crate::slow::{self, LEVELS};
use crate::start;
use crate::sync::atomic::{AtomicUsize, Ordering};

#[inline(always)]
fn pop(class: ClassId) -> *mut u8 {
    // SAFETY: F1: a gate was open, so the allocator has started.
    unsafe { rseq::pop(HOT.rseq_index.load(Ordering::Relaxed), class.index()) }
}

/// Pops from the class that stands so many bytes behind `WORDS_OFFSET` in the cache's region: its own variant.
#[inline(always)]
fn pop_at(at: usize) -> *mut u8 {
    // SAFETY: F1: a gate was open, so the allocator has started; the tables reach as far as the gate lets sizes through.
    unsafe { rseq::pop_at(HOT.rseq_index.load(Ordering::Relaxed), at) }
}

/// The same for a size of malloc's that has passed the gate.
#[inline(always)]
fn pop_for(size: usize) -> *mut u8 {
    pop_at(((size + 7) >> 3).wrapping_add(TO_CLASSES))
}

#[inline(always)]
fn push(index: &AtomicUsize, class: usize, block: *mut u8) -> bool {
    // SAFETY: F1: whoever handed the block out has set what is read here; F2. Acquire: the index before what `push`
    // reads beside it.
    unsafe { rseq::push(index.load(Ordering::Acquire), class, block.expose_provenance()) }
}

/// The same for a block whose class the page map tells, if it does.
#[inline(always)]
fn push_by_address(block: *mut u8) -> bool {
    let map = LEVELS.pages.page_map();
    match map.shown_index_of(block.addr()) {
        Some(page) => push(&HOT.rseq_index, map.class_entry(page).load(Ordering::Relaxed) as usize, block),
        None => false,
    }
}

/// malloc: `size` bytes, aligned to 16 (to 8 up to 8 bytes); null when memory is refused. O(1).
#[inline(always)]
pub fn malloc(size: usize) -> *mut u8 {
    if size < HOT.limit.load(Ordering::Acquire) {
        let block = pop_for(size);
        if !block.is_null() {
            return block;
        }
    }
    malloc_slow(size)
}

/// The same, for who has a name for the call.
#[inline(always)]
pub fn malloc_by(size: usize, call: Call) -> *mut u8 {
    if size < HOT.limit.load(Ordering::Acquire) {
        let block = pop_for(size);
        if !block.is_null() {
            return block;
        }
    }
    if debug::is_on() {
        slow::allocate(class_of(size), size, MALLOC_ALIGN, false, call)
    } else {
        malloc_slow(size)
    }
}

#[cfg(target_arch = "x86_64")]
pub use crate::front_c::malloc_slow;

/// What the fast path of malloc left: medium blocks, which have caches too, small ones while requests are observed, and all that is slow.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
pub extern "C" fn malloc_slow(size: usize) -> *mut u8 {
    if size > MAX_SMALL {
        malloc_medium(size)
    } else if observe::serves_from_cache(size) {
        if observe::is_due(size) { malloc_due(size) } else { malloc_counted(size) }
    } else {
        malloc_unusual(size)
    }
}

/// malloc of a block that is no small one.
#[cold]
pub(crate) extern "C" fn malloc_medium(size: usize) -> *mut u8 {
    if HOT.limit.load(Ordering::Acquire) != 0
        && let Some(class) = class_of_medium(size)
    {
        let block = pop(class);
        if !block.is_null() {
            return block;
        }
    }
    malloc_unusual(size)
}

/// What even that leaves. A function of its own, so that medium blocks save no registers for it.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn malloc_unusual(size: usize) -> *mut u8 {
    if !start::is_plain() {
        return malloc_instrumented(size);
    }
    if size > TELLING_MAX {
        return slow::serve(class_of(size), size, MALLOC_ALIGN, false);
    }
    serve_small(ClassId(CLASS_TABLE[size.div_ceil(8)]), size, MALLOC_ALIGN)
}

/// A request whose class is never merged, where nothing but serving is on: what the cache of a thread can serve takes no more than this.
#[inline(always)]
fn serve_small(class: ClassId, size: usize, align: usize) -> *mut u8 {
    match thread::take(class) {
        0 => slow::serve_missed(Some(class), size, align, false),
        block => core::ptr::with_exposed_provenance_mut(block),
    }
}

#[cold]
#[inline(never)]
fn malloc_instrumented(size: usize) -> *mut u8 {
    #[cfg(not(target_arch = "x86_64"))]
    if size <= MAX_SMALL && start::hardened_as_usual() {
        return harden::malloc(size);
    }
    if size <= MAX_SMALL && start::records_alone() {
        let block = slow::instrumented::allocate_recorded(size, ((size + 7) >> 3).wrapping_add(TO_CLASSES));
        if !block.is_null() {
            return block;
        }
    }
    if harden::is_on() && !observe::is_on() {
        return harden::allocate(size, MALLOC_ALIGN, false, Call::Malloc);
    }
    slow::allocate(class_of(size), size, MALLOC_ALIGN, false, Call::Malloc)
}

#[cfg(target_arch = "x86_64")]
use crate::front_c::{alloc_missed, dealloc_missed};

/// malloc of a small block whose turn has come: it is counted there.
pub(crate) extern "C" fn malloc_due(size: usize) -> *mut u8 {
    slow::allocate(class_of(size), size, MALLOC_ALIGN, false, Call::Malloc)
}

/// malloc of a small block that was counted and is not due, for which the cache had none, or one to look at. Where blocks are counted
/// and served from the caches, nothing else is on.
pub(crate) extern "C" fn malloc_counted(size: usize) -> *mut u8 {
    slow::serve(class_of(size), size, MALLOC_ALIGN, false)
}

/// calloc of `size` bytes in all. O(size) for small blocks; large ones are cleared only where they are dirty.
#[inline(always)]
pub fn calloc(size: usize) -> *mut u8 {
    if size < HOT.limit.load(Ordering::Acquire) {
        let block = pop_for(size);
        if !block.is_null() {
            // SAFETY: the block is ours, at least `size` bytes long.
            unsafe { block.write_bytes(0, size) };
            return block;
        }
    }
    // The page heap knows what is zero already.
    let class = if size > MAX_SMALL { None } else { class_of(size) };
    alloc_slow(class, size, MALLOC_ALIGN, true, Call::Calloc)
}

/// An allocation with a Rust layout; `zeroed` as in [`calloc`]. The class follows from size and alignment
/// alone, so that [`dealloc`] finds it again.
#[inline(always)]
pub fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    let (size, align) = (layout.size(), layout.align());
    let Some(entry) = entry_of(size, align) else { return alloc_over_aligned(size, align, zeroed) };
    let entry = rseq::in_register(entry);
    if rseq::is_open(entry) {
        // SAFETY: the gate lets no others through.
        unsafe { assert_unchecked(size <= MAX_SMALL) };
        let block = pop_at(entry);
        if !block.is_null() {
            if zeroed {
                // SAFETY: the block is ours, at least `size` bytes long.
                unsafe { block.write_bytes(0, size) };
            }
            return block;
        }
    }
    if !zeroed {
        return alloc_missed(size, align, entry);
    }
    let class = if size > MAX_SMALL { None } else { class_of_aligned(size, align) };
    alloc_slow(class, size, align, zeroed, Call::Malloc)
}

/// What the fast path of [`alloc`] leaves.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
fn alloc_missed(size: usize, align: usize, entry: usize) -> *mut u8 {
    if size > MAX_SMALL {
        return malloc_slow(size);
    }
    if let Some(class) = plain_class_at(size, entry) {
        return serve_small(class, size, align);
    }
    alloc_slow(class_of_aligned(size, align), size, align, false, Call::Malloc)
}

/// The class of a request of [`alloc`]'s whose entry is this, where it is never merged and nothing but serving is on.
#[inline(always)]
fn plain_class_at(size: usize, entry: usize) -> Option<ClassId> {
    let serves = start::is_plain() && size <= TELLING_MAX;
    serves.then(|| ClassId(WORD_CLASS_TABLE[entry.min(WORD_CLASS_TABLE.len() - 1)]))
}

/// [`alloc`] of a small block where nobody observes, or its turn has come: it is counted there. Its class stands at `entry`, as
/// [`entry_of`] has it.
#[cfg(target_arch = "x86_64")]
pub(crate) extern "C" fn alloc_due(size: usize, align: usize, entry: usize) -> *mut u8 {
    if let Some(class) = plain_class_at(size, entry) {
        return serve_small(class, size, align);
    }
    if start::records_alone() {
        let block = slow::instrumented::allocate_recorded(size, entry);
        if !block.is_null() {
            return block;
        }
    }
    slow::allocate(class_of_aligned(size, align), size, align, false, Call::Malloc)
}

/// The same of [`alloc`].
#[cfg(target_arch = "x86_64")]
pub(crate) extern "C" fn alloc_counted(size: usize, align: usize) -> *mut u8 {
    slow::serve(class_of_aligned(size, align), size, align, false)
}

/// What the fast paths leave, whose tables are not malloc's.
#[cold]
#[inline(never)]
fn alloc_slow(class: Option<ClassId>, size: usize, align: usize, zeroed: bool, call: Call) -> *mut u8 {
    if start::hardened_as_usual() {
        let is_calloc = zeroed && align <= MALLOC_ALIGN;
        return if is_calloc {
            harden::calloc(size, call)
        } else {
            harden::allocate(size, align, zeroed, call)
        };
    }
    if call == Call::Calloc && observe::serves_from_cache(size) {
        // The same class as malloc's, and the same way while requests are counted down.
        let block = malloc_slow(size);
        if !block.is_null() {
            // SAFETY: the block is ours, at least `size` bytes long.
            unsafe { block.write_bytes(0, size) };
        }
        return block;
    }
    if let Some(own) = class
        && observe::serves_from_cache(size)
        && !observe::is_due(size)
    {
        let request = Request { class, size, align, zeroed, call };
        let cached = slow::instrumented::from_cache(own, size, align, zeroed);
        return cached.unwrap_or_else(|| slow::instrumented::allocate_counted(&request));
    }
    slow::allocate(class, size, align, zeroed, call)
}

/// [`alloc`] of more than malloc's alignment. A function of its own, so that who has a layout at run time saves no registers for it.
#[inline(never)]
fn alloc_over_aligned(size: usize, align: usize, zeroed: bool) -> *mut u8 {
    let block = aligned_fast(size, align);
    if !block.is_null() {
        if zeroed {
            // SAFETY: the block is ours, at least `size` bytes long.
            unsafe { block.write_bytes(0, size) };
        }
        return block;
    }
    if size > MAX_SMALL {
        return alloc_over_aligned_medium(size, align, zeroed);
    }
    alloc_slow(class_of_aligned(size, align), size, align, zeroed, Call::Aligned)
}

/// The same of more than a small block. Medium blocks begin with a page, so up to that alignment they serve as they do malloc; cleared ones
/// come from the page heap, which may have clean memory. Marked cold for the sake of the small ones, which take five instructions less so.
#[cold]
#[inline(never)]
fn alloc_over_aligned_medium(size: usize, align: usize, zeroed: bool) -> *mut u8 {
    let class = if zeroed || align > PAGE_SIZE { None } else { class_of_medium(size) };
    if HOT.limit.load(Ordering::Acquire) != 0
        && let Some(class) = class
    {
        let block = pop(class);
        if !block.is_null() {
            return block;
        }
    }
    alloc_slow(class, size, align, zeroed, Call::Aligned)
}

/// The fast half of [`aligned`]: null where it missed. `errno` is kept. O(1).
#[inline]
pub fn aligned_fast(size: usize, align: usize) -> *mut u8 {
    if size < HOT.limit.load(Ordering::Acquire) {
        // A multiple of the alignment, which every block of its class has then if it is below a line.
        let rounded = (size.max(1) + align - 1) & !(align - 1);
        if rounded <= MAX_SHARING {
            return pop_for(rounded);
        }
        if let Some(class) = class_of_aligned(size, align) {
            return pop(class);
        }
    }
    core::ptr::null_mut()
}

/// Where the class of such a layout stands in a region, in bytes from `WORDS_OFFSET`; none of more than malloc's alignment. The usual
/// alignment is asked about first.
#[inline(always)]
fn entry_of(size: usize, align: usize) -> Option<usize> {
    if align <= 8 {
        Some((size + 7) >> 3)
    } else if align <= MALLOC_ALIGN {
        Some((size + 15) >> 4 << 1)
    } else {
        None
    }
}

/// free. Null is allowed. O(1).
///
/// # Safety
/// F2, or null.
#[inline(always)]
pub unsafe fn free(block: *mut u8) {
    if push_by_address(block) {
        return;
    }
    // SAFETY: F2.
    unsafe { slow::release(block, None, Call::Malloc) }
}

/// [`free`] for who has told by which function, of which size and alignment.
///
/// # Safety
/// F2, or null.
#[inline(always)]
pub unsafe fn free_by(block: *mut u8, call: Call, size: Option<usize>, align: Option<usize>) {
    if push_by_address(block) {
        return;
    }
    // SAFETY: F2.
    unsafe { slow::release_told(block, None, &Told { call, size, align }) }
}

/// Whether the class of a block that [`alloc`] gave follows from its layout alone: it has no variants, is never merged, and does not
/// take longer to work out than to look up.
#[inline(always)]
fn tells_class(size: usize, align: usize) -> bool {
    size.wrapping_sub(MAX_SHARING + 1) < TELLING_MAX - MAX_SHARING && align <= MALLOC_ALIGN
}

/// The class of such a layout. The alignment changes nothing: all classes above `MAX_SHARING` have 16 bytes of it.
#[inline(always)]
fn told_class(size: usize) -> usize {
    WORD_CLASS_TABLE[((size + 7) >> 3).min(WORD_CLASS_TABLE.len() - 1)] as usize
}

/// The class by which a block of this layout is freed: the page map's; where that shows none, what the layout tells. Both are the same
/// where the layout tells it, and the compiler is told so: it leaves the look-up out where it knows the layout. Where it does
/// not, nothing depends on the size, since a branch on sizes in no order would be foreseen wrongly half of the time.
///
/// # Safety
/// As [`dealloc`].
#[inline(always)]
unsafe fn class_to_free(block: *mut u8, size: usize, align: usize) -> usize {
    let shown = page_class::of(block);
    let told = tells_class(size, align);
    let class = if shown == ClassId::NONE.index() {
        // Read whether it serves or not: the compiler would ask for the size before all else.
        let class = told_class(size);
        if told { class } else { shown }
    } else {
        shown
    };
    // SAFETY: a block of such a layout was taken from that class, so its page shows this class or, where blocks may be watched
    // and for one of the emergency allocator's, none.
    unsafe { assert_unchecked(!told || class == told_class(size)) };
    class
}

/// Frees a block that [`alloc`] gave for this layout, without looking it up where the compiler knows a layout that tells the class.
/// O(1).
///
/// # Safety
/// F2; the layout is that of the allocation.
#[inline(always)]
pub unsafe fn dealloc(block: *mut u8, layout: Layout) {
    let (size, align) = (layout.size(), layout.align());
    // SAFETY: the caller's promise.
    let class = unsafe { class_to_free(block, size, align) };
    if push(&HOT.sized_index, class, block) {
        return;
    }
    // SAFETY: F2.
    unsafe { dealloc_missed(block, size, align) }
}

/// What the fast path of [`dealloc`] leaves; out of line, so that the fast path needs no stack.
///
/// # Safety
/// F2; size and alignment are the allocation's.
#[cfg(not(target_arch = "x86_64"))]
#[cold]
#[inline(never)]
unsafe fn dealloc_missed(block: *mut u8, size: usize, align: usize) {
    // While a block may be watched, its address has to tell the class.
    if start::watches() && push_by_address(block) {
        return;
    }
    // SAFETY: F2.
    unsafe { dealloc_slow(block, size, align) }
}

/// What even that leaves.
///
/// # Safety
/// F2; size and alignment are the allocation's.
#[cold]
pub(crate) unsafe extern "C" fn dealloc_slow(block: *mut u8, size: usize, align: usize) {
    let class = tells_class(size, align).then(|| ClassId(told_class(size) as u8));
    if start::is_plain() {
        return slow::release_plainly(block, class);
    }
    if start::hardened_as_usual() {
        return harden::free_sized(block.expose_provenance(), size);
    }
    if start::records_alone() {
        return slow::instrumented::release_recorded(block.expose_provenance(), None, Call::Malloc);
    }
    // SAFETY: F2.
    unsafe { slow::release_told(block, class, &Told::sized(Call::Malloc, size)) }
}

/// memalign: `size` bytes at `align`, a power of two, never less than malloc's. O(1) up to 8 KiB of alignment.
#[inline]
pub fn aligned(size: usize, align: usize) -> *mut u8 {
    alloc_over_aligned(size, align.max(MALLOC_ALIGN), false)
}

/// The same, for who has a name for the call.
#[inline]
pub fn aligned_by(size: usize, align: usize, call: Call) -> *mut u8 {
    if debug::is_on() {
        return slow::allocate(class_of_aligned(size, align), size, align.max(MALLOC_ALIGN), false, call);
    }
    aligned(size, align)
}
