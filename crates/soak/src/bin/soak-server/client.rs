//! A client: remembers what it stored, and compares.

use crate::protocol::{Code, Request, read_frame};
use bytes::Bytes;
use freestone_soak::content::random_size;
use freestone_soak::watch::Tally;
use freestone_soak::{checksum, content};
use freestone_testkit::Rng;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Keys of a client.
const KEYS: usize = 40;
/// Most appended parts of a value.
const PARTS: usize = 8;
/// Requests of a connection, at least and beyond.
const REQUESTS: (usize, usize) = (100, 2000);

/// A value as the client remembers it: the seeds and lengths of its parts.
type Parts = Vec<(u64, usize)>;

/// One client, which connects again and again.
pub struct Client {
    id: u32,
    rng: Rng,
    address: SocketAddr,
    stored: BTreeMap<u32, Parts>,
}

fn value(parts: &[(u64, usize)]) -> Vec<u8> {
    parts.iter().flat_map(|&(seed, len)| content(seed, len)).collect()
}

impl Client {
    /// A client with nothing stored.
    pub fn new(id: u32, seed: u64, address: SocketAddr) -> Client {
        Client { id, rng: Rng::stream(seed, u64::from(id)), address, stored: BTreeMap::new() }
    }

    /// Works until the deadline, then deletes everything.
    pub async fn run(mut self, deadline: Instant, tally: Arc<Tally>) -> io::Result<()> {
        while Instant::now() < deadline {
            let mut stream = self.connect().await?;
            let requests = REQUESTS.0 + self.rng.below(REQUESTS.1);
            let mut done = 0;
            while done < requests as u64 && Instant::now() < deadline {
                self.request(&mut stream).await?;
                done += 1;
            }
            tally.add(done);
        }
        let mut stream = self.connect().await?;
        self.list(&mut stream).await?;
        for (key, parts) in std::mem::take(&mut self.stored) {
            let last = self.ask(&mut stream, Code::Delete, key, Vec::new()).await?;
            self.compare(Code::Delete, &last, &value(&parts));
        }
        self.list(&mut stream).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn ask(&self, stream: &mut TcpStream, code: Code, key: u32, body: Vec<u8>) -> io::Result<Bytes> {
        let request = Request { code, client: self.id, key, body: body.into() };
        stream.write_all(&request.encode()).await?;
        read_frame(stream).await?.ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    fn compare(&self, code: Code, answer: &[u8], expected: &[u8]) {
        let (found, right) = (checksum(answer), checksum(expected));
        assert!(
            found == right && answer == expected,
            "client {}, {code:?}: {} bytes with checksum {found:#x}, expected {} with {right:#x}",
            self.id,
            answer.len(),
            expected.len(),
        );
    }

    /// Mostly small, now and then up to 256 KiB.
    fn size(&mut self) -> usize {
        let doublings = if self.rng.chance(1, 100) { 18 } else { 13 };
        random_size(&mut self.rng, doublings)
    }

    /// One random request, its answer compared.
    async fn request(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let key = self.rng.below(KEYS) as u32;
        let (seed, len) = (self.rng.word(), self.size());
        match self.rng.below(100) {
            0..25 => {
                self.ask(stream, Code::Set, key, content(seed, len)).await?;
                self.stored.insert(key, vec![(seed, len)]);
            }
            25..45 => {
                let parts = self.stored.entry(key).or_default();
                if parts.len() < PARTS {
                    parts.push((seed, len));
                    self.ask(stream, Code::Append, key, content(seed, len)).await?;
                }
            }
            45..75 => {
                let answer = self.ask(stream, Code::Get, key, Vec::new()).await?;
                let expected = value(self.stored.get(&key).map_or(&[], Vec::as_slice));
                self.compare(Code::Get, &answer, &expected);
            }
            75..85 => {
                let answer = self.ask(stream, Code::Delete, key, Vec::new()).await?;
                let expected = value(&self.stored.remove(&key).unwrap_or_default());
                self.compare(Code::Delete, &answer, &expected);
            }
            85..95 => {
                let body = content(seed, len);
                let answer = self.ask(stream, Code::Echo, key, body.clone()).await?;
                self.compare(Code::Echo, &answer, &body);
            }
            95..98 => self.list(stream).await?,
            _ => {
                let mut words: Vec<u64> = (0..len / 8).map(|_| self.rng.word()).collect();
                let body = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                let answer = self.ask(stream, Code::Sort, key, body).await?;
                words.sort_unstable();
                let expected: Vec<u8> = words.into_iter().flat_map(u64::to_be_bytes).collect();
                self.compare(Code::Sort, &answer, &expected);
            }
        }
        Ok(())
    }

    /// Compares the list of all keys.
    async fn list(&self, stream: &mut TcpStream) -> io::Result<()> {
        let answer = self.ask(stream, Code::List, 0, Vec::new()).await?;
        let mut expected = String::new();
        for (key, parts) in &self.stored {
            let len: usize = parts.iter().map(|part| part.1).sum();
            writeln!(expected, "{}/{key:08} {len}", self.id).expect("writing to a string succeeds");
        }
        self.compare(Code::List, &answer, expected.as_bytes());
        Ok(())
    }
}
