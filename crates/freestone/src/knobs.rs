//! The options that can be changed while the program runs.
//!
//! A knob is a line in [`KNOBS`]: how to read it and how to set it. Its value lies with whoever goes by it. The options at the
//! start go by the same lines (`tune.rs`).

use core::fmt::{self, Write};

use freestone_base::text::FixedText;

use crate::limit::{self, Amount};
use crate::pageheap::{HugePages, Policy};
use crate::slow::LEVELS;
use crate::tune::{FIXED, parse_size, parse_switch};
use crate::{background, central, control, guard, observe, oom, pressure, profile, scavenge, slow, start};

/// An option that can be changed while the program runs.
pub(crate) struct Knob {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    /// Writes the present value, as `set` would take it.
    pub(crate) show: fn(&mut dyn Write) -> fmt::Result,
    /// Takes a value, or says what is allowed.
    pub(crate) set: fn(&[u8]) -> Result<(), &'static str>,
}

/// All knobs, in the order of their names.
pub(crate) static KNOBS: &[Knob] = &[
    Knob {
        name: "background",
        meaning: "give idle memory back from a thread of the allocator's own",
        show: |out| write!(out, "{}", u8::from(background::allowed())),
        set: |value| match parse_switch(value)? {
            false if control::is_wanted() => Err("1 while the control is open, which it serves"),
            allow => {
                background::allow(allow);
                Ok(())
            }
        },
    },
    Knob {
        name: "check",
        meaning: "check the heap's structures now and then (slow)",
        show: |out| write!(out, "{}", u8::from(start::checking())),
        set: |value| parse_switch(value).map(start::set_checking),
    },
    Knob {
        name: "class_max",
        meaning: "largest request that is served by size classes and caches; above it every block is a span of its own",
        show: |out| write!(out, "{}", slow::class_max()),
        set: |value| {
            let size = parse_size(value).filter(|size| (32 << 10..=256 << 10).contains(size));
            size.map(slow::set_class_max).ok_or("a number of bytes from 32K to 256K")
        },
    },
    Knob {
        name: "colour",
        meaning: "spread the first lines of slabs and large blocks over the sets of the CPU's caches; for what is made from now on",
        show: |out| write!(out, "{}", u8::from(policy().colours())),
        set: |value| parse_switch(value).map(|on| policy().set_colours(on)),
    },
    Knob {
        name: "decay_ms",
        meaning: "for how long pages that were in use are kept for reuse, in milliseconds",
        show: |out| write!(out, "{}", scavenge::decay_ms()),
        set: |value| {
            let time = parse_size(value).filter(|&time| time <= 3_600_000);
            time.map(scavenge::set_decay_ms).ok_or("a number of milliseconds up to 3600000")
        },
    },
    Knob {
        name: "dirty_limit",
        meaning: "dirty bytes up to which clean pages are taken without giving dirty ones back (half of what is in use, if that is more)",
        show: |out| write!(out, "{}", policy().dirty_limit_bytes()),
        set: |value| {
            let bytes = parse_size(value).filter(|&bytes| bytes <= 1 << 46);
            bytes
                .map(|bytes| policy().set_dirty_limit(bytes))
                .ok_or("a number of bytes, with K, M or G if you like")
        },
    },
    Knob {
        name: "guard",
        meaning: "put blocks between guard pages: requested bytes between two of them, on average; 0: none, 1: all",
        show: |out| write!(out, "{}", guard::mean()),
        set: |value| {
            let mean = parse_size(value).filter(|&mean| mean as u64 <= observe::LONGEST_MEAN);
            mean.map(|mean| guard::want(mean as u64)).ok_or("a number of bytes up to 127M, or 0")
        },
    },
    Knob {
        name: "huge_pages",
        meaning: "ask for huge pages (on), for none (off), or leave that to the system (auto); for what is mapped from now on",
        show: |out| out.write_str(policy().huge_pages().name()),
        set: |value| match HugePages::by_name(value) {
            Some(huge) => {
                policy().set_huge_pages(huge);
                Ok(())
            }
            None => Err("auto, on or off"),
        },
    },
    Knob {
        name: "limit_hard",
        meaning: "bytes in use or waiting for reuse that are not exceeded; 0: no limit",
        show: |out| write!(out, "{}", limit::hard().unwrap_or(0)),
        set: |value| amount(value).map(limit::set_hard),
    },
    Knob {
        name: "limit_soft",
        meaning: "bytes in use or waiting for reuse beyond which memory is given back at once; 0: no limit",
        show: |out| write!(out, "{}", limit::soft().unwrap_or(0)),
        set: |value| amount(value).map(limit::set_soft),
    },
    Knob {
        name: "oom_report",
        meaning: "when memory is refused, say on standard error where it is",
        show: |out| write!(out, "{}", u8::from(oom::is_wanted())),
        set: |value| parse_switch(value).map(oom::want),
    },
    Knob {
        name: "pressure",
        meaning: "give back what can be when the system is short of memory (PSI)",
        show: |out| write!(out, "{}", u8::from(pressure::is_watched())),
        set: |value| parse_switch(value).map(pressure::watch),
    },
    Knob {
        name: "sample",
        meaning: "the heap profile: requested bytes between two samples, on average; 0: no profile",
        show: |out| write!(out, "{}", profile::mean()),
        set: |value| {
            let mean = parse_size(value).filter(|&mean| mean as u64 <= profile::LONGEST_MEAN);
            mean.map(|mean| profile::want(mean as u64)).ok_or("a number of bytes up to 127M, or 0")
        },
    },
    Knob {
        name: "transfer",
        meaning: "keep batches of blocks between the caches",
        show: |out| write!(out, "{}", u8::from(central::transfers())),
        set: |value| parse_switch(value).map(central::set_transfers),
    },
];

fn policy() -> &'static Policy {
    LEVELS.pages.policy()
}

/// A limit: bytes, or per cent.
fn amount(value: &[u8]) -> Result<Option<Amount>, &'static str> {
    let parsed = match value.strip_suffix(b"%") {
        Some(part) => {
            parse_size(part).filter(|part| (1..=100).contains(part)).map(|part| Amount::Percent(part as u8))
        }
        None => parse_size(value).map(Amount::Bytes),
    };
    let amount = parsed.ok_or("a number of bytes, with K, M or G if you like, 1% to 100%, or 0")?;
    Ok((amount != Amount::Bytes(0)).then_some(amount))
}

/// A sentence about what could not be set.
pub(crate) type Problem = FixedText<320>;

/// The knob of this name.
pub(crate) fn find(name: &[u8]) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name.as_bytes() == name)
}

/// Sets the knob `name`; the problem says what is allowed.
#[expect(clippy::result_large_err, reason = "a sentence on the stack: nothing may be allocated here")]
pub(crate) fn set(name: &[u8], value: &[u8]) -> Result<(), Problem> {
    let shown = |bytes| core::str::from_utf8(bytes).unwrap_or("(not UTF-8)");
    let mut problem = Problem::new();
    let _ = match find(name).map(|knob| (knob.set)(value)) {
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
pub(crate) fn list(out: &mut dyn Write) -> fmt::Result {
    for knob in KNOBS {
        write!(out, "{}=", knob.name)?;
        (knob.show)(out)?;
        writeln!(out, "  {}", knob.meaning)?;
    }
    Ok(())
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
        assert!(problem("chekc", "1").contains("there are: background check"));
        assert!(problem("limit_soft", "101%").contains("1% to 100%"));
        assert!(problem("huge_pages", "never").contains("auto, on or off"));
        let mut text = String::new();
        list(&mut text).unwrap();
        assert_eq!(text.lines().count(), KNOBS.len());
        assert!(text.contains("check=0 ") && KNOBS.is_sorted_by_key(|knob| knob.name));
    }
}
