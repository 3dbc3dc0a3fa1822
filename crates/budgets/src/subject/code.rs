//! What small programs do for a while, and how much of the library's code is resident afterwards.

use std::process::ExitCode;
use std::time::Duration;

use super::CANNOT;

/// Small blocks of many sizes that come and go, a few at a time and all at once, by one thread and by two; buffers that grow; some large
/// blocks; and a moment for the allocator's own thread. Prints how many KiB of the library's code are resident then.
pub fn run() -> ExitCode {
    let thread = std::thread::spawn(|| work(7));
    work(1);
    thread.join().expect("no panic");
    std::thread::sleep(Duration::from_millis(400));
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps") else {
        eprintln!("the kernel does not tell what is resident");
        return ExitCode::from(CANNOT);
    };
    println!("{}", resident_code(&text));
    ExitCode::SUCCESS
}

fn work(seed: u64) {
    let mut state = seed;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for round in 0..12 {
        let mut blocks: Vec<Vec<u8>> = (0..2000).map(|_| Vec::with_capacity(8 + random(600))).collect();
        for _ in 0..20_000 {
            let at = random(blocks.len());
            blocks[at] = vec![1; 8 + random(if round % 4 == 0 { 2000 } else { 600 })];
        }
        let mut grown = Vec::new();
        (0..random(200_000)).for_each(|byte| grown.push(byte as u8));
        let large = vec![1u8; 100_000 + random(1 << 20)];
        std::hint::black_box((&blocks, &grown, &large));
    }
}

/// KiB, from `/proc/PID/smaps`.
fn resident_code(smaps: &str) -> usize {
    let (mut in_code, mut sum) = (false, 0);
    for line in smaps.lines() {
        if let Some((range, rest)) = line.split_once(' ')
            && range.contains('-')
        {
            in_code = rest.starts_with("r-xp") && rest.contains("freestone_malloc");
        } else if let Some(size) = line.strip_prefix("Rss:")
            && in_code
        {
            sum += size.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        }
    }
    sum
}
