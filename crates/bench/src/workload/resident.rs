//! What is resident in this process, read without a call of the allocator.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use crate::Params;

/// Bytes of the process, as the kernel counts them by walking its pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// All of it.
    pub bytes: f64,
    /// Of that, what was given back such that the kernel may take it when it needs it, but has not.
    pub lazy: f64,
}

impl Resident {
    /// Now. `statm` would be cheaper, but is off by some dozen pages for each processor.
    pub fn now() -> Resident {
        let mut text = [0; 2048];
        let length = File::open("/proc/self/smaps_rollup").and_then(|mut file| fill(&mut file, &mut text));
        let text = &text[..length.unwrap_or(0)];
        Resident { bytes: kibibytes(text, b"Rss:"), lazy: kibibytes(text, b"LazyFree:") }
    }

    /// What there is more than at `start`; less counts as nothing.
    pub fn above(self, start: Resident) -> f64 {
        (self.bytes - start.bytes).max(0.0)
    }
}

/// Waits `seconds` without a call of the allocator; next to nothing at the scale of a test.
pub fn idle(seconds: f64, params: &Params) {
    std::thread::sleep(Duration::from_secs_f64(if is_test(params) { seconds / 100.0 } else { seconds }));
}

/// Whether the work is to be as small as in a test. What is resident does not scale: its figures are worth something at
/// their full size only.
pub fn is_test(params: &Params) -> bool {
    params.scale < 0.01
}

fn fill(file: &mut File, text: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        match file.read(&mut text[length..])? {
            0 => return Ok(length),
            more => length += more,
        }
    }
}

/// The number in the line that begins with `name`, times 1024.
fn kibibytes(text: &[u8], name: &[u8]) -> f64 {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let digits = line.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0.0, |number, digit| number * 10.0 + f64::from(digit - b'0')) * 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name() {
        let text = b"560000-7ff r--p [rollup]\nRss:                1532 kB\nLazyFree:             12 kB\n";
        assert_eq!(kibibytes(text, b"Rss:"), 1532.0 * 1024.0);
        assert_eq!(kibibytes(text, b"LazyFree:"), 12.0 * 1024.0);
        assert_eq!(kibibytes(text, b"Locked:"), 0.0);
    }

    #[test]
    fn this_process_is_resident() {
        let start = Resident::now();
        assert!(start.bytes > 1e5 && start.lazy <= start.bytes, "{start:?}");
        assert_eq!(Resident::default().above(start), 0.0);
    }
}
