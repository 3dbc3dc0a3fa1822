//! How the allocator comes to life, on its first request: options, kind of cache, fork handlers, gates.

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux::{self, control};

use crate::cache::{cpu, thread};
use crate::hot::HOT;
use crate::slow::LEVELS;
use crate::sync::Lock;
use crate::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicU64, Ordering};
use crate::tune::{self, CacheKind, Config};
use crate::{background, debug, gate, guard, harden, ledger, merged, message, profile, record, stack};

/// The kind of cache in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Not started, or no cache at all.
    None = 0,
    /// One cache a concurrency id or CPU.
    Cpu = 1,
    /// One cache a thread.
    Thread = 2,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::None => "none",
            Mode::Cpu => "cpu",
            Mode::Thread => "thread",
        }
    }
}

static MODE: AtomicU8 = AtomicU8::new(0);

// The bits of `HOT.instruments`: what is done beside serving. All but `WATCHES` and `OBSERVES` are fixed when the allocator has started, before
// any block is handed out by it.
/// The allocator has started, and the others are true.
const STARTED: u8 = 1;
/// Every call is counted.
const COUNTS: u8 = 2;
/// Every call is recorded.
const RECORDS: u8 = 4;
/// Blocks have marks and canaries.
const HARDENED: u8 = 8;
/// Blocks have pages of their own.
const DEBUGS: u8 = 16;
/// A block may be watched, whose size does not tell its place.
pub(crate) const WATCHES: u8 = 32;
/// Requests are observed.
const OBSERVES: u8 = 64;
/// Of the hardened mode all parts are as usual, over the CPUs' caches.
const AS_USUAL: u8 = 128;

static CHECKING: AtomicBool = AtomicBool::new(false);
/// The process that started the allocator, or the child of fork that has a copy. A child of `vfork` is another.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// The last child of `vfork`, as far as that was seen.
static LENT_TO: AtomicI32 = AtomicI32::new(0);
static CONFIG: Lock<Config> = Lock::new(Config::DEFAULT);
/// When the allocator started; kept for the report only.
static STARTED_NS: AtomicU64 = AtomicU64::new(0);
/// The process that the report is about: not a `vfork` child, which shares our memory. 0: no report is wanted.
static PROCESS: AtomicI64 = AtomicI64::new(0);

/// The kind of cache in use.
#[inline]
pub(crate) fn mode() -> Mode {
    match MODE.load(Ordering::Relaxed) {
        1 => Mode::Cpu,
        2 => Mode::Thread,
        _ => Mode::None,
    }
}

/// Acquire: whoever sees the start sees what it has set.
#[inline]
fn instruments() -> u8 {
    HOT.instruments.load(Ordering::Acquire)
}

/// Whether the allocator has started, and does nothing but serve.
#[inline]
pub(crate) fn is_plain() -> bool {
    instruments() == STARTED
}

/// Whether it does nothing but serve, and observe requests or watch blocks.
#[inline]
pub(crate) fn only_observes() -> bool {
    instruments() & !(OBSERVES | WATCHES) == STARTED
}

/// Whether every call is counted.
#[inline]
pub(crate) fn counting() -> bool {
    instruments() & COUNTS != 0
}

/// Whether the hardened mode is on.
#[inline]
pub(crate) fn hardened() -> bool {
    instruments() & HARDENED != 0
}

/// Whether the hardened mode is on, and the debug mode is not.
#[inline]
pub(crate) fn only_hardened() -> bool {
    instruments() & (HARDENED | DEBUGS) == HARDENED
}

/// What `HOT.instruments` says where [`hardened_as_usual`] is true.
pub(crate) const HARDENED_AS_USUAL: u8 = STARTED | HARDENED | AS_USUAL;

/// Whether the hardened mode is on, all of it, over the CPUs' caches, and nothing else is.
#[inline]
pub(crate) fn hardened_as_usual() -> bool {
    instruments() == HARDENED_AS_USUAL
}

/// Whether the debug mode is on.
#[inline]
pub(crate) fn debugging() -> bool {
    instruments() & DEBUGS != 0
}

/// Whether a block may be watched.
#[inline]
pub(crate) fn watches() -> bool {
    instruments() & WATCHES != 0
}

/// Whether requests are observed.
#[inline]
pub(crate) fn observes() -> bool {
    instruments() & OBSERVES != 0
}

/// Has blocks be watched, or not any more.
pub(crate) fn set_watches(watches: bool) {
    set(WATCHES, watches);
}

/// Has requests be observed, or not any more.
pub(crate) fn set_observes(observes: bool) {
    set(OBSERVES, observes);
}

fn set(instrument: u8, on: bool) {
    // Release: who gets a watched block finds this.
    if on {
        HOT.instruments.fetch_or(instrument, Ordering::Release);
    } else {
        HOT.instruments.fetch_and(!instrument, Ordering::Release);
    }
}

/// Whether a block that is resized where it lies must be told of.
#[inline]
pub(crate) fn watches_resizes() -> bool {
    instruments() & (COUNTS | RECORDS | HARDENED | DEBUGS) != 0
}

/// Whether blocks are not what their classes say.
#[inline]
pub(crate) fn changes_blocks() -> bool {
    instruments() & (HARDENED | DEBUGS) != 0
}

/// Whether every call takes the slow path, because it is counted or recorded there.
#[inline]
pub(crate) fn sees_every_call() -> bool {
    instruments() & (COUNTS | RECORDS) != 0
}

/// Whether calls take the slow path only to be recorded, and could use the CPUs' caches as the fast path would.
#[inline]
pub(crate) fn only_records() -> bool {
    instruments() & (COUNTS | RECORDS) == RECORDS && mode() == Mode::Cpu
}

/// Whether that is all that is done beside serving.
#[inline]
pub(crate) fn records_alone() -> bool {
    instruments() == STARTED | RECORDS && mode() == Mode::Cpu
}

/// Whether the slow path walks all invariants now and then.
#[inline]
pub(crate) fn checking() -> bool {
    CHECKING.load(Ordering::Relaxed)
}

/// Has the slow path walk all invariants now and then, or not.
pub(crate) fn set_checking(checking: bool) {
    CHECKING.store(checking, Ordering::Relaxed);
}

pub(crate) fn config() -> Config {
    *CONFIG.lock()
}

/// Time since the allocator started, in nanoseconds.
pub(crate) fn elapsed_ns() -> u64 {
    linux::monotonic_ns() - STARTED_NS.load(Ordering::Relaxed)
}

/// Whether the options have been read.
#[inline]
pub(crate) fn is_started() -> bool {
    instruments() & STARTED != 0
}

/// Whether a report may have been asked for, without a start: most processes end here, many of them before they allocated.
#[inline]
pub(crate) fn report_may_be_wanted() -> bool {
    if is_started() {
        PROCESS.load(Ordering::Relaxed) != 0
    } else {
        // Zero in a child of `clone` without thread-local storage to speak of, as Chromium's that changes its root.
        crate::tls::thread_pointer() != 0 && tune::is_set()
    }
}

/// Whether a report is wanted in the end.
pub(crate) fn reporting() -> bool {
    PROCESS.load(Ordering::Relaxed) != 0
}

/// Whether the calling process is the one that started the allocator, or a child of fork.
pub(crate) fn is_own_process() -> bool {
    PROCESS.load(Ordering::Relaxed) == i64::from(linux::process_id())
}

/// Starts the allocator if nobody has. The gate has been entered, so what libc allocates in here is served by
/// the emergency allocator.
#[inline]
pub(crate) fn ensure() {
    if !is_started() {
        start();
    }
}

#[cold]
fn start() {
    linux::note_functions();
    // Before the fork handlers and the lock: whoever loads a library meanwhile may fork, and may wait for the lock.
    if !stack::library::is_apart() {
        linux::stay_loaded();
    }
    let mut config = CONFIG.lock();
    if is_started() {
        return;
    }
    *config = Config::read();
    cpu::shut();
    OWNER.store(linux::process_id(), Ordering::Relaxed);
    control::note_filter();
    control::note_preloaded();
    if !config.report().is_empty() {
        mark_process();
    }
    if !linux::control::at_fork(gate::before_fork, gate::after_fork_in_parent, gate::after_fork_in_child) {
        tell("fork handlers could not be registered; fork only while one thread runs");
    }
    if !config.harden.is_on() {
        merged::begin();
    }
    let mode = choose(&config);
    MODE.store(mode as u8, Ordering::Relaxed);
    let only_serves = !config.count && !config.debug && !config.harden.is_on() && config.record().is_empty();
    let watching = if only_serves { 0 } else { begin_instruments(&config, mode) };
    HOT.instruments.store(STARTED | watching, Ordering::Release);
    if mode == Mode::Cpu && watching == 0 {
        cpu::open();
    }
    guard::begin_if_wanted();
    profile::begin_if_wanted(!config.heap_profile().is_empty());
    if config.control {
        crate::control::ask_by_option();
    }
    if !config.report().is_empty() {
        // The history begins now; the thread cannot, inside the gate.
        LEVELS.pages.watch().arm(1, usize::MAX);
    }
    if config.verbose {
        say_what_is_on(&config, mode);
    }
}

/// Begins what is done beside serving; the bits for it. A function of its own, like the next, so that few pages of code are run at a usual start.
#[cold]
#[inline(never)]
fn begin_instruments(config: &Config, mode: Mode) -> u8 {
    let debug = config.debug && debug::begin(config.report());
    if config.debug && !debug {
        tell("debug:1 cannot take effect here (no room for its addresses)");
    }
    let hardened = config.harden.is_on();
    match config.record().is_empty() {
        true => {}
        false if hardened || debug => tell("record cannot take effect in hardened or debug mode"),
        false => record::begin(),
    }
    if hardened {
        harden::start(&config.harden);
    }
    let flag = |on, flag| if on { flag } else { 0 };
    flag(config.count, COUNTS)
        | flag(record::is_on(), RECORDS)
        | flag(hardened, HARDENED)
        | flag(hardened && mode == Mode::Cpu && config.harden.is_usual(), AS_USUAL)
        | flag(debug, DEBUGS)
}

#[cold]
#[inline(never)]
fn say_what_is_on(config: &Config, mode: Mode) {
    let mut text = FixedText::<160>::new();
    let _ = write!(text, "cache {}, counting {}", mode.name(), if config.count { "on" } else { "off" });
    if config.harden.is_on() {
        let _ = write!(text, ", hardened:{}", config.harden);
        if config.harden.guards() && !LEVELS.pages.policy().guards() {
            let why = match harden::guards_fit(LEVELS.pages.os_page_size()) {
                true => "the kernel has none without mappings",
                false => "the pages of the system are longer than 8 KiB",
            };
            let _ = write!(text, " (no guard pages: {why})");
        }
    }
    message::say(&text);
}

fn choose(config: &Config) -> Mode {
    if matches!(config.cache, CacheKind::Auto | CacheKind::Cpu) {
        if cpu::start(LEVELS.pages.system(), config.cache_bytes) {
            return Mode::Cpu;
        }
        if config.cache == CacheKind::Cpu {
            tell("cache:cpu cannot take effect here (no restartable sequences); using cache:thread");
        }
    }
    if config.cache == CacheKind::None {
        return Mode::None;
    }
    if !thread::start(config.cache_bytes) {
        tell("cache:thread cannot take effect here (no pthread key is left); using cache:none");
        return Mode::None;
    }
    Mode::Thread
}

#[cold]
#[inline(never)]
pub(crate) fn tell(words: &str) {
    let mut text = FixedText::<160>::new();
    let _ = text.write_str(words);
    message::say(&text);
}

/// Whether this is a child of `vfork`, whose thread would end with it in the midst of its parent's memory, or a process that never saw our fork
/// handlers.
pub(crate) fn is_borrowed() -> bool {
    OWNER.load(Ordering::Relaxed) != linux::process_id()
}

/// Notes that this is a child of `vfork`, on its parent's memory.
pub(crate) fn lend() {
    LENT_TO.store(linux::process_id(), Ordering::Relaxed);
}

/// Whether this is a child of `vfork`; a child of `_Fork` or `clone`, which has a copy of the memory, is none. Where two threads have such
/// children at once, one of them may not be known.
pub(crate) fn is_lent() -> bool {
    LENT_TO.load(Ordering::Relaxed) == linux::process_id()
}

/// Whether the allocator may start a thread of its own here.
pub(crate) fn may_have_threads() -> bool {
    const AT_SECURE: u64 = 23;
    background::allowed()
        && linux::auxiliary_value(AT_SECURE) == 0
        && !control::is_newly_filtered()
        // Its thread could not give up what it has.
        && !(control::may_kill_a_service() && control::is_privileged())
}

/// Before a fork, when nobody is inside.
pub(crate) fn before_fork() {
    record::before_fork();
}

/// In a fork's child: a process of its own.
pub(crate) fn forked_child() {
    ledger::history::restart();
    OWNER.store(linux::process_id(), Ordering::Relaxed);
    // A child of `vfork` of long ago may have had the same number.
    LENT_TO.store(0, Ordering::Relaxed);
    LEVELS.pages.forget_readers();
    LEVELS.pages.forget_fillings();
    if mode() == Mode::Thread {
        thread::forked_child();
    }
    background::forked_child();
    crate::control::forked_child();
    if debugging() {
        debug::forked_child();
    }
    if PROCESS.load(Ordering::Relaxed) != 0 {
        mark_process();
    }
}

/// Keeps what the report says about this process.
fn mark_process() {
    PROCESS.store(i64::from(linux::process_id()), Ordering::Relaxed);
    STARTED_NS.store(linux::monotonic_ns(), Ordering::Relaxed);
}
