//! The resident set of a process and its descendants, sampled from `/proc`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// The first pause between two samples: short, so that short processes are seen too.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
/// The pause that is reached after some samples.
const PAUSE: Duration = Duration::from_millis(5);
/// A sample may cost this part of the pause after it; else the pause is lengthened.
const SHARE: u32 = 100;

/// Which processes a sample covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The one that was started.
    Process,
    /// All descendants of this process. Pages that several of them share count several times.
    Tree,
}

/// Samples taken while a child runs.
#[derive(Debug)]
pub struct Sampler {
    scope: Scope,
    os_page: u64,
    own_file: Option<File>,
    buffer: Vec<u8>,
    pause: Duration,
    started: Instant,
    last: Option<(Instant, u64)>,
    /// Bytes times seconds up to the last sample.
    area: f64,
    peak: u64,
    /// All samples, if they are kept.
    kept: Option<Vec<(f64, f64)>>,
}

/// What the samples amount to.
#[derive(Clone, Debug, Default)]
pub struct Resident {
    /// The mean over time, in bytes.
    pub average: f64,
    /// The largest sample, in bytes.
    pub peak: u64,
    /// Seconds and bytes of some samples, if they were kept: enough of them for a chart.
    pub course: Vec<(f64, f64)>,
}

impl Sampler {
    /// A sampler for the child `pid`, which was started at `started`.
    pub fn new(pid: u32, scope: Scope, os_page: u64, started: Instant) -> Sampler {
        Sampler {
            scope,
            os_page,
            own_file: File::open(format!("/proc/{pid}/statm")).ok(),
            buffer: Vec::with_capacity(4096),
            pause: FIRST_PAUSE,
            started,
            last: None,
            area: 0.0,
            peak: 0,
            kept: None,
        }
    }

    /// The same, its samples kept.
    pub fn following(self) -> Sampler {
        Sampler { kept: Some(Vec::new()), ..self }
    }

    /// Takes a sample; how long to wait for the next.
    pub fn sample(&mut self) -> Duration {
        let begin = Instant::now();
        let resident = match self.scope {
            Scope::Process => self.own_file.as_ref().and_then(|file| self.read_statm(file)),
            Scope::Tree => self.tree(),
        };
        if let Some(bytes) = resident.filter(|bytes| *bytes > 0) {
            self.add(begin, bytes);
        }
        let cost = begin.elapsed();
        self.pause = (self.pause * 5 / 4).min(PAUSE);
        self.pause.max(cost * SHARE)
    }

    fn add(&mut self, at: Instant, bytes: u64) {
        let (before, bytes_before) = self.last.unwrap_or((self.started, bytes));
        // As if it had changed evenly in between.
        self.area += at.duration_since(before).as_secs_f64() * (bytes_before + bytes) as f64 / 2.0;
        self.last = Some((at, bytes));
        if let Some(kept) = &mut self.kept {
            kept.push((at.duration_since(self.started).as_secs_f64(), bytes as f64));
        }
        self.peak = self.peak.max(bytes);
    }

    /// The figures, if the child ended at `end`.
    pub fn finish(self, end: Instant) -> Resident {
        let Some((last, bytes)) = self.last else { return Resident::default() };
        let area = self.area + end.saturating_duration_since(last).as_secs_f64() * bytes as f64;
        let seconds = end.duration_since(self.started).as_secs_f64();
        let average = if seconds > 0.0 { area / seconds } else { bytes as f64 };
        Resident { average, peak: self.peak, course: thinned(&self.kept.unwrap_or_default()) }
    }

    /// The resident bytes in an open `statm`.
    fn read_statm(&self, file: &File) -> Option<u64> {
        let mut text = [0; 128];
        let length = file.read_at(&mut text, 0).ok()?;
        resident_pages(&text[..length]).map(|pages| pages * self.os_page)
    }

    /// The sum over all descendants of this process.
    fn tree(&mut self) -> Option<u64> {
        let mut sum = 0;
        let mut pending: Vec<u32> = children("self", &mut self.buffer);
        while let Some(pid) = pending.pop() {
            // What is gone in the meantime holds nothing.
            if let Ok(file) = File::open(format!("/proc/{pid}/statm")) {
                sum += self.read_statm(&file).unwrap_or(0);
            }
            pending.append(&mut children(&pid.to_string(), &mut self.buffer));
        }
        Some(sum)
    }
}

/// Points of a chart across.
const STEPS: usize = 300;

/// At most two samples for each of [`STEPS`] equal times: the least and the most, in their order. Milliseconds will do.
fn thinned(samples: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let end = samples.last().map_or(0.0, |(at, _)| *at);
    let step = |at: f64| (at / end.max(1e-9) * STEPS as f64) as usize;
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for same in samples.chunk_by(|one, other| step(one.0) == step(other.0)) {
        let ascending = |one: &&(f64, f64), other: &&(f64, f64)| one.1.total_cmp(&other.1);
        let (least, most) = (same.iter().min_by(ascending), same.iter().max_by(ascending));
        let mut both: Vec<(f64, f64)> = least.into_iter().chain(most).copied().collect();
        both.sort_by(|one, other| one.0.total_cmp(&other.0));
        both.dedup();
        kept.extend(both.into_iter().map(|(at, bytes)| ((at * 1e3).round() / 1e3, bytes)));
    }
    kept
}

/// The second number of `statm`.
fn resident_pages(text: &[u8]) -> Option<u64> {
    let field = text.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// The children of all threads of a process. A child belongs to the thread that started it.
fn children(process: &str, buffer: &mut Vec<u8>) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let Ok(mut file) = File::open(task.path().join("children")) else { continue };
        buffer.clear();
        if std::io::Read::read_to_end(&mut file, buffer).is_ok() {
            let text = String::from_utf8_lossy(buffer);
            found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(started: Instant) -> Sampler {
        Sampler::new(std::process::id(), Scope::Process, 4096, started)
    }

    #[test]
    fn the_second_number_of_statm_counts() {
        assert_eq!(resident_pages(b"1500 321 200 1 0 400 0\n"), Some(321));
        assert_eq!(resident_pages(b""), None);
    }

    #[test]
    fn the_average_weighs_by_time() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut sampler = sampler(start);
        sampler.add(after(0), 1000);
        sampler.add(after(10), 1000);
        sampler.add(after(20), 3000);
        let resident = sampler.finish(after(30));
        // 10 ms at 1000, 10 ms rising from 1000 to 3000, 10 ms at 3000.
        assert!((resident.average - 2000.0).abs() < 1e-6, "{resident:?}");
        assert_eq!(resident.peak, 3000);
    }

    #[test]
    fn a_sample_of_this_process_is_plausible() {
        let mut sampler = sampler(Instant::now());
        assert!(sampler.sample() >= FIRST_PAUSE);
        let resident = sampler.finish(Instant::now());
        assert!(resident.peak > 100 << 10, "{resident:?}");
    }

    #[test]
    fn a_thinned_course_keeps_its_peaks() {
        let samples: Vec<(f64, f64)> =
            (0..100_000).map(|n| (f64::from(n) * 1e-3, if n == 77_777 { 9.0 } else { 1.0 })).collect();
        let course = thinned(&samples);
        assert!(course.len() <= 2 * STEPS + 2 && course.contains(&(77.777, 9.0)));
        assert_eq!(course.first().map(|point| point.0), Some(0.0));
        assert!(course.last().unwrap().0 > 99.6);
        assert!(thinned(&[]).is_empty());
    }

    #[test]
    fn no_sample_is_no_figure() {
        assert_eq!(sampler(Instant::now()).finish(Instant::now()).peak, 0);
    }
}
