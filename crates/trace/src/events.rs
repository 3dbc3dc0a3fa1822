//! The events of a process in their order.

use freestone_base::trace::sheet::HEADER;
use freestone_base::trace::{Event, Model, Next, Op};

use crate::ending::{Damage, Ending, TraceError};
use crate::file::Trace;
use crate::source::Source;

/// Events that a process may have begun to write when it was killed: one a thread, and few threads write at once.
const UNWRITTEN: u64 = 64;

/// One lane and how far it was read.
struct Lane {
    /// Sheets to come, the next one last.
    sheets: Vec<usize>,
    /// The sheet being read: where its payload begins in the file, its bytes and how many were read.
    offset: u64,
    payload: Vec<u8>,
    at: usize,
    model: Model,
    next: Option<Event>,
}

impl Lane {
    /// Reads the lane's next event into `next`, which stays empty at its end.
    fn advance<S: Source>(&mut self, trace: &Trace<S>) -> Result<Result<(), Damage>, TraceError> {
        self.next = None;
        loop {
            match self.model.decode(self.payload.get(self.at..).unwrap_or_default()) {
                Ok((Next::Event(event), len)) => {
                    self.at += len;
                    self.next = Some(event);
                    return Ok(Ok(()));
                }
                Ok((Next::End, _)) => {}
                Err(broken) => return Ok(Err(Damage::of_event(self.offset + self.at as u64, broken))),
            }
            let Some(index) = self.sheets.pop() else { return Ok(Ok(())) };
            let sheet = trace.sheet(index);
            self.payload = match trace.payload(index)? {
                Ok(payload) => payload,
                Err(damage) => return Ok(Err(damage)),
            };
            (self.offset, self.at) = (sheet.offset + HEADER as u64, 0);
            self.model.begin(sheet.header.number, sheet.header.ticks, sheet.header.thread);
        }
    }
}

/// Iterates over the events of one process in the order of their numbers. O(events), a sheet of each lane in memory.
pub struct Events<'a, S: Source> {
    trace: &'a Trace<S>,
    lanes: Vec<Lane>,
    /// The lane of the last event.
    current: usize,
    /// Whether that event was handed out, so that the lane is to be read on.
    used: bool,
    /// The number of the last event.
    number: u64,
    unwritten: u64,
    ended: bool,
    stopped: bool,
    replaced: bool,
    damage: Option<Damage>,
    /// The next number, where too many are missing before it.
    missing: Option<u64>,
    error: Option<TraceError>,
}

impl<S: Source> Trace<S> {
    /// The events of the process at a place in [`processes`](Trace::processes).
    ///
    /// # Errors
    /// When the file cannot be read or there is no such process.
    pub fn events(&self, process: usize) -> Result<Events<'_, S>, TraceError> {
        let process = self.process(process)?;
        let lane = |sheets: &Vec<usize>| Lane {
            sheets: sheets.iter().rev().copied().collect(),
            offset: 0,
            payload: Vec::new(),
            at: 0,
            model: Model::new(),
            next: None,
        };
        let mut events = Events {
            trace: self,
            lanes: process.lanes.iter().map(|(_, sheets)| lane(sheets)).collect(),
            current: 0,
            used: false,
            number: 0,
            unwritten: 0,
            ended: false,
            stopped: process.stopped,
            replaced: process.replaced,
            damage: self.damage().cloned(),
            missing: None,
            error: None,
        };
        (0..events.lanes.len()).for_each(|place| events.advance(place));
        Ok(events)
    }
}

impl<S: Source> Events<'_, S> {
    fn advance(&mut self, place: usize) {
        match self.lanes[place].advance(self.trace) {
            Ok(Ok(())) => {}
            Ok(Err(damage)) => drop(self.damage.get_or_insert(damage)),
            Err(error) => self.error = Some(error),
        }
    }

    /// Return addresses, the innermost first, of the last event if that was [`Op::Stack`].
    pub fn frames(&self) -> &[u64] {
        self.lanes.get(self.current).map_or(&[], |lane| lane.model.frames())
    }

    /// The number of the last event.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The error of the file system that ended the events, if one did.
    pub fn take_error(&mut self) -> Option<TraceError> {
        self.error.take()
    }

    /// How the events end, as far as is known: to be asked after the last.
    pub fn ending(&self) -> Ending {
        match (&self.damage, self.missing) {
            (Some(damage), _) => Ending::Damaged { after: self.number, damage: damage.clone() },
            (None, Some(next)) => Ending::Missing { after: self.number, next },
            _ if self.stopped => Ending::Stopped,
            _ if self.ended => Ending::Whole,
            _ if self.replaced && self.unwritten == 0 => Ending::Replaced,
            _ => Ending::Abrupt { unwritten: self.unwritten },
        }
    }

    /// The lane whose next event has the lowest number. Mostly that is the one that was read last.
    fn lowest(&self) -> Option<(usize, u64)> {
        let number = |lane: &Lane| lane.next.as_ref().map(|event| event.number);
        match self.lanes.get(self.current).and_then(number) {
            Some(next) if next.checked_sub(1) == Some(self.number) => Some((self.current, next)),
            _ => {
                let all = self.lanes.iter().enumerate();
                all.filter_map(|(place, lane)| Some((place, number(lane)?))).min_by_key(|&(_, number)| number)
            }
        }
    }
}

impl<S: Source> Iterator for Events<'_, S> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.error.is_some() || self.missing.is_some() {
            return None;
        }
        // Not before now, because the lane's model holds the stack of the last event.
        if std::mem::take(&mut self.used) {
            self.advance(self.current);
        }
        let (place, number) = self.lowest()?;
        let expected = self.number.saturating_add(1);
        if number < expected {
            let offset = self.lanes[place].offset;
            self.damage
                .get_or_insert(Damage::new(offset, "two events in this sheet or another bear one number"));
            self.lanes.clear();
            return None;
        }
        let gap = number - expected;
        if gap > 0 {
            // Behind a damage nothing can be trusted to be whole.
            if self.damage.is_some() || self.unwritten + gap > UNWRITTEN {
                self.missing = Some(number);
                return None;
            }
            self.unwritten += gap;
        }
        (self.current, self.number) = (place, number);
        let event = self.lanes[place].next?;
        self.ended |= event.op == Op::End;
        self.used = true;
        Some(event)
    }
}
