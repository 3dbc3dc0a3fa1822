//! A trace: its sheets and processes.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;

use freestone_base::trace::sheet::{HEADER, HeaderBroken, LANES, OPEN, SHEET};
use freestone_base::trace::{Kind, SheetHeader};

use crate::ending::{Damage, TraceError};
use crate::process::Process;
use crate::source::Source;

/// The longest sheet that is read; the recorder's have 64 KiB.
const LONGEST: u32 = 1 << 20;

/// A sheet and where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sheet {
    pub(crate) offset: u64,
    pub(crate) header: SheetHeader,
}

/// A trace that can be read.
#[derive(Debug)]
pub struct Trace<S = File> {
    source: S,
    sheets: Vec<Sheet>,
    processes: Vec<Process>,
    /// Where the file stops being whole.
    damage: Option<Damage>,
}

impl Trace<File> {
    /// Opens a file. O(sheets): the events are not read yet.
    ///
    /// # Errors
    /// When the file cannot be read, or does not begin as a trace does.
    pub fn open(path: &Path) -> Result<Trace<File>, TraceError> {
        Trace::new(File::open(path)?)
    }
}

impl<S: Source> Trace<S> {
    /// A trace that lies anywhere.
    ///
    /// # Errors
    /// As [`open`](Trace::open).
    pub fn new(source: S) -> Result<Trace<S>, TraceError> {
        let mut trace = Trace { source, sheets: Vec::new(), processes: Vec::new(), damage: None };
        trace.find_sheets()?;
        trace.find_processes()?;
        Ok(trace)
    }

    fn find_sheets(&mut self) -> Result<(), TraceError> {
        let size = self.source.size()?;
        if size == 0 {
            return Err(TraceError::Empty);
        }
        let mut offset = 0;
        // Sheets that were given out but not begun when the process ended, in a row.
        let mut unbegun = 0;
        while offset < size {
            let mut bytes = [0; HEADER];
            let got = self.source.read(offset, &mut bytes)?;
            if got < HEADER && bytes[..got].iter().any(|&byte| byte != 0) {
                self.damage = Some(Damage::new(size, "the file ends within the beginning of a sheet"));
                break;
            }
            if bytes == [0; HEADER] && !self.sheets.is_empty() {
                // What the recorder had not got round to filling: only there are open sheets.
                if unbegun == LANES || self.sheets.iter().all(|sheet| sheet.header.used != OPEN) {
                    break;
                }
                unbegun += 1;
                offset += SHEET as u64;
                continue;
            }
            let header = match SheetHeader::read(&bytes) {
                Ok(header) if header.length > LONGEST => Err(HeaderBroken::Length),
                read => read,
            };
            match header {
                Ok(header) => {
                    unbegun = 0;
                    self.sheets.push(Sheet { offset, header });
                    offset += u64::from(header.length);
                }
                Err(broken) => {
                    self.damage = Some(Damage::of_header(offset, broken));
                    break;
                }
            }
        }
        match (&self.damage, self.sheets.is_empty()) {
            (Some(damage), true) => Err(TraceError::NoTrace(damage.clone())),
            (None, true) => Err(TraceError::NoTrace(Damage::new(0, "it holds nothing but zeros"))),
            (None, false)
                if offset > size && self.sheets.last().is_some_and(|last| last.header.used != OPEN) =>
            {
                self.damage = Some(Damage::new(size, "the file ends within a sheet"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn find_processes(&mut self) -> Result<(), TraceError> {
        let mut places: HashMap<u64, usize> = HashMap::new();
        for index in 0..self.sheets.len() {
            let Sheet { header, .. } = self.sheets[index];
            let place = *places.entry(header.process).or_insert_with(|| {
                self.processes.push(Process::unknown(header.process));
                self.processes.len() - 1
            });
            self.processes[place].bytes += u64::from(header.length);
            match header.kind {
                Kind::Process => {
                    let payload = self.payload(index)?;
                    match payload {
                        // One without anything in it says nothing, and is not packed.
                        Ok(payload) if payload.is_empty() => {}
                        Ok(payload) => self.processes[place].describe(&payload),
                        Err(damage) => drop(self.damage.get_or_insert(damage)),
                    }
                }
                Kind::Events => {
                    let lanes = &mut self.processes[place].lanes;
                    match lanes.iter().position(|(lane, _)| *lane == header.lane) {
                        Some(at) => lanes[at].1.push(index),
                        None if lanes.len() < LANES => lanes.push((header.lane, vec![index])),
                        None => {
                            let damage =
                                Damage::new(self.sheets[index].offset, "there are more lanes than can be");
                            self.damage.get_or_insert(damage);
                        }
                    }
                }
                Kind::Mappings => self.processes[place].mappings.push(index),
            }
        }
        for process in &mut self.processes {
            for (_, sheets) in &mut process.lanes {
                sheets.sort_by_key(|&index| (self.sheets[index].header.place, index));
            }
        }
        // Those that began first come first.
        self.processes.sort_by_key(|process| process.started_ns);
        let mut later = HashSet::new();
        for process in self.processes.iter_mut().rev() {
            process.replaced = process.pid != 0 && !later.insert(process.pid);
        }
        Ok(())
    }

    /// The payload of a sheet, as much as is used or, in an open one, as there is.
    pub(crate) fn payload(&self, index: usize) -> Result<Result<Vec<u8>, Damage>, TraceError> {
        let Sheet { offset, header } = self.sheets[index];
        let open = header.used == OPEN;
        let wanted = if open { header.room() } else { header.used as usize };
        let mut payload = vec![0; wanted];
        let got = self.source.read(offset + HEADER as u64, &mut payload)?;
        payload.truncate(got);
        Ok(if open || (got == wanted && crc32fast::hash(&payload) == header.check) {
            Ok(payload)
        } else if got < wanted {
            Err(Damage::new(offset + (HEADER + got) as u64, "the file ends within a sheet"))
        } else {
            Err(Damage::new(offset, "the sheet that begins here is not as it was written"))
        })
    }

    pub(crate) fn sheet(&self, index: usize) -> Sheet {
        self.sheets[index]
    }

    pub(crate) fn sheets(&self) -> usize {
        self.sheets.len()
    }

    /// The processes, in the order in which they began.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The process at a place in [`processes`](Trace::processes).
    pub(crate) fn process(&self, place: usize) -> Result<&Process, TraceError> {
        let there = self.processes.len();
        self.processes.get(place).ok_or(TraceError::NoProcess { asked: place, there })
    }

    /// Where the file stops being whole, if it does.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn size(&self) -> Result<u64, TraceError> {
        Ok(self.source.size()?)
    }

    /// The executable mappings of a process, in lists of lines `START-END OFFSET BUILDID PATH` (`-`: no build id), each as it was at a moment, in
    /// their order; none where no stack was recorded.
    ///
    /// # Errors
    /// When the file cannot be read or there is no such process.
    pub fn mappings(&self, process: usize) -> Result<Vec<String>, TraceError> {
        let mut lists: Vec<(u32, Vec<u8>)> = Vec::new();
        for &index in &self.process(process)?.mappings {
            let place = self.sheets[index].header.place;
            if let Ok(payload) = self.payload(index)? {
                let end = payload.iter().position(|&byte| byte == 0).unwrap_or(payload.len());
                // What does not fit into one sheet goes on in the next.
                match lists.iter_mut().find(|(list, _)| *list == place) {
                    Some((_, text)) => text.extend_from_slice(&payload[..end]),
                    None => lists.push((place, payload[..end].to_vec())),
                }
            }
        }
        lists.sort_by_key(|(list, _)| *list);
        Ok(lists.into_iter().map(|(_, text)| String::from_utf8_lossy(&text).into_owned()).collect())
    }
}
