//! What the mode does, and its secret: pages of its own, which nobody can write to once the allocator has started.
//!
//! # Safety
//!
//! The pages hold atomics only, which are stored to before they are made read-only, by the one thread that starts the
//! allocator.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::mem::offset_of;

use freestone_base::{CLASS_COUNT, ClassId, class_info};
use freestone_sys::linux;

#[cfg(target_arch = "x86_64")]
use super::wide;
use super::yard;
use crate::slow::LEVELS;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::tune::Harden;

/// The pages that are protected, in bytes: where the system's are longer, they are not.
const PAGES: usize = 2 * 4096;

/// The settings. Relaxed: they are stored before `HOT.hardened`, whose Release and Acquire order them.
#[repr(C, align(4096))]
pub(crate) struct Settings {
    secret: AtomicU64,
    /// What decides whose turn it is in a yard: odd.
    turns: AtomicU64,
    /// Blocks up to this size are cleared when they are freed, and looked at when they are handed out.
    zero: AtomicUsize,
    /// Bytes of one class that wait in a yard.
    wait: AtomicUsize,
    /// Bytes up to which a free block is looked at whole when it is handed out; 0 where none is looked at.
    whole: AtomicUsize,
    canary: AtomicBool,
    sized: AtomicBool,
    guards: AtomicBool,
    /// Whether `wide.rs` may be used.
    #[cfg(target_arch = "x86_64")]
    wide: AtomicBool,
    /// Blocks of each class that wait in a yard; 0: none.
    places: [AtomicU8; CLASS_COUNT],
    /// As many as there are values of a [`ClassId`].
    shapes: [Shape; 256],
    /// As many again.
    near: [Near; 256],
}

/// What the fast paths need to know of a class.
struct Shape {
    /// What [`yard::part`] says of it.
    part: AtomicU32,
    /// Bytes in a block.
    size: AtomicU32,
}

/// How the blocks of a class are cleared and looked at by the paths in assembly (`usual.rs`); all zero where they are not.
#[repr(C)]
pub(super) struct Near {
    /// How many parts of how many bytes, which overlap where they must: 1: four of 32. 2: four of 64. 3: eight of 64. 4: as many of 64 as
    /// there are. 5: the same, to be cleared only.
    pub(super) kind: AtomicU8,
    /// Which words of the first part belong to the block, of the shortest: a bit each.
    pub(super) words: AtomicU8,
    /// Where the second of four parts begins; the third lies as far from the last.
    pub(super) step: AtomicU8,
    /// One less than the blocks that wait in a yard.
    pub(super) turns: AtomicU8,
    /// Where the last part begins, or of eight the fifth.
    pub(super) last: AtomicU16,
    /// Bytes in a block.
    pub(super) size: AtomicU16,
}

const _: () = assert!(size_of::<Near>() == Near::BYTES);

impl Near {
    /// Bytes of one.
    pub(super) const BYTES: usize = 8;
    /// Longer blocks are not cleared by the paths in assembly.
    pub(super) const LONGEST: usize = 4096;
    /// Longer blocks are not looked at whole by them.
    pub(super) const LOOKED_AT: usize = 1024 + 256;

    const fn none() -> Near {
        Near {
            kind: AtomicU8::new(0),
            words: AtomicU8::new(0),
            step: AtomicU8::new(0),
            turns: AtomicU8::new(0),
            last: AtomicU16::new(0),
            size: AtomicU16::new(0),
        }
    }

    /// Notes a class of blocks of `size` bytes, a multiple of 16 up to [`LONGEST`](Near::LONGEST), of which so many wait.
    fn set(&self, size: usize, places: usize) {
        let (kind, part, last) = match size {
            0..=128 => (1, 32, size.saturating_sub(32)),
            129..=256 => (2, 64, size - 64),
            257..=512 => (3, 64, size - 256),
            513..=Near::LOOKED_AT => (4, 64, size - 64),
            _ => (5, 64, size - 64),
        };
        self.words.store(if size < part { 0b11 } else { 0xff }, Ordering::Relaxed);
        self.step.store(last.min(part) as u8, Ordering::Relaxed);
        self.turns.store((places - 1) as u8, Ordering::Relaxed);
        self.last.store(last as u16, Ordering::Relaxed);
        self.size.store(size as u16, Ordering::Relaxed);
        self.kind.store(kind, Ordering::Relaxed);
    }
}

const _: () = assert!(size_of::<Settings>() == PAGES);

/// The one instance.
pub(crate) static SETTINGS: Settings = Settings {
    secret: AtomicU64::new(0),
    turns: AtomicU64::new(0),
    zero: AtomicUsize::new(0),
    wait: AtomicUsize::new(0),
    whole: AtomicUsize::new(0),
    canary: AtomicBool::new(false),
    sized: AtomicBool::new(false),
    guards: AtomicBool::new(false),
    #[cfg(target_arch = "x86_64")]
    wide: AtomicBool::new(false),
    places: [const { AtomicU8::new(0) }; CLASS_COUNT],
    shapes: [const { Shape { part: AtomicU32::new(0), size: AtomicU32::new(0) } }; 256],
    near: [const { Near::none() }; 256],
};

impl Settings {
    /// Where what decides on turns lies, in bytes.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const TURNS: usize = offset_of!(Settings, turns);
    /// Where the secret lies,
    #[cfg(target_arch = "x86_64")]
    pub(super) const SECRET: usize = offset_of!(Settings, secret);
    /// whether the paths in assembly may be taken,
    #[cfg(target_arch = "x86_64")]
    pub(super) const WIDE: usize = offset_of!(Settings, wide);
    /// and what they know of each class.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NEAR: usize = offset_of!(Settings, near);

    /// Takes what was chosen, and makes the page read-only.
    pub(super) fn fix(&self, chosen: &Harden, secret: u64) {
        self.secret.store(secret, Ordering::Relaxed);
        self.turns.store(secret.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, Ordering::Relaxed);
        self.zero.store(chosen.zero(), Ordering::Relaxed);
        self.wait.store(chosen.wait(), Ordering::Relaxed);
        self.canary.store(chosen.canary(), Ordering::Relaxed);
        self.whole.store(chosen.whole(), Ordering::Relaxed);
        self.sized.store(chosen.sized(), Ordering::Relaxed);
        self.guards.store(chosen.guards(), Ordering::Relaxed);
        #[cfg(target_arch = "x86_64")]
        self.wide.store(wide::is_here(), Ordering::Relaxed);
        for class in ClassId::all() {
            let shape = &self.shapes[class.index()];
            shape.size.store(class_info(class).size, Ordering::Relaxed);
            if chosen.wait() > 0 {
                let places = yard::places(class, chosen.wait());
                self.places[class.index()].store(places as u8, Ordering::Relaxed);
                shape.part.store(yard::part(class, places) as u32, Ordering::Relaxed);
                let size = class_info(class).size as usize;
                if size.is_multiple_of(16) && size <= Near::LONGEST {
                    self.near[class.index()].set(size, places);
                }
            }
        }
        let page = core::ptr::from_ref(self);
        // The kernel would protect whole pages of its own, with what lies behind.
        if !PAGES.is_multiple_of(LEVELS.pages.os_page_size()) {
            return;
        }
        // Where that is refused, everything else still holds.
        // SAFETY: pages of our own, of which nothing else is a part and which nobody stores to any more.
        let _ = unsafe { linux::make_read_only(page.expose_provenance(), PAGES) };
    }

    #[inline]
    pub(super) fn secret(&self) -> u64 {
        self.secret.load(Ordering::Relaxed)
    }

    /// Bytes up to which a block is cleared when it is freed; 0 where none is.
    #[inline]
    pub(super) fn zero(&self) -> usize {
        self.zero.load(Ordering::Relaxed)
    }

    /// Bytes of one class that wait in a yard; 0 where none do.
    #[inline]
    pub(super) fn wait(&self) -> usize {
        self.wait.load(Ordering::Relaxed)
    }

    /// Blocks of `class` that wait in a yard; 0 where none do.
    #[inline]
    pub(super) fn places(&self, class: ClassId) -> usize {
        self.places[class.index()].load(Ordering::Relaxed) as usize
    }

    /// What [`yard::part`] says of `class`.
    #[inline(always)]
    pub(super) fn part(&self, class: ClassId) -> usize {
        self.shapes[class.index()].part.load(Ordering::Relaxed) as usize
    }

    /// Bytes in a block of `class`.
    #[inline(always)]
    pub(super) fn size(&self, class: ClassId) -> usize {
        self.shapes[class.index()].size.load(Ordering::Relaxed) as usize
    }

    #[inline]
    pub(super) fn canary(&self) -> bool {
        self.canary.load(Ordering::Relaxed)
    }

    /// Bytes up to which a free block is looked at whole when it is handed out; 0 where none is looked at.
    #[inline]
    pub(super) fn whole(&self) -> usize {
        self.whole.load(Ordering::Relaxed)
    }

    /// Whether the size that a free states is compared.
    #[inline]
    pub(super) fn sized(&self) -> bool {
        self.sized.load(Ordering::Relaxed)
    }

    /// Whether blocks may be cleared and looked at by `wide.rs`.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn wide(&self) -> bool {
        self.wide.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn guards(&self) -> bool {
        self.guards.load(Ordering::Relaxed)
    }
}
