//! pprof's file format: `profile.proto` of github.com/google/pprof, as gzip.

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use crate::profile::{Measure, Profile};

/// `perftools.profiles.ValueType`; the numbers are those of `profile.proto`. All strings are numbers in the string table.
#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    limit: u64,
    #[prost(uint64, tag = "4")]
    offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(int64, tag = "6")]
    build_id: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_lines: bool,
    #[prost(bool, tag = "10")]
    has_inlined: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

/// The string table; number 0 is the empty string.
struct Strings {
    all: Vec<String>,
    numbers: HashMap<String, i64>,
}

impl Strings {
    fn new() -> Strings {
        Strings { all: vec![String::new()], numbers: HashMap::from([(String::new(), 0)]) }
    }

    fn number(&mut self, text: &str) -> i64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.all.len() as i64;
        self.all.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }
}

impl Profile {
    /// The profile as a pprof file, gzipped: `go tool pprof`, Pyroscope, Parca, speedscope and Firefox's profiler read it. Functions that
    /// have no name have their addresses and build ids, for readers that look names up themselves. O(stacks + locations).
    pub fn to_pprof(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory cannot fail.
        let _ = gzip.write_all(&self.to_proto());
        gzip.finish().unwrap_or_default()
    }

    /// The same without gzip.
    pub fn to_proto(&self) -> Vec<u8> {
        let mut strings = Strings::new();
        let (location, function) = self.locations(&mut strings);
        let mut value_type =
            |(kind, unit): (&str, &str)| ValueType { kind: strings.number(kind), unit: strings.number(unit) };
        let measures = self.measures();
        let sample_type = measures.iter().map(|measure| value_type(measure.pprof_names())).collect();
        let period_type = Some(value_type(("space", "bytes")));
        let key = strings.number("thread");
        let sample = self.stacks.iter().map(|stack| {
            let text = strings.number(&stack.thread);
            Sample {
                location: stack.locations.iter().map(|&number| number as u64 + 1).collect(),
                value: measures.iter().map(|&measure| stack.get(measure).round() as i64).collect(),
                label: if text == 0 { Vec::new() } else { vec![Label { key, text }] },
            }
        });
        let sample = sample.collect();
        let mapping = self.pprof_mappings(&mut strings);
        let comment =
            vec![strings.number("Freestone heap profile; every figure is an estimate without bias")];
        let default_sample_type = strings.number(Measure::LiveBytes.pprof_names().0);
        let file = File {
            sample_type,
            sample,
            mapping,
            location,
            function,
            string_table: strings.all,
            time_nanos: self.began_ns.saturating_add(self.duration_ns) as i64,
            duration_nanos: self.duration_ns as i64,
            period_type,
            period: self.mean as i64,
            comment,
            default_sample_type,
        };
        file.encode_to_vec()
    }

    /// What is worth a column: what was not looked for is left out.
    fn measures(&self) -> Vec<Measure> {
        let is_known = |measure: &Measure| match measure {
            Measure::LostBytes | Measure::LostObjects => self.reachability,
            Measure::IdleBytes | Measure::IdleObjects => self.untouched_ns.is_some(),
            _ => true,
        };
        Measure::ALL.into_iter().filter(is_known).collect()
    }

    fn pprof_mappings(&self, strings: &mut Strings) -> Vec<Mapping> {
        let mut named = vec![(false, false); self.mappings.len() + 1];
        for location in &self.locations {
            named[location.mapping].0 |= location.frames.iter().any(|frame| !frame.file.is_empty());
            named[location.mapping].1 |= location.frames.len() > 1;
        }
        let each = self.mappings.iter().zip(1..).map(|(mapping, id)| {
            let hex: String = mapping.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
            let (lines, inlined) = named[id as usize];
            Mapping {
                id,
                start: mapping.start,
                limit: mapping.end,
                offset: mapping.offset,
                filename: strings.number(&mapping.path),
                build_id: strings.number(&hex),
                // Or pprof would look for symbols itself, and has fewer.
                has_functions: true,
                has_filenames: lines,
                has_lines: lines,
                has_inlined: inlined,
            }
        });
        each.collect()
    }

    fn locations(&self, strings: &mut Strings) -> (Vec<Location>, Vec<Function>) {
        let mut functions: Vec<Function> = Vec::new();
        let mut numbers: HashMap<(i64, i64), u64> = HashMap::new();
        let locations = self.locations.iter().zip(1..).map(|(location, id)| {
            let line = location.frames.iter().map(|frame| {
                let (name, filename) = (strings.number(&frame.function), strings.number(&frame.file));
                let function = *numbers.entry((name, filename)).or_insert_with(|| {
                    let id = functions.len() as u64 + 1;
                    // An empty system name tells pprof that the name is not to be worked on.
                    functions.push(Function { id, name, system_name: 0, filename });
                    id
                });
                Line { function, line: frame.line.into() }
            });
            Location { id, mapping: location.mapping as u64, address: location.address, line: line.collect() }
        });
        let locations = locations.collect();
        (locations, functions)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::{Raw, Symbols};

    #[test]
    fn a_file_holds_what_the_profile_does() {
        let text = "freestone-heap-profile 1\nmean 1000\nbegan 50\nduration 7\nmap 1000-2000 0 abcd /nowhere/program\n\
             site worker 3 2 3.4 60 2.00 40 2.00 40 0 0 100 : 1010 1020\nsite % 1 1 1 8 1 8 1 8 0 0 0 : 1020\nend 2\n";
        let profile = Symbols::new().resolve(&Raw::parse(text).unwrap());
        let mut proto = Vec::new();
        flate2::read::GzDecoder::new(&*profile.to_pprof()).read_to_end(&mut proto).unwrap();
        assert_eq!(proto, profile.to_proto());
        let file = File::decode(&*proto).unwrap();
        let string = |number: i64| file.string_table[number as usize].as_str();
        let types: Vec<&str> = file.sample_type.iter().map(|each| string(each.kind)).collect();
        assert_eq!(types[..4], ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
        assert_eq!(types.len(), 7);
        assert_eq!(file.sample[0].value, [3, 60, 2, 40, 2, 40, 100]);
        assert_eq!(
            (string(file.sample[0].label[0].key), string(file.sample[0].label[0].text)),
            ("thread", "worker")
        );
        assert!(file.sample[1].label.is_empty());
        assert_eq!(file.sample[1].location, [file.sample[0].location[1]]);
        let location = &file.location[file.sample[0].location[0] as usize - 1];
        assert_eq!((location.address, location.mapping), (0x100f, 1));
        let function = &file.function[location.line[0].function as usize - 1];
        assert_eq!(string(function.name), "program+0xf");
        assert_eq!((string(file.mapping[0].build_id), file.period, file.time_nanos), ("abcd", 1000, 57));
        assert_eq!(string(0), "");
    }
}
