//! Options: `FREESTONE_CONF="key:value,key:value"`, read once when the allocator starts.
//!
//! A key or value that is not understood is answered with what is allowed, and the default stands: a typing error
//! in an option must not take a program down. In a program that runs with raised privileges (setuid) the
//! variable is not read.
//!
//! # Safety
//!
//! The environment is read once, when the allocator starts; the invariant is getenv's own.
#![allow(unsafe_code)]

use core::fmt::Write;

use freestone_base::text::FixedText;
use freestone_sys::linux;

use crate::limit::Amount;
use crate::message;

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

/// The longest path that `report` takes.
const PATH: usize = 512;

/// All options.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub(crate) cache: CacheKind,
    /// Count every call.
    pub(crate) count: bool,
    /// Say on start what was chosen.
    pub(crate) verbose: bool,
    /// Check all invariants now and then on the slow path.
    pub(crate) check: bool,
    /// Open the control: a shared page of figures and a socket for commands.
    pub(crate) control: bool,
    /// Let a thread of the allocator's own give idle memory back.
    pub(crate) background: bool,
    /// Bytes that one CPU's cache may hold; per thread, that all threads may draw on together. `None`: as many as
    /// the number of CPUs suggests.
    pub(crate) cache_bytes: Option<usize>,
    /// Footprint beyond which memory is given back harder.
    pub(crate) limit_soft: Option<Amount>,
    /// Footprint that is not exceeded.
    pub(crate) limit_hard: Option<Amount>,
    report: [u8; PATH],
    report_len: usize,
}

impl Config {
    pub(crate) const DEFAULT: Config = Config {
        cache: CacheKind::Auto,
        count: false,
        verbose: false,
        check: false,
        control: false,
        background: true,
        cache_bytes: None,
        limit_soft: None,
        limit_hard: None,
        report: [0; PATH],
        report_len: 0,
    };

    /// Directory for the report, empty when none is wanted.
    pub(crate) fn report(&self) -> &[u8] {
        &self.report[..self.report_len]
    }

    /// Reads the environment.
    pub(crate) fn read() -> Config {
        let mut config = Config::DEFAULT;
        if let Some(text) = variable() {
            config.parse(text, message::say);
        }
        config
    }

    /// Takes `key:value` pairs; `complain` gets a sentence for each that cannot be taken.
    fn parse(&mut self, text: &[u8], mut complain: impl FnMut(&FixedText<320>)) {
        for pair in text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
            let colon = pair.iter().position(|&byte| byte == b':');
            let (key, value) = match colon {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            let taken = match key {
                b"cache" => self.set_cache(value),
                b"count" => set_switch(&mut self.count, value),
                b"verbose" => set_switch(&mut self.verbose, value),
                b"check" => set_switch(&mut self.check, value),
                b"control" => set_switch(&mut self.control, value),
                b"background" => set_switch(&mut self.background, value),
                b"cache_bytes" => self.set_cache_bytes(value),
                b"limit_hard" => set_amount(&mut self.limit_hard, value),
                b"limit_soft" => set_amount(&mut self.limit_soft, value),
                b"report" => self.set_report(value),
                _ => Err(
                    "background, cache, cache_bytes, check, control, count, limit_hard, limit_soft, report, verbose",
                ),
            };
            if let Err(allowed) = taken {
                let known = allowed.starts_with("one of") || !allowed.starts_with("background,");
                let pair = core::str::from_utf8(&pair[..pair.len().min(80)]).unwrap_or("(not UTF-8)");
                let mut problem = FixedText::new();
                let _ = if known {
                    write!(problem, "FREESTONE_CONF: `{pair}`: the value must be {allowed}; ignored")
                } else {
                    write!(problem, "FREESTONE_CONF: `{pair}`: no such option; there are: {allowed}; ignored")
                };
                complain(&problem);
            }
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

    fn set_cache_bytes(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let bytes = parse_size(value).filter(|&bytes| bytes <= 1 << 40);
        self.cache_bytes = Some(bytes.ok_or("a number of bytes up to 1024G, with K, M or G if you like")?);
        Ok(())
    }

    fn set_report(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if value.is_empty() || value.len() > PATH {
            return Err("an existing directory of at most 512 characters");
        }
        self.report[..value.len()].copy_from_slice(value);
        self.report_len = value.len();
        Ok(())
    }
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

fn set_switch(switch: &mut bool, value: &[u8]) -> Result<(), &'static str> {
    *switch = match value {
        b"1" => true,
        b"0" => false,
        _ => return Err("0 or 1"),
    };
    Ok(())
}

/// A limit: bytes, or per cent.
pub(crate) fn set_amount(amount: &mut Option<Amount>, value: &[u8]) -> Result<(), &'static str> {
    let parsed = match value.strip_suffix(b"%") {
        Some(part) => {
            parse_size(part).filter(|part| (1..=100).contains(part)).map(|part| Amount::Percent(part as u8))
        }
        None => parse_size(value).filter(|&bytes| bytes > 0).map(Amount::Bytes),
    };
    *amount = Some(parsed.ok_or("a number of bytes, with K, M or G if you like, or 1% to 100%")?);
    Ok(())
}

/// A decimal number with an optional K, M or G (powers of 1024).
fn parse_size(text: &[u8]) -> Option<usize> {
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
        config.parse(text.as_bytes(), |problem| {
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
        assert!(said[0].contains("`cahce:cpu`") && said[0].contains("cache_bytes, check, control, count"));
        assert!(said[1].contains("one of auto, cpu, thread, none"));
        assert!(said[2].contains("0 or 1"));
        assert!(said[3].contains("K, M or G"));
        assert!(said[4].contains("directory"));
        assert!(config.verbose && !config.check && config.cache == CacheKind::Auto);
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
