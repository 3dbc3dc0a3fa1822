//! A profile with names: stacks of frames, each with all figures.

use std::collections::HashMap;

/// What is measured. Bytes are requested bytes, but for stranded ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Live blocks.
    LiveObjects,
    /// Bytes in live blocks.
    LiveBytes,
    /// Blocks allocated since the profile began.
    AllocatedObjects,
    /// Bytes allocated since the profile began.
    AllocatedBytes,
    /// Blocks that were live when the heap was largest.
    PeakObjects,
    /// Bytes that were live when the heap was largest.
    PeakBytes,
    /// Free bytes of slabs that live blocks keep from going back.
    StrandedBytes,
    /// Live blocks that nothing leads to.
    LostObjects,
    /// Bytes in live blocks that nothing leads to.
    LostBytes,
    /// Live blocks that nobody touched while that was watched.
    IdleObjects,
    /// Bytes in live blocks that nobody touched while that was watched.
    IdleBytes,
}

/// How many there are.
const MEASURES: usize = 11;

impl Measure {
    /// All, in the order in which a pprof file has them.
    pub const ALL: [Measure; MEASURES] = [
        Measure::AllocatedObjects,
        Measure::AllocatedBytes,
        Measure::LiveObjects,
        Measure::LiveBytes,
        Measure::PeakObjects,
        Measure::PeakBytes,
        Measure::StrandedBytes,
        Measure::LostObjects,
        Measure::LostBytes,
        Measure::IdleObjects,
        Measure::IdleBytes,
    ];

    /// The type and the unit as pprof files name them; the first four are those of every heap profile.
    pub fn pprof_names(self) -> (&'static str, &'static str) {
        match self {
            Measure::AllocatedObjects => ("alloc_objects", "count"),
            Measure::AllocatedBytes => ("alloc_space", "bytes"),
            Measure::LiveObjects => ("inuse_objects", "count"),
            Measure::LiveBytes => ("inuse_space", "bytes"),
            Measure::PeakObjects => ("peak_objects", "count"),
            Measure::PeakBytes => ("peak_space", "bytes"),
            Measure::StrandedBytes => ("stranded_space", "bytes"),
            Measure::LostObjects => ("lost_objects", "count"),
            Measure::LostBytes => ("lost_space", "bytes"),
            Measure::IdleObjects => ("idle_objects", "count"),
            Measure::IdleBytes => ("idle_space", "bytes"),
        }
    }

    /// What is measured, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Measure::LiveObjects => "live blocks",
            Measure::LiveBytes => "bytes in live blocks",
            Measure::AllocatedObjects => "blocks allocated",
            Measure::AllocatedBytes => "bytes allocated",
            Measure::PeakObjects => "blocks at the peak",
            Measure::PeakBytes => "bytes at the peak",
            Measure::StrandedBytes => "free bytes that live blocks keep from going back",
            Measure::LostObjects => "live blocks that nothing leads to",
            Measure::LostBytes => "bytes in live blocks that nothing leads to",
            Measure::IdleObjects => "live blocks that nobody touched meanwhile",
            Measure::IdleBytes => "bytes in live blocks that nobody touched meanwhile",
        }
    }

    /// Whether it counts bytes.
    pub fn is_bytes(self) -> bool {
        self.pprof_names().1 == "bytes"
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// A place in the program: a function, which may have been inlined into the next.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Frame {
    /// The function's name, or the object's with an address where there is no symbol.
    pub function: String,
    /// The source file, where it is known.
    pub file: String,
    /// The line there; 0: unknown.
    pub line: u32,
}

/// A stack on a thread, and all that is measured there.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// The thread's name.
    pub thread: String,
    /// Numbers of the profile's locations, the innermost first.
    pub locations: Vec<usize>,
    values: [f64; MEASURES],
    /// All samples that were taken here, on which the figures of what was allocated rest.
    pub samples: u64,
    /// Those of blocks that live, on which all figures of live blocks rest.
    pub live_samples: u64,
}

impl Stack {
    /// A stack of which nothing is known yet.
    pub(crate) fn new(thread: String, locations: Vec<usize>, samples: u64, live_samples: u64) -> Stack {
        Stack { thread, locations, values: [0.0; MEASURES], samples, live_samples }
    }

    /// The figure.
    pub fn get(&self, measure: Measure) -> f64 {
        self.values[measure.index()]
    }

    pub(crate) fn set(&mut self, measure: Measure, value: f64) {
        self.values[measure.index()] = value;
    }
}

/// A return address with all functions that are there, the innermost first.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Location {
    /// The address of the call, less than the return address.
    pub address: u64,
    /// The number of its mapping plus one, 0 where there is none.
    pub mapping: usize,
    /// Functions; empty where there is no symbol.
    pub frames: Vec<Frame>,
}

/// A profile with names.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Mean distance between two samples, in requested bytes.
    pub mean: u64,
    /// When it began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// How long it had been taken.
    pub duration_ns: u64,
    /// Whether it was looked for blocks that nothing leads to.
    pub reachability: bool,
    /// For how long it was watched which blocks are touched, in nanoseconds, where it was.
    pub untouched_ns: Option<u64>,
    /// Executable mappings.
    pub mappings: Vec<crate::Mapping>,
    /// All places that stacks lead through.
    pub locations: Vec<Location>,
    /// The stacks.
    pub stacks: Vec<Stack>,
    /// Whether it is the difference of two.
    pub is_difference: bool,
}

impl Profile {
    /// The sum over all stacks.
    pub fn total(&self, measure: Measure) -> f64 {
        self.stacks.iter().map(|stack| stack.get(measure)).sum()
    }

    /// The frames of a stack, the innermost first.
    pub fn frames<'a>(&'a self, stack: &'a Stack) -> impl DoubleEndedIterator<Item = &'a Frame> {
        stack.locations.iter().flat_map(|&location| self.locations[location].frames.iter())
    }

    /// What has changed since `before`: the figures less those of the same stacks there. Stacks are the same when their functions are,
    /// so two runs can be compared.
    pub fn less(&self, before: &Profile) -> Profile {
        let mut result = self.clone();
        result.is_difference = true;
        let keys: Vec<(String, Vec<String>)> = self.stacks.iter().map(|stack| self.key(stack)).collect();
        let mut index: HashMap<(String, Vec<String>), usize> =
            keys.into_iter().enumerate().map(|(number, key)| (key, number)).collect();
        for stack in &before.stacks {
            let number = *index.entry(before.key(stack)).or_insert_with(|| {
                let locations = stack.locations.iter().map(|&location| {
                    let frames = before.locations[location].frames.clone();
                    result.locations.push(Location { frames, ..Location::default() });
                    result.locations.len() - 1
                });
                let stack = Stack {
                    thread: stack.thread.clone(),
                    locations: locations.collect(),
                    ..Stack::default()
                };
                result.stacks.push(stack);
                result.stacks.len() - 1
            });
            for (value, old) in result.stacks[number].values.iter_mut().zip(stack.values) {
                *value -= old;
            }
        }
        result
    }

    fn key(&self, stack: &Stack) -> (String, Vec<String>) {
        (stack.thread.clone(), self.frames(stack).map(|frame| frame.function.clone()).collect())
    }
}
