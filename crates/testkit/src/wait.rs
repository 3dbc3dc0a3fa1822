//! Waiting for what comes about in the background.

use std::time::{Duration, Instant};

/// Whether `done` within five seconds; looks every 20 ms.
pub fn soon(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
