//! A server's buffers: requests read in one thread, answered in another, sliced without copies, and one that is
//! forgotten.

use freestone_kit::AllocError;
use freestone_kit::c::C;
use freestone_kit::netty::{BufferPool, CompositeBuf, Config, LeakLevel, PoolMetrics};
use std::sync::mpsc;
use std::thread;

fn tell(what: &str, metrics: &PoolMetrics) {
    let usage: Vec<_> = metrics.arenas[0].chunk_lists.iter().map(|list| list.chunks.len()).collect();
    println!(
        "{what}: {} KiB held, {} bytes pinned, {} cached; chunks by usage {usage:?}",
        metrics.held_bytes >> 10,
        metrics.pinned_bytes,
        metrics.cached_bytes,
    );
}

fn main() -> Result<(), AllocError> {
    let config = Config { arenas: 1, leaks: LeakLevel::Paranoid, ..Config::CLASSIC };
    let pool = BufferPool::new(config, C).with_leak_sink(|leak| {
        println!(
            "leaked: {} bytes, last seen when {:?}",
            leak.bytes,
            leak.touches.last().map(|touch| &touch.hint)
        )
    });
    tell("at first", &pool.metrics());

    // A request comes in pieces; each has a length in front.
    let mut request = pool.buffer(64)?;
    for piece in [&b"GET /"[..], b"index.html", b" HTTP/1.1"] {
        request.write(&(piece.len() as u16).to_be_bytes())?;
        request.write(piece)?;
    }
    let mut pieces = CompositeBuf::new();
    while let Some(length) = request.read_array().map(u16::from_be_bytes) {
        let mut piece = pool.buffer(length.into())?;
        piece.write(&request[..length.into()])?;
        request.skip(length.into());
        pieces.push(piece.share());
    }
    println!("as one: {}", String::from_utf8_lossy(&pieces.consolidate(&pool)?));
    println!(
        "the path alone, not copied: {}",
        String::from_utf8_lossy(&pieces.slice(4..15).slices().collect::<Vec<_>>().concat())
    );
    tell("with a request", &pool.metrics());
    drop((request, pieces));
    tell("without", &pool.metrics());

    // Bodies are made here and dropped there; they come back to this thread's cache.
    let (sender, receiver) = mpsc::channel();
    let total: usize = thread::scope(|scope| {
        let other = scope.spawn(move || {
            receiver.into_iter().map(|body: freestone_kit::netty::SharedBuf<'_, C>| body.len()).sum()
        });
        for size in [1000, 50_000, 3 << 20, 20 << 20] {
            let mut body = pool.buffer(size)?;
            body.write(&vec![b'x'; size])?;
            sender.send(body.share()).expect("the other thread is there");
        }
        drop(sender);
        Ok(other.join().expect("the other thread ends well"))
    })?;
    println!("{total} bytes went through another thread");
    tell("afterwards", &pool.metrics());
    pool.trim_thread();
    tell("trimmed", &pool.metrics());

    let forgotten = pool.buffer(300)?;
    forgotten.touch("handed to the handler");
    std::mem::forget(forgotten);
    drop(pool);
    Ok(())
}
