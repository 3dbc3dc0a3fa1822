//! The player: a process that makes the calls of a plan on one allocator and says what it cost.
//!
//! It maps the plan and its own tables, so that all that is asked of the allocator meanwhile is what the plan says.
//! *Exactly*, one thread plays at a time, in the order of the trace, and the memory is looked at on the way; *freely*, threads
//! run at once, wait for each other only where a block passes between them, and the time is taken.
//!
//! # Safety
//!
//! - P1 of `backend.rs`: a slot holds a live block with the size it was asked for, or null; who has the slot's turn has it alone.
//! - P2: the mapped tables are as long as they say, are initialised, and stay.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::backend::{Backend, With};
use super::plan::{ALL, Deed, Field, HEADER, Step, THREAD, WORDS};

/// Runs by which threads that play freely may be ahead of each other.
const AHEAD: u32 = 4096;
/// Looks at the memory on the way.
pub const SAMPLES: u64 = 2000;
/// Times that a thread looks for its turn before it sleeps.
const PATIENCE: u32 = 100;
/// With the times that it lets others run instead, where that is enough.
const PAST_PATIENCE: u32 = PATIENCE + 20;
/// How long a thread sleeps that is too far ahead, or waits for a block that another one has yet to take.
const NAP: Duration = Duration::from_micros(20);

/// What a player found.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Played {
    /// Seconds from the first call to the last.
    pub wall: f64,
    /// Processor seconds meanwhile, in the program's code and in the kernel.
    pub user: f64,
    pub system: f64,
    /// Page faults meanwhile.
    pub faults: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// The most bytes that were live, as asked for. Exact playing only, as all that follows.
    pub peak_live: u64,
    /// What is resident of an empty process with this allocator.
    pub start_resident: u64,
    /// The most anonymous memory that was resident beyond that.
    pub peak_resident: u64,
    /// The same when most bytes were live.
    pub resident_at_peak: u64,
    /// Its mean over the calls.
    pub mean_resident: u64,
    /// The same at the end, and what is live then.
    pub end_resident: u64,
    pub end_live: u64,
    /// On the way: calls so far, bytes live, bytes resident.
    pub course: Vec<(u64, u64, u64)>,
}

/// One block.
struct Slot {
    block: AtomicPtr<u8>,
    size: AtomicU64,
    turn: AtomicU32,
}

/// A thread that plays.
#[derive(Default)]
#[repr(align(128))]
struct Chair {
    /// 1 while it sleeps until its turn.
    sleeping: AtomicU32,
}

/// Memory of our own, which no allocator knows of.
fn map(len: usize, file: Option<&File>) -> Result<*mut u8, String> {
    let (protection, flags) = match file {
        Some(_) => (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_POPULATE),
        None => {
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE)
        }
    };
    let descriptor = file.map_or(-1, AsRawFd::as_raw_fd);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(null_mut(), len.max(1), protection, flags, descriptor, 0) };
    if at == libc::MAP_FAILED {
        return Err(format!("cannot map the plan: {}", std::io::Error::last_os_error()));
    }
    Ok(at.cast())
}

/// A plan and what is needed to play it.
struct Stage {
    words: &'static [u64],
    slots: &'static [Slot],
    chairs: Vec<Chair>,
    exact: bool,
    /// Runs that are done.
    done: AtomicU32,
    calls: AtomicU64,
    live: AtomicU64,
    peak: AtomicU64,
    refused: AtomicU64,
    statm: File,
    baseline: AtomicU64,
    sampled: AtomicU32,
    samples: &'static [[AtomicU64; 3]],
}

impl Stage {
    fn open(path: &Path, exact: bool) -> Result<Stage, String> {
        let told = |error: std::io::Error| format!("cannot read the plan: {error}");
        let file = File::open(path).map_err(told)?;
        let len = file.metadata().map_err(told)?.len() as usize / 8;
        if len < HEADER {
            return Err("the plan is too short".into());
        }
        let at = map(len * 8, Some(&file))?;
        // SAFETY: P2: a file of so many words, which nobody changes.
        let words = unsafe { std::slice::from_raw_parts(at.cast::<u64>().cast_const(), len) };
        let count = words[Field::Slots as usize] as usize;
        let at = map(count * size_of::<Slot>(), None)?;
        // SAFETY: P2: zeros are a value of it.
        let slots = unsafe { std::slice::from_raw_parts(at.cast::<Slot>().cast_const(), count) };
        let count = SAMPLES as usize + 2;
        let at = map(count * 24, None)?;
        // SAFETY: P2: zeros are a value of it.
        let samples = unsafe { std::slice::from_raw_parts(at.cast::<[AtomicU64; 3]>().cast_const(), count) };
        let threads = words[Field::Threads as usize] as usize;
        Ok(Stage {
            words,
            slots,
            chairs: (0..threads).map(|_| Chair::default()).collect(),
            exact,
            done: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            live: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            statm: File::open("/proc/self/statm").map_err(told)?,
            baseline: AtomicU64::new(0),
            sampled: AtomicU32::new(0),
            samples,
        })
    }

    fn field(&self, field: Field) -> u64 {
        self.words[field as usize]
    }

    /// The thread of each run.
    fn order(&self) -> &[u64] {
        let from = HEADER + THREAD * self.chairs.len();
        &self.words[from..from + self.field(Field::Runs) as usize]
    }

    /// Where a thread's calls begin, and its runs.
    fn part(&self, thread: usize) -> (usize, &[u64]) {
        let from = HEADER + THREAD * thread;
        let [calls, runs, count] = [0, 1, 2].map(|word| self.words[from + word] as usize);
        (calls, &self.words[runs..runs + count])
    }

    /// Memory that is resident, all and what of it lies in files, in bytes. Allocates nothing.
    fn resident(&self) -> (u64, u64) {
        let mut buffer = [0u8; 128];
        let len = self.statm.read_at(&mut buffer, 0).unwrap_or(0);
        let mut numbers = buffer[..len].split(|&byte| byte == b' ').map(|digits| {
            digits.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |n, &d| n * 10 + u64::from(d - b'0'))
        });
        let resident = numbers.nth(1).unwrap_or(0);
        (resident * 4096, numbers.next().unwrap_or(0) * 4096)
    }

    /// Anonymous memory that is resident, in bytes.
    fn anonymous(&self) -> u64 {
        let (all, of_files) = self.resident();
        all.saturating_sub(of_files)
    }

    /// Bytes of the plan and of the player's tables, all of them resident.
    fn own_bytes(&self) -> u64 {
        (size_of_val(self.words) + size_of_val(self.slots) + size_of_val(self.samples)) as u64
    }

    fn sample(&self, calls: u64) {
        let place = self.sampled.fetch_add(1, Ordering::Relaxed) as usize;
        if let Some(sample) = self.samples.get(place) {
            let resident = self.anonymous().saturating_sub(self.baseline.load(Ordering::Relaxed));
            for (word, value) in sample.iter().zip([calls, self.live.load(Ordering::Relaxed), resident]) {
                word.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Waits until a thread may play the run of this number.
    fn await_run(&self, thread: usize, run: u32) {
        if !self.exact {
            let mut looked = 0;
            while run.saturating_sub(self.done.load(Ordering::Relaxed)) > AHEAD {
                pause(&mut looked);
            }
            return;
        }
        for _ in 0..PATIENCE {
            if self.done.load(Ordering::Acquire) == run {
                return;
            }
            std::hint::spin_loop();
        }
        let sleeping = &self.chairs[thread].sleeping;
        loop {
            sleeping.store(1, Ordering::SeqCst);
            if self.done.load(Ordering::SeqCst) == run {
                sleeping.store(0, Ordering::Relaxed);
                return;
            }
            futex(sleeping, libc::FUTEX_WAIT, 1);
        }
    }

    /// The run of this number is done: whose turn is next may play.
    fn pass_on(&self, run: u32) {
        if !self.exact {
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            return self.tell(u64::from(done), self.field(Field::Runs));
        }
        self.done.store(run + 1, Ordering::SeqCst);
        if let Some(&next) = self.order().get(run as usize + 1) {
            let sleeping = &self.chairs[next as usize].sleeping;
            if sleeping.swap(0, Ordering::SeqCst) == 1 {
                futex(sleeping, libc::FUTEX_WAKE, 1);
            }
        }
        self.tell(u64::from(run) + 1, self.field(Field::Runs));
    }

    /// Tells how far it is, fifty times on the whole way, without allocating.
    fn tell(&self, done: u64, all: u64) {
        if done * 50 / all == (done - 1) * 50 / all {
            return;
        }
        let percent = (done * 100 / all) as u8;
        let line = [b'0' + percent / 100, b'0' + percent / 10 % 10, b'0' + percent % 10, b'\n'];
        // SAFETY: so many bytes of a local.
        unsafe { libc::write(1, line.as_ptr().cast(), line.len()) };
    }

    /// Plays all runs of one thread.
    fn play(&self, thread: usize, backend: &impl Backend) {
        let (mut at, runs) = self.part(thread);
        for &run in runs {
            let number = run as u32;
            self.await_run(thread, number);
            let calls = (run >> 32) as usize;
            let steps = self.words[at..at + calls * WORDS].as_chunks::<WORDS>().0;
            if self.exact {
                steps.iter().for_each(|step| self.step_exactly(Step::read(step), backend));
            } else {
                for step in steps {
                    if self.step(Step::read(step), backend).is_none() {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            at += calls * WORDS;
            self.pass_on(number);
        }
    }

    /// A call, and the books kept: only this thread is playing.
    fn step_exactly(&self, step: Step, backend: &impl Backend) {
        match self.step(step, backend) {
            Some((was, is)) => {
                let live = self.live.load(Ordering::Relaxed).saturating_sub(was).saturating_add(is);
                self.live.store(live, Ordering::Relaxed);
                if live > self.peak.load(Ordering::Relaxed) {
                    self.peak.store(live, Ordering::Relaxed);
                }
            }
            None => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
        }
        let done = self.calls.load(Ordering::Relaxed) + 1;
        self.calls.store(done, Ordering::Relaxed);
        let all = self.field(Field::Calls);
        if done * SAMPLES / all != (done - 1) * SAMPLES / all || done == self.field(Field::PeakCall) {
            self.sample(done);
        }
    }

    /// Makes a call; the size of its block before and after, `None` when it was refused.
    #[inline]
    fn step(&self, step: Step, backend: &impl Backend) -> Option<(u64, u64)> {
        if step.deed == Deed::Pause {
            std::thread::sleep(Duration::from_micros(step.size));
            return Some((0, 0));
        }
        let slot = self.slots.get(step.slot as usize)?;
        let mut looked = 0;
        // Acquire: the slot as the thread left it that had the turn before (Release below).
        while slot.turn.load(Ordering::Acquire) != step.turn {
            pause(&mut looked);
        }
        let (block, was) = (slot.block.load(Ordering::Relaxed), slot.size.load(Ordering::Relaxed));
        let align = 1usize << (step.align & 63);
        let size = step.size as usize;
        let outcome = match step.deed {
            Deed::Allocate | Deed::AllocateZeroed => {
                let zeroed = step.deed == Deed::AllocateZeroed;
                let block = backend.allocate(size, align, zeroed);
                self.keep(slot, block, step, 0, 0)
            }
            Deed::Free => {
                if !block.is_null() {
                    // SAFETY: P1.
                    unsafe { backend.free(block, was as usize, align) };
                }
                slot.block.store(null_mut(), Ordering::Relaxed);
                Some((was, 0))
            }
            _ if block.is_null() => {
                let block = backend.allocate(size, align, false);
                self.keep(slot, block, step, 0, 0)
            }
            _ => {
                // SAFETY: P1.
                let place = unsafe { backend.resize(block, was as usize, align, size) };
                self.keep(slot, place, step, was, was)
            }
        };
        if step.deed == Deed::Free {
            slot.size.store(0, Ordering::Relaxed);
        }
        slot.turn.store(Step::turn_after(step.turn), Ordering::Release);
        outcome
    }

    /// Puts what a call returned into its slot, and touches what is new of it.
    #[inline]
    fn keep(&self, slot: &Slot, block: *mut u8, step: Step, was: u64, kept: u64) -> Option<(u64, u64)> {
        if block.is_null() {
            return None;
        }
        slot.block.store(block, Ordering::Relaxed);
        slot.size.store(step.size, Ordering::Relaxed);
        let end = match step.touched {
            ALL => step.size,
            pages => step.size.min(u64::from(pages) * 4096),
        };
        touch(block, kept as usize, end as usize);
        Some((was, step.size))
    }
}

/// Writes to every cache line of the first page from `from`, and to every OS page up to `to`: as far as a program fills what it asked for, all
/// pages of it are touched.
#[inline]
fn touch(block: *mut u8, from: usize, to: usize) {
    let mut at = from;
    while at < to {
        // SAFETY: within the block; nobody reads it as anything but bytes.
        unsafe { block.wrapping_add(at).write_volatile(1) };
        at += if at < from + 4096 { 64 } else { 4096 };
    }
    if to > from {
        // SAFETY: as above.
        unsafe { block.wrapping_add(to - 1).write_volatile(1) };
    }
}

/// Lets time pass: little at first, then others run, then asleep. A thread that only yielded would have its waiting counted as processor time of the
/// replay, more of it the more idle the machine is.
fn pause(looked: &mut u32) {
    *looked += 1;
    match *looked {
        ..PATIENCE => std::hint::spin_loop(),
        PATIENCE..PAST_PATIENCE => std::thread::yield_now(),
        _ => std::thread::sleep(NAP),
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let timeout: *const libc::timespec = std::ptr::null();
    // SAFETY: a word that lives as long as all threads; no timeout.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation | libc::FUTEX_PRIVATE_FLAG, value, timeout)
    };
}

/// User and system time in seconds, and page faults, of this process so far.
fn usage() -> (f64, f64, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: a place of the type that the call fills.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: filled, and all zeros is valid besides.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime), (usage.ru_minflt + usage.ru_majflt) as u64)
}

/// A performance of a plan, on whatever back end.
pub struct Performance<'a> {
    pub plan: &'a Path,
    pub exact: bool,
}

impl With for Performance<'_> {
    type Result = Result<Played, String>;

    fn with(self, backend: &impl Backend) -> Result<Played, String> {
        let stage = Stage::open(self.plan, self.exact)?;
        let threads: Vec<usize> =
            (0..stage.chairs.len()).filter(|&thread| !stage.part(thread).1.is_empty()).collect();
        let (ready, ended) = (Barrier::new(threads.len() + 1), Barrier::new(threads.len() + 1));
        let mut played = Played::default();
        std::thread::scope(|scope| {
            for &thread in &threads {
                let (stage, ready, ended) = (&stage, &ready, &ended);
                let builder = std::thread::Builder::new().stack_size(256 << 10);
                let spawned = builder.spawn_scoped(scope, move || {
                    ready.wait();
                    ready.wait();
                    stage.play(thread, backend);
                    ended.wait();
                });
                if let Err(error) = spawned {
                    eprintln!("freestone: cannot start a thread: {error}");
                    std::process::exit(1);
                }
            }
            ready.wait();
            stage.baseline.store(stage.anonymous(), Ordering::Relaxed);
            played.start_resident = stage.resident().0.saturating_sub(stage.own_bytes());
            let before = usage();
            let started = Instant::now();
            ready.wait();
            ended.wait();
            played.wall = started.elapsed().as_secs_f64();
            let after = usage();
            (played.user, played.system) = (after.0 - before.0, after.1 - before.1);
            played.faults = after.2 - before.2;
        });
        played.refused = stage.refused.load(Ordering::Relaxed);
        if self.exact {
            stage.measure(&mut played);
        }
        Ok(played)
    }
}

impl Stage {
    fn measure(&self, played: &mut Played) {
        let count = (self.sampled.load(Ordering::Relaxed) as usize).min(self.samples.len());
        let number = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let mut course: Vec<(u64, u64, u64)> =
            self.samples[..count].iter().map(|[a, b, c]| (number(a), number(b), number(c))).collect();
        course.sort_unstable();
        played.peak_live = self.peak.load(Ordering::Relaxed);
        played.peak_resident = course.iter().map(|sample| sample.2).max().unwrap_or(0);
        let peak_call = self.field(Field::PeakCall);
        played.resident_at_peak =
            course.iter().find(|sample| sample.0 >= peak_call).map_or(0, |sample| sample.2);
        played.mean_resident = course.iter().map(|sample| sample.2).sum::<u64>() / count.max(1) as u64;
        if let Some(&(_, live, resident)) = course.last() {
            (played.end_live, played.end_resident) = (live, resident);
        }
        played.course = course;
    }
}
