//! The options that can be changed while the program runs.
//!
//! A knob is a line in [`KNOBS`]: how to read it and how to set it. Whatever sets one at run time goes by [`set`].

use core::fmt::{self, Write};

use freestone_base::text::FixedText;

use crate::limit::{self, Amount};
use crate::{start, tune};

/// An option that can be changed while the program runs.
pub(crate) struct Knob {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    /// Writes the present value, as `set` would take it.
    pub(crate) show: fn(&mut dyn Write) -> fmt::Result,
    /// Takes a value, or says what is allowed.
    pub(crate) set: fn(&[u8]) -> Result<(), &'static str>,
}

/// All knobs.
pub(crate) static KNOBS: &[Knob] = &[
    Knob {
        name: "check",
        meaning: "check the heap's structures now and then (slow)",
        show: |out| write!(out, "{}", u8::from(start::checking())),
        set: |value| switch(value).map(start::set_checking),
    },
    Knob {
        name: "limit_hard",
        meaning: "footprint that is not exceeded",
        show: |out| show_limit(out, limit::hard()),
        set: |value| amount(value).map(limit::set_hard),
    },
    Knob {
        name: "limit_soft",
        meaning: "footprint beyond which memory is given back harder",
        show: |out| show_limit(out, limit::soft()),
        set: |value| amount(value).map(limit::set_soft),
    },
];

/// Options that hold from the start to the end.
const FIXED: &[&str] = &["background", "cache", "cache_bytes", "control", "count", "report", "verbose"];

/// A sentence about what could not be set.
pub(crate) type Problem = FixedText<320>;

/// Sets the knob `name`; the problem says what is allowed.
pub(crate) fn set(name: &[u8], value: &[u8]) -> Result<(), Problem> {
    let shown = |bytes| core::str::from_utf8(bytes).unwrap_or("(not UTF-8)");
    let mut problem = Problem::new();
    let known = KNOBS.iter().find(|knob| knob.name.as_bytes() == name);
    let _ = match known.map(|knob| (knob.set)(value)) {
        Some(Ok(())) => return Ok(()),
        Some(Err(allowed)) => {
            write!(problem, "{} cannot be '{}': it takes {allowed}", shown(name), shown(value))
        }
        None if FIXED.iter().any(|fixed| fixed.as_bytes() == name) => {
            write!(problem, "{} can be set at the start only, in FREESTONE_CONF", shown(name))
        }
        None => {
            let _ = write!(problem, "there is no knob '{}'; there are:", shown(name));
            KNOBS.iter().try_for_each(|knob| write!(problem, " {}", knob.name))
        }
    };
    Err(problem)
}

/// Writes every knob with its value and its meaning, one a line.
pub(super) fn list(out: &mut dyn Write) -> fmt::Result {
    for knob in KNOBS {
        write!(out, "{}=", knob.name)?;
        (knob.show)(out)?;
        writeln!(out, "  {}", knob.meaning)?;
    }
    Ok(())
}

fn show_limit(out: &mut dyn Write, limit: Option<usize>) -> fmt::Result {
    match limit {
        Some(bytes) => write!(out, "{bytes}"),
        None => out.write_str("none"),
    }
}

/// A limit, or none.
fn amount(value: &[u8]) -> Result<Option<Amount>, &'static str> {
    let mut amount = None;
    if value != b"none" {
        tune::set_amount(&mut amount, value)
            .map_err(|_| "none, a number of bytes, with K, M or G if you like, or 1% to 100%")?;
    }
    Ok(amount)
}

fn switch(value: &[u8]) -> Result<bool, &'static str> {
    match value {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err("0 or 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, value: &str) -> String {
        String::from_utf8(set(name.as_bytes(), value.as_bytes()).err().unwrap().as_bytes().into()).unwrap()
    }

    #[test]
    fn a_knob_turns_and_what_is_no_knob_says_so() {
        assert!(set(b"check", b"0").is_ok());
        assert!(problem("check", "yes").contains("0 or 1"));
        assert!(problem("count", "1").contains("at the start only"));
        assert!(problem("chekc", "1").contains("there are: check"));
        // Far above what other tests need.
        assert!(set(b"limit_soft", b"1000G").is_ok());
        assert_eq!(limit::soft(), Some(1000 << 30));
        assert!(problem("limit_soft", "much").contains("none, a number"));
        assert!(set(b"limit_soft", b"none").is_ok());
        let mut text = String::new();
        list(&mut text).unwrap();
        assert_eq!(text.lines().count(), KNOBS.len());
        assert!(text.starts_with("check=0 ") && text.contains("\nlimit_soft=none "), "{text}");
    }
}
