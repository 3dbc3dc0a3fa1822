//! Writes traces of one's own: for tests, for examples, and to make a trace of another's.

use std::io::Write;

use freestone_base::trace::sheet::{HEADER, MOST_COMMAND, PROCESS_WORDS, SHEET};
use freestone_base::trace::{Event, Kind, Model, Op, ProcessWord, Scratch, SheetHeader};

use crate::ending::TraceError;

/// What to say about the process.
#[derive(Clone, Debug)]
pub struct ProcessInfo {
    /// A number that no other process in the file has.
    pub key: u64,
    /// Its number in the system.
    pub pid: u32,
    /// The key of the process that it was forked from, 0 for none.
    pub parent: u64,
    /// The number of the parent's last event before the fork.
    pub forked_at: u64,
    /// The command line.
    pub command: Vec<String>,
    /// One call in so many has a stack, drawn as [`Process::stack_weight`](crate::Process::stack_weight) says; 0 or 1: none, or all.
    pub stack_every: u64,
}

impl Default for ProcessInfo {
    fn default() -> Self {
        ProcessInfo { key: 1, pid: 1, parent: 0, forked_at: 0, command: Vec::new(), stack_every: 0 }
    }
}

/// Writes the events of one process, which come in their order; a tick is a nanosecond.
pub struct TraceWriter<W: Write> {
    out: W,
    key: u64,
    model: Model,
    header: SheetHeader,
    payload: Vec<u8>,
    number: u64,
}

impl<W: Write> TraceWriter<W> {
    /// Begins with the process.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, info: &ProcessInfo) -> Result<TraceWriter<W>, TraceError> {
        let command: Vec<u8> = info.command.iter().flat_map(|word| word.bytes().chain([0])).collect();
        let command = &command[..command.len().min(MOST_COMMAND)];
        let mut words = [0u64; PROCESS_WORDS];
        words[ProcessWord::Pid as usize] = info.pid.into();
        words[ProcessWord::Parent as usize] = info.parent;
        words[ProcessWord::ForkedAt as usize] = info.forked_at;
        words[ProcessWord::LastTicks as usize] = 1;
        words[ProcessWord::LastNs as usize] = 1;
        words[ProcessWord::StackEvery as usize] = info.stack_every;
        words[ProcessWord::CommandLen as usize] = command.len() as u64;
        let mut payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        payload.extend_from_slice(command);
        let header = SheetHeader {
            kind: Kind::Process,
            length: 0,
            used: 0,
            process: info.key,
            lane: 0,
            place: 0,
            number: 0,
            ticks: 0,
            thread: 0,
            check: 0,
        };
        let mut writer = TraceWriter { out, key: info.key, model: Model::new(), header, payload, number: 0 };
        writer.write_sheet()?;
        writer.header = SheetHeader { kind: Kind::Events, ..header };
        Ok(writer)
    }

    /// Adds a list of executable mappings, a line each; see [`Trace::mappings`](crate::Trace::mappings). The lists are numbered from 0.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn mappings(&mut self, list: u32, text: &str) -> Result<(), TraceError> {
        let header = SheetHeader { kind: Kind::Mappings, place: list, number: self.number, ..self.header };
        for part in text.as_bytes().chunks(SHEET - HEADER) {
            write_sheet(&mut self.out, header, part)?;
        }
        Ok(())
    }

    fn write_sheet(&mut self) -> Result<(), TraceError> {
        write_sheet(&mut self.out, self.header, &self.payload)?;
        self.payload.clear();
        Ok(())
    }

    /// Adds an event of a thread, at a time in nanoseconds; its number.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn event(&mut self, thread: u32, ns: u64, op: Op) -> Result<u64, TraceError> {
        if self.payload.len() + Scratch::SIZE > SHEET - HEADER {
            self.write_sheet()?;
            let (number, ticks) = (self.model.number(), self.model.ticks());
            self.header = SheetHeader { place: self.header.place + 1, number, ticks, thread, ..self.header };
            self.model.begin(number, ticks, thread);
        }
        self.number += 1;
        let mut code = Scratch::new();
        self.model.encode(&Event { number: self.number, ticks: ns, thread, op }, &mut code);
        self.payload.extend_from_slice(code.bytes());
        Ok(self.number)
    }

    /// Adds a stack to the thread's next event: return addresses, the innermost first.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn stack(&mut self, thread: u32, ns: u64, frames: &[u64]) -> Result<u64, TraceError> {
        self.model.set_frames(frames);
        self.event(thread, ns, Op::Stack)
    }

    /// Another process begins, after which events are its own.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn next_process(self, info: &ProcessInfo) -> Result<TraceWriter<W>, TraceError> {
        TraceWriter::new(self.finish()?, info)
    }

    /// The process ends by itself; hands `out` back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> Result<W, TraceError> {
        self.event(0, self.model.ticks(), Op::End)?;
        self.write_sheet()?;
        Ok(self.out)
    }

    /// Ends without the process's own end, as if it had been killed; hands `out` back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn abandon(mut self) -> Result<W, TraceError> {
        self.write_sheet()?;
        Ok(self.out)
    }

    /// The process's key.
    pub fn key(&self) -> u64 {
        self.key
    }
}

/// Writes a sheet with its length, use and check.
pub(crate) fn write_sheet(
    out: &mut impl Write,
    header: SheetHeader,
    payload: &[u8],
) -> Result<(), TraceError> {
    let used = payload.len() as u32;
    let header =
        SheetHeader { length: HEADER as u32 + used, used, check: crc32fast::hash(payload), ..header };
    out.write_all(&header.bytes())?;
    out.write_all(payload)?;
    Ok(())
}
