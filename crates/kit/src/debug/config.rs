//! What the debug allocator is to do.

use super::report::{Report, to_stderr};

/// What happens after a fault was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The call that found it panics, unless the thread is unwinding already.
    Panic,
    /// The process ends. The choice for a global allocator, which must not unwind.
    Abort,
    /// The call goes on as well as it can: a free that is none is not done, one with a wrong layout is.
    Continue,
}

/// Where blocks lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Small blocks side by side with canaries between them; blocks above 8 KiB as [`GuardAfter`](Placement::GuardAfter).
    Packed,
    /// Each block on pages of its own, its end at an inaccessible page: an overrun faults at once.
    GuardAfter,
    /// Each block on pages of its own, its beginning at an inaccessible page: an underrun faults at once.
    GuardBefore,
}

/// The options of a [`Debug`](super::Debug) allocator. All can be set in a constant:
///
/// ```
/// use freestone_kit::debug::{DebugConfig, Placement};
/// const CONFIG: DebugConfig = DebugConfig::new().trace_depth(20).placement(Placement::GuardAfter);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DebugConfig {
    pub(super) trace_depth: usize,
    pub(super) canary: u64,
    pub(super) placement: Placement,
    pub(super) never_unmap: bool,
    pub(super) retain_metadata: bool,
    pub(super) quarantine: usize,
    pub(super) memory_limit: usize,
    pub(super) verbose_log: bool,
    pub(super) move_on_resize: bool,
    pub(super) resize_traces: bool,
    pub(super) check_every: u32,
    pub(super) response: Response,
    pub(super) sink: fn(&Report),
}

impl DebugConfig {
    /// The deepest trace there is.
    pub const MOST_FRAMES: usize = 32;

    /// The defaults, which each method names.
    pub const fn new() -> Self {
        DebugConfig {
            trace_depth: 12,
            canary: 0x92a3_b6c5_85d1_f10f,
            placement: Placement::Packed,
            never_unmap: false,
            retain_metadata: false,
            quarantine: usize::MAX,
            memory_limit: usize::MAX,
            verbose_log: false,
            move_on_resize: true,
            resize_traces: false,
            check_every: 0,
            response: Response::Panic,
            sink: to_stderr,
        }
    }

    /// How many frames a trace shows, at most [`MOST_FRAMES`](Self::MOST_FRAMES); with 0 no trace is taken. Default: 12.
    ///
    /// # Panics
    ///
    /// When `frames` is above the most; in a constant, that does not compile.
    pub const fn trace_depth(mut self, frames: usize) -> Self {
        assert!(frames <= Self::MOST_FRAMES, "a trace has at most 32 frames");
        self.trace_depth = frames;
        self
    }

    /// The word whose bytes fill the places before and behind blocks, where nobody may write.
    pub const fn canary(mut self, canary: u64) -> Self {
        self.canary = canary;
        self
    }

    /// Where blocks lie. Default: [`Placement::Packed`].
    pub const fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Leaves freed memory readable, filled with `0xdd`: a use after free does not fault, a write is found at the next
    /// [check](super::Debug::check). Default: no; freed pages become inaccessible.
    pub const fn never_unmap(mut self, yes: bool) -> Self {
        self.never_unmap = yes;
        self
    }

    /// Remembers freed blocks also when their addresses went back to the parent, so that a late double free is still
    /// told from an invalid one. Default: no; matters with a bounded [`quarantine`](Self::quarantine) only.
    pub const fn retain_metadata(mut self, yes: bool) -> Self {
        self.retain_metadata = yes;
        self
    }

    /// How many bytes of freed address space are kept from the parent; the oldest go back first. Default: all, so that
    /// no address is used twice. The addresses cost no memory, but for the records of the blocks (about 100 bytes each).
    pub const fn quarantine(mut self, bytes: usize) -> Self {
        self.quarantine = bytes;
        self
    }

    /// Refuses what would take the live bytes, as requested, above so many. Default: no limit.
    pub const fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Sends a line for every call to the [`log`] crate, at the level `info`. Default: no.
    pub const fn verbose_log(mut self, yes: bool) -> Self {
        self.verbose_log = yes;
        self
    }

    /// Moves a block at every `grow` and `shrink`, so that pointers to its old place are found out. Default: yes.
    /// [`resize_in_place`](crate::ResizeInPlace) never moves.
    pub const fn move_on_resize(mut self, yes: bool) -> Self {
        self.move_on_resize = yes;
        self
    }

    /// Takes a new trace of allocation when a block changes its size. Default: no; a block keeps its first.
    pub const fn resize_traces(mut self, yes: bool) -> Self {
        self.resize_traces = yes;
        self
    }

    /// Checks all canaries and all freed memory at every so manieth call. Default: 0, never by itself.
    pub const fn check_every(mut self, calls: u32) -> Self {
        self.check_every = calls;
        self
    }

    /// What happens after a report. Default: [`Response::Panic`].
    pub const fn response(mut self, response: Response) -> Self {
        self.response = response;
        self
    }

    /// Where reports go. Default: to the standard error output.
    pub const fn sink(mut self, sink: fn(&Report)) -> Self {
        self.sink = sink;
        self
    }
}

impl Default for DebugConfig {
    fn default() -> Self {
        Self::new()
    }
}
