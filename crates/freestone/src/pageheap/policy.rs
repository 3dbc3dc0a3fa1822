//! How the page heap trades memory for speed, as far as that can be chosen.

use freestone_base::PAGE_SHIFT;

use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Whether huge pages are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HugePages {
    /// As the system is set up.
    Auto = 0,
    /// For everything mapped from now on.
    On = 1,
    /// For nothing mapped from now on.
    Off = 2,
}

impl HugePages {
    const ALL: [(HugePages, &'static str); 3] =
        [(HugePages::Auto, "auto"), (HugePages::On, "on"), (HugePages::Off, "off")];

    pub(crate) fn name(self) -> &'static str {
        HugePages::ALL[self as usize].1
    }

    pub(crate) fn by_name(name: &[u8]) -> Option<HugePages> {
        HugePages::ALL.into_iter().find(|huge| huge.1.as_bytes() == name).map(|huge| huge.0)
    }
}

/// The choices.
pub(crate) struct Policy {
    huge_pages: AtomicU8,
    colours: AtomicBool,
    /// Pages.
    dirty_limit: AtomicUsize,
    marks: AtomicBool,
    guards: AtomicBool,
}

impl Policy {
    pub(super) const fn new() -> Policy {
        Policy {
            huge_pages: AtomicU8::new(HugePages::Auto as u8),
            colours: AtomicBool::new(true),
            dirty_limit: AtomicUsize::new((64 << 20) >> PAGE_SHIFT),
            marks: AtomicBool::new(false),
            guards: AtomicBool::new(false),
        }
    }

    /// Whether each block of a slab has a mark, and slabs begin zeroed.
    #[inline]
    pub(crate) fn marks(&self) -> bool {
        self.marks.load(Relaxed)
    }

    /// Gives each block of a slab a mark, and zeroes slabs; before the first slab.
    pub(crate) fn set_marks(&self) {
        self.marks.store(true, Relaxed);
    }

    /// Whether each span in use ends with a guard page, and free ones are guarded whole.
    #[inline]
    pub(crate) fn guards(&self) -> bool {
        self.guards.load(Relaxed)
    }

    /// Pages at the end of each span in use that are its guard.
    #[inline]
    pub(crate) fn guard_pages(&self) -> usize {
        usize::from(self.guards())
    }

    /// Ends each span with a guard page; before the first span.
    pub(crate) fn set_guards(&self) {
        self.guards.store(true, Relaxed);
    }

    pub(crate) fn huge_pages(&self) -> HugePages {
        // Only numbers of the enum are stored.
        HugePages::ALL[self.huge_pages.load(Relaxed) as usize].0
    }

    pub(crate) fn set_huge_pages(&self, huge_pages: HugePages) {
        self.huge_pages.store(huge_pages as u8, Relaxed);
    }

    /// Whether slabs and large blocks begin at varying distances from a page.
    #[inline]
    pub(crate) fn colours(&self) -> bool {
        self.colours.load(Relaxed)
    }

    pub(crate) fn set_colours(&self, colours: bool) {
        self.colours.store(colours, Relaxed);
    }

    pub(crate) fn dirty_limit_bytes(&self) -> usize {
        self.dirty_limit.load(Relaxed) << PAGE_SHIFT
    }

    pub(crate) fn set_dirty_limit(&self, bytes: usize) {
        self.dirty_limit.store(bytes >> PAGE_SHIFT, Relaxed);
    }

    /// How many dirty pages may wait while `used` pages are in use and clean ones are taken.
    #[inline]
    pub(super) fn dirty_limit(&self, used: usize) -> usize {
        self.dirty_limit.load(Relaxed).max(used / 2)
    }
}
