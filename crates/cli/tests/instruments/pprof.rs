//! pprof files of whole programs: taken apart by a decoder of the test's own, which knows the format's definition
//! (`profile.proto` of github.com/google/pprof) and nothing of ours, and read by the pprof tool, where Go has brought it along.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::process::Command;

use crate::programs::{self, Scratch, Service, command, done};

/// A field of a message: its number, and its value or its bytes.
enum Field<'a> {
    Number(u64, u64),
    Bytes(u64, &'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).expect("a number ends") + 1;
    let (number, rest) = bytes.split_at(end);
    *bytes = rest;
    number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// The fields of a message. The format uses two of the wire's types only.
fn fields(mut bytes: &[u8]) -> Vec<Field<'_>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        match tag & 7 {
            0 => found.push(Field::Number(tag >> 3, varint(&mut bytes))),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(length);
                bytes = rest;
                found.push(Field::Bytes(tag >> 3, field));
            }
            other => panic!("a field of type {other}"),
        }
    }
    found
}

fn number(message: &[u8], wanted: u64) -> u64 {
    let value = |field: &Field<'_>| match field {
        Field::Number(number, value) if *number == wanted => Some(*value),
        _ => None,
    };
    fields(message).iter().find_map(value).unwrap_or(0)
}

fn messages(message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let bytes = |field| match field {
        Field::Bytes(number, bytes) if number == wanted => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(bytes).collect()
}

/// Numbers, packed or one by one.
fn numbers(message: &[u8], wanted: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for field in fields(message) {
        match field {
            Field::Number(number, value) if number == wanted => found.push(value),
            Field::Bytes(number, mut bytes) if number == wanted => {
                while !bytes.is_empty() {
                    found.push(varint(&mut bytes));
                }
            }
            _ => {}
        }
    }
    found
}

/// What a pprof file says, with names in the place of numbers.
struct File {
    types: Vec<(String, String)>,
    default: String,
    /// Functions from the innermost on; one value for each type; the thread.
    samples: Vec<(Vec<String>, Vec<i64>, String)>,
    /// The file's name, its build id, and whether a location lies in it and all of those within its range.
    mappings: Vec<(String, String, bool)>,
    period: u64,
}

fn decoded(path: &str) -> File {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let strings: Vec<String> =
        messages(&bytes, 6).into_iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect();
    assert_eq!(strings[0], "");
    let text = |number: u64| strings[number as usize].clone();
    let functions: HashMap<u64, String> =
        messages(&bytes, 5).into_iter().map(|one| (number(one, 1), text(number(one, 2)))).collect();
    let locations: HashMap<u64, &[u8]> =
        messages(&bytes, 4).into_iter().map(|one| (number(one, 1), one)).collect();
    let mappings = messages(&bytes, 3).into_iter().map(|one| {
        let (id, range) = (number(one, 1), number(one, 2)..number(one, 3));
        let mut inside = locations.values().filter(|place| number(place, 2) == id).peekable();
        let is_used = inside.peek().is_some();
        (
            text(number(one, 5)),
            text(number(one, 6)),
            is_used && inside.all(|place| range.contains(&number(place, 3))),
        )
    });
    let samples = messages(&bytes, 2).into_iter().map(|one| {
        let names = numbers(one, 1).into_iter().flat_map(|place| {
            messages(locations[&place], 4).into_iter().map(|line| functions[&number(line, 1)].clone())
        });
        let values = numbers(one, 2).into_iter().map(|value| value as i64).collect();
        let thread = messages(one, 3).first().map(|label| {
            assert_eq!(text(number(label, 1)), "thread");
            text(number(label, 2))
        });
        (names.collect(), values, thread.unwrap_or_default())
    });
    let types = messages(&bytes, 1).into_iter().map(|one| (text(number(one, 1)), text(number(one, 2))));
    File {
        types: types.collect(),
        default: text(number(&bytes, 14)),
        samples: samples.collect(),
        mappings: mappings.collect(),
        period: number(&bytes, 12),
    }
}

/// Looks into the file: `program` is mapped, `thread` allocates there, and `function` is the one that asked for most bytes: for so many,
/// give or take a fifth.
fn holds(path: &str, program: &str, thread: &str, function: &str, bytes: f64) {
    let file = decoded(path);
    let names: Vec<&str> = file.types.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(names[..4], ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert!(
        file.types.iter().all(|(kind, unit)| (unit == "bytes") == kind.ends_with("_space")),
        "{:?}",
        file.types
    );
    assert_eq!((file.default.as_str(), file.period), ("inuse_space", 1024));
    let mapping = file.mappings.iter().find(|mapping| mapping.0.ends_with(program));
    let (_, build_id, is_right) = mapping.unwrap_or_else(|| panic!("{program} in {:?}", file.mappings));
    assert!(*is_right && (build_id.is_empty() || build_id.len() == 40), "{:?}", file.mappings);
    assert!(!file.samples.is_empty() && file.samples.iter().all(|sample| sample.1.len() == names.len()));
    assert!(file.samples.iter().any(|sample| sample.2 == thread), "no thread {thread}");
    let mut own = 0;
    for (stack, values, _) in &file.samples {
        assert!(values.iter().all(|&value| value >= 0) && values[1] >= values[3], "{stack:?} {values:?}");
        let is_request = |name: &String| {
            name == "malloc" || name.starts_with("freestone::") || name.starts_with("operator new")
        };
        assert!(!stack.first().is_some_and(is_request), "a stack begins with who asked: {stack:?}");
        own += if stack.iter().any(|name| name.contains(function)) { values[1] } else { 0 };
    }
    assert!((0.8..1.2).contains(&(own as f64 / bytes)), "{function} asked for {own} bytes, not {bytes}");
}

/// The pprof tool names such a function among those that hold most bytes, and another among those that ask for most blocks.
fn tool_names(scratch: &Scratch, path: &str, holder: &str, asker: &str) {
    for (measure, function) in [("inuse_space", holder), ("alloc_objects", asker)] {
        let mut tool = Command::new("go");
        tool.args(["tool", "pprof", "-top", "-cum", "-nodecount=60", "-sample_index", measure, path]);
        tool.env("PPROF_TMPDIR", scratch.folder()).env("HOME", scratch.folder()).env("GOFLAGS", "-mod=mod");
        let Ok(told) = tool.output() else {
            return freestone_testkit::skipped(format_args!("there is no Go"));
        };
        let (said, complaint) =
            (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        if complaint.contains("no such tool") {
            return freestone_testkit::skipped(format_args!("this Go has no pprof"));
        }
        assert!(told.status.success() && said.contains(&format!("Type: {measure}")), "{said}{complaint}");
        assert!(said.lines().any(|line| line.contains(function)), "{function}: {said}");
    }
}

fn profiled(scratch: &Scratch, words: &[String]) -> String {
    let path = scratch.path("program.pb.gz");
    let run = ["run", "-q", "--conf", "sample:1K", "--profile", &path, "--"];
    let words: Vec<&str> = run.into_iter().chain(words.iter().map(String::as_str)).collect();
    done(&mut command(&words));
    path
}

#[test]
fn of_a_service_in_rust_that_brings_the_allocator_along() {
    let scratch = Scratch::new("pprof-service");
    let Some(service) = Service::start("control:1,sample:1K") else { return };
    let path = scratch.path("service.pb.gz");
    service.profiled(&path, 1);
    // 50,000 blocks of 200 and of 700 bytes; the vectors that hold them come on top.
    holds(&path, "examples/service", "service", "service::blocks", 50_000.0 * 900.0);
    tool_names(&scratch, &path, "service::blocks", "service::blocks");
}

#[test]
fn of_a_program_in_cpp() {
    let scratch = Scratch::new("pprof-cpp");
    let Some(words) = programs::cpp(&scratch, 60) else { return };
    let path = profiled(&scratch, &words);
    // Six requests, each 10,000 bytes longer than the one before; all but the first of them resize.
    holds(&path, "/index", "index", "grow", (0..6).map(|n| 400_000.0 + 10_000.0 * f64::from(n)).sum());
    tool_names(&scratch, &path, "grow", "creep");
}

#[test]
fn of_a_program_in_python() {
    let scratch = Scratch::new("pprof-python");
    let Some(words) = programs::python(2000) else { return };
    let path = profiled(&scratch, &words);
    let thread = words[0].rsplit('/').next().unwrap_or_default();
    // Hardly anything is asked for outside of its functions, which all have this in their names.
    let file = decoded(&path);
    let total: i64 = file.samples.iter().map(|sample| sample.1[1]).sum();
    holds(&path, "", thread, "Py", total as f64);
    tool_names(&scratch, &path, "Py", "Py");
}
