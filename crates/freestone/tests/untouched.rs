//! Blocks that nobody touches are told from those that are read now and then.

use std::hint::black_box;

use freestone::{Freestone, profile};

#[global_allocator]
static GLOBAL: Freestone = Freestone;

/// What a thread of this name allocates. The profile has the name.
fn kept_by(name: &str, small: usize, large: usize) -> Vec<Vec<u8>> {
    let make = move || {
        let sizes = std::iter::repeat_n(700, small).chain(std::iter::repeat_n(300_000, large));
        sizes.map(|size| black_box(vec![1u8; size])).collect()
    };
    std::thread::Builder::new().name(name.into()).spawn(make).unwrap().join().unwrap()
}

/// Live and idle bytes of a thread's sites.
fn of(text: &str, thread: &str) -> (f64, f64) {
    let (mut live, mut idle, mut is_its) = (0.0, 0.0, false);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["site", name, _, _, _, _, _, bytes, ..] => {
                is_its = name == thread;
                live += if is_its { bytes.parse::<f64>().unwrap() } else { 0.0 };
            }
            ["idle", _, bytes] if is_its => idle += bytes.parse::<f64>().unwrap(),
            _ => {}
        }
    }
    (live, idle)
}

#[test]
fn a_cache_that_nobody_asks_is_found() {
    let mut text = String::with_capacity(1 << 20);
    profile::start(16 << 10).unwrap();
    let forgotten = kept_by("forgotten", 8_000, 20);
    let read = kept_by("read", 8_000, 20);
    let written = kept_by("written", 8_000, 20);
    // Without a watch there is nothing to tell.
    profile::write_with_idle(&mut text).unwrap();
    assert!(!text.contains("\nuntouched ") && !text.contains("\nidle "));
    let Some(pages) = profile::watch_touches() else {
        return freestone_testkit::skipped(format_args!("this kernel does not tell what is touched"));
    };
    assert!((300..12_288).contains(&pages), "{pages}");

    black_box(
        read.iter().flat_map(|block| block.iter().step_by(64)).map(|&byte| usize::from(byte)).sum::<usize>(),
    );
    let mut written = written;
    written.iter_mut().for_each(|block| block.iter_mut().step_by(64).for_each(|byte| *byte = 2));
    text.clear();
    profile::write_with_idle(&mut text).unwrap();
    assert!(text.contains("\nuntouched "));
    let (live, idle) = of(&text, "forgotten");
    assert!(live > 8e6 && (0.85..1.05).contains(&(idle / live)), "{idle} of {live}");
    for thread in ["read", "written"] {
        // Where one thread's blocks end on a page and another's begin, they are touched together.
        let (live, idle) = of(&text, thread);
        assert!(live > 8e6 && idle < live / 20.0, "{thread}: {idle} of {live}");
    }

    // The watch has ended, and leaves nothing behind.
    text.clear();
    profile::write_with_idle(&mut text).unwrap();
    assert!(!text.contains("\nuntouched "));
    profile::stop();
    drop((forgotten, read, written));
    freestone::verify().unwrap();
}
