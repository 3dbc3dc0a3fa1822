//! A service whose memory is watched as services are: `/metrics` for Prometheus, `/ledger` for `freestone why`.
//!
//! ```sh
//! cargo run --release -p freestone --example service -- 127.0.0.1:9464
//! curl -s 127.0.0.1:9464/ledger > before.json
//! curl -s 127.0.0.1:9464/leak
//! curl -s 127.0.0.1:9464/ledger > after.json
//! freestone why before.json after.json
//! ```
//!
//! `/leak` keeps more with each request, `/fragment` keeps a few among many blocks, `/work` keeps nothing. It says on
//! standard output where it listens, and ends when its standard input does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use freestone::Freestone;
use freestone::ledger;

#[global_allocator]
static ALLOCATOR: Freestone = Freestone;

/// Bytes of what is leaked.
const ENTRY: usize = 200;
/// Bytes of what many are made of and few are kept.
const RECORD: usize = 700;

#[derive(Default)]
struct State {
    leaked: Vec<Box<[u8]>>,
    kept: Vec<Box<[u8]>>,
}

/// Blocks of so many bytes.
fn blocks(bytes: usize) -> impl Iterator<Item = Box<[u8]>> {
    (0..50_000).map(move |n| vec![n as u8; bytes].into_boxed_slice())
}

impl State {
    /// The content type and text for a path.
    fn answer(&mut self, path: &str) -> Option<(&'static str, String)> {
        let mut text = String::new();
        match path {
            "/metrics" => {
                freestone::prometheus(&mut text).ok()?;
                return Some(("text/plain; version=0.0.4", text));
            }
            "/ledger" => {
                ledger::write_json(&mut text).ok()?;
                return Some(("application/json", text));
            }
            "/work" => text = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().concat(),
            "/leak" => self.leaked.extend(blocks(ENTRY)),
            "/fragment" => {
                let many: Vec<_> = blocks(RECORD).collect();
                self.kept.extend(many.into_iter().step_by(16));
            }
            _ => return None,
        }
        let held = self.leaked.len() * ENTRY + self.kept.len() * RECORD;
        Some(("text/plain", format!("{} bytes made, {held} held\n", text.len())))
    }

    fn serve(&mut self, stream: TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(&stream).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        // The rest of the head says nothing that is needed here.
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, (kind, text)) = match self.answer(path) {
            Some(answer) => ("200 OK", answer),
            None => ("404 Not Found", ("text/plain", "no such page\n".into())),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        (&stream).write_all(head.as_bytes())?;
        (&stream).write_all(text.as_bytes())
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:9464".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    std::thread::spawn(|| {
        // Whoever started the service and is gone needs it no more.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut state = State::default();
    for stream in listener.incoming() {
        // A client that went away is no reason to end.
        let _ = stream.and_then(|stream| state.serve(stream));
    }
    Ok(())
}
