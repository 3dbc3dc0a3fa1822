//! A small correct allocator, and the mistakes it can be told to make.
//!
//! # Safety
//!
//! Every address handed out, also by mistake, lies in the arena with all its bytes (*inside*),
//! and the arena lives as long as the allocator. Blocks that are not disjoint, which some of the
//! mistakes produce, are only compared by the oracle, never written through.
#![allow(unsafe_code)]

use freestone_testkit::Subject;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// A mistake of [`Toy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// None: it is correct.
    None,
    /// Blocks of a page and more stand 16 bytes too close.
    TooClose,
    /// Growing keeps only the first half.
    LosesHalf,
    /// Alignments above 64 are not kept.
    Misaligns,
    /// Recycled blocks are not zeroed.
    SkipsZeroing,
    /// The usable size counts 16 bytes of the next block.
    BoastsUsable,
    /// The usable size is a byte short.
    UnderstatesUsable,
    /// Freed blocks above 1000 bytes are forgotten; `verify` knows.
    Leaks,
    /// Freeing writes a byte behind the block.
    Scribbles,
    /// Requests of 3000 to 3999 bytes are refused.
    Balks,
    /// The rounding of sizes wraps, and the impossible is served.
    Wraps,
    /// A growth that is refused has already clobbered the block.
    ClobbersOnRefusal,
    /// A freed block that is the third in its list is entered twice.
    FreesTwice,
    /// Two threads that pop at once get the same block.
    PopsRacily,
}

const ARENA: usize = 256 << 20;
/// The largest alignment asked for.
const MOST_ALIGN: usize = 2 << 20;

#[derive(Default)]
struct State {
    /// Bytes of the arena used so far.
    top: usize,
    /// By rounded size and alignment: offsets of free blocks.
    free: BTreeMap<(usize, usize), Vec<usize>>,
    live_bytes: usize,
    padding: usize,
}

pub struct Toy {
    bug: Bug,
    base: *mut u8,
    state: Mutex<State>,
    /// Sizes of live blocks by address, for `usable_size` and freeing by address.
    known: Mutex<BTreeMap<usize, (usize, usize)>>,
}

// SAFETY: the arena is reached through the state's lock or by the owners of its blocks.
unsafe impl Sync for Toy {}

const fn layout() -> Layout {
    match Layout::from_size_align(ARENA + MOST_ALIGN, 16) {
        Ok(layout) => layout,
        Err(_) => panic!("the arena's layout is valid"),
    }
}

impl Toy {
    pub fn new(bug: Bug) -> Toy {
        // SAFETY: the layout's size is not zero.
        let base = unsafe { System.alloc_zeroed(layout()) };
        assert!(!base.is_null());
        Toy { bug, base, state: Mutex::default(), known: Mutex::default() }
    }

    fn rounded(&self, size: usize) -> Option<usize> {
        if self.bug == Bug::Wraps && size > ARENA {
            return Some(16);
        }
        Some(size.max(1).checked_next_multiple_of(16)?).filter(|&class| class <= ARENA)
    }

    /// A block of `class` bytes and whether it was used before.
    fn pop(&self, class: usize, align: usize) -> Option<(usize, bool)> {
        let mut state = self.state.lock().unwrap();
        if self.bug == Bug::PopsRacily {
            let seen = state.free.get(&(class, align)).and_then(|list| list.last().copied());
            drop(state);
            std::thread::yield_now();
            state = self.state.lock().unwrap();
            if let Some(seen) = seen {
                state.live_bytes += class;
                state.free.entry((class, align)).or_default().pop();
                return Some((seen, true));
            }
        }
        if let Some(offset) = state.free.get_mut(&(class, align)).and_then(Vec::pop) {
            state.live_bytes += class;
            return Some((offset, true));
        }
        let kept_align = if self.bug == Bug::Misaligns && align > 64 { 16 } else { align.max(16) };
        let start = (self.base.addr() + state.top).next_multiple_of(kept_align) - self.base.addr();
        let advance = if self.bug == Bug::TooClose && class >= 4096 { class - 16 } else { class };
        if start + class > ARENA {
            return None;
        }
        state.padding += start - state.top;
        state.top = start + advance;
        state.live_bytes += class;
        Some((start, false))
    }

    fn push(&self, addr: usize, class: usize, align: usize) {
        let mut state = self.state.lock().unwrap();
        state.live_bytes = state.live_bytes.wrapping_sub(class);
        if self.bug == Bug::Leaks && class > 1000 {
            return;
        }
        let offset = addr - self.base.addr();
        let list = state.free.entry((class, align)).or_default();
        list.push(offset);
        if self.bug == Bug::FreesTwice && list.len() == 3 {
            list.push(offset);
        }
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout by `new`.
        unsafe { System.dealloc(self.base, layout()) };
    }
}

// SAFETY: inside.
unsafe impl Subject for Toy {
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        if self.bug == Bug::Balks && (3000..4000).contains(&size) {
            return std::ptr::null_mut();
        }
        let Some(class) = self.rounded(size) else { return std::ptr::null_mut() };
        let Some((offset, used)) = self.pop(class, align) else { return std::ptr::null_mut() };
        let ptr = self.base.wrapping_add(offset);
        if zeroed && used && self.bug != Bug::SkipsZeroing {
            // SAFETY: inside, and the block is nobody's yet.
            unsafe { ptr.write_bytes(0, class) };
        }
        self.known.lock().unwrap().insert(ptr.addr(), (size, align));
        ptr
    }

    unsafe fn dealloc(&self, ptr: *mut u8, size: usize, align: usize) {
        let class = self.rounded(size).expect("a live block's size is possible");
        if self.bug == Bug::Scribbles {
            // SAFETY: inside: the arena is followed by room for the largest alignment.
            unsafe { ptr.wrapping_add(class).write(0xEE) };
        }
        self.known.lock().unwrap().remove(&ptr.addr());
        self.push(ptr.addr(), class, align);
    }

    fn frees_unsized(&self) -> bool {
        true
    }

    unsafe fn dealloc_unsized(&self, ptr: *mut u8) {
        let (size, align) = self.known.lock().unwrap()[&ptr.addr()];
        // SAFETY: the same block with the size and alignment it was allocated with.
        unsafe { self.dealloc(ptr, size, align) };
    }

    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise about `new_size` is the one asked for.
        let new = unsafe { self.alloc(new_size, align, false) };
        if new.is_null() {
            if self.bug == Bug::ClobbersOnRefusal && old_size > 0 {
                // SAFETY: inside: the block is live and has a byte.
                unsafe { ptr.write(0xCC) };
            }
            return new;
        }
        let kept = old_size.min(new_size);
        let kept = if self.bug == Bug::LosesHalf && new_size > old_size { kept / 2 } else { kept };
        // SAFETY: inside, both; `copy` allows that a mistake made them overlap.
        unsafe { ptr.copy_to(new, kept) };
        // SAFETY: the caller gives the old block up.
        unsafe { self.dealloc(ptr, old_size, align) };
        new
    }

    unsafe fn usable_size(&self, ptr: *mut u8) -> Option<usize> {
        let size = self.known.lock().unwrap().get(&ptr.addr())?.0;
        let class = self.rounded(size)?;
        match self.bug {
            Bug::BoastsUsable => Some(class + 16),
            Bug::UnderstatesUsable => size.checked_sub(1),
            _ => Some(class),
        }
    }

    fn may_refuse(&self) -> bool {
        // The arena is bounded, and freed blocks never merge.
        self.bug != Bug::Balks
    }

    fn verify(&self) -> Result<(), String> {
        let state = self.state.lock().unwrap();
        let free: usize = state.free.iter().map(|((class, _), list)| class * list.len()).sum();
        let known = state.live_bytes.wrapping_add(free).wrapping_add(state.padding);
        if self.bug == Bug::Leaks && known != state.top {
            return Err(format!("{} B used, {known} B accounted for", state.top));
        }
        Ok(())
    }
}
