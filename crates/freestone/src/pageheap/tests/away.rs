//! What others may do while spans are away: being purged or moved to, or giving up their addresses.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use freestone_sys::sim::{CallKind, MoveMode, Simulated};
use freestone_sys::{MoveRefused, Moved, Refused, SystemCalls};

use super::super::*;
use super::{checked, dirty_pages, holds, large, reads_as_zeros, write};

type Act = Box<dyn FnOnce() + Send>;

/// A system during whose next purge, release or move another thread acts. It goes on when that thread is done, or, where the
/// other has to wait for it in turn, a moment after that has said so.
pub(super) struct Meanwhile {
    pub(super) simulated: Simulated,
    /// No mapping is made.
    full: AtomicBool,
    act: Mutex<Option<Act>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Who acts is about to wait for what it acts during.
    waits: AtomicBool,
}

impl Meanwhile {
    pub(super) fn new(simulated: Simulated) -> Meanwhile {
        Meanwhile {
            simulated,
            full: AtomicBool::new(false),
            act: Mutex::default(),
            threads: Mutex::default(),
            waits: AtomicBool::new(false),
        }
    }

    /// Acts during the next purge, release or move.
    pub(super) fn next(&self, act: impl FnOnce() + Send + 'static) {
        *self.act.lock().unwrap() = Some(Box::new(act));
    }

    /// Drops what has not been done.
    pub(super) fn forget(&self) {
        self.act.lock().unwrap().take();
    }

    /// Waits for everybody who acted.
    pub(super) fn join(&self) {
        while let Some(thread) = { self.threads.lock().unwrap().pop() } {
            thread.join().unwrap();
        }
    }

    /// Said by who acts, before it waits for what it acts during.
    pub(super) fn about_to_wait(&self) {
        self.waits.store(true, Relaxed);
    }

    fn act(&self) {
        let Some(act) = self.act.lock().unwrap().take() else { return };
        let (done, finished) = channel::<()>();
        let thread = std::thread::spawn(move || {
            act();
            drop(done);
        });
        self.threads.lock().unwrap().push(thread);
        let moment = Duration::from_millis(20);
        // Done is when the channel is closed.
        while finished.recv_timeout(moment) == Err(RecvTimeoutError::Timeout) {
            if self.waits.swap(false, Relaxed) {
                std::thread::sleep(moment);
                break;
            }
        }
    }
}

impl System for Meanwhile {
    fn map_at(&self, addr: usize, len: usize) -> Result<(), Refused> {
        if self.full.load(Relaxed) { Err(Refused::Exhausted) } else { self.simulated.map_at(addr, len) }
    }
    fn map(&self, len: usize) -> Result<usize, Refused> {
        self.simulated.map(len)
    }
    fn reserve(&self, len: usize) -> Result<usize, Refused> {
        self.simulated.reserve(len)
    }
    unsafe fn commit(&self, addr: usize, len: usize) -> Result<(), Refused> {
        // SAFETY: the same contract.
        unsafe { self.simulated.commit(addr, len) }
    }
    unsafe fn purge(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.act();
        // SAFETY: the same contract.
        unsafe { self.simulated.purge(addr, len) }
    }
    unsafe fn release(&self, addr: usize, len: usize) -> Result<(), Refused> {
        self.act();
        // SAFETY: the same contract.
        unsafe { self.simulated.release(addr, len) }
    }
    unsafe fn move_pages(&self, from: usize, len: usize, to: usize) -> Result<Moved, MoveRefused> {
        self.act();
        // SAFETY: the same contract.
        unsafe { self.simulated.move_pages(from, len, to) }
    }
    fn resident_bytes(&self, addr: usize, len: usize) -> usize {
        self.simulated.resident_bytes(addr, len)
    }
    fn os_page_size(&self) -> usize {
        self.simulated.os_page_size()
    }
    fn address_space_limit(&self) -> Option<usize> {
        self.simulated.address_space_limit()
    }
    fn random(&self) -> u64 {
        self.simulated.random()
    }
    fn calls(&self) -> SystemCalls {
        self.simulated.calls()
    }
}

type Heap = PageHeap<Meanwhile>;

fn heap() -> Arc<Heap> {
    Arc::new(PageHeap::new(Meanwhile::new(Simulated::new())))
}

/// Has `act` run during the next purge, release or move; the receiver is done when it has run to its end.
fn meanwhile(heap: &Arc<Heap>, act: impl FnOnce(&Heap) + Send + 'static) -> Receiver<()> {
    let (done, finished) = channel();
    let other = heap.clone();
    heap.system().next(move || {
        act(&other);
        done.send(()).unwrap();
    });
    finished
}

/// Makes a heap tight.
fn tighten(heap: &Heap) {
    let system = &heap.system().simulated;
    system.refuse_all(true);
    assert!(heap.alloc_large(1 << 40, 1, false).is_none());
    system.forgive();
}

#[test]
fn neighbours_of_spans_that_are_away_are_freed_and_all_merge_in_the_end() {
    for refused in [false, true] {
        for order in [[0, 2], [2, 0]] {
            let heap = heap();
            let spans = [30, 500, 70].map(|pages| large(&heap, pages));
            let _last = large(&heap, 1);
            spans.iter().for_each(|&span| write(span, 1));
            heap.free(spans[1]);
            let acted = meanwhile(&heap, move |heap| {
                assert_eq!((spans[1].state(), checked(heap).free_dirty), (SpanState::Away, 500 * PAGE_SIZE));
                for side in order {
                    heap.free(spans[side]);
                    assert_eq!(checked(heap).large, heap.stats().large);
                }
                // What is away is not handed out.
                let other = large(heap, 500);
                assert_ne!(other.start(), spans[1].start());
                heap.free(other);
                if refused {
                    heap.system().simulated.refuse_nth(1, Some(CallKind::Purge));
                }
            });
            let purged = heap.purge(PageCount(500));
            acted.recv().unwrap();
            // If not from here, then from what was freed meanwhile.
            assert_eq!((purged, dirty_pages(&heap)), (PageCount(500), 600));
            let start = spans[0].start();
            let whole = large(&heap, 600);
            assert_eq!(whole.start(), start, "the three have become one span");
            heap.purge_all();
            assert_eq!(dirty_pages(&heap), 0);
        }
    }
}

#[test]
fn who_finds_no_memory_while_spans_are_away_waits_for_them() {
    for purge_refused in [false, true] {
        let heap = heap();
        let rest = (1 << 20) / PAGE_SIZE;
        let freed = large(&heap, rest - 1);
        let _last = large(&heap, 1);
        assert_eq!((checked(&heap).free_clean, checked(&heap).mapped), (0, 1 << 20));
        let start = freed.start();
        write(freed, 1);
        heap.free(freed);
        let acted = meanwhile(&heap, move |heap| {
            heap.system().full.store(true, Relaxed);
            assert_eq!(freed.state(), SpanState::Away);
            heap.system().about_to_wait();
            let span = heap.alloc_large((rest - 1) * PAGE_SIZE, 1, true).expect("memory comes back");
            assert_eq!(span.start(), start);
            // There is none left for a second one, and nothing to wait for.
            assert!(heap.alloc_large(PAGE_SIZE, 1, true).is_none());
            assert!(reads_as_zeros(span));
        });
        if purge_refused {
            heap.system().simulated.refuse_nth(1, Some(CallKind::Purge));
        }
        heap.purge_all();
        acted.recv().unwrap();
        checked(&heap);
    }
}

#[test]
fn addresses_are_given_up_without_the_lock() {
    for refused in [false, true] {
        let heap = heap();
        let spans = [10, 700, 10].map(|pages| large(&heap, pages));
        let start = spans[1].start();
        let _last = large(&heap, 1);
        tighten(&heap);
        let acted = meanwhile(&heap, move |heap| {
            assert_eq!(spans[1].state(), SpanState::Away);
            assert_eq!(heap.page_map().span_of(spans[1].start()), Some(spans[1]));
            let kept = large(heap, 5);
            assert!((kept.start() - spans[1].start()) as isize as usize >= spans[1].bytes());
            heap.free(kept);
            checked(heap);
            if refused {
                heap.system().simulated.refuse_nth(1, Some(CallKind::Release));
            }
        });
        heap.free(spans[1]);
        acted.recv().unwrap();
        let stats = checked(&heap);
        assert_eq!(stats.holes, if refused { 0 } else { 700 * PAGE_SIZE });
        heap.free(spans[0]);
        heap.free(spans[2]);
        checked(&heap);
        let again = large(&heap, 700);
        assert_eq!(again.start(), start - 10 * PAGE_SIZE);
        write(again, 2);
        checked(&heap);
    }
}

#[test]
fn a_block_moves_without_the_lock() {
    for mode in [None, Some(MoveMode::Clean), Some(MoveMode::SourceGone), Some(MoveMode::TargetGone)] {
        let heap = heap();
        let [before, block, after] = [30, 200, 30].map(|pages| large(&heap, pages));
        write(block, 7);
        match mode {
            Some(mode) => heap.system().simulated.next_move(mode),
            None => heap.system().simulated.refuse_nth(3, Some(CallKind::Move)),
        }
        let acted = meanwhile(&heap, move |heap| {
            heap.free(before);
            heap.free(after);
            let other = large(heap, 20);
            write(other, 3);
            assert!(holds(block, 200, 7) && holds(other, 20, 3));
            heap.free(other);
            checked(heap);
            if mode.is_none() {
                heap.system().simulated.refuse_nth(1, Some(CallKind::Move));
            }
        });
        let moved = heap.move_grow(block, 400 * PAGE_SIZE, 0);
        acted.recv().unwrap();
        assert_eq!(moved.is_some(), matches!(mode, Some(MoveMode::Clean | MoveMode::SourceGone)));
        let stats = checked(&heap);
        assert_eq!(stats.large, moved.map_or(200, |_| 400) * PAGE_SIZE);
        let now = moved.unwrap_or(block);
        assert!(holds(now, 200, 7));
        heap.free(now);
        checked(&heap);
    }
}

#[test]
fn only_one_thread_sees_to_the_dirty_limit() {
    let heap = heap();
    let limit = heap.policy().dirty_limit(0);
    let spans = [(); 2].map(|()| {
        let span = large(&heap, limit / 2 + 10);
        let _between = large(&heap, 1);
        span
    });
    spans.into_iter().for_each(|span| heap.free(span));
    let before = heap.system().calls().purge;
    let acted = meanwhile(&heap, move |heap| {
        large(heap, limit);
        assert_eq!(heap.system().calls().purge, before);
        assert_eq!(dirty_pages(heap), 2 * (limit / 2 + 10));
    });
    large(&heap, limit);
    acted.recv().unwrap();
    assert!(dirty_pages(&heap) <= limit);
}

#[test]
fn threads_share_a_heap_that_is_being_purged() {
    let system = Simulated::new();
    let heap = PageHeap::new(&system);
    let busy = AtomicUsize::new(4);
    let live = |thread: u64| {
        let mut held = Vec::new();
        for round in 0..600u64 {
            let tag = thread << 32 | round << 16;
            let pages = 1 + round as usize * 7 % 90;
            let span = heap.alloc_large(pages * PAGE_SIZE, 1, round % 3 == 0).unwrap();
            assert!(!span.is_zeroed() || reads_as_zeros(span));
            write(span, tag);
            held.push((span, tag));
            if round % 2 == 1 {
                let (span, tag) = held.swap_remove(round as usize * 31 % held.len());
                assert!(holds(span, span.pages().0, tag));
                heap.free(span);
            }
        }
        for (span, tag) in held {
            assert!(holds(span, span.pages().0, tag));
            heap.free(span);
        }
        busy.fetch_sub(1, Relaxed);
    };
    std::thread::scope(|scope| {
        (1..=4).for_each(|thread| drop(scope.spawn(move || live(thread))));
        scope.spawn(|| {
            while busy.load(Relaxed) > 0 {
                heap.purge(PageCount(500));
                heap.verify().unwrap();
            }
        });
    });
    assert_eq!(checked(&heap).large, 0);
}
