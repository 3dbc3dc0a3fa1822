//! CPUs, threads that the kernel moves and interrupts, and memory of regions.
//!
//! A thread acts in steps. Before each, any other thread may act (shuttle chooses), and the kernel may move
//! the thread to another CPU or deliver a signal. A CPU runs one thread at a time: who acts on it
//! preempts who acted there before. Whoever is moved, preempted or signalled inside a sequence finds itself
//! aborted at its next step.

use std::sync::Mutex;

use shuttle::rand::{Rng, thread_rng};

use super::Fault;

/// Slots of a region, the sentinel included.
pub const SLOTS: usize = 5;

/// `current` and `end`; both zero in a region that was never used, slot 0 is the sentinel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    pub current: usize,
    pub end: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Region {
    pub header: Header,
    pub slots: [usize; SLOTS],
    /// Blocks by which the capacity may still grow.
    pub spare: isize,
}

#[derive(Clone, Copy, Default)]
struct Thread {
    cpu: usize,
    in_sequence: bool,
    aborted: bool,
}

pub struct State {
    pub regions: Vec<Region>,
    /// Whether `HOT.regions` leads to the real regions, or to zeros.
    pub real: bool,
    threads: Vec<Thread>,
    /// Who acted last on each CPU.
    running: Vec<Option<usize>>,
}

/// The thread was aborted: the sequence starts anew.
pub struct Aborted;

pub struct Machine {
    state: Mutex<State>,
    pub fault: Fault,
}

impl Machine {
    pub fn new(cpus: usize, threads: usize, budget: isize, fault: Fault) -> Machine {
        let region = Region { spare: budget, ..Region::default() };
        let state = State {
            regions: vec![region; cpus],
            real: true,
            threads: vec![Thread::default(); threads],
            running: vec![None; cpus],
        };
        Machine { state: Mutex::new(state), fault }
    }

    /// One step of a thread that is in no sequence.
    pub fn step<R>(&self, thread: usize, act: impl FnOnce(&mut State) -> R) -> R {
        shuttle::thread::yield_now();
        let mut state = self.state.lock().unwrap();
        state.schedule(thread, self.fault);
        act(&mut state)
    }

    /// One step of a sequence.
    pub fn step_in<R>(&self, thread: usize, act: impl FnOnce(&mut State) -> R) -> Result<R, Aborted> {
        self.step(thread, |state| {
            if state.threads[thread].aborted {
                return Err(Aborted);
            }
            Ok(act(state))
        })
    }

    /// Runs `body` until it comes to its end, which is its commit, without having been aborted.
    pub fn sequence<R>(&self, thread: usize, mut body: impl FnMut() -> Result<R, Aborted>) -> R {
        loop {
            self.step(thread, |state| state.announce(thread, true));
            let result = body();
            // What follows the commit is outside: nothing can happen between the two.
            self.state.lock().unwrap().announce(thread, false);
            if let Ok(result) = result {
                return result;
            }
        }
    }

    /// An act that reads the number of the CPU that the thread is on.
    pub fn cpu(&self, thread: usize) -> impl Fn(&mut State) -> usize + use<> {
        move |state| state.threads[thread].cpu
    }

    /// Has the kernel abort every sequence under way.
    pub fn membarrier(&self, thread: usize) {
        let fault = self.fault;
        self.step(thread, |state| {
            for thread in &mut state.threads {
                thread.aborted |= thread.in_sequence && fault != Fault::NoBarrier;
            }
        });
    }
}

impl State {
    fn announce(&mut self, thread: usize, in_sequence: bool) {
        let thread = &mut self.threads[thread];
        (thread.in_sequence, thread.aborted) = (in_sequence, false);
    }

    fn interrupt(&mut self, thread: usize, fault: Fault) {
        let thread = &mut self.threads[thread];
        thread.aborted |= thread.in_sequence && fault != Fault::NoAbort;
    }

    fn schedule(&mut self, thread: usize, fault: Fault) {
        match thread_rng().gen_range(0..16) {
            0 => {
                self.interrupt(thread, fault);
                let from = self.threads[thread].cpu;
                if self.running[from] == Some(thread) {
                    self.running[from] = None;
                }
                self.threads[thread].cpu = thread_rng().gen_range(0..self.regions.len());
            }
            1 => self.interrupt(thread, fault),
            _ => {}
        }
        let cpu = self.threads[thread].cpu;
        if let Some(other) = self.running[cpu].replace(thread)
            && other != thread
        {
            self.interrupt(other, fault);
        }
    }

    /// R2: the header is zero or within bounds, and every cached slot holds a block.
    pub fn check(&self) {
        for region in &self.regions {
            let Header { current, end } = region.header;
            assert!(current <= end && end < SLOTS, "a header is out of bounds: {:?}", region.header);
            assert!(region.slots[0] == 0, "a sentinel was written");
            assert!(region.slots[1..=current].iter().all(|&block| block != 0), "a cached slot is empty");
        }
    }
}
