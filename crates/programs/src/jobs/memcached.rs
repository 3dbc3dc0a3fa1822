//! Memcached: several clients at once storing, reading, changing and deleting, every answer checked.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use super::text::Numbers;
use crate::fail;
use crate::job::{Failure, Job, Need, Outcome};
use crate::os;
use crate::place::Place;

/// The family's jobs.
pub const JOBS: &[Job] = &[Job {
    name: "memcached",
    about: "memcached under four clients, every value checked, once with room and once evicting",
    needs: &[Need::command("memcached", "memcached")],
    limit: 120,
    prepare: None,
    run,
}];

const CLIENTS: u64 = 4;

fn run(place: &mut Place) -> Outcome {
    for (name, megabytes, longest) in [("with room", "512", 2_000), ("evicting", "16", 60_000)] {
        let socket = place.path("s");
        let mut step = place.subject("memcached").args(["-m", megabytes, "-t", "4", "-s"]).arg(&socket);
        if os::is_root() {
            step = step.args(["-u", "root"]);
        }
        let server = place.serve(step, || UnixStream::connect(&socket).is_ok())?;
        let operations = place.scale().pick(30_000, 1_000_000);
        let clients = place.timed(|| {
            thread::scope(|scope| {
                let socket = &socket;
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|client| scope.spawn(move || drive(socket, client, operations, longest)))
                    .collect();
                clients.into_iter().map(|client| client.join()).collect::<Vec<_>>()
            })
        });
        for (number, result) in clients.into_iter().enumerate() {
            let Ok(sum) = result else { fail!("a client panicked") };
            let sum = sum?;
            // What is evicted depends on timing; with room nothing may be lost.
            if name == "with room" {
                place.note(&format!("client {number}"), sum);
            }
        }
        let finished = place.stop("memcached", server, libc::SIGTERM)?;
        place.note_errors("memcached", &finished)?;
        let _ = std::fs::remove_file(&socket);
    }
    Ok(())
}

/// One client with keys of its own: it knows what each key must hold.
fn drive(socket: &Path, client: u64, operations: u64, longest: u64) -> Outcome<String> {
    let mut line = Line::open(socket)?;
    let mut numbers = Numbers(client + 1);
    let mut held = vec![None; 5_000];
    let (mut hits, mut misses, mut sum) = (0u64, 0u64, 0u64);
    for step in 0..operations {
        let key = numbers.below(held.len() as u64) as usize;
        match numbers.below(10) {
            0..5 => {
                let length = numbers.below(longest) as usize;
                let byte = b'a' + (step % 26) as u8;
                line.store(&format!("c{client}-{key}"), byte, length)?;
                held[key] = Some((byte, length));
            }
            5..9 => match (line.load(&format!("c{client}-{key}"))?, held[key]) {
                (None, _) => misses += 1,
                (Some(value), Some((byte, length)))
                    if value.len() == length && value.iter().all(|b| *b == byte) =>
                {
                    hits += 1;
                    sum += length as u64;
                }
                (Some(value), expected) => {
                    fail!("key {key} holds {} bytes, not {expected:?}: corrupted", value.len())
                }
            },
            _ => {
                line.delete(&format!("c{client}-{key}"))?;
                held[key] = None;
            }
        }
    }
    Ok(format!("{hits} hits, {misses} misses, {sum} bytes"))
}

/// A connection speaking memcached's text protocol.
struct Line {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Line {
    fn open(socket: &Path) -> Outcome<Line> {
        let output = UnixStream::connect(socket)?;
        output.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
        Ok(Line { input: BufReader::new(output.try_clone()?), output })
    }

    fn store(&mut self, key: &str, byte: u8, length: usize) -> Outcome {
        let mut request = format!("set {key} 0 0 {length}\r\n").into_bytes();
        request.resize(request.len() + length, byte);
        request.extend_from_slice(b"\r\n");
        self.output.write_all(&request)?;
        match self.answer()?.as_str() {
            "STORED" => Ok(()),
            other => Err(Failure(format!("set answered {other:?}"))),
        }
    }

    fn load(&mut self, key: &str) -> Outcome<Option<Vec<u8>>> {
        self.output.write_all(format!("get {key}\r\n").as_bytes())?;
        let head = self.answer()?;
        if head == "END" {
            return Ok(None);
        }
        let length =
            head.strip_prefix("VALUE ").and_then(|rest| rest.rsplit(' ').next()?.parse::<usize>().ok());
        let Some(length) = length else { fail!("get answered {head:?}") };
        let mut value = vec![0; length + 2];
        self.input.read_exact(&mut value)?;
        value.truncate(length);
        match self.answer()?.as_str() {
            "END" => Ok(Some(value)),
            other => Err(Failure(format!("get ended with {other:?}"))),
        }
    }

    fn delete(&mut self, key: &str) -> Outcome {
        self.output.write_all(format!("delete {key}\r\n").as_bytes())?;
        match self.answer()?.as_str() {
            "DELETED" | "NOT_FOUND" => Ok(()),
            other => Err(Failure(format!("delete answered {other:?}"))),
        }
    }

    fn answer(&mut self) -> Outcome<String> {
        let mut answer = String::new();
        if self.input.read_line(&mut answer)? == 0 {
            fail!("the server closed the connection");
        }
        Ok(answer.trim_end().to_string())
    }
}
