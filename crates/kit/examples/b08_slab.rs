//! B8: objects that stay constructed, colours, records off their slabs, reaping, and magazines.
//!
//! # Safety
//!
//! Objects are put back once, into the cache they came from.
#![allow(unsafe_code)]

use freestone_kit::AllocError;
use freestone_kit::page::Page;
use freestone_kit::slab::{Magazines, ObjectCache, Raw, Reap, SlabCache};
use std::alloc::Layout;
use std::cell::Cell;
use std::sync::Mutex;

/// What is expensive to make: a connection with its buffer.
struct Connection {
    buffer: Vec<u8>,
    uses: u32,
}

fn constructed_objects() -> Result<(), AllocError> {
    let made = Cell::new(0);
    let cache = ObjectCache::new(Page, || {
        made.set(made.get() + 1);
        Connection { buffer: Vec::with_capacity(256), uses: 0 }
    })?;
    for request in 0..10_000 {
        let mut connection = cache.get()?;
        connection.buffer.clear();
        connection.buffer.extend_from_slice(format!("request {request}").as_bytes());
        connection.uses += 1;
    }
    let uses = cache.get()?.uses;
    println!("10000 requests, {} connections made in one slab, one of them used {uses} times", made.get());
    println!("reaped: {} bytes", cache.reap(Reap::All));
    Ok(())
}

fn shapes() -> Result<(), AllocError> {
    for size in [16, 96, 384, 1000, 4096] {
        let layout = Layout::from_size_align(size, 8).map_err(|_| AllocError)?;
        let shape = SlabCache::new(Page, layout)?.shape();
        println!(
            "{size:>5} B: {:>3} objects in a slab of {:>5}, record {}, {} colours of {} B",
            shape.objects,
            shape.slab_bytes,
            if shape.on_slab { "in it" } else { "elsewhere" },
            shape.colours,
            shape.colour_step
        );
    }
    Ok(())
}

fn threads() -> Result<(), AllocError> {
    let cache: ObjectCache<_, _, Magazines<_, _, 4>> = ObjectCache::shared(Page, || Mutex::new(0_u32))?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    if let Ok(mut object) = cache.get() {
                        *object.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
                    }
                }
            });
        }
    });
    // Whichever processors the threads were on: all objects are back.
    cache.reap(Reap::All);
    println!("after four threads: {:?} slabs", cache.source().with_slabs(SlabCache::slabs));
    Ok(())
}

fn depot() -> Result<(), AllocError> {
    let shared = Magazines::<_, Raw, 1>::new(Page, Layout::new::<[u64; 4]>())?;
    let out: Vec<_> = (0..150).map_while(|_| shared.take().ok()).collect();
    println!("{} objects out, straight from the slabs", out.len());
    for object in out {
        // SAFETY: taken from there, and put back once.
        unsafe { shared.put(object) };
    }
    let stats = shared.magazine_stats();
    println!(
        "all back: {} in the two magazines of the processor, {} full magazines of {} in the depot",
        stats.loaded, stats.full, stats.capacity
    );
    println!("reaped: {} bytes", shared.reap(Reap::All));
    Ok(())
}

fn main() -> Result<(), AllocError> {
    constructed_objects()?;
    shapes()?;
    threads()?;
    depot()
}
