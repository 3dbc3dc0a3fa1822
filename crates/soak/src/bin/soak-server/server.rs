//! The server: a store in shards, and a task for each connection.

use crate::protocol::{Code, Request, read_frame, write_answer};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpStream};

/// A part of the store, under a lock of its own.
#[derive(Default)]
struct Shard {
    values: HashMap<(u32, u32), Bytes>,
    /// From the name of a key to the length of its value; in order, for listing.
    index: BTreeMap<String, usize>,
}

/// All that the clients stored.
pub struct Store {
    shards: Vec<Mutex<Shard>>,
}

const SHARDS: usize = 32;

fn name(client: u32, key: u32) -> String {
    format!("{client}/{key:08}")
}

impl Store {
    /// An empty store.
    pub fn new() -> Store {
        Store { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        let empty = |shard: &Mutex<Shard>| {
            let shard = shard.lock().expect("no handler panics");
            shard.values.is_empty() && shard.index.is_empty()
        };
        self.shards.iter().all(empty)
    }

    fn shard(&self, client: u32, key: u32) -> MutexGuard<'_, Shard> {
        let shard = (client.wrapping_mul(31).wrapping_add(key)) as usize % SHARDS;
        self.shards[shard].lock().expect("no handler panics")
    }

    fn set(&self, client: u32, key: u32, value: Bytes) {
        let mut shard = self.shard(client, key);
        shard.index.insert(name(client, key), value.len());
        shard.values.insert((client, key), value);
    }

    fn append(&self, client: u32, key: u32, more: &[u8]) {
        let mut shard = self.shard(client, key);
        let old = shard.values.remove(&(client, key)).unwrap_or_default();
        // Grows in place where the value's memory has no other owner.
        let mut value = BytesMut::from(old);
        value.put_slice(more);
        shard.index.insert(name(client, key), value.len());
        shard.values.insert((client, key), value.freeze());
    }

    fn get(&self, client: u32, key: u32) -> Bytes {
        self.shard(client, key).values.get(&(client, key)).cloned().unwrap_or_default()
    }

    fn delete(&self, client: u32, key: u32) -> Bytes {
        let mut shard = self.shard(client, key);
        shard.index.remove(&name(client, key));
        shard.values.remove(&(client, key)).unwrap_or_default()
    }

    fn list(&self, client: u32) -> String {
        let mut all = BTreeMap::new();
        for shard in &self.shards {
            let shard = shard.lock().expect("no handler panics");
            let own = shard.index.range(name(client, 0)..=name(client, 99_999_999));
            all.extend(own.map(|(name, len)| (name.clone(), *len)));
        }
        let mut text = String::new();
        for (name, len) in all {
            writeln!(text, "{name} {len}").expect("writing to a string succeeds");
        }
        text
    }
}

fn sort(mut body: Bytes) -> Bytes {
    let mut words = Vec::new();
    while body.remaining() >= 8 {
        words.push(body.get_u64());
    }
    words.sort();
    words.into_iter().flat_map(u64::to_be_bytes).collect()
}

/// Accepts connections for ever.
pub async fn serve(listener: TcpListener, store: Arc<Store>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let store = store.clone();
        tokio::spawn(async move {
            // A client that is done closes in the midst of nothing; one that fails says so itself.
            connection(stream, &store).await
        });
    }
}

async fn connection(mut stream: TcpStream, store: &Store) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(frame) = read_frame(&mut stream).await? {
        let Request { code, client, key, body } = Request::decode(frame)?;
        let answer = match code {
            Code::Echo => body,
            Code::Set => {
                store.set(client, key, body);
                Bytes::new()
            }
            Code::Append => {
                store.append(client, key, &body);
                Bytes::new()
            }
            Code::Get => store.get(client, key),
            Code::Delete => store.delete(client, key),
            Code::List => store.list(client).into(),
            Code::Sort => tokio::task::spawn_blocking(|| sort(body)).await?,
        };
        write_answer(&mut stream, &answer).await?;
    }
    Ok(())
}
