//! Options: `FREESTONE_CONF="key:value,key:value"`, read once when the allocator starts.
//!
//! A program can bring options of its own, in a constant named `freestone_conf`; the environment overrides them.
//!
//! A key or value that is not understood is answered with what is allowed, and the default stands: a typing error
//! in an option must not take a program down. In a program that runs with raised privileges (setuid) the
//! variable is not read.
//!
//! # Safety
//!
//! The environment is read once, when the allocator starts; the invariant is getenv's own. A symbol of the name
//! `freestone_conf` is an [`Options`], or a `const char *` of C.
#![allow(unsafe_code)]

mod harden;

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux;

use crate::knobs::{self, KNOBS};
use crate::{central, message};
pub(crate) use harden::{Harden, WHOLE};

/// Which caches stand in front of the central lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CacheKind {
    /// Per CPU where restartable sequences work, else per thread.
    Auto,
    /// Per CPU (or concurrency id).
    Cpu,
    /// Per thread.
    Thread,
    /// None: every request goes to the central lists.
    None,
}

/// Options that hold from the start to the end.
pub(crate) const FIXED: &[&str] = &[
    "cache",
    "cache_bytes",
    "control",
    "count",
    "debug",
    "debug_leaks",
    "harden",
    "harden_canary",
    "harden_check",
    "harden_faults",
    "harden_guards",
    "harden_isolate",
    "harden_shuffle",
    "harden_sized",
    "harden_wait",
    "harden_zero",
    "heap_profile",
    "leaks",
    "profile",
    "record",
    "record_sample",
    "report",
    "verbose",
];

/// The longest path that `report`, `record` and `heap_profile` take.
const PATH: usize = 512;

/// All options.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub(crate) cache: CacheKind,
    /// Count every call.
    pub(crate) count: bool,
    /// Say on start what was chosen.
    pub(crate) verbose: bool,
    /// Open the control: a shared page of figures and a socket for commands.
    pub(crate) control: bool,
    /// Every block on pages of its own, with a record of its life.
    pub(crate) debug: bool,
    /// Bytes that one CPU's cache may hold; per thread, that all threads may draw on together. `None`: as many as
    /// the number of CPUs suggests.
    pub(crate) cache_bytes: Option<usize>,
    /// What hardened mode does, if it is on.
    pub(crate) harden: Harden,
    /// Tell at the end which samples nothing leads to any more.
    pub(crate) leaks: bool,
    /// One recorded call in so many has its stack written; 1: all, 0: none.
    pub(crate) record_sample: u32,
    report: Directory,
    record: Directory,
    heap_profile: Directory,
}

/// The path of a directory, or nothing.
#[derive(Clone, Copy)]
struct Directory {
    path: [u8; PATH],
    len: usize,
}

impl Directory {
    const NONE: Directory = Directory { path: [0; PATH], len: 0 };

    fn path(&self) -> &[u8] {
        &self.path[..self.len]
    }

    fn read(value: &[u8]) -> Result<Directory, &'static str> {
        if value.is_empty() || value.len() > PATH {
            return Err("an existing directory of at most 512 characters");
        }
        let mut directory = Directory::NONE;
        directory.path[..value.len()].copy_from_slice(value);
        directory.len = value.len();
        Ok(directory)
    }
}

impl Config {
    pub(crate) const DEFAULT: Config = Config {
        cache: CacheKind::Auto,
        count: false,
        verbose: false,
        control: false,
        debug: false,
        cache_bytes: None,
        harden: Harden::DEFAULT,
        leaks: false,
        record_sample: 32,
        report: Directory::NONE,
        record: Directory::NONE,
        heap_profile: Directory::NONE,
    };

    /// Directory for the report, empty when none is wanted.
    pub(crate) fn report(&self) -> &[u8] {
        self.report.path()
    }

    /// Directory for the trace, empty when none is wanted.
    pub(crate) fn record(&self) -> &[u8] {
        self.record.path()
    }

    /// Directory for the heap profile, empty when none is wanted.
    pub(crate) fn heap_profile(&self) -> &[u8] {
        self.heap_profile.path()
    }

    /// Reads the environment.
    pub(crate) fn read() -> Config {
        let mut config = Config::DEFAULT;
        if let Some(text) = constant() {
            config.parse("freestone_conf", text, message::say);
        }
        if let Some(text) = variable() {
            config.parse("FREESTONE_CONF", text, message::say);
        }
        config
    }

    /// Takes `key:value` pairs; `complain` gets a sentence for each that cannot be taken.
    fn parse(&mut self, source: &str, text: &[u8], mut complain: impl FnMut(&FixedText<640>)) {
        if let Some(profile) = profile_in(text) {
            self.take_profile(profile);
        }
        for (pair, key, value) in pairs(text) {
            let taken = match key {
                b"cache" => self.set_cache(value),
                b"count" => parse_switch(value).map(|on| self.count = on),
                b"verbose" => parse_switch(value).map(|on| self.verbose = on),
                b"debug" => parse_switch(value).map(|on| self.debug = on),
                b"debug_leaks" => parse_switch(value).map(crate::debug::want_leaks),
                b"control" => parse_switch(value).map(|on| self.control = on),
                b"cache_bytes" => self.set_cache_bytes(value),
                _ if key.starts_with(b"harden") => match self.harden.set(key, value) {
                    Some(taken) => taken,
                    None => {
                        complain(&unknown(source, pair));
                        continue;
                    }
                },
                b"leaks" => parse_switch(value).map(|on| self.leaks = on),
                b"report" => Directory::read(value).map(|directory| self.report = directory),
                b"record_sample" => self.set_record_sample(value),
                b"record" => Directory::read(value).map(|directory| self.record = directory),
                b"heap_profile" => Directory::read(value).map(|directory| self.heap_profile = directory),
                // Taken before all others.
                b"profile" => Profile::by_name(value).map(|_| ()).ok_or("one of default, lean, speed"),
                _ => match knobs::find(key) {
                    Some(knob) => (knob.set)(value),
                    None => {
                        complain(&unknown(source, pair));
                        continue;
                    }
                },
            };
            if let Err(allowed) = taken {
                let mut problem = FixedText::new();
                let _ = write!(problem, "{source}: `{}`: the value must be {allowed}; ignored", shown(pair));
                complain(&problem);
            }
        }
    }

    /// Sets what makes up a profile; single options override it.
    fn take_profile(&mut self, profile: Profile) {
        let (cache_bytes, decay, dirty, transfer): (_, &[u8], &[u8], &[u8]) = match profile {
            Profile::Default => return,
            Profile::Lean => {
                central::be_lean();
                (1 << 20, b"50", b"4M", b"0")
            }
            Profile::Speed => (16 << 20, b"5000", b"1G", b"1"),
        };
        self.cache_bytes = Some(cache_bytes);
        for (name, value) in [("decay_ms", decay), ("dirty_limit", dirty), ("transfer", transfer)] {
            let set = knobs::find(name.as_bytes()).map(|knob| (knob.set)(value));
            debug_assert_eq!(set, Some(Ok(())));
        }
    }

    fn set_cache(&mut self, value: &[u8]) -> Result<(), &'static str> {
        self.cache = match value {
            b"auto" => CacheKind::Auto,
            b"cpu" => CacheKind::Cpu,
            b"thread" => CacheKind::Thread,
            b"none" => CacheKind::None,
            _ => return Err("one of auto, cpu, thread, none"),
        };
        Ok(())
    }

    fn set_record_sample(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let every = parse_size(value).filter(|&every| every <= 1 << 20);
        self.record_sample = every.ok_or("a number up to 1048576, or 0 for no stacks")? as u32;
        Ok(())
    }

    fn set_cache_bytes(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let bytes = parse_size(value).filter(|&bytes| bytes <= 1 << 40);
        self.cache_bytes = Some(bytes.ok_or("a number of bytes up to 1024G, with K, M or G if you like")?);
        Ok(())
    }
}

/// A set of options with one purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Profile {
    Default,
    /// As little memory as can be had at an acceptable speed.
    Lean,
    /// Memory for speed.
    Speed,
}

impl Profile {
    fn by_name(name: &[u8]) -> Option<Profile> {
        match name {
            b"default" => Some(Profile::Default),
            b"lean" => Some(Profile::Lean),
            b"speed" => Some(Profile::Speed),
            _ => None,
        }
    }
}

/// The last profile named.
fn profile_in(text: &[u8]) -> Option<Profile> {
    pairs(text).filter(|pair| pair.1 == b"profile").filter_map(|pair| Profile::by_name(pair.2)).last()
}

/// Each `key:value` as a whole and in its parts.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
        match pair.iter().position(|&byte| byte == b':') {
            Some(at) => (pair, &pair[..at], &pair[at + 1..]),
            None => (pair, pair, &b""[..]),
        }
    })
}

fn shown(pair: &[u8]) -> &str {
    core::str::from_utf8(&pair[..pair.len().min(80)]).unwrap_or("(not UTF-8)")
}

fn unknown(source: &str, pair: &[u8]) -> FixedText<640> {
    let mut problem = FixedText::new();
    let _ = write!(problem, "{source}: `{}`: no such option; there are:", shown(pair));
    for name in FIXED.iter().copied().chain(KNOBS.iter().map(|knob| knob.name)) {
        let _ = write!(problem, " {name}");
    }
    let _ = problem.write_str("; ignored");
    problem
}

/// Options that a program is built with, in the words of `FREESTONE_CONF`, which overrides them. They hold where the program
/// defines one symbol of this name:
///
/// ```
/// use freestone::Options;
/// #[unsafe(no_mangle)]
/// #[allow(non_upper_case_globals)]
/// static freestone_conf: Options = Options::new(c"profile:lean,limit_soft:80%");
/// # let _ = &freestone_conf;
/// ```
///
/// In C it is `const char *freestone_conf = "profile:lean";`. Only a program on x86-64 is asked.
#[repr(transparent)]
pub struct Options(*const core::ffi::c_char);

// SAFETY: it points at a constant.
unsafe impl Sync for Options {}

impl Options {
    /// The options as `key:value`, separated by commas.
    pub const fn new(text: &'static core::ffi::CStr) -> Options {
        Options(text.as_ptr())
    }
}

/// The options that the program was built with: a pointer to a C string, in a symbol named `freestone_conf`.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn constant() -> Option<&'static [u8]> {
    let at: *const Options;
    // SAFETY: reads a weak symbol's address; null where nobody defines it.
    unsafe {
        core::arch::asm!(
            // Not `.weak`: the program may define it in the very unit that this becomes a part of.
            ".weakref freestone_conf_if_any, freestone_conf",
            "mov {0}, qword ptr [rip + freestone_conf_if_any@GOTPCREL]",
            out(reg) at, options(pure, nomem, nostack, preserves_flags)
        );
    }
    // SAFETY: whoever defines the symbol keeps to its type.
    let text = unsafe { at.as_ref() }?.0;
    // SAFETY: as above, null or a string that ends and stays.
    (!text.is_null()).then(|| unsafe { core::ffi::CStr::from_ptr(text) }.to_bytes())
}

#[cfg(not(target_arch = "x86_64"))]
fn constant() -> Option<&'static [u8]> {
    None
}

/// Whether the environment has options at all. Inlined down to the end of a process, which should touch no page more.
#[inline(always)]
pub(crate) fn is_set() -> bool {
    variable().is_some()
}

/// The options as written, `None` too in a program with raised privileges.
#[inline(always)]
fn variable() -> Option<&'static [u8]> {
    const AT_SECURE: u64 = 23;
    // SAFETY: as with getenv, nobody may change the environment at this moment.
    let text = unsafe { linux::environment(b"FREESTONE_CONF") }?;
    (linux::auxiliary_value(AT_SECURE) == 0).then_some(text)
}

/// 0 or 1.
pub(crate) fn parse_switch(value: &[u8]) -> Result<bool, &'static str> {
    match value {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err("0 or 1"),
    }
}

/// A decimal number with an optional K, M or G (powers of 1024).
pub(crate) fn parse_size(text: &[u8]) -> Option<usize> {
    let (digits, unit) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 1 << 10),
        (b'M' | b'm', digits) => (digits, 1 << 20),
        (b'G' | b'g', digits) => (digits, 1 << 30),
        _ => (text, 1),
    };
    let mut number = 0usize;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add((digit - b'0') as usize)?;
    }
    if digits.is_empty() { None } else { number.checked_mul(unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::DEFAULT;
        let mut said = Vec::new();
        config.parse("FREESTONE_CONF", text.as_bytes(), |problem| {
            said.push(String::from_utf8(problem.as_bytes().into()).unwrap())
        });
        (config, said)
    }

    #[test]
    fn pairs_are_taken() {
        let (config, said) = parse("cache:thread, count:1,cache_bytes:64K,report:/tmp/x:y");
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(config.cache, CacheKind::Thread);
        assert!(config.count && !config.verbose);
        assert_eq!(config.cache_bytes, Some(65536));
        assert_eq!(config.report(), b"/tmp/x:y");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed_and_the_rest_stands() {
        let (config, said) = parse("cahce:cpu,cache:cup,count:yes,cache_bytes:1T,report:,verbose:1,check");
        assert_eq!(said.len(), 6);
        assert!(
            said[0].contains("`cahce:cpu`") && said[0].contains("there are: cache cache_bytes control count")
        );
        assert!(said[1].contains("one of auto, cpu, thread, none"));
        assert!(said[2].contains("0 or 1"));
        assert!(said[3].contains("K, M or G"));
        assert!(said[4].contains("directory"));
        assert!(config.verbose && config.cache == CacheKind::Auto);
    }

    #[test]
    fn a_profile_comes_first_wherever_it_stands() {
        let (config, said) = parse("cache_bytes:1M,profile:speed,decay_ms:200,dirty_limit:64M");
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(config.cache_bytes, Some(1 << 20));
        let (config, said) = parse("profile:fast");
        assert!(config.cache_bytes.is_none() && said[0].contains("default, lean, speed"));
    }

    #[test]
    fn sizes_have_units_and_do_not_overflow() {
        assert_eq!(parse_size(b"12"), Some(12));
        assert_eq!(parse_size(b"2M"), Some(2 << 20));
        assert_eq!(parse_size(b""), None);
        assert_eq!(parse_size(b"K"), None);
        assert_eq!(parse_size(b"99999999999999999999"), None);
        assert_eq!(parse_size(b"18446744073709551615G"), None);
    }
}
