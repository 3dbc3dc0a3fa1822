//! A cache with a limit: what is used is known to the byte, the oldest go when it is full, and when most are gone their
//! neighbours are moved together.

use freestone_kit::accounting::{
    Accounting, Clock, Cycle, Defrag, DefragConfig, MoveHints, Mover, Owned, Requested, SLAB, Shortage,
    Slabs, Tick, Verdict,
};
use freestone_kit::c::C;
use std::cell::Cell;
use std::time::Duration;

type Value = [u8; 200];

/// A table by key; a value stays where the table says.
struct Table<'a, A: MoveHints>(Vec<Option<Owned<'a, Value, A>>>);

impl<'a, A: MoveHints> Defrag<A> for Table<'a, A> {
    fn defrag(&mut self, cursor: usize, mover: &mut Mover<'_, A>) -> Option<usize> {
        let end = (cursor + 16).min(self.0.len());
        for value in self.0[cursor..end].iter_mut().flatten() {
            mover.offer(value);
        }
        (end < self.0.len()).then_some(end)
    }
}

/// A clock by which each look takes half a millisecond, so that every run is the same.
struct Steps(Cell<u32>);

impl Clock for Steps {
    fn now(&self) -> Duration {
        self.0.set(self.0.get() + 1);
        Duration::from_micros(500) * self.0.get()
    }
}

fn main() {
    let asked = Cell::new(0);
    let handler = |shortage: &Shortage| {
        asked.set(asked.get() + 1);
        if asked.get() == 1 {
            println!(
                "short of {} bytes: {} of {} used",
                shortage.layout.size(),
                shortage.used,
                shortage.limit
            );
        }
        Verdict::Refuse
    };
    let memory: Accounting<_, Requested, _> = Accounting::with(Slabs::new(C), 1_000_000, handler);
    let mut table = Table(Vec::new());
    let mut oldest = 0;
    for key in 0..6000_u32 {
        let value = loop {
            match Owned::new([key as u8; 200], &memory) {
                Ok(value) => break value,
                // Full: the oldest goes.
                Err(_) => {
                    table.0[oldest] = None;
                    oldest += 1;
                }
            }
        };
        table.0.push(Some(value));
    }
    println!(
        "6000 values of 200 bytes: {} used, {oldest} evicted, asked {} times",
        memory.used(),
        asked.get()
    );

    // Most expire.
    (0..table.0.len()).filter(|key| key % 10 != 0).for_each(|key| table.0[key] = None);
    let sparse = memory.fragmentation();
    println!(
        "{} bytes used in {} slabs: {} % fragmented",
        memory.used(),
        sparse.active / SLAB,
        sparse.percent()
    );

    let config = DefragConfig { ignore_bytes: 64 << 10, ..DefragConfig::DEFAULT };
    let (mut cycle, clock) = (Cycle::new(config), Steps(Cell::new(0)));
    let mut ticks = 0;
    while let Tick::Working { effort } = cycle.tick(&memory, &mut table, &clock) {
        if ticks == 0 {
            println!("a scan begins, with {effort} % of the time");
        }
        ticks += 1;
    }
    let after = memory.fragmentation();
    println!("after {ticks} slices {} slabs: {} % fragmented", after.active / SLAB, after.percent());
    println!("{} of {} blocks moved", cycle.stats().moved, cycle.stats().scanned);
    let intact =
        table.0.iter().enumerate().all(|(key, value)| {
            value.as_ref().is_none_or(|value| value.iter().all(|&byte| byte == key as u8))
        });
    println!("every value is intact: {intact}; {} bytes used", memory.used());
    drop(table);
    println!("at the end {}", memory.used());
}
