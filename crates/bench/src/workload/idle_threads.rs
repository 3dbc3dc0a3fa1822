//! Threads that used the allocator once, and wait.
//!
//! Their stacks lie in one mapping of the workload's own, so that what is resident in them can be told from what the allocator
//! holds. A thread's static thread-local storage lies there too.
//!
//! # Safety
//!
//! Each thread gets a part of its own of the mapping as its stack, and is joined before the mapping goes. What it gets to
//! see outlives it for the same reason.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::resident::{Resident, idle, is_test};
use super::{Block, Kind, Random, Table, Timer, Workload};
use crate::{Memory, Outcome, Params};

const SOURCE: &str = "own: a server with a thread for each connection, nearly all of them idle";

/// Many.
pub const THOUSAND: Workload = Workload::single(
    "idle-threads-1000",
    "1,000 threads, each of which allocated 1 MB in blocks of 16 to 4,096 bytes, freed them, and waits",
    SOURCE,
)
.kind(Kind::Memory);
/// Very many.
pub const TEN_THOUSAND: Workload =
    Workload { name: "idle-threads-10000", about: "the same with 10,000 threads", ..THOUSAND };

/// What a thread allocates and frees.
const BYTES: usize = 1_000_000;
/// The mean size is 760 bytes.
const SLOTS: usize = BYTES / 400;
const STACK: usize = 64 << 10;
/// So many threads are at work at the same time at the most; else what they hold at once would be chance, and very much.
const AT_WORK: usize = 16;
/// Some allocators would fill the machine; what holds so much after some of the threads is not tried with more.
const TOO_MUCH: f64 = 4e9;

/// What all threads see.
struct Shared {
    seed: u64,
    bytes: usize,
    next: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// Threads that are done and wait.
    waiting: usize,
    over: bool,
}

impl Shared {
    /// Returns when so many threads wait.
    fn await_waiting(&self, threads: usize) {
        let mut state = self.state.lock().expect("a panic aborts");
        while state.waiting < threads {
            state = self.changed.wait(state).expect("a panic aborts");
        }
    }

    fn work<M: Memory>(&self) {
        let mut random = Random::new(self.seed, self.next.fetch_add(1, Ordering::Relaxed));
        let mut blocks = [const { Block::<M>::NONE }; SLOTS];
        let (mut count, mut requested) = (0, 0);
        while requested < self.bytes && count < SLOTS {
            let mut block = Block::untouched(random.log_size(4, 12));
            block.touch_pages();
            requested += block.size();
            blocks[count] = block;
            count += 1;
        }
        for block in &mut blocks[..count] {
            block.take().free();
        }
        let mut state = self.state.lock().expect("a panic aborts");
        state.waiting += 1;
        self.changed.notify_one();
        while !state.over {
            state = self.ended.wait(state).expect("a panic aborts");
        }
        drop(state);
        // One wakes the next: all at once would only get in each other's way.
        self.ended.notify_one();
    }
}

extern "C" fn thread<M: Memory>(shared: *mut c_void) -> *mut c_void {
    // SAFETY: what `start` was given, which lives until all threads are joined.
    let shared = unsafe { &*shared.cast::<Shared>() };
    shared.work::<M>();
    null_mut()
}

/// Starts a thread on the stack `stack`.
fn start<M: Memory>(stack: &mut [u8], shared: &Shared) -> Result<libc::pthread_t, i32> {
    let ok = |error: i32| if error == 0 { Ok(()) } else { Err(error) };
    // SAFETY: a record that the next call fills.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: a local record.
    ok(unsafe { libc::pthread_attr_init(&mut attributes) })?;
    // SAFETY: a part of the mapping that no other thread uses.
    ok(unsafe { libc::pthread_attr_setstack(&mut attributes, stack.as_mut_ptr().cast(), stack.len()) })?;
    let mut id = 0;
    let argument = std::ptr::from_ref(shared).cast_mut().cast();
    // SAFETY: all of it outlives the thread.
    let created = unsafe { libc::pthread_create(&mut id, &attributes, thread::<M>, argument) };
    // SAFETY: made above, used no more.
    ok(unsafe { libc::pthread_attr_destroy(&mut attributes) })?;
    ok(created)?;
    Ok(id)
}

fn run<M: Memory>(threads: usize, params: &Params) -> Outcome {
    let (threads, bytes) = if is_test(params) { (threads / 500, 10_000) } else { (threads, BYTES) };
    let mut stacks = Stacks::new(threads);
    let mut ids = Table::<u64>::new(threads);
    let shared = Shared {
        seed: params.seed,
        bytes,
        next: AtomicUsize::new(0),
        state: Mutex::default(),
        changed: Condvar::new(),
        ended: Condvar::new(),
    };
    let before = Resident::now();
    let timer = Timer::new();
    for number in 0..threads {
        shared.await_waiting((number + 1).saturating_sub(AT_WORK));
        if number.is_multiple_of(256) {
            let held = Resident::now().above(before);
            if held > TOO_MUCH {
                eprintln!("stopped: {number} threads hold {:.0} MiB", held / f64::from(1 << 20));
                std::process::exit(1);
            }
        }
        match start::<M>(stacks.stack(number), &shared) {
            Ok(id) => ids[number] = id,
            Err(error) => panic!("thread {number} of {threads} could not be started: error {error}"),
        }
    }
    shared.await_waiting(threads);
    let seconds = timer.seconds();
    let heap = |stacks: &mut Stacks| (Resident::now().above(before) - stacks.resident()).max(0.0);
    let at_once = heap(&mut stacks);
    idle(1.0, params);
    let later = heap(&mut stacks);
    shared.state.lock().expect("a panic aborts").over = true;
    shared.ended.notify_one();
    for id in &*ids {
        // SAFETY: a thread that was started here and not joined yet.
        assert_eq!(unsafe { libc::pthread_join(*id, null_mut()) }, 0);
    }
    Outcome::new(threads as u64, seconds).note("at_once", at_once).note("after_1s", later)
}

/// The mapping of all stacks.
struct Stacks {
    memory: *mut u8,
    len: usize,
    /// A byte for each OS page.
    pages: Table<u8>,
}

impl Stacks {
    fn new(count: usize) -> Stacks {
        let len = count * STACK;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, wherever the system likes.
        let memory = unsafe { libc::mmap(null_mut(), len, access, flags, -1, 0) };
        assert!(memory != libc::MAP_FAILED, "no addresses for {count} stacks");
        // Else the kernel would make whole huge pages resident. Where it has none, this fails and does no harm.
        // SAFETY: our own mapping.
        unsafe { libc::madvise(memory, len, libc::MADV_NOHUGEPAGE) };
        Stacks { memory: memory.cast(), len, pages: Table::new(len.div_ceil(4096)) }
    }

    fn stack(&mut self, number: usize) -> &mut [u8] {
        assert!((number + 1) * STACK <= self.len);
        // SAFETY: within the mapping.
        let start = unsafe { self.memory.add(number * STACK) };
        // SAFETY: within the mapping; asked for once for each thread.
        unsafe { std::slice::from_raw_parts_mut(start, STACK) }
    }

    /// Bytes that are resident in all stacks.
    fn resident(&mut self) -> f64 {
        // SAFETY: our own mapping, and a byte for each of its pages, which are 4096 bytes large or larger.
        let failed = unsafe { libc::mincore(self.memory.cast(), self.len, self.pages.as_mut_ptr()) };
        assert_eq!(failed, 0, "mincore");
        // SAFETY: a plain integer.
        let os_page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        self.pages.iter().filter(|page| **page & 1 == 1).count() as f64 * os_page as f64
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        // SAFETY: our own mapping; all threads are joined.
        unsafe { libc::munmap(self.memory.cast(), self.len) };
    }
}

/// Runs [`THOUSAND`].
pub fn thousand<M: Memory>(params: &Params) -> Outcome {
    run::<M>(1_000, params)
}

/// Runs [`TEN_THOUSAND`].
pub fn ten_thousand<M: Memory>(params: &Params) -> Outcome {
    run::<M>(10_000, params)
}
