//! What one run of a work on a system took: time of the CPU, since the machine may have other work as well.

use std::time::Duration;

/// The time of a run, and of each of its steps.
pub struct Taken {
    start: Duration,
    steps: Vec<Duration>,
}

impl Taken {
    pub fn new() -> Taken {
        Taken { start: now(), steps: Vec::with_capacity(1 << 16) }
    }

    /// A step with what the system does after it.
    pub fn step<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let start = now();
        let result = step();
        self.steps.push(now().saturating_sub(start));
        result
    }

    /// The figures, when all is dropped.
    pub fn figures(mut self) -> Figures {
        let whole = now().saturating_sub(self.start);
        // The first step builds what lives.
        self.steps.remove(0);
        self.steps.sort_unstable();
        let at = |per_mille: usize| self.steps[(self.steps.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6;
        Figures {
            milliseconds: whole.as_secs_f64() * 1e3,
            median: at(500),
            p99: at(990),
            p999: at(999),
            longest: at(1000),
            mebibytes: peak(),
        }
    }
}

/// Time of the whole in milliseconds, of the steps in microseconds, peak of the resident set in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub milliseconds: f64,
    pub median: f64,
    pub p99: f64,
    pub p999: f64,
    pub longest: f64,
    pub mebibytes: f64,
}

impl Figures {
    pub fn line(&self) -> String {
        let Figures { milliseconds, median, p99, p999, longest, mebibytes } = self;
        format!("{milliseconds} {median} {p99} {p999} {longest} {mebibytes}")
    }

    pub fn parse(line: &str) -> Option<Figures> {
        let numbers: Vec<f64> =
            line.split_whitespace().map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let &[milliseconds, median, p99, p999, longest, mebibytes] = &numbers[..] else { return None };
        Some(Figures { milliseconds, median, p99, p999, longest, mebibytes })
    }

    /// The median of each figure by itself.
    pub fn middle(runs: &[Figures]) -> Figures {
        let of = |figure: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        Figures {
            milliseconds: of(|run| run.milliseconds),
            median: of(|run| run.median),
            p99: of(|run| run.p99),
            p999: of(|run| run.p999),
            longest: of(|run| run.longest),
            mebibytes: of(|run| run.mebibytes),
        }
    }
}

/// The time that this thread has had the CPU.
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most that was ever resident.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel says the peak");
    let kibibytes: f64 =
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kibibytes / 1024.0
}
