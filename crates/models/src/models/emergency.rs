//! The emergency allocator: chunks set up, filled, emptied and started anew by several threads.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Mutex;

use freestone_sys::{MoveRefused, Moved, Refused, System, SystemCalls};
use loom::thread;

use super::Contents;
use crate::emergency::Pool;
use crate::sync::{Fault, check};

/// So long that a chunk of 1 MiB holds one.
const HALF: usize = 600 << 10;
const GRANULE: usize = 16;
const CHUNK: usize = 1 << 20;
/// More granules than small blocks ever reach in the models below.
const GRANULES: usize = 16;

/// A system that has memory for `CHUNKS` chunks, the same in each execution.
struct Memory<const CHUNKS: usize> {
    base: usize,
    given: Mutex<usize>,
}

impl<const CHUNKS: usize> Memory<CHUNKS> {
    fn new() -> Self {
        // Headers are really written: the chunks are of real memory, never given back, one for each model.
        static BASES: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);
        let mut bases = BASES.lock().unwrap();
        let base = *bases.get_or_insert_default().entry(CHUNKS).or_insert_with(|| {
            freestone_sys::Linux::new().map(CHUNKS * CHUNK).expect("memory for the model")
        });
        Memory { base, given: Mutex::new(0) }
    }
}

#[allow(unsafe_code)]
impl<const CHUNKS: usize> System for Memory<CHUNKS> {
    fn map_at(&self, _: usize, _: usize) -> Result<(), Refused> {
        unreachable!()
    }
    fn map(&self, len: usize) -> Result<usize, Refused> {
        assert_eq!(len, CHUNK);
        let mut given = self.given.lock().unwrap();
        *given += 1;
        if *given <= CHUNKS { Ok(self.base + (*given - 1) * CHUNK) } else { Err(Refused::Exhausted) }
    }
    fn reserve(&self, _: usize) -> Result<usize, Refused> {
        unreachable!()
    }
    unsafe fn commit(&self, _: usize, _: usize) -> Result<(), Refused> {
        unreachable!()
    }
    unsafe fn purge(&self, _: usize, _: usize) -> Result<(), Refused> {
        unreachable!()
    }
    unsafe fn release(&self, _: usize, _: usize) -> Result<(), Refused> {
        unreachable!()
    }
    unsafe fn move_pages(&self, _: usize, _: usize, _: usize) -> Result<Moved, MoveRefused> {
        unreachable!()
    }
    fn os_page_size(&self) -> usize {
        4096
    }
    fn address_space_limit(&self) -> Option<usize> {
        None
    }
    fn random(&self) -> u64 {
        0
    }
    fn calls(&self) -> SystemCalls {
        SystemCalls::default()
    }
}

struct World<const CHUNKS: usize> {
    pool: Pool<CHUNKS>,
    system: Memory<CHUNKS>,
    /// The first granules of each chunk, and one cell that stands for the rest.
    contents: Vec<[Contents; GRANULES + 1]>,
}

impl<const CHUNKS: usize> World<CHUNKS> {
    fn new() -> Rc<Self> {
        let world = World {
            pool: Pool::new(),
            system: Memory::new(),
            contents: (0..CHUNKS).map(|_| std::array::from_fn(|_| Contents::new())).collect(),
        };
        world.pool.touch();
        Rc::new(world)
    }

    /// Allocates, and writes to header and block.
    fn alloc(&self, size: usize) -> Option<usize> {
        let block = self.pool.alloc(&self.system, size, 8).addr();
        if block == 0 {
            return None;
        }
        self.write(block, size);
        Some(block)
    }

    /// Writes again, and frees.
    fn free(&self, block: usize, size: usize) {
        self.write(block, size);
        assert!(self.pool.free(std::ptr::with_exposed_provenance_mut(block)));
    }

    fn write(&self, block: usize, size: usize) {
        let offset = block - self.system.base;
        let (chunk, from) = (offset / CHUNK, offset % CHUNK);
        assert!(from >= GRANULE && from + size <= CHUNK);
        let cells = &self.contents[chunk];
        let rest = cells.len() - 1;
        let end = (from + size).div_ceil(GRANULE);
        cells[from / GRANULE - 1..end.min(rest)].iter().for_each(Contents::write);
        if end > rest {
            cells[rest].write();
        }
    }
}

/// Three threads allocate and free small blocks in one chunk, which is emptied and started anew in between. No
/// byte has two holders, and each sees what the one before it did.
pub fn blocks_are_apart(fault: Fault) {
    check(fault, Some(2), || {
        let world = World::<1>::new();
        let first = world.alloc(24).expect("the chunk is set up");
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || {
                    for size in [8, 20] {
                        let block = world.alloc(size).expect("room for all");
                        world.free(block, size);
                    }
                })
            })
            .collect();
        world.free(first, 24);
        let second = world.alloc(8).expect("room for all");
        world.free(second, 8);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let last = world.alloc(8).expect("room for all");
        assert_eq!(last - world.system.base, GRANULE, "an empty chunk starts anew");
    });
}

/// Two threads set up chunks at once, each with a block that fills one; a third finds one of them.
pub fn chunks_are_set_up_once(fault: Fault) {
    check(fault, Some(2), || {
        let world = World::<2>::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || {
                    if let Some(block) = world.alloc(HALF) {
                        world.free(block, HALF);
                    }
                })
            })
            .collect();
        let block = world.alloc(HALF);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(*world.system.given.lock().unwrap() <= 2, "a chunk was set up twice");
        if let Some(block) = block {
            world.free(block, HALF);
        }
        let both = [world.alloc(HALF), world.alloc(HALF)];
        assert!(both[0].is_some() && both[1].is_some() && both[0] != both[1], "all chunks are free again");
    });
}
