//! The codes of the most frequent events, made in one word: a call of `malloc` or `free` on the thread that wrote last, whose code
//! takes eight bytes or fewer. Nothing is stored byte by byte, and there is hardly a branch that depends on the data.

use super::{FREE, IN_TABLE, MALLOC, Model, SKIPPED, TIME, recent_place, slot_of};

/// An event of which there are many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frequent {
    /// [`Op::Alloc`](super::Op::Alloc) by [`Way::Malloc`](super::Way::Malloc).
    Malloc {
        /// Bytes asked for.
        size: u64,
        /// Where the block lies.
        addr: u64,
    },
    /// [`Op::Free`](super::Op::Free).
    Free {
        /// Where the block lies.
        addr: u64,
    },
}

/// The code of an event, the first byte lowest; zeros behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Short {
    /// The bytes.
    pub bits: u64,
    /// How many they are, at most 8.
    pub len: usize,
}

/// Numbers below this are put into a word: four bytes of seven bits.
const MOST: u64 = 1 << 28;

/// Of numbers whose highest bit is at each place: the bits that say that another byte follows, and, above 32 bits, the bytes.
const WIDTHS: [u64; 32] = {
    let mut widths = [0; 32];
    let mut place = 0;
    while place < widths.len() {
        let bytes = place as u64 / 7 + 1;
        widths[place] = bytes << 32 | 0x8080_8080 & ((1 << (8 * (bytes - 1))) - 1);
        place += 1;
    }
    widths
};

/// A number of seven bits a byte, below [`MOST`].
#[derive(Clone, Copy)]
struct Piece {
    bits: u64,
    bytes: u32,
}

impl Piece {
    /// Of seven bits at most; no byte at all for 0.
    #[inline(always)]
    fn byte_or_nothing(number: u64) -> Piece {
        Piece { bits: number, bytes: u32::from(number != 0) }
    }

    #[inline(always)]
    fn new(number: u64) -> Piece {
        let width = WIDTHS[(63 - (number | 1).leading_zeros()) as usize % WIDTHS.len()];
        // Halves of 14 bits go apart by two, then their halves by one.
        let halves = number & 0x3fff | (number & 0x3fff << 14) << 2;
        let spread = halves & 0x007f_007f | (halves & 0x3f80_3f80) << 1;
        Piece { bits: spread | width & 0x8080_8080, bytes: (width >> 32) as u32 }
    }
}

impl Model {
    /// Codes an event of the thread of the last one as [`encode`](Model::encode) would; `None`, and nothing has changed, where it
    /// takes more than eight bytes or one of its numbers is large. O(1).
    ///
    /// ```
    /// use freestone_base::trace::{Event, Frequent, Model, Next, Op};
    /// let (mut model, mut read) = (Model::new(), Model::new());
    /// model.begin(7, 100, 1);
    /// read.begin(7, 100, 1);
    /// let short = model.encode_short(8, 103, 1, Frequent::Free { addr: 0x40 }).unwrap();
    /// let event = Event { number: 8, ticks: 103, thread: 1, op: Op::Free { addr: 0x40 } };
    /// assert_eq!(read.decode(&short.bits.to_le_bytes()).unwrap(), (Next::Event(event), short.len));
    /// ```
    #[inline(always)]
    pub fn encode_short(&mut self, number: u64, ticks: u64, thread: u32, event: Frequent) -> Option<Short> {
        let skipped = number.wrapping_sub(self.number).wrapping_sub(1);
        let elapsed = ticks.saturating_sub(self.ticks);
        // Hardly ever is either more than a byte.
        if (skipped | elapsed) >= 0x80 || thread != self.thread {
            return None;
        }
        let (mut tag, size, size_bytes, block, place);
        match event {
            Frequent::Malloc { size: asked, addr } => {
                let slot = slot_of(asked);
                let away = zigzag((addr >> 3).wrapping_sub(self.slots[slot]));
                if (asked | away) >= MOST {
                    return None;
                }
                let piece = Piece::new(asked);
                (tag, size, size_bytes, block, place) =
                    (MALLOC, piece.bits, piece.bytes, Piece::new(away), slot);
            }
            Frequent::Free { addr } => {
                place = recent_place(addr);
                let away = zigzag((addr >> 3).wrapping_sub(self.given));
                let in_table = self.recent[place] == addr && addr != 0;
                let away = if in_table { 0 } else { away };
                if away >= MOST {
                    return None;
                }
                let by_distance = Piece::new(away);
                (tag, size, size_bytes) = (FREE, 0, 0);
                block = if in_table { Piece { bits: place as u64, bytes: 1 } } else { by_distance };
                tag |= if in_table { IN_TABLE } else { 0 };
            }
        }
        let (skips, time) = (Piece::byte_or_nothing(skipped), Piece::byte_or_nothing(elapsed));
        tag |= if skipped != 0 { SKIPPED } else { 0 } | if elapsed != 0 { TIME } else { 0 };
        let len = 1 + skips.bytes + time.bytes + size_bytes + block.bytes;
        if len > 8 {
            return None;
        }
        let mut at = 8;
        let mut bits = u64::from(tag) | skips.bits << at;
        at += 8 * skips.bytes;
        bits |= time.bits << at;
        at += 8 * time.bytes;
        bits |= size << at;
        at += 8 * size_bytes;
        bits |= block.bits << at;
        self.number = number;
        self.ticks += elapsed;
        match event {
            Frequent::Malloc { addr, .. } => {
                self.slots[place] = addr >> 3;
                self.recent[recent_place(addr)] = addr;
            }
            Frequent::Free { addr } => self.given = addr >> 3,
        }
        Some(Short { bits, len: len as usize })
    }
}

/// As a number of either sign is coded.
#[inline(always)]
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::super::super::event::{Event, Op, Scratch, Way};
    use super::*;

    #[test]
    fn short_codes_are_those_of_the_long_way() {
        let mut state = 7u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut short, mut long, mut code) = (Model::new(), Model::new(), Scratch::new());
        let (mut number, mut ticks, mut made) = (0, 1 << 40, 0);
        short.begin(number, ticks, 1);
        long.begin(number, ticks, 1);
        let mut live = vec![0x7f00_0000_0000; 64];
        for _ in 0..200_000 {
            let bits = random(33);
            number += 1 + random(8) / 7 * random(1 << bits);
            let bits = random(33);
            ticks += random(4) / 3 * random(1 << bits);
            let thread = 1 + random(50) as u32 / 49;
            let bits = 1 + random(24);
            let block = random(64) as usize;
            let size = random(1 << bits);
            let event = if random(2) == 0 {
                let bits = random(3) * 15;
                live[block] = 0x7f00_0000_0000 + random(1 << bits) * 16;
                Frequent::Malloc { size, addr: live[block] }
            } else {
                Frequent::Free { addr: live[block] }
            };
            let op = match event {
                Frequent::Malloc { size, addr } => Op::Alloc { way: Way::Malloc, size, addr },
                Frequent::Free { addr } => Op::Free { addr },
            };
            long.encode(&Event { number, ticks, thread, op }, &mut code);
            match short.encode_short(number, ticks, thread, event) {
                Some(Short { bits, len }) => {
                    assert_eq!(code.bytes(), &bits.to_le_bytes()[..len]);
                    assert!(len == 8 || bits >> (8 * len) == 0);
                    made += 1;
                }
                None => {
                    let mut other = Scratch::new();
                    short.encode(&Event { number, ticks, thread, op }, &mut other);
                    assert_eq!(code.bytes(), other.bytes());
                }
            }
        }
        assert!(made > 80_000, "{made}");
    }
}
