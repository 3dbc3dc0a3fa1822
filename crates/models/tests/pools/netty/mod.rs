//! Who owns the cache of a thread in `netty`: its first owner goes while another thread frees a block into it and a
//! third would have it, and so would the first again.
//!
//! # Safety
//!
//! *Owner*: the cache's own condition: blocks are taken between a claim that succeeded (or the making) and the release.
#![allow(unsafe_code)]

#[path = "../../../../kit/src/netty/cache.rs"]
#[allow(dead_code, reason = "the kit's file; the model uses a part of it")]
mod cache;

use std::cell::Cell;
use std::rc::Rc;

use loom::thread;

use crate::model::Object;
use crate::queue;
use crate::sync::{Fault, check};
use cache::ThreadCache;

/// What the cache reads of a pool's settings.
struct Config {
    chunk: usize,
    small_cached: usize,
    normal_cached: usize,
    most_cached_bytes: usize,
    trim_every: u32,
}

mod size_class {
    /// A single class, of small blocks.
    pub(super) struct SizeClasses;

    impl SizeClasses {
        pub(super) fn count(&self) -> usize {
            1
        }

        pub(super) fn size(&self, _class: usize) -> usize {
            16
        }

        pub(super) fn is_small(&self, _class: usize) -> bool {
            true
        }
    }
}

const CONFIG: Config =
    Config { chunk: 1 << 20, small_cached: 2, normal_cached: 0, most_cached_bytes: 0, trim_every: 8 };

/// The cache, its blocks, and what happens to them.
struct World {
    cache: ThreadCache,
    blocks: Rc<[Object; 2]>,
    owners: Cell<u32>,
    refused: Cell<u32>,
}

impl World {
    /// A block is freed into the cache, by any thread.
    fn offer(&self, block: usize) {
        self.blocks[block].used();
        if !self.cache.offer(0, self.blocks[block].address()) {
            self.refused.set(self.refused.get() + 1);
        }
    }

    /// What the owner does: takes a block, and then all there are.
    fn own(&self) {
        self.owners.set(self.owners.get() + 1);
        assert_eq!(self.owners.get(), 1, "two threads own one cache");
        // SAFETY: *owner*.
        if let (Some(block), _) = unsafe { self.cache.take(0) } {
            Object::got(&*self.blocks, block);
        }
        // SAFETY: *owner*.
        unsafe { self.cache.drain(|_, block| Object::got(&*self.blocks, block)) };
        self.owners.set(self.owners.get() - 1);
        self.cache.release();
    }

    /// What who needs a cache does.
    fn inherit(&self) {
        if self.cache.claim() {
            self.own();
        }
    }
}

pub fn ownership(fault: Fault) {
    check(fault, Some(2), || {
        let world = Rc::new(World {
            cache: ThreadCache::new(&size_class::SizeClasses, &CONFIG, 0),
            blocks: Object::some(),
            owners: Cell::new(0),
            refused: Cell::new(0),
        });
        // Every word of it is this thread's first.
        world.offer(0);
        // SAFETY: *owner*.
        let first = unsafe { world.cache.take(0) };
        assert_eq!(first, (Some(world.blocks[0].address()), false));
        let giver = world.clone();
        let giver = thread::spawn(move || giver.offer(1));
        let heir = world.clone();
        let heir = thread::spawn(move || heir.inherit());
        world.offer(0);
        world.own();
        world.inherit();
        giver.join().unwrap();
        heir.join().unwrap();
        assert!(world.cache.claim(), "the last owner went");
        world.own();
        let got: u32 = world.blocks.iter().map(|block| block.times()).sum();
        assert_eq!(got + world.refused.get(), 2, "a block is lost or doubled");
    });
}
