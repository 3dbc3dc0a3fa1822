//! How to get from a frame to its caller's, by return address; noted once found.
//!
//! The notes are a table without locks: an entry is two words, the address, and the rule; the address is stored combined
//! with the rule, so that halves of different entries do not look like one (R. Hyatt, T. Mann, 2002).

use super::{Frame, Words, dwarf, object};
use crate::sync::atomic::{AtomicU64, Ordering};

/// What the canonical frame address, from which all else is counted, is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    Sp,
    Bp,
    Bx,
    /// The word at the distance from the frame pointer: in functions that align their stack.
    AtBp,
}

/// In the place of a distance: the frame pointer was saved where the new one leads.
pub(super) const AT_BP: i16 = i16::MIN;

/// The rule of one place in the code. Distances are counted from the canonical frame address but for its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// The outermost frame, or one that cannot be followed.
    End,
    Frame {
        base: Base,
        distance: i32,
        /// Where the frame pointer was saved, in words; 0: it was not.
        bp: i16,
        bx: i16,
    },
}

impl Rule {
    /// Bit 63 says that there is one; so 0 is no rule.
    fn pack(self) -> u64 {
        match self {
            Rule::End => 1 << 63,
            Rule::Frame { base, distance, bp, bx } => {
                let base = base as u64 + 1;
                1 << 63
                    | base << 60
                    | (distance as u64 & 0xfff_ffff) << 32
                    | u64::from(bp as u16) << 16
                    | u64::from(bx as u16)
            }
        }
    }

    fn unpack(bits: u64) -> Rule {
        let base = match bits >> 60 & 7 {
            1 => Base::Sp,
            2 => Base::Bp,
            3 => Base::Bx,
            4 => Base::AtBp,
            _ => return Rule::End,
        };
        let distance = ((bits >> 32) as i32) << 4 >> 4;
        Rule::Frame { base, distance, bp: (bits >> 16) as i16, bx: bits as i16 }
    }

    pub(super) fn apply(self, frame: Frame, words: &mut Words) -> Option<Frame> {
        let Rule::Frame { base, distance, bp, bx } = self else { return None };
        let distance = distance as isize;
        let cfa = match base {
            Base::Sp => frame.sp.wrapping_add_signed(distance),
            Base::Bp => frame.bp.wrapping_add_signed(distance),
            Base::Bx => frame.bx.wrapping_add_signed(distance),
            Base::AtBp => words.read(frame.bp.wrapping_add_signed(distance))?,
        };
        let mut saved = |off: i16, now: usize| match off {
            0 => Some(now),
            AT_BP => words.read(frame.bp),
            off => words.read(cfa.wrapping_add_signed(8 * off as isize)),
        };
        let (bp, bx) = (saved(bp, frame.bp)?, saved(bx, frame.bx)?);
        let pc = words.read(cfa.wrapping_sub(8))?;
        Some(Frame { pc, sp: cfa, bp, bx })
    }
}

const ENTRIES: usize = 4096;

struct Entry {
    key: AtomicU64,
    rule: AtomicU64,
}

static NOTES: [Entry; ENTRIES] =
    [const { Entry { key: AtomicU64::new(0), rule: AtomicU64::new(0) } }; ENTRIES];

/// The rule for code at `pc`; `None` where no table tells of it.
pub(super) fn of(pc: usize) -> Option<Rule> {
    let entry = &NOTES[(pc as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 52 & (ENTRIES - 1)];
    let rule = entry.rule.load(Ordering::Relaxed);
    if rule != 0 && entry.key.load(Ordering::Relaxed) ^ rule == pc as u64 {
        return Some(Rule::unpack(rule));
    }
    let header = object::unwind_header(pc)?;
    let found = dwarf::rule(header, pc)?;
    let packed = found.pack();
    entry.rule.store(packed, Ordering::Relaxed);
    entry.key.store(packed ^ pc as u64, Ordering::Relaxed);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_survives_its_note() {
        for base in [Base::Sp, Base::Bp, Base::Bx, Base::AtBp] {
            for (distance, bp, bx) in [(8, 0, 0), (-16, -2, -7), (1 << 20, -3, 100)] {
                let rule = Rule::Frame { base, distance, bp, bx };
                assert_eq!(Rule::unpack(rule.pack()), rule);
            }
        }
        assert_eq!(Rule::unpack(Rule::End.pack()), Rule::End);
    }
}
