//! An allocator that finds out what a program does wrong with its memory, and tells where.
//!
//! # What it is
//!
//! Every block has a record with its size, its alignment and the stack traces of its allocation and its free. No address is
//! used twice, so a block that was freed is still known when it is freed again. Around a block lie canaries, behind a
//! freed one nothing: its pages become inaccessible as soon as nobody lives on them. What is found is told in a
//! [`Report`], symbolised, on the standard error output or wherever one wants it.
//!
//! | bug | when it is found | what the report names |
//! |---|---|---|
//! | double free | at the second free | three traces: allocated, first freed, freed a second time |
//! | invalid free | at the free | the address, and the block that it lies in, if any |
//! | wrong size or alignment on free | at the free | both sizes or alignments; where it was allocated and freed |
//! | overrun, underrun | at the access with guard pages and [`explain_faults`](Debug::explain_faults); else at the free or a [check](Debug::check) | how far outside |
//! | write after free | at the access, as above, or when the page is closed, or at a check | which byte; where it was allocated and freed |
//! | use after free | faults once the page is closed; with `explain_faults`, told | where it was allocated, freed, and used |
//! | resize of a freed block | at the resize | three traces |
//! | leak | at the end, or on [request](Debug::report_leaks) | how many blocks and bytes, by trace |
//! | more memory than is allowed | at the request, which is refused | |
//!
//! ```text
//!  packed region, 64 KiB, never written backwards:          a block alone, GuardAfter:
//!  ┌──────┬─────────┬──────┬──────┬────────┬──────┬────     ┌────────┬────────────┬────────────┬────────┐
//!  │canary│ block   │canary│canary│ freed  │canary│ …       │ closed │     canary │ block      │ closed │
//!  └──────┴─────────┴──────┴──────┴0xdd 0xdd──────┴────     └────────┴────────────┴────────────┴────────┘
//!  records, traces (each once), index by address: apart, from the parent
//! ```
//!
//! # Where it comes from
//!
//! `std.heap.DebugAllocator` of Zig (2020 as `GeneralPurposeAllocator`, renamed 2025): its options, its three traces, its rule that no
//! address comes back. Canaries as in many a `malloc` debugger since the 1980s; blocks on guarded pages of their own after
//! Bruce Perens's Electric Fence (1987); traces kept once each after the sanitizers' stack depot (2012). Unlike Zig's, it
//! finds over- and underruns, closes single pages, and explains faults.
//!
//! # When to use it
//!
//! While a program is developed or a crash is hunted: as the allocator of a collection, of a test, or as
//! `#[global_allocator]` (with [`Response::Abort`], since a global allocator must not unwind). Not in production: a call takes
//! microseconds, most of them for the trace, and a freed block's record stays.
//!
//! # Cost
//!
//! | operation | time |
//! |---|---|
//! | allocate, free | constant, and a walk of the stack; a system call for a page that is closed; two or three for a block that lies alone |
//! | check, leaks | one step for every byte around a block or freed; for every block |
//! | a report | milliseconds |
//!
//! A record takes about 100 bytes, for every block ever allocated unless the [quarantine](DebugConfig::quarantine) is bounded.
//!
//! # Example
//!
//! ```
//! use freestone_kit::Alloc;
//! use freestone_kit::debug::{Debug, DebugConfig, Fault, Response};
//! use freestone_kit::page::Page;
//! use core::alloc::Layout;
//!
//! let config = DebugConfig::new().response(Response::Continue).sink(|report| {
//!     assert_eq!(report.fault(), Fault::Overrun { distance: 1 });
//! });
//! let debug = Debug::with(Page, config);
//! let layout = Layout::new::<[u8; 24]>();
//! let block = debug.allocate(layout)?.cast::<u8>();
//! // SAFETY: not at all: the byte behind the block is written, which is what this allocator is for.
//! unsafe { block.add(24).write(1) };
//! assert_eq!(debug.check(), 1);
//! // SAFETY: a live block of that layout.
//! unsafe { debug.deallocate(block, layout) };
//! assert!(debug.finish().is_none(), "no leaks");
//! # Ok::<(), freestone_kit::AllocError>(())
//! ```
//!
//! # Safety
//!
//! The invariants of the state and of its regions: a block that is handed out is live there, and stays in its region
//! when the allocator moves.
#![allow(unsafe_code)]

mod bytes;
mod config;
mod explain;
mod protect;
mod record;
mod regions;
mod report;
mod state;
mod table;
mod threads;
mod trace;
mod traits;

use core::cell::Cell;

pub use config::{DebugConfig, Placement, Response};
pub use report::{BlockInfo, Fault, Occasion, Report, to_log, to_stderr};
pub use threads::{Shared, Single, Threads};
pub use trace::Trace;

use report::Found;
use state::{Scene, State};
use threads::Keep;

use crate::Alloc;
use crate::alloc::without_unwinding;

/// Blocks that were not freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaks {
    /// How many.
    pub blocks: usize,
    /// Their bytes, as requested.
    pub bytes: usize,
}

/// A debug allocator over the parent `A`; see the [module](self). `T` says whether threads may share it: [`Shared`] or
/// [`Single`].
///
/// When it is dropped it reports leaks, and all memory goes back to the parent. One that is forgotten instead leaves pages of
/// the parent's inaccessible: not to be done over a buffer that is used again.
pub struct Debug<A: Alloc, T: Threads = Shared> {
    parent: A,
    config: DebugConfig,
    state: T::Keep,
    ended: bool,
}

std::thread_local! {
    /// This thread is making a report or a log line; what it allocates for that is no concern of the program.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as telling for a while.
struct Telling(bool);

impl Telling {
    fn begin() -> Telling {
        Telling(TELLING.try_with(|telling| telling.replace(true)).unwrap_or(true))
    }

    /// Whether this thread is telling something. One without thread-locals any more tells nothing.
    fn now() -> bool {
        TELLING.try_with(Cell::get).unwrap_or(false)
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let _ = TELLING.try_with(|telling| telling.set(self.0));
    }
}

impl<A: Alloc> Debug<A> {
    /// One for any number of threads, with the default options.
    pub const fn new(parent: A) -> Self {
        Self::with(parent, DebugConfig::new())
    }

    /// One for any number of threads, with these options.
    pub const fn with(parent: A, config: DebugConfig) -> Self {
        Self::of(parent, config)
    }
}

impl<A: Alloc> Debug<A, Single> {
    /// One for a single thread at a time, with these options.
    pub const fn single(parent: A, config: DebugConfig) -> Self {
        Self::of(parent, config)
    }
}

impl<A: Alloc, T: Threads> Debug<A, T> {
    const fn of(parent: A, config: DebugConfig) -> Self {
        Debug { parent, config, state: T::NEW, ended: false }
    }

    /// The parent.
    pub const fn parent(&self) -> &A {
        &self.parent
    }

    /// The options.
    pub const fn config(&self) -> &DebugConfig {
        &self.config
    }

    /// Changes the limit on live bytes, as requested. What is live already stays.
    pub fn set_memory_limit(&self, bytes: usize) {
        self.state.with(|kept| kept.0.limit = Some(bytes));
    }

    /// The limit on live bytes.
    pub fn memory_limit(&self) -> usize {
        self.state.with(|kept| kept.0.limit).unwrap_or(self.config.memory_limit)
    }

    /// Looks at the canaries of all live blocks and at the bytes of all freed ones that can still be reached; reports
    /// what is new, and returns how many reports that were.
    ///
    /// # Panics
    ///
    /// After the first report, with [`Response::Panic`].
    pub fn check(&self) -> usize {
        let trace = Trace::take(self.config.trace_depth);
        let (mut cursor, mut count) = (0, 0);
        while let Some(report) = self.state.with(|kept| {
            let scene = self.scene(&trace, Occasion::Check);
            kept.0.next_fault(&mut cursor, &scene)
        }) {
            count += 1;
            self.tell(&report);
            self.respond(&report);
        }
        count
    }

    /// Reports all live blocks as leaks, those of one trace together, and returns how many there are. None: no leaks.
    pub fn report_leaks(&self) -> Option<Leaks> {
        let trace = Trace::take(0);
        let (blocks, bytes) = self.state.with(|kept| kept.0.count_leaks());
        let mut cursor = 0;
        while let Some(report) = self.state.with(|kept| {
            let scene = self.scene(&trace, Occasion::Check);
            kept.0.next_leak(&mut cursor, &scene)
        }) {
            self.tell(&report);
        }
        (blocks > 0).then_some(Leaks { blocks, bytes })
    }

    /// Ends the allocator: a last check, then the leaks, which are reported and returned. None: no leaks.
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check).
    pub fn finish(mut self) -> Option<Leaks> {
        self.check();
        self.ended = true;
        self.report_leaks()
    }

    /// Forgets freed blocks whose memory is out of use, and gives their addresses back to the parent.
    ///
    /// # Panics
    ///
    /// As [`check`](Self::check).
    pub fn flush_retained(&self) {
        self.act(Occasion::Check, |state, scene, found| state.flush(scene, found));
    }

    fn scene<'s>(&'s self, trace: &'s Trace, occasion: Occasion) -> Scene<'s, A> {
        Scene { parent: &self.parent, config: &self.config, trace, occasion, internal: Telling::now() }
    }

    /// Has `act` work on the state; then, the lock released, tells what was found.
    fn act<R>(&self, occasion: Occasion, act: impl FnOnce(&mut State, &Scene<'_, A>, &mut Found) -> R) -> R {
        let trace = Trace::take(self.config.trace_depth);
        let mut found = Found::new();
        let result = self.state.with(|kept| act(&mut kept.0, &self.scene(&trace, occasion), &mut found));
        if found.len() > 0 {
            found.iter().for_each(|report| self.tell(report));
            found.iter().take(1).for_each(|report| self.respond(report));
        }
        result
    }

    #[cold]
    fn tell(&self, report: &Report) {
        let _telling = Telling::begin();
        (self.config.sink)(report);
    }

    #[cold]
    fn respond(&self, report: &Report) {
        match self.config.response {
            Response::Continue => {}
            Response::Abort => std::process::abort(),
            Response::Panic if std::thread::panicking() => {}
            Response::Panic => {
                let telling = Telling::begin();
                let summary = report.summary();
                drop(telling);
                panic!("freestone debug: {summary}");
            }
        }
    }

    /// A line for the log, if there is to be one.
    fn log(&self, line: impl FnOnce() -> String) {
        if self.config.verbose_log && !Telling::now() {
            let _telling = Telling::begin();
            // Whoever had a block moved would go on with its old address if a logger unwound.
            without_unwinding("the logger of a debug allocator", || {
                log::info!(target: "freestone_kit::debug", "{}", line());
            });
        }
    }
}

impl<A: Alloc, T: Threads> Drop for Debug<A, T> {
    fn drop(&mut self) {
        if !self.ended {
            self.report_leaks();
        }
        self.state.get_mut().0.release_all(&self.parent);
    }
}
