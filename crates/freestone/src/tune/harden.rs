//! The options of hardened mode: one for all, and one for each part of it.

use core::fmt;

use super::{parse_size, parse_switch};

/// Blocks up to so many bytes are cleared when freed: all that have a class. Purging them, and a fault for each of their pages
/// later, takes ten times as long (`docs/design/hardened.md`).
const ZERO: usize = 256 << 10;
/// Bytes of one class that wait in one cache.
const WAIT: usize = 8 << 10;
/// Free blocks up to so many bytes are looked at whole when they are handed out, longer ones here and there. It is no less in any case.
pub(crate) const WHOLE: usize = 512;

/// What was chosen: the parts that were named are as named, the others as the whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Harden {
    all: bool,
    canary: Option<bool>,
    check: Option<usize>,
    faults: Option<bool>,
    guards: Option<bool>,
    isolate: Option<bool>,
    shuffle: Option<bool>,
    sized: Option<bool>,
    wait: Option<usize>,
    zero: Option<usize>,
}

impl Harden {
    /// As the program was built: off without the feature `harden`. The crate's unit tests build lists and caches of their own
    /// beside the allocator's, with which they share the switches that say how a central list works.
    pub(super) const DEFAULT: Harden = Harden {
        all: cfg!(all(feature = "harden", not(test))),
        canary: None,
        check: None,
        faults: None,
        guards: None,
        isolate: None,
        shuffle: None,
        sized: None,
        wait: None,
        zero: None,
    };

    /// Takes an option; `None` when there is none of this name.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Option<Result<(), &'static str>> {
        let place = match key {
            b"harden" => return Some(parse_switch(value).map(|on| self.all = on)),
            b"harden_canary" => &mut self.canary,
            b"harden_check" => return Some(set_bytes(&mut self.check, value)),
            b"harden_faults" => &mut self.faults,
            b"harden_guards" => &mut self.guards,
            b"harden_isolate" => &mut self.isolate,
            b"harden_shuffle" => &mut self.shuffle,
            b"harden_sized" => &mut self.sized,
            b"harden_wait" => return Some(set_bytes(&mut self.wait, value)),
            b"harden_zero" => return Some(set_bytes(&mut self.zero, value)),
            _ => return None,
        };
        Some(parse_switch(value).map(|on| *place = Some(on)))
    }

    /// Whether the mode is on: as a whole, or a part of it.
    pub(crate) fn is_on(&self) -> bool {
        let parts = [self.canary, self.guards, self.isolate, self.shuffle, self.sized];
        let bytes = [self.check, self.wait, self.zero];
        self.all
            || parts.contains(&Some(true))
            || bytes.iter().any(|bytes| bytes.is_some_and(|bytes| bytes > 0))
    }

    fn part(&self, part: Option<bool>) -> bool {
        part.unwrap_or(self.all)
    }

    /// Whether canaries stand behind what was asked for.
    pub(crate) fn canary(&self) -> bool {
        self.part(self.canary)
    }

    /// Bytes up to which a free block is looked at whole for writes when it is handed out, [`WHOLE`] at least; 0 where none is looked
    /// at, as where none is cleared.
    pub(crate) fn whole(&self) -> usize {
        let whole = self.check.unwrap_or(if self.all { WHOLE } else { 0 });
        if whole == 0 || self.zero() == 0 { 0 } else { whole.max(WHOLE) }
    }

    /// Whether all parts are on, and as they are without an option of their own.
    pub(crate) fn is_usual(&self) -> bool {
        let parts = [self.canary(), self.isolate(), self.shuffle(), self.sized()];
        let bytes = (self.whole(), self.wait(), self.zero());
        self.guards.is_none() && !parts.contains(&false) && bytes == (WHOLE, WAIT, ZERO)
    }

    /// Whether faults at guard pages are reported.
    pub(crate) fn faults(&self) -> bool {
        self.faults.unwrap_or(true) && self.guards()
    }

    /// Whether there are guard pages.
    pub(crate) fn guards(&self) -> bool {
        self.part(self.guards)
    }

    /// The same without guard pages.
    pub(crate) fn without_guards(&self) -> Harden {
        Harden { guards: Some(false), ..*self }
    }

    /// Whether slabs stay with their class.
    pub(crate) fn isolate(&self) -> bool {
        self.part(self.isolate)
    }

    /// Whether blocks are taken from random places.
    pub(crate) fn shuffle(&self) -> bool {
        self.part(self.shuffle)
    }

    /// Whether the size that a free states is compared.
    pub(crate) fn sized(&self) -> bool {
        self.part(self.sized)
    }

    /// Bytes of one class that wait in one cache before they are handed out again.
    pub(crate) fn wait(&self) -> usize {
        self.wait.unwrap_or(if self.all { WAIT } else { 0 })
    }

    /// Bytes up to which blocks are cleared when they are freed; longer ones are purged. 0: none are.
    pub(crate) fn zero(&self) -> usize {
        self.zero.unwrap_or(if self.all { ZERO } else { 0 })
    }
}

fn set_bytes(place: &mut Option<usize>, value: &[u8]) -> Result<(), &'static str> {
    let bytes = parse_size(value).filter(|&bytes| bytes <= 1 << 20);
    *place = Some(bytes.ok_or("a number of bytes up to 1M, with K if you like")?);
    Ok(())
}

impl fmt::Display for Harden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.canary(), "canary"),
            (self.whole() > 0, "check"),
            (self.guards(), "guards"),
            (self.isolate(), "isolate"),
            (self.shuffle(), "shuffle"),
            (self.sized(), "sized"),
            (self.wait() > 0, "wait"),
            (self.zero() > 0, "zero"),
        ];
        parts.iter().filter(|part| part.0).try_for_each(|part| write!(f, " {}", part.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(options: &[(&str, &str)]) -> Harden {
        let mut harden = Harden { all: false, ..Harden::DEFAULT };
        for (key, value) in options {
            assert_eq!(harden.set(key.as_bytes(), value.as_bytes()), Some(Ok(())), "{key}");
        }
        harden
    }

    #[test]
    fn parts_are_as_named_and_the_others_as_the_whole() {
        assert!(!chosen(&[]).is_on() && !chosen(&[("harden_wait", "0")]).is_on());
        let most = chosen(&[("harden_canary", "0"), ("harden", "1"), ("harden_zero", "1K")]);
        assert!(most.is_on() && !most.canary() && most.guards() && most.sized());
        assert_eq!((most.zero(), most.wait()), (1024, WAIT));
        let one = chosen(&[("harden_canary", "1")]);
        assert!(one.is_on() && one.canary() && !one.guards());
        assert_eq!((one.zero(), one.wait(), one.to_string().as_str()), (0, 0, " canary"));
        assert_eq!(chosen(&[("harden", "1"), ("harden_zero", "0")]).whole(), 0);
        let looks = |value| chosen(&[("harden", "1"), ("harden_check", value)]).whole();
        assert_eq!(["0", "1", "600", "256K"].map(looks), [0, WHOLE, 600, 256 << 10]);
        assert!(chosen(&[("harden", "1")]).is_usual() && !most.is_usual() && !one.is_usual());
        assert!(chosen(&[("harden_guards", "1")]).faults() && !chosen(&[("harden_faults", "1")]).is_on());
        assert!(!chosen(&[("harden", "1"), ("harden_faults", "0")]).faults());
        let without = most.without_guards();
        assert!(!without.guards() && !without.faults() && without.sized() && without.zero() == most.zero());
    }

    #[test]
    fn what_is_wrong_is_answered_with_what_is_allowed() {
        let mut harden = Harden::DEFAULT;
        assert_eq!(harden.set(b"harden_canary", b"yes"), Some(Err("0 or 1")));
        assert!(harden.set(b"harden_zero", b"2M").unwrap().unwrap_err().contains("up to 1M"));
        assert_eq!(harden.set(b"harden_cannary", b"1"), None);
    }
}
