//! The whole allocator against the shadow heap: random sequences from one thread and from many, through the Rust
//! interface, the C interface and a first-class heap, in every cache mode, with the invariant walk in between.
//!
//! The mode is fixed when a process starts, so each test runs itself again, once a mode.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free, and within their size.
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::process::{Child, Command, Stdio};

use freestone::{Freestone, Heap, raw};
use freestone_testkit::{Global, Hunt, Mix, StressConfig, Subject, stress};

const MODES: [&str; 6] = [
    "cache:cpu",
    "cache:thread",
    "cache:none",
    "cache:cpu,count:1",
    "cache:cpu,cache_bytes:4K",
    "cache:cpu,harden:1",
];
/// All that can be on at once. Too slow for every test.
const MOST: &str = "cache:thread,harden:1,guard:64K,count:1";

/// Runs `work` in a process of its own for each mode.
fn in_every_mode(test: &str, work: impl FnOnce()) {
    in_modes(&MODES, test, "", work);
}

/// The same in these modes, with `further` options.
fn in_modes(modes: &[&str], test: &str, further: &str, work: impl FnOnce()) {
    if std::env::var_os("FREESTONE_CONF").is_some() {
        return work();
    }
    // In a library that is hardened by itself this is one of the others.
    let differ = |mode: &&&str| !cfg!(feature = "harden") || **mode != "cache:cpu,harden:1";
    let modes: Vec<_> = modes.iter().filter(differ).collect();
    // Two at a time: the longest test is the last, and its threads wait for one that walks the heap most of the time.
    for pair in modes.chunks(2) {
        let started: Vec<(_, Child)> = pair.iter().map(|mode| (mode, start(test, mode, further))).collect();
        for (mode, child) in started {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{mode}: {}\n{text}", String::from_utf8_lossy(&output.stdout));
            assert!(!text.contains("freestone:"), "{mode}: {text}");
        }
    }
}

/// This program with one test only, in such a mode.
fn start(test: &str, mode: &str, further: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env("FREESTONE_CONF", format!("{mode},{further}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn walk() -> Result<(), String> {
    freestone::verify().map_err(|error| error.to_string())
}

fn rust() -> Global<Freestone> {
    Global::new(Freestone).verified_by(walk)
}

/// The operations of the C library.
struct C;

// SAFETY: what the allocator returns is mapped.
unsafe impl Subject for C {
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        match (zeroed, align <= 8 || align <= 16 && size >= 16) {
            (true, true) => raw::calloc(size),
            (false, true) => raw::malloc(size),
            (zeroed, false) => {
                let block = raw::aligned(size, align);
                if zeroed && !block.is_null() {
                    // SAFETY: the block holds that many bytes.
                    unsafe { block.write_bytes(0, size) };
                }
                block
            }
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, _size: usize, _align: usize) {
        // SAFETY: the caller's promise.
        unsafe { raw::free(ptr) }
    }

    fn frees_unsized(&self) -> bool {
        true
    }

    unsafe fn dealloc_unsized(&self, ptr: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { raw::free(ptr) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
        if align <= 8 {
            // SAFETY: the caller's promise.
            return unsafe { raw::realloc(ptr, new_size) };
        }
        // C's realloc keeps no more alignment than malloc gives.
        let block = raw::aligned(new_size, align);
        if !block.is_null() {
            // SAFETY: both hold that many bytes and are apart.
            unsafe { block.copy_from_nonoverlapping(ptr, old_size.min(new_size)) };
            // SAFETY: the caller's promise.
            unsafe { raw::free(ptr) };
        }
        block
    }

    unsafe fn usable_size(&self, ptr: *mut u8) -> Option<usize> {
        Some(raw::usable_size(ptr))
    }

    fn verify(&self) -> Result<(), String> {
        walk()
    }
}

/// A first-class heap.
struct Own(Heap);

// SAFETY: what the allocator returns is mapped.
unsafe impl Subject for Own {
    unsafe fn alloc(&self, size: usize, align: usize, zeroed: bool) -> *mut u8 {
        let layout = Layout::from_size_align(size, align).unwrap();
        let block = if zeroed { self.0.allocate_zeroed(layout) } else { self.0.allocate(layout) };
        block.map_or(std::ptr::null_mut(), |block| block.as_ptr())
    }

    unsafe fn dealloc(&self, ptr: *mut u8, _size: usize, _align: usize) {
        let block = std::ptr::NonNull::new(ptr).unwrap();
        // SAFETY: the caller's promise.
        unsafe { self.0.deallocate(block) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.alloc(new_size, align, false) };
        if !block.is_null() {
            // SAFETY: both hold that many bytes and are apart.
            unsafe { block.copy_from_nonoverlapping(ptr, old_size.min(new_size)) };
            // SAFETY: the caller's promise.
            unsafe { self.dealloc(ptr, old_size, align) };
        }
        block
    }

    unsafe fn usable_size(&self, ptr: *mut u8) -> Option<usize> {
        Some(raw::usable_size(ptr))
    }

    fn verify(&self) -> Result<(), String> {
        walk()
    }
}

const MIXES: [Mix; 7] =
    [Mix::Tiny, Mix::Small, Mix::ClassEdges, Mix::PageEdges, Mix::Large, Mix::OverAligned, Mix::All];

fn hunt_all<S: Subject>(subject: impl Fn() -> S) {
    for mix in MIXES {
        let cases = if matches!(mix, Mix::Large | Mix::OverAligned) { 4 } else { 12 };
        if let Err(found) = (Hunt { cases, mix, most_ops: 200, seed: 7 }).run(&subject) {
            panic!("{mix:?}: {found}");
        }
    }
}

#[test]
fn random_sequences_through_the_rust_interface() {
    in_every_mode("random_sequences_through_the_rust_interface", || hunt_all(rust));
}

#[test]
fn random_sequences_through_the_c_interface() {
    in_every_mode("random_sequences_through_the_c_interface", || hunt_all(|| C));
}

#[test]
fn random_sequences_on_first_class_heaps() {
    in_every_mode("random_sequences_on_first_class_heaps", || hunt_all(|| Own(Heap::new().unwrap())));
}

#[test]
fn threads_hand_blocks_to_each_other_and_come_and_go() {
    in_every_mode("threads_hand_blocks_to_each_other_and_come_and_go", || {
        for (seed, registry) in [(1, true), (2, false), (3, false)] {
            let config = StressConfig {
                threads: 8,
                rounds: 3,
                ops_per_thread: 1_500,
                seed,
                registry,
                verify_every: 500,
                live_bytes: 4 << 20,
                ..StressConfig::default()
            };
            let outcome = stress(&C, &config).unwrap();
            assert_eq!(outcome.allocs, outcome.frees);
            stress(&rust(), &config).unwrap();
        }
    });
}

#[test]
fn what_is_freed_can_be_returned_to_the_system() {
    // Else the allocator's own thread, or on a busy machine the caller in its place, may come before the trim.
    let modes = [&MODES[..], &[MOST]].concat();
    let alone = "background:0,decay_ms:3600000";
    in_modes(&modes, "what_is_freed_can_be_returned_to_the_system", alone, || {
        let blocks: Vec<*mut u8> = (0..100_000).map(|n| raw::malloc(16 + n % 500)).collect();
        let used = freestone::stats().live_bytes;
        for block in blocks {
            // SAFETY: live, freed once.
            unsafe { raw::free(block) };
        }
        assert!(raw::trim() > used / 2, "trim returned too little of {used}");
        let stats = freestone::stats();
        assert!(stats.pages.free_dirty == 0 && stats.live_bytes < used / 4, "{stats:?}");
        walk().unwrap();
    });
}

#[test]
fn one_thousand_threads_leave_no_cache_behind() {
    in_every_mode("one_thousand_threads_leave_no_cache_behind", || {
        let before = freestone::stats();
        let (send, receive) = std::sync::mpsc::sync_channel::<usize>(1024);
        let consumer = std::thread::spawn(move || {
            receive.iter().for_each(|block| {
                // SAFETY: handed over by its owner.
                unsafe { raw::free(block as *mut u8) }
            })
        });
        for _ in 0..20 {
            std::thread::scope(|scope| {
                for n in 0..50usize {
                    let send = send.clone();
                    scope.spawn(move || {
                        for k in 0..200 {
                            let block = raw::malloc(16 + (n * 37 + k * 91) % 2_000);
                            assert!(!block.is_null());
                            if k % 4 == 0 {
                                send.send(block as usize).unwrap();
                            } else {
                                // SAFETY: live, freed once.
                                unsafe { raw::free(block) };
                            }
                        }
                    });
                }
            });
        }
        drop(send);
        consumer.join().unwrap();
        let after = freestone::stats();
        // As many caches as CPUs, however many threads; each may for a moment have another's share.
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
        let limit = before.cached_bytes + (4 << 20) + cpus * (1 << 20);
        assert!(after.cached_bytes <= limit, "{} cached", after.cached_bytes);
        walk().unwrap();
    });
}
