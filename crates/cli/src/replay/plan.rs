//! A trace made ready to be played: what each thread calls, in words of 64 bits that a player maps and reads without
//! allocating anything.
//!
//! Blocks become *slots*: places in a table, used again once their block is freed. Every call knows how many calls there were on
//! its slot before (its *turn*), so threads that play freely still take and free each other's blocks in the right order.
//! The order of all calls is kept as *runs*: so many calls of one thread, then so many of another.
//!
//! ```text
//! header     HEADER words, see `Field`
//! threads    three words each: where its calls and its runs begin, how many runs it has
//! order      a word each run: the thread
//! runs       a word each: its number, calls; those of one thread one after the other
//! calls      two words each, those of one thread one after the other
//! ```

use freestone_trace::{Call, Calls, Source, Way};

/// Words of the header.
pub const HEADER: usize = 16;
/// Words of a thread.
pub const THREAD: usize = 3;
/// Words of a call.
pub const WORDS: usize = 2;
/// The longest run; threads that play freely look at each other between two.
const LONGEST_RUN: u32 = 1024;
/// Shorter pauses are not kept.
const SHORTEST_PAUSE_NS: u64 = 1_000_000;
/// A block of which nothing is known is touched all over.
pub const ALL: u32 = (1 << TOUCHED_BITS) - 1;
const TOUCHED_BITS: u32 = 22;
/// What is larger cannot be had anyway.
const SIZE_BITS: u32 = 40;
const TURN_BITS: u32 = 24;

/// The words of the header.
#[derive(Clone, Copy)]
#[repr(usize)]
pub enum Field {
    Threads = 0,
    Runs = 1,
    Calls = 2,
    Slots = 3,
    /// The most bytes that are live, as asked for, and the call that brings them there, counted in the order of all.
    PeakBytes = 4,
    PeakCall = 5,
    /// Bytes that are live at the end.
    EndBytes = 6,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Deed {
    Allocate = 1,
    AllocateZeroed = 2,
    Free = 3,
    Resize = 4,
    Pause = 5,
}

/// A call as the player reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub deed: Deed,
    /// The logarithm of the alignment.
    pub align: u8,
    pub slot: u32,
    /// Bytes asked for; microseconds of a pause.
    pub size: u64,
    /// Of so many bits as [`Step::turn_after`] keeps.
    pub turn: u32,
    /// OS pages that the program touched at the block's beginning, or [`ALL`].
    pub touched: u32,
}

impl Step {
    fn words(self) -> [u64; WORDS] {
        let size = self.size.min((1 << SIZE_BITS) - 1);
        [
            self.deed as u64
                | u64::from(self.align & 63) << 4
                | u64::from(self.touched) << 10
                | u64::from(self.slot) << 32,
            size | u64::from(self.turn) << SIZE_BITS,
        ]
    }

    /// The turn behind this one. It comes round, long after everybody has passed it.
    #[inline]
    pub fn turn_after(turn: u32) -> u32 {
        (turn + 1) & ((1 << TURN_BITS) - 1)
    }

    /// Reads the call at a place.
    #[inline]
    pub fn read(words: &[u64; WORDS]) -> Step {
        let deed = match words[0] & 15 {
            1 => Deed::Allocate,
            2 => Deed::AllocateZeroed,
            3 => Deed::Free,
            4 => Deed::Resize,
            _ => Deed::Pause,
        };
        Step {
            deed,
            align: (words[0] >> 4) as u8 & 63,
            slot: (words[0] >> 32) as u32,
            size: words[1] & ((1 << SIZE_BITS) - 1),
            turn: (words[1] >> SIZE_BITS) as u32,
            touched: (words[0] >> 10) as u32 & ALL,
        }
    }
}

/// The calls of one process.
#[derive(Default)]
pub struct Plan {
    /// The calls of each thread.
    threads: Vec<Vec<u64>>,
    /// Thread and calls.
    runs: Vec<(u32, u32)>,
    /// By slot: calls on it so far, and where its allocation stands: thread and word.
    slots: Vec<(u32, (u32, usize))>,
    calls: u64,
    live: u64,
    peak: (u64, u64),
    /// Calls in the trace that were refused, which are not made again.
    pub refused: u64,
    /// Bytes at the ends of freed blocks that were known to be untouched.
    pub untouched: u64,
}

impl Plan {
    /// Reads all calls of a process; `paced` keeps the pauses in it, `merge` makes one thread of all. `progress` hears of
    /// every event.
    pub fn new<S: Source>(
        calls: &mut Calls<'_, S>,
        paced: bool,
        merge: bool,
        mut progress: impl FnMut(u64),
    ) -> Plan {
        let mut plan = Plan::default();
        for &block in calls.inherited() {
            if let Some(&inherited) = calls.blocks().get(block) {
                plan.allocate(0, block, inherited.size, inherited.way);
            }
        }
        let mut last_ns = None;
        for timed in calls.by_ref() {
            let thread = if merge { 0 } else { timed.thread.max(1) - 1 };
            let pause = last_ns.map_or(0, |last| timed.ns.saturating_sub(last));
            last_ns = Some(timed.ns.max(last_ns.unwrap_or(0)));
            if paced && pause >= SHORTEST_PAUSE_NS {
                plan.push(thread, Deed::Pause, 0, 0, pause / 1000, 0);
            }
            match timed.call {
                Call::Allocate { block, size, way, .. } => plan.allocate(thread, block, size, way),
                Call::Free { block, was, untouched } => {
                    plan.touch(block, was.size, untouched);
                    plan.live = plan.live.saturating_sub(was.size);
                    plan.push_on(thread, Deed::Free, align(was.way), block, 0);
                }
                Call::Resize { block, was, size, .. } => {
                    plan.live = plan.live.saturating_sub(was.size).saturating_add(size);
                    plan.push_on(thread, Deed::Resize, align(was.way), block, size);
                    plan.note_peak();
                }
                Call::Refused { .. } => plan.refused += 1,
                Call::ThreadStart { .. } | Call::Stack => {}
            }
            progress(timed.number);
        }
        plan
    }

    fn allocate(&mut self, thread: u32, block: u32, size: u64, way: Way) {
        let deed = if way.zeroed() { Deed::AllocateZeroed } else { Deed::Allocate };
        self.live = self.live.saturating_add(size);
        self.push_on(thread, deed, align(way), block, size);
        self.note_peak();
    }

    fn note_peak(&mut self) {
        if self.live > self.peak.0 {
            self.peak = (self.live, self.calls);
        }
    }

    /// Adds a call on a slot.
    fn push_on(&mut self, thread: u32, deed: Deed, align: u8, slot: u32, size: u64) {
        if self.slots.len() <= slot as usize {
            self.slots.resize(slot as usize + 1, (0, (0, 0)));
        }
        let at = self.threads.get(thread as usize).map_or(0, Vec::len);
        let place = &mut self.slots[slot as usize];
        let turn = place.0;
        place.0 = Step::turn_after(turn);
        if deed != Deed::Free {
            place.1 = (thread, at);
        }
        self.push(thread, deed, align, slot, size, turn);
    }

    fn push(&mut self, thread: u32, deed: Deed, align: u8, slot: u32, size: u64, turn: u32) {
        if self.threads.len() <= thread as usize {
            self.threads.resize_with(thread as usize + 1, Vec::new);
        }
        let step = Step { deed, align, slot, size, turn, touched: ALL };
        self.threads[thread as usize].extend(step.words());
        self.calls += 1;
        match self.runs.last_mut() {
            Some((last, calls)) if *last == thread && *calls < LONGEST_RUN => *calls += 1,
            _ => self.runs.push((thread, 1)),
        }
    }

    /// What is now known of the block that a slot holds: so many bytes at its end were never touched.
    fn touch(&mut self, slot: u32, size: u64, untouched: u64) {
        let Some(&(_, (thread, at))) = self.slots.get(slot as usize).filter(|_| untouched > 0) else {
            return;
        };
        self.untouched += untouched;
        if let Some(word) = self.threads.get_mut(thread as usize).and_then(|words| words.get_mut(at)) {
            let pages = (size - untouched.min(size)).div_ceil(4096);
            *word = *word & !(u64::from(ALL) << 10) | pages.min(u64::from(ALL)) << 10;
        }
    }

    /// How often the order of all calls goes from one thread to another.
    pub fn changes(&self) -> usize {
        self.runs.windows(2).filter(|pair| pair[0].0 != pair[1].0).count()
    }

    /// Threads that call anything.
    pub fn thread_count(&self) -> usize {
        self.threads.iter().filter(|words| !words.is_empty()).count()
    }

    /// Calls of all threads, pauses among them.
    pub fn call_count(&self) -> u64 {
        self.calls
    }

    /// The most bytes that are live, as asked for.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.0
    }

    /// All words, as a player maps them.
    pub fn write(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut header = [0u64; HEADER];
        for (field, value) in [
            (Field::Threads, self.threads.len() as u64),
            (Field::Runs, self.runs.len() as u64),
            (Field::Calls, self.calls),
            (Field::Slots, self.slots.len() as u64),
            (Field::PeakBytes, self.peak.0),
            (Field::PeakCall, self.peak.1),
            (Field::EndBytes, self.live),
        ] {
            header[field as usize] = value;
        }
        let mut put = |words: &[u64]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            out.write_all(&bytes)
        };
        put(&header)?;
        let mut runs = vec![Vec::new(); self.threads.len()];
        for (number, &(thread, calls)) in self.runs.iter().enumerate() {
            runs[thread as usize].push(number as u64 | u64::from(calls) << 32);
        }
        let mut run_at = HEADER + THREAD * self.threads.len() + self.runs.len();
        let mut at = run_at + self.runs.len();
        for (words, runs) in self.threads.iter().zip(&runs) {
            put(&[at as u64, run_at as u64, runs.len() as u64])?;
            at += words.len();
            run_at += runs.len();
        }
        for runs in self.runs.chunks(4096) {
            put(&runs.iter().map(|&(thread, _)| u64::from(thread)).collect::<Vec<u64>>())?;
        }
        for words in runs.iter().chain(&self.threads) {
            words.chunks(12_288).try_for_each(&mut put)?;
        }
        Ok(())
    }
}

fn align(way: Way) -> u8 {
    way.align().trailing_zeros() as u8
}

#[cfg(test)]
mod tests {
    use freestone_trace::{Op, ProcessInfo, Trace, TraceWriter};

    use super::*;

    #[test]
    fn calls_keep_their_order_and_their_turns() {
        let mut writer = TraceWriter::new(Vec::new(), &ProcessInfo::default()).unwrap();
        let alloc = |size, addr| Op::Alloc { way: Way::Malloc, size, addr };
        writer.event(1, 10, alloc(100, 0x1000)).unwrap();
        writer.event(2, 20, Op::Realloc { old: 0x1000, size: 9000, new: 0x2000 }).unwrap();
        writer.event(1, 30, alloc(5, 0x3000)).unwrap();
        writer.event(1, 50_000_000, Op::Touched { bytes: 4097 }).unwrap();
        writer.event(1, 50_000_001, Op::Free { addr: 0x2000 }).unwrap();
        let trace = Trace::new(writer.finish().unwrap()).unwrap();
        let plan = Plan::new(&mut trace.calls(0).unwrap(), true, false, |_| {});
        assert_eq!((plan.peak, plan.live, plan.changes()), ((9005, 3), 5, 2));
        assert_eq!((plan.thread_count(), plan.call_count(), plan.untouched), (2, 5, 4903));

        let mut bytes = Vec::new();
        plan.write(&mut bytes).unwrap();
        let words: Vec<u64> =
            bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[Field::Runs as usize], 3);
        let second = words[HEADER + THREAD] as usize;
        let step = Step::read(words[second..second + WORDS].try_into().unwrap());
        let expected = Step { deed: Deed::Resize, align: 4, slot: 0, size: 9000, turn: 1, touched: 2 };
        assert_eq!(step, expected);
        let merged = Plan::new(&mut trace.calls(0).unwrap(), false, true, |_| {});
        assert_eq!((merged.changes(), merged.thread_count(), merged.call_count()), (0, 1, 4));
    }
}
