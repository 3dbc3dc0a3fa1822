//! Many threads on one subject, which hand blocks to each other and come and go.

use crate::block::{Block, Fault, Violation};
use crate::drive::{Driver, Outcome};
use crate::mix::Mix;
use crate::op::Op;
use crate::registry::Registry;
use crate::rng::Rng;
use crate::subject::Subject;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What [`stress()`] does. Each thread's operations follow from the seed alone; how the threads
/// interleave does not.
#[derive(Clone, Debug)]
pub struct StressConfig {
    /// Threads at once.
    pub threads: usize,
    /// Operations of each thread in each round.
    pub ops_per_thread: usize,
    /// Times that all threads end and new ones start, with what the old ones left.
    pub rounds: usize,
    /// Chooses the operations.
    pub seed: u64,
    /// Whether threads hand blocks to each other.
    pub exchange: bool,
    /// Sizes and alignments.
    pub mix: Mix,
    /// Operations between two calls of [`Subject::verify`] by a thread; 0 for none but the last,
    /// when all is freed.
    pub verify_every: usize,
    /// Live blocks of a thread, about which their number swings.
    pub live_blocks: usize,
    /// Live bytes of a thread, above which it allocates no more.
    pub live_bytes: usize,
    /// Whether all live blocks are entered in a common registry. It names both blocks of an
    /// overlap, and costs a lock an operation; without it only the patterns show one.
    pub registry: bool,
}

impl Default for StressConfig {
    fn default() -> Self {
        StressConfig {
            threads: 4,
            ops_per_thread: 20_000,
            rounds: 1,
            seed: 1,
            exchange: true,
            mix: Mix::All,
            verify_every: 0,
            live_blocks: 500,
            live_bytes: 16 << 20,
            registry: true,
        }
    }
}

/// Places for parcels of blocks on their way between threads.
struct Exchange {
    slots: Vec<Mutex<Vec<Block>>>,
}

impl Exchange {
    /// Leaves a parcel and takes the one that lay there.
    fn swap(&self, slot: usize, parcel: Vec<Block>) -> Vec<Block> {
        std::mem::replace(&mut self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner), parcel)
    }

    /// Adds to the parcel in a place.
    fn leave(&self, slot: usize, parcel: Vec<Block>) {
        self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner).extend(parcel);
    }
}

/// Places in the exchange for each thread.
const SLOTS: usize = 4;
/// Most blocks in a parcel.
const PARCEL: usize = 64;

/// Runs random operations on many threads, then frees everything on the calling thread and has
/// the subject verify itself. Stops at the first violation, and then leaks what is live.
///
/// ```
/// use freestone_testkit::{Global, StressConfig, stress};
/// let config = StressConfig { threads: 3, ops_per_thread: 500, ..StressConfig::default() };
/// let outcome = stress(&Global::new(std::alloc::System), &config).unwrap();
/// assert_eq!(outcome.allocs, outcome.frees);
/// ```
pub fn stress(subject: &(impl Subject + ?Sized), config: &StressConfig) -> Result<Outcome, Violation> {
    let registry = config.registry.then(Registry::new);
    let slots = (0..SLOTS * config.threads).map(|_| Mutex::default()).collect();
    let shared = Shared {
        subject,
        config,
        registry: registry.as_ref(),
        exchange: Exchange { slots },
        stop: AtomicBool::new(false),
    };
    let mut outcome = Outcome::default();
    for round in 0..config.rounds {
        let ends = std::thread::scope(|scope| {
            let start = |n| {
                let shared = &shared;
                scope.spawn(move || shared.thread(round, n))
            };
            let handles: Vec<_> = (0..config.threads).map(start).collect();
            handles
                .into_iter()
                .map(|handle| handle.join().expect("a stress thread panicked"))
                .collect::<Vec<_>>()
        });
        let (ended, violations): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
        // One mistake may show on several threads. An overlap names both blocks: the best account of it.
        let overlap = |violation: &Violation| matches!(*violation.fault, Fault::Overlap { .. });
        if let Some(first) = violations.into_iter().filter_map(Result::err).min_by_key(|v| !overlap(v)) {
            return Err(first);
        }
        ended.iter().flatten().for_each(|end| outcome.add(end));
    }
    let mut last = Driver::new(subject, config.threads * config.rounds, shared.registry, usize::MAX);
    for slot in 0..shared.exchange.slots.len() {
        for block in shared.exchange.swap(slot, Vec::new()) {
            let adopted = last.shadow.adopt(block);
            last.between(adopted)?;
        }
    }
    outcome.add(&last.finish()?);
    debug_assert!(registry.is_none_or(|registry| registry.is_empty()));
    Ok(outcome)
}

/// What the threads of a run share.
struct Shared<'a, S: ?Sized> {
    subject: &'a S,
    config: &'a StressConfig,
    registry: Option<&'a Registry>,
    exchange: Exchange,
    stop: AtomicBool,
}

impl<S: Subject + ?Sized> Shared<'_, S> {
    /// The life of one thread.
    fn thread(&self, round: usize, n: usize) -> Result<Outcome, Violation> {
        let part = round * self.config.threads + n;
        let mut rng = Rng::stream(self.config.seed, part as u64);
        let mut driver = Driver::new(self.subject, part, self.registry, self.config.live_bytes);
        let done = self.operate(&mut driver, &mut rng).and_then(|()| self.depart(&mut driver, &mut rng));
        if done.is_err() {
            // Relaxed: a hint to the others to end early; the joins publish the violation.
            self.stop.store(true, Relaxed);
        }
        done.map(|()| driver.outcome)
    }

    fn operate(&self, driver: &mut Driver<'_, S>, rng: &mut Rng) -> Result<(), Violation> {
        let config = self.config;
        let mut growing = true;
        for step in 1..=config.ops_per_thread {
            if self.stop.load(Relaxed) {
                return Ok(());
            }
            // The number of live blocks swings, so that caches and slabs fill and empty.
            let live = driver.shadow.len();
            growing = if growing { live < config.live_blocks * 3 / 2 } else { live < config.live_blocks / 4 };
            driver.apply(&Op::random(config.mix, if growing { 65 } else { 30 }, rng))?;
            if config.exchange && rng.chance(1, 16) {
                self.hand_over(driver, rng)?;
            }
            if config.verify_every > 0 && step % config.verify_every == 0 {
                let verified = driver.verify();
                driver.between(verified)?;
            }
        }
        let checked = driver.shadow.check_all();
        driver.between(checked)
    }

    /// Swaps some blocks for those another thread left, and frees a part of the latter.
    fn hand_over(&self, driver: &mut Driver<'_, S>, rng: &mut Rng) -> Result<(), Violation> {
        let victim = rng.below(1 << 16) as u16;
        let parcel: Vec<Block> =
            (0..rng.below(PARCEL + 1)).map_while(|_| driver.shadow.release(victim)).collect();
        let taken = self.exchange.swap(rng.below(self.exchange.slots.len()), parcel);
        let count = taken.len();
        driver.outcome.handed_over += count as u64;
        for block in taken {
            let adopted = driver.shadow.adopt(block);
            driver.between(adopted)?;
        }
        let freed = driver.free_many(0, rng.below(count + 1) as u16);
        driver.between(freed)
    }

    /// Frees half of the blocks and leaves the others to whoever comes.
    fn depart(&self, driver: &mut Driver<'_, S>, rng: &mut Rng) -> Result<(), Violation> {
        let count = driver.shadow.len() / 2;
        let freed = driver.free_many(rng.below(1 << 16) as u16, count as u16);
        driver.between(freed)?;
        let rest = std::iter::from_fn(|| driver.shadow.release(0)).collect();
        self.exchange.leave(rng.below(self.exchange.slots.len()), rest);
        Ok(())
    }
}
