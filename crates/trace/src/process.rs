//! What a trace says about one process.

use freestone_base::trace::sheet::PROCESS_WORDS;
use freestone_base::trace::{ProcessWord, stack_counts};

/// The clock of a process's events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    first_ticks: u64,
    ns_per_tick: f64,
}

impl Clock {
    /// Of two moments in ticks and nanoseconds; where they do not make sense a tick is a nanosecond.
    fn new(first: (u64, u64), last: (u64, u64)) -> Clock {
        let ticks = last.0.saturating_sub(first.0);
        let ns = last.1.saturating_sub(first.1);
        let ns_per_tick = if ticks == 0 || ns == 0 { 1.0 } else { ns as f64 / ticks as f64 };
        Clock { first_ticks: first.0, ns_per_tick }
    }

    /// Nanoseconds from the beginning of the recording.
    pub fn ns(&self, ticks: u64) -> u64 {
        (ticks.saturating_sub(self.first_ticks) as f64 * self.ns_per_tick) as u64
    }
}

/// One process of a trace. A process that is replaced by another program is two.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// A number that no other process of the trace has.
    pub key: u64,
    /// Its number in the system; 0 where its sheet is missing.
    pub pid: u32,
    /// The key of the process that it was forked from, 0 where there is none in the trace.
    pub parent: u64,
    /// The number of the parent's last event before the fork.
    pub forked_at: u64,
    /// When the recording began, in nanoseconds since 1970.
    pub started_ns: u64,
    /// The command line.
    pub command: Vec<String>,
    /// What the ticks of its events are.
    pub clock: Clock,
    /// Whether the recording stopped before the process ended.
    pub stopped: bool,
    /// One call in so many has a stack, of those that allocate or resize, large ones more often, see
    /// [`stack_weight`](Process::stack_weight); 1: all have; 0: none has.
    pub stack_every: u64,
    /// Whether a later process of the trace has its number in the system: a program that took its place.
    pub replaced: bool,
    /// Bytes of its sheets.
    pub bytes: u64,
    /// Sheets of events, by lane, each in its order.
    pub(crate) lanes: Vec<(u32, Vec<usize>)>,
    /// Sheets of mappings.
    pub(crate) mappings: Vec<usize>,
}

impl Process {
    pub(crate) fn unknown(key: u64) -> Process {
        Process {
            key,
            pid: 0,
            parent: 0,
            forked_at: 0,
            started_ns: 0,
            command: Vec::new(),
            clock: Clock::new((0, 0), (0, 0)),
            stopped: false,
            stack_every: 0,
            replaced: false,
            bytes: 0,
            lanes: Vec::new(),
            mappings: Vec::new(),
        }
    }

    /// Takes in the payload of the process's sheet.
    pub(crate) fn describe(&mut self, payload: &[u8]) {
        let word = |word: ProcessWord| {
            let at = word as usize * 8;
            payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        self.pid = word(ProcessWord::Pid) as u32;
        self.parent = word(ProcessWord::Parent);
        self.forked_at = word(ProcessWord::ForkedAt);
        self.started_ns = word(ProcessWord::Realtime);
        self.stopped = word(ProcessWord::Stopped) != 0;
        self.stack_every = word(ProcessWord::StackEvery);
        self.clock = Clock::new(
            (word(ProcessWord::FirstTicks), word(ProcessWord::FirstNs)),
            (word(ProcessWord::LastTicks), word(ProcessWord::LastNs)),
        );
        let text = payload.get(PROCESS_WORDS * 8..).unwrap_or_default();
        let len = (word(ProcessWord::CommandLen) as usize).min(text.len());
        let text = text[..len].strip_suffix(b"\0").unwrap_or(&text[..len]);
        self.command = match text {
            [] => Vec::new(),
            _ => {
                text.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
            }
        };
    }

    /// For how many calls for `size` bytes one stands that has a stack.
    ///
    /// ```
    /// # use freestone_trace::{ProcessInfo, Trace, TraceWriter};
    /// let info = ProcessInfo { stack_every: 16, ..ProcessInfo::default() };
    /// let trace = Trace::new(TraceWriter::new(Vec::new(), &info)?.finish()?)?;
    /// let process = &trace.processes()[0];
    /// assert!((process.stack_weight(100) - 16.5).abs() < 0.01);
    /// assert!((process.stack_weight(1 << 20) - 1.0).abs() < 0.01);
    /// # Ok::<(), freestone_trace::TraceError>(())
    /// ```
    pub fn stack_weight(&self, size: u64) -> f64 {
        if self.stack_every <= 1 {
            return 1.0;
        }
        -1.0 / (-(stack_counts(size) as f64) / self.stack_every as f64).exp_m1()
    }

    /// The program's name without its folder, or what is known instead.
    pub fn name(&self) -> String {
        match self.command.first() {
            Some(program) => program.trim_end().rsplit('/').next().unwrap_or(program).to_string(),
            None => format!("process {}", self.pid),
        }
    }
}
