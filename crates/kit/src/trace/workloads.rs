//! Small traces that show what each design is bad at, and why.
//!
//! Each is made of one idea and repeated until it is seen in a picture. None is a program: a design that loses here may well be the
//! best for yours, which is why [`compare`](super::compare()) takes recorded traces, too.

use super::format::{Trace, TraceWriter};

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What is to be seen, and why.
    pub lesson: &'static str,
    make: fn(&mut TraceWriter),
}

/// All there are.
pub const ALL: [Workload; 8] = [
    Workload {
        name: "near-fits",
        about: "a hole of 800 B and one of 784, and then requests of 400, 784 and 400 B, two thousand times over",
        lesson: "Best fit puts the first 400 into the hole of 784, where 384 B are left that nobody can use, and has no room for the \
                 last. First fit takes the hole of 800 and fills both to the byte (after an example of Knuth's).",
        make: near_fits,
    },
    Workload {
        name: "wide-holes",
        about: "a hole of 1,168 B and one of 784, and then requests of 784, 768 and 400 B, two thousand times over",
        lesson: "The other way about: first fit spoils the longer hole, and best fit fills both to the byte. Which of the two is better \
                 depends on the sizes that come.",
        make: wide_holes,
    },
    Workload {
        name: "precious",
        about: "long holes that are needed again in every round, among many short ones",
        lesson: "Worst fit cuts the longest hole for every small request, so that none is long enough when it is needed. All \
                 others leave the long ones alone.",
        make: precious,
    },
    Workload {
        name: "rover",
        about: "blocks of mixed sizes and lives over a small live heap",
        lesson: "Next fit wanders over the whole heap and leaves live blocks everywhere, so that nothing can go back; first fit \
                 stays at the lowest addresses.",
        make: rover,
    },
    Workload {
        name: "odd-sizes",
        about: "requests just above powers of two: 33, 65, 129, … B",
        lesson: "The buddy system rounds each up to the next power of two: nearly half of all memory is lost inside the blocks. Slabs \
                 with classes at finer steps lose a tenth.",
        make: odd_sizes,
    },
    Workload {
        name: "survivors",
        about: "thousands of blocks of one size, of which one in a hundred stays, then the same with the next size",
        lesson: "Slabs belong to one size: the survivors of each phase keep their slabs, and the next size cannot use the room. Free lists \
                 take the room between the survivors for any size.",
        make: survivors,
    },
    Workload {
        name: "growing",
        about: "arrays that double again and again, side by side with small blocks",
        lesson: "Each array moves when it cannot grow in place, and the small blocks that come take a little of the hole that it \
                 leaves: free lists end up with holes that are too short for any array. Where sizes are kept apart, by slabs \
                 or by powers of two, the holes stay whole.",
        make: growing,
    },
    Workload {
        name: "comb",
        about: "blocks of 100 B, every second one freed, and then blocks of 200 B",
        lesson: "Half of the memory is free and no hole is long enough: external fragmentation as such. No policy helps once the \
                 blocks are placed; only moving them would.",
        make: comb,
    },
];

/// The trace of the workload with this name.
///
/// ```
/// use freestone_kit::trace::workloads;
/// let trace = workloads::by_name("comb").unwrap();
/// assert!(trace.events().len() > 1000 && trace.title.starts_with("comb: "));
/// assert!(workloads::by_name("nothing").is_none());
/// ```
pub fn by_name(name: &str) -> Option<Trace> {
    ALL.iter().find(|workload| workload.name == name).map(Workload::trace)
}

impl Workload {
    /// Its calls.
    pub fn trace(&self) -> Trace {
        let mut writer = TraceWriter::new(&format!("{}: {}", self.name, self.about));
        (self.make)(&mut writer);
        // What the writer wrote is a trace.
        Trace::parse(writer.bytes()).unwrap_or_default()
    }
}

const ALIGN: usize = 16;

/// Numbers that only look random: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Bytes that a textbook heap adds to a block: its two tags.
const TAGS: usize = 16;

/// Pairs of holes with something live between them, and three requests for each pair. One pair at a time is free, so that
/// each is a small heap of its own.
fn pairs(writer: &mut TraceWriter, holes: [usize; 2], requests: [usize; 3]) {
    let mut blocks = Vec::new();
    for _ in 0..2000 {
        blocks.push(holes.map(|hole| {
            let block = writer.allocate(hole - TAGS, ALIGN);
            writer.allocate(48, ALIGN);
            block
        }));
    }
    for pair in blocks {
        pair.into_iter().for_each(|block| writer.free(block));
        for request in requests {
            writer.allocate(request - TAGS, ALIGN);
        }
    }
}

fn near_fits(writer: &mut TraceWriter) {
    pairs(writer, [800, 784], [400, 784, 400]);
}

fn wide_holes(writer: &mut TraceWriter) {
    pairs(writer, [1168, 784], [784, 768, 400]);
}

fn precious(writer: &mut TraceWriter) {
    let mut long = Vec::new();
    let mut short = Vec::new();
    for _ in 0..40 {
        long.push(writer.allocate(16 << 10, ALIGN));
        writer.allocate(64, ALIGN);
        for _ in 0..40 {
            short.push(writer.allocate(200, ALIGN));
            writer.allocate(64, ALIGN);
        }
    }
    short.into_iter().for_each(|block| writer.free(block));
    for _ in 0..30 {
        long.drain(..).for_each(|block| writer.free(block));
        let small: Vec<usize> = (0..400).map(|_| writer.allocate(160, ALIGN)).collect();
        long.extend((0..40).map(|_| writer.allocate(16 << 10, ALIGN)));
        small.into_iter().for_each(|block| writer.free(block));
    }
}

fn rover(writer: &mut TraceWriter) {
    let mut random = Random(7);
    let mut live: Vec<usize> = Vec::new();
    for _ in 0..30_000 {
        if live.len() > 500 {
            let victim = random.below(live.len());
            writer.free(live.swap_remove(victim));
        }
        let size = if random.below(20) == 0 { 2000 + random.below(6000) } else { 16 + random.below(240) };
        live.push(writer.allocate(size, ALIGN));
    }
}

fn odd_sizes(writer: &mut TraceWriter) {
    let mut random = Random(3);
    let mut live: Vec<usize> = Vec::new();
    for _ in 0..20_000 {
        if live.len() > 2000 {
            let victim = random.below(live.len());
            writer.free(live.swap_remove(victim));
        }
        live.push(writer.allocate((32 << random.below(7)) + 1, ALIGN));
    }
}

fn survivors(writer: &mut TraceWriter) {
    for size in [48, 80, 112, 160, 224, 320, 448, 640] {
        let count = (1 << 20) / size;
        let blocks: Vec<usize> = (0..count).map(|_| writer.allocate(size, ALIGN)).collect();
        for (number, block) in blocks.into_iter().enumerate() {
            if number % 100 != 50 {
                writer.free(block);
            }
        }
    }
}

fn growing(writer: &mut TraceWriter) {
    for _ in 0..6 {
        let arrays: Vec<usize> = (0..24).map(|_| writer.allocate(64, ALIGN)).collect();
        let mut small = Vec::new();
        for power in 7..16 {
            for &array in &arrays {
                writer.resize(array, 1 << power);
                small.extend((0..4).map(|_| writer.allocate(80, ALIGN)));
            }
        }
        arrays.into_iter().for_each(|array| writer.free(array));
        small.into_iter().for_each(|block| writer.free(block));
    }
}

fn comb(writer: &mut TraceWriter) {
    let blocks: Vec<usize> = (0..8000).map(|_| writer.allocate(100, ALIGN)).collect();
    blocks.into_iter().step_by(2).for_each(|block| writer.free(block));
    (0..2500).for_each(|_| {
        writer.allocate(200, ALIGN);
    });
}
