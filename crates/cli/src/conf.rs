//! The options of the library, as they are written in `FREESTONE_CONF` and in `--conf`.
//!
//! `key:value` pairs, separated by commas. The library checks them again when it starts; here they
//! are checked so that a mistake stops the run instead of changing it.

use crate::suggest::hint;

/// Name of the environment variable that the library reads.
pub const VARIABLE: &str = "FREESTONE_CONF";

/// What an option may be set to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Switch,
    OneOf(&'static [&'static str]),
    Size,
    /// Bytes from one to the other.
    Within(u64, u64),
    /// Bytes up to this.
    UpTo(u64),
    /// Bytes, or per cent.
    Amount,
    /// A whole number up to this.
    Number(u64),
    Directory,
}

/// One option.
#[derive(Clone, Copy, Debug)]
struct Key {
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
}

/// The caches one can choose.
pub const CACHES: &[&str] = &["auto", "cpu", "thread", "none"];

/// The longest mean distance between two samples: the library's own.
const LONGEST_MEAN: u64 = 134_217_727;

const KEYS: &[Key] = &[
    Key { name: "cache", kind: Kind::OneOf(CACHES), meaning: "what a cache belongs to" },
    Key { name: "count", kind: Kind::Switch, meaning: "count every call and its bytes exactly" },
    Key { name: "control", kind: Kind::Switch, meaning: "let freestone top and freestone ctl attach" },
    Key {
        name: "debug",
        kind: Kind::Switch,
        meaning: "watch every block, tell of every misuse with stacks (slow)",
    },
    Key { name: "debug_leaks", kind: Kind::Switch, meaning: "with debug:1, tell at the end what was lost" },
    Key { name: "report", kind: Kind::Directory, meaning: "at exit, write the figures to DIR/PID.json" },
    Key { name: "record", kind: Kind::Directory, meaning: "write every call to a trace in DIR" },
    Key {
        name: "record_sample",
        kind: Kind::Number(1 << 20),
        meaning: "of the trace: one call in so many has its stack in it; 1: all have, 0: none has",
    },
    Key {
        name: "heap_profile",
        kind: Kind::Directory,
        meaning: "take a heap profile; at exit, write it to DIR/PID.heap",
    },
    Key {
        name: "sample",
        kind: Kind::UpTo(LONGEST_MEAN),
        meaning: "of the heap profile: bytes requested between two samples, on average; 0: no profile",
    },
    Key {
        name: "leaks",
        kind: Kind::Switch,
        meaning: "in the heap profile at exit, tell live blocks that nothing leads to",
    },
    Key { name: "verbose", kind: Kind::Switch, meaning: "say at the start what was chosen" },
    Key {
        name: "cache_bytes",
        kind: Kind::Size,
        meaning: "most that the cache of one CPU holds; with cache:thread, all caches together",
    },
    Key {
        name: "profile",
        kind: Kind::OneOf(&["default", "lean", "speed"]),
        meaning: "options for one purpose: little memory, or speed at the cost of it; single ones override it",
    },
    Key {
        name: "limit_hard",
        kind: Kind::Amount,
        meaning: "footprint that is not exceeded: allocations fail first",
    },
    Key {
        name: "limit_soft",
        kind: Kind::Amount,
        meaning: "footprint beyond which memory is given back at once",
    },
    Key {
        name: "decay_ms",
        kind: Kind::Number(3_600_000),
        meaning: "how long pages that were in use are kept for reuse",
    },
    Key {
        name: "dirty_limit",
        kind: Kind::Size,
        meaning: "dirty bytes that may wait while clean pages are taken",
    },
    Key {
        name: "background",
        kind: Kind::Switch,
        meaning: "give idle memory back from a thread of the allocator's own",
    },
    Key {
        name: "huge_pages",
        kind: Kind::OneOf(&["auto", "on", "off"]),
        meaning: "ask the system for huge pages",
    },
    Key {
        name: "class_max",
        kind: Kind::Within(32 << 10, 256 << 10),
        meaning: "largest request served by size classes",
    },
    Key { name: "transfer", kind: Kind::Switch, meaning: "keep batches of blocks between the caches" },
    Key {
        name: "colour",
        kind: Kind::Switch,
        meaning: "spread slabs and large blocks over the sets of the CPU's caches",
    },
    Key {
        name: "pressure",
        kind: Kind::Switch,
        meaning: "give back what can be when the system is short of memory",
    },
    Key { name: "oom_report", kind: Kind::Switch, meaning: "when memory is refused, say where it is" },
    Key { name: "harden", kind: Kind::Switch, meaning: "hardened mode, all of it (docs/safety.md)" },
    Key {
        name: "harden_canary",
        kind: Kind::Switch,
        meaning: "of it: bytes behind each block that are compared when it is freed",
    },
    Key {
        name: "harden_check",
        kind: Kind::UpTo(1 << 20),
        meaning: "of it: look for writes to free blocks when they are handed out; all over up to so many bytes",
    },
    Key {
        name: "harden_faults",
        kind: Kind::Switch,
        meaning: "of it: say what was reached where an access fails at a guard page",
    },
    Key {
        name: "harden_guards",
        kind: Kind::Switch,
        meaning: "of it: guard pages behind slabs and large blocks",
    },
    Key {
        name: "harden_isolate",
        kind: Kind::Switch,
        meaning: "of it: addresses never change their size class",
    },
    Key { name: "harden_shuffle", kind: Kind::Switch, meaning: "of it: blocks of a slab in random order" },
    Key {
        name: "harden_sized",
        kind: Kind::Switch,
        meaning: "of it: compare the size that a free states with the block's own",
    },
    Key {
        name: "harden_wait",
        kind: Kind::UpTo(1 << 20),
        meaning: "of it: bytes of a class that wait in a cache before they are handed out again",
    },
    Key {
        name: "harden_zero",
        kind: Kind::UpTo(1 << 20),
        meaning: "of it: bytes up to which freed blocks are cleared; longer ones are purged; 0: none",
    },
    Key {
        name: "guard",
        kind: Kind::UpTo(127 << 20),
        meaning: "requested bytes between two blocks with guard pages, on average; 0: none, 1: all",
    },
    Key { name: "check", kind: Kind::Switch, meaning: "check the heap's structures now and then (slow)" },
];

impl Kind {
    fn allowed(self) -> String {
        match self {
            Kind::Switch => "0 or 1".into(),
            Kind::OneOf(words) => words.join(", "),
            Kind::Size => "bytes, up to 1024G, with K, M or G if you like".into(),
            Kind::Within(least, most) => format!("bytes, {}K to {}K", least >> 10, most >> 10),
            Kind::UpTo(most) => format!("bytes, up to {}M, with K or M if you like", most >> 20),
            Kind::Amount => "bytes, with K, M or G if you like, or 1% to 100%; 0 for no limit".into(),
            Kind::Number(most) => format!("a number up to {most}"),
            Kind::Directory => "a directory".into(),
        }
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Kind::Switch => value == "0" || value == "1",
            Kind::OneOf(words) => words.contains(&value),
            Kind::Size => size(value).is_some(),
            Kind::Within(least, most) => size(value).is_some_and(|size| (least..=most).contains(&size)),
            Kind::UpTo(most) => size(value).is_some_and(|size| size <= most),
            Kind::Amount => match value.strip_suffix('%') {
                Some(part) => size(part).is_some_and(|part| (1..=100).contains(&part)),
                None => size(value).is_some(),
            },
            Kind::Number(most) => size(value).is_some_and(|number| number <= most),
            Kind::Directory => !value.is_empty(),
        }
    }
}

/// Bytes meant by `64K`, `1M`, `4096`; `None` when it is no size or does not fit.
fn size(value: &str) -> Option<u64> {
    let (digits, unit) = match value.as_bytes().last()? {
        b'K' | b'k' => (&value[..value.len() - 1], 1 << 10),
        b'M' | b'm' => (&value[..value.len() - 1], 1 << 20),
        b'G' | b'g' => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|&bytes| bytes <= 1 << 40)
}

/// Every option with what it takes and means, one a line.
pub fn listing() -> String {
    let width = KEYS.iter().map(|key| key.name.len()).max().unwrap_or(0);
    let line = |key: &Key| format!("  {:<width$}  {} ({})\n", key.name, key.meaning, key.kind.allowed());
    KEYS.iter().map(line).collect()
}

/// Options in the order in which they were first set, each key once: the last setting holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    pairs: Vec<(String, String)>,
}

impl Conf {
    /// Adds what `text` sets. On a mistake the message says what is allowed.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (name, value) =
                item.split_once(':').ok_or_else(|| format!("'{item}' is not of the form key:value"))?;
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                let hint = hint(name, KEYS.iter().map(|key| key.name));
                return Err(format!(
                    "there is no option '{name}'.{hint} There are:\n{}",
                    listing().trim_end()
                ));
            };
            if !key.kind.accepts(value) {
                return Err(format!("{name} cannot be '{value}'; it takes {}", key.kind.allowed()));
            }
            self.set(name, value);
        }
        Ok(())
    }

    /// Sets one option whose key and value are known to be right.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.pairs.push((name.into(), value.into())),
        }
    }

    /// What the option is set to.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text for `FREESTONE_CONF`.
    pub fn text(&self) -> String {
        self.pairs.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_holds() {
        let mut conf = Conf::default();
        conf.add("cache:cpu, count:1").unwrap();
        conf.add("cache:thread,,cache_bytes:64M").unwrap();
        assert_eq!(conf.text(), "cache:thread,count:1,cache_bytes:64M");
        assert_eq!(conf.get("cache"), Some("thread"));
        assert_eq!(conf.get("check"), None);
    }

    #[test]
    fn values_may_hold_colons() {
        let mut conf = Conf::default();
        conf.add("report:/a:b").unwrap();
        assert_eq!(conf.get("report"), Some("/a:b"));
    }

    #[test]
    fn mistakes_are_answered_with_what_exists() {
        let mut conf = Conf::default();
        let unknown = conf.add("cahce:cpu").unwrap_err();
        assert!(unknown.contains("Did you mean 'cache'?"), "{unknown}");
        assert!(KEYS.iter().all(|key| unknown.contains(key.name)), "{unknown}");
        assert!(conf.add("cache:gpu").unwrap_err().contains("auto, cpu, thread, none"));
        assert!(conf.add("count:yes").unwrap_err().contains("0 or 1"));
        assert!(conf.add("count").unwrap_err().contains("key:value"));
        assert!(conf.add("report:").is_err());
        assert_eq!(conf, Conf::default());
    }

    #[test]
    fn sizes_take_a_unit_and_refuse_overflow() {
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("64K"), Some(64 << 10));
        assert_eq!(size("1024G"), Some(1 << 40));
        for bad in ["", "K", "-1", "+1", "1.5M", "1025G", "99999999999999G", "1T"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
