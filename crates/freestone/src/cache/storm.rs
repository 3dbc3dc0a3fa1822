//! The real restartable sequences under a storm: threads that signals interrupt and that move from CPU to CPU,
//! while others stop all caches and empty them.
//!
//! # Safety
//!
//! A block is written and read only by the thread that holds it.
#![allow(unsafe_code)]

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use freestone_base::{class_info, class_of};
use freestone_testkit::Rng;

use super::cpu::CpuAccess;
use super::{Access, MAX_BATCH};
use crate::slow::CENTRALS;
use crate::start::{self, Mode};
use crate::{front, gate, slow};

const THREADS: usize = 8;
const ROUNDS: usize = 1_500_000;
/// Served by a class that nothing else in these tests uses.
const SIZE: usize = 176;

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Delivers signals to the process, every 200 µs, until dropped.
struct Signals;

impl Signals {
    fn start() -> Signals {
        // SAFETY: all zeros is a valid action.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler touches one atomic.
        assert_eq!(unsafe { libc::sigaction(libc::SIGALRM, &action, null_mut()) }, 0);
        Signals::every(200);
        Signals
    }

    fn every(micros: libc::suseconds_t) {
        let time = libc::timeval { tv_sec: 0, tv_usec: micros };
        let timer = libc::itimerval { it_interval: time, it_value: time };
        // SAFETY: a valid timer.
        assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, null_mut()) }, 0);
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        Signals::every(0);
    }
}

/// The CPUs that the calling thread may run on.
fn allowed() -> Vec<usize> {
    // SAFETY: all zeros is a valid set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: the set is ours and as long as stated.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) }, 0);
    // SAFETY: a number within the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

fn move_to(cpu: usize) {
    // SAFETY: all zeros is a valid set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: a number within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is ours and as long as stated.
    let moved = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(moved, 0);
}

/// A block that this thread holds, marked as such.
struct Held {
    block: *mut u64,
    mark: u64,
}

impl Held {
    fn new(block: *mut u8, mark: u64) -> Held {
        let block: *mut u64 = block.cast();
        assert!(!block.is_null());
        // SAFETY: the block is ours, 176 bytes, aligned to 16.
        unsafe { block.write_volatile(mark) };
        Held { block, mark }
    }

    fn give_up(self) -> *mut u8 {
        // SAFETY: the block is ours until here.
        assert_eq!(unsafe { self.block.read_volatile() }, self.mark, "a block has two holders");
        self.block.cast()
    }
}

fn work(thread: usize, cpus: &[usize]) -> Vec<Held> {
    let class = class_of(SIZE).expect("a small size");
    let mut rng = Rng::stream(1, thread as u64);
    let mut held: Vec<Held> = Vec::new();
    for round in 0..ROUNDS {
        let mark = (thread as u64) << 32 | round as u64;
        match rng.below(64) {
            0 if round % 16 == 0 => move_to(cpus[rng.below(cpus.len())]),
            // Batches, straight through the sequences: what finds no room goes on being held.
            1 => {
                let Some(inside) = gate::enter() else { continue };
                let Some(access) = CpuAccess::current() else { continue };
                let mut blocks = [0; MAX_BATCH];
                let taken = access.pop_batch(class, &mut blocks[..1 + rng.below(MAX_BATCH)]);
                let put = access.push_batch(class, &blocks[..taken]);
                drop(inside);
                let rest = blocks[put..taken].iter();
                held.extend(
                    rest.map(|&block| Held::new(core::ptr::with_exposed_provenance_mut(block), mark)),
                );
            }
            _ if held.len() < 40 || held.len() < 160 && rng.chance(1, 2) => {
                held.push(Held::new(front::malloc(SIZE), mark));
            }
            _ => {
                let which = rng.below(held.len());
                // SAFETY: the block is ours and not used again.
                unsafe { front::free(held.swap_remove(which).give_up()) };
            }
        }
    }
    held
}

/// Waits for a fork, or what another test of this process does as one, to be over.
fn enter() -> gate::Inside {
    gate::enter_patiently().expect("not inside")
}

fn start_now() {
    let inside = enter();
    start::ensure();
    drop(inside);
}

fn empty_all() {
    let inside = enter();
    slow::empty_caches();
    drop(inside);
}

#[test]
fn nothing_is_lost_in_a_storm_of_signals_and_migrations() {
    start_now();
    if start::mode() != Mode::Cpu {
        return;
    }
    let cpus = allowed();
    let done = AtomicBool::new(false);
    let signals = Signals::start();
    let held: Vec<Held> = std::thread::scope(|scope| {
        let (cpus, done) = (&cpus, &done);
        // Addresses, since pointers do not go from thread to thread.
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let held = work(thread, cpus);
                    held.into_iter()
                        .map(|held| (held.block.expose_provenance(), held.mark))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                crate::verify().expect("sound while all run");
                empty_all();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        let held = ended.into_iter().flat_map(|held| held.expect("a worker ends well"));
        held.map(|(block, mark)| Held { block: core::ptr::with_exposed_provenance_mut(block), mark })
            .collect()
    });
    drop(signals);
    assert!(SIGNALS.load(Ordering::Relaxed) > 10);
    let mut addresses: Vec<usize> = held.iter().map(|held| held.block.addr()).collect();
    addresses.sort_unstable();
    assert!(addresses.windows(2).all(|pair| pair[0] != pair[1]), "a block has two holders");
    for held in held {
        // SAFETY: the block is ours and not used again.
        unsafe { front::free(held.give_up()) };
    }
    crate::verify().expect("sound at the end");
    // With all caches emptied every block of the class is in a slab again, and every slab is gone.
    let class = class_of(SIZE).expect("a small size");
    empty_all();
    let stats = CENTRALS[class.index()].stats();
    assert_eq!(stats.free_in_slabs + stats.in_transfer, stats.slabs * class_info(class).blocks as usize);
}
