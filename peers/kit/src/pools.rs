//! Pools of one size, and pools of objects that are used again.

use std::hint::black_box;
use std::sync::Arc;

use freestone_kit::c::C;
use freestone_kit::memory_pool::MemoryPool;
use freestone_kit::object_pool::ObjectPool;

use crate::measure::Row;
use crate::random::Random;

const POOL: &str = "pool";
const LIVE: usize = 10_000;
const CHANGES: usize = 100_000;

type Object = [u64; 8];

fn changes() -> &'static [usize] {
    let mut random = Random::new(3);
    (0..CHANGES).map(|_| random.below(LIVE)).collect::<Vec<_>>().leak()
}

fn fill() -> Row {
    Row::new(POOL, "objects of 64 bytes, all made, all dropped", LIVE)
        .ours("MemoryPool", || {
            let pool = MemoryPool::<Object, _>::new(C);
            let mut objects = Vec::with_capacity(LIVE);
            objects.extend((0..LIVE).map(|n| pool.create([n as u64; 8]).unwrap()));
            black_box(&objects);
        })
        .peer("slab", || {
            let mut slab = slab::Slab::new();
            let mut keys = Vec::with_capacity(LIVE);
            keys.extend((0..LIVE).map(|n| slab.insert([n as u64; 8])));
            black_box(&keys);
            keys.into_iter().for_each(|key| _ = black_box(slab.remove(key)));
        })
        .peer("Box", || {
            let mut objects = Vec::with_capacity(LIVE);
            objects.extend((0..LIVE).map(|n| Box::new([n as u64; 8])));
            black_box(&objects);
        })
}

fn churn() -> Row {
    let changes = changes();
    let pool: &'static MemoryPool<Object, C> = Box::leak(Box::new(MemoryPool::new(C)));
    let mut objects: Vec<_> = (0..LIVE).map(|n| pool.create([n as u64; 8]).unwrap()).collect();
    let mut slab = slab::Slab::new();
    let mut keys: Vec<usize> = (0..LIVE).map(|n| slab.insert([n as u64; 8])).collect();
    let mut boxes: Vec<_> = (0..LIVE).map(|n| Box::new([n as u64; 8])).collect();
    Row::new(POOL, "one of 10,000 objects dropped, another made", CHANGES)
        .ours("MemoryPool", move || {
            for &at in changes {
                // The new one is made when the old one is gone, as in a slab.
                let old = objects.swap_remove(at);
                drop(old);
                objects.push(pool.create([at as u64; 8]).unwrap());
            }
            black_box(&objects);
        })
        .peer("slab", move || {
            for &at in changes {
                let old = keys.swap_remove(at);
                black_box(slab.remove(old));
                keys.push(slab.insert([at as u64; 8]));
            }
            black_box(&keys);
        })
        .peer("Box", move || {
            for &at in changes {
                let old = boxes.swap_remove(at);
                drop(old);
                boxes.push(Box::new([at as u64; 8]));
            }
            black_box(&boxes);
        })
}

const OBJECTS: &str = "object pool";
const USES: usize = 100_000;

struct Buffers;

impl opool::PoolAllocator<Vec<u8>> for Buffers {
    fn allocate(&self) -> Vec<u8> {
        Vec::with_capacity(1024)
    }

    fn reset(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
    }
}

fn use_up(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&[1; 16]);
    black_box(buffer);
}

/// The same work on so many threads.
fn on_threads(threads: usize, work: impl Fn() + Sync) {
    if threads == 1 {
        return work();
    }
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(&work)));
}

fn buffers(work: &'static str, threads: usize) -> Row {
    let ours = ObjectPool::new(|| Vec::with_capacity(1024));
    let opool = opool::Pool::new(64, Buffers);
    let linear =
        Arc::new(lockfree_object_pool::LinearObjectPool::new(|| Vec::with_capacity(1024), Vec::clear));
    Row::new(OBJECTS, work, USES)
        .ours("ObjectPool", move || {
            on_threads(threads, || (0..USES / threads).for_each(|_| use_up(&mut ours.get())));
        })
        .peer("opool", move || {
            on_threads(threads, || (0..USES / threads).for_each(|_| use_up(&mut opool.get())));
        })
        .peer("lockfree-object-pool", move || {
            on_threads(threads, || (0..USES / threads).for_each(|_| use_up(&mut linear.pull())));
        })
}

pub fn rows() -> Vec<Row> {
    vec![
        fill(),
        churn(),
        buffers("a buffer taken, used and put back, one thread", 1),
        buffers("a buffer taken, used and put back, two threads", 2),
    ]
}
