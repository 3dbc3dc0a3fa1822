//! B4: a pool of one type. Particles of a simulation are born and die in any order; the pool's parent hears of it
//! hardly ever.

use freestone_kit::c::C;
use freestone_kit::counting::Counting;
use freestone_kit::memory_pool::{MemoryPool, PoolReset};
use freestone_kit::{AllocError, Stats};

struct Particle {
    place: (i32, i32),
    speed: (i32, i32),
    life: u32,
}

/// Always the same numbers that look random.
fn random(state: &mut u32, below: u32) -> u32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 16) % below
}

fn main() -> Result<(), AllocError> {
    let heap = Counting::new(C);
    let requests = || heap.stats().total_blocks;

    let pool = MemoryPool::<Particle, _>::new(&heap);
    let mut seed = 1;
    let mut born = 0;
    let mut particles = Vec::new();
    for step in 0..1000 {
        for _ in 0..10 {
            let speed = (random(&mut seed, 9) as i32 - 4, random(&mut seed, 9) as i32 - 4);
            let life = step + 1 + random(&mut seed, 50);
            particles.push(pool.create(Particle { place: (0, 0), speed, life })?);
            born += 1;
        }
        particles.retain_mut(|particle| {
            particle.place = (particle.place.0 + particle.speed.0, particle.place.1 + particle.speed.1);
            particle.life > step
        });
    }
    let farthest = particles.iter().map(|particle| particle.place.0.abs()).max().unwrap_or(0);
    println!("particles born: {born}, alive: {}, farthest: {farthest}", pool.live());
    println!("slots: {}, requests to the heap: {}", pool.live() + pool.available(), requests());

    let last = particles.pop().map(|particle| &raw const *particle);
    let next = pool.create(Particle { place: (0, 0), speed: (1, 1), life: 1 })?;
    println!("the last freed is the next created: {}", last == Some(&raw const *next));
    drop(next);
    drop(particles);

    let mut pool = pool;
    for mode in [PoolReset::RetainCapacity, PoolReset::RetainWithLimit(8 << 10), PoolReset::FreeAll] {
        pool.reset(mode);
        let kept = pool.available();
        println!("after {mode:?}: {}", if kept > 0 { "chunks were kept" } else { "nothing is held" });
        pool.preheat(1000)?;
    }

    // One that may not grow never asks behind one's back.
    let before = requests();
    let fixed = MemoryPool::<Particle, _, 64, false>::preheated(&heap, 2)?;
    let new = || Particle { place: (0, 0), speed: (0, 0), life: 0 };
    let (first, _second) = (fixed.create_with(new)?, fixed.create_with(new)?);
    println!("aligned to 64: {}", (&raw const *first).addr().is_multiple_of(64));
    println!("a third of two: {:?}", fixed.create_with(new).err());
    println!("requests to the heap: {}", requests() - before);
    Ok(())
}
