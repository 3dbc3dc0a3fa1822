//! A library that has the allocator to itself, for a program with another: as a plugin in Rust would. `tests/unloaded.rs` opens
//! and closes it.
//!
//! # Safety
//!
//! The name is one that nobody else has.

#[global_allocator]
static A: freestone::Freestone = freestone::Freestone;

/// Allocates and frees on threads of its own; the bytes that were live at the end of each.
#[allow(unsafe_code)]
// SAFETY: nobody else has this name.
#[unsafe(no_mangle)]
pub extern "C" fn freestone_plugin_work() -> u64 {
    let work = |seed: usize| {
        let mut texts = Vec::new();
        for i in 0..5000 {
            texts.push("x".repeat(i * (seed + 1) % 300));
            if i % 3 == 0 {
                texts.swap_remove(i * 7 % texts.len());
            }
        }
        texts.iter().map(|text| text.len() as u64).sum::<u64>()
    };
    let threads: Vec<_> = (0..3).map(|seed| std::thread::spawn(move || work(seed))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}
