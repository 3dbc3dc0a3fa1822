//! What is shown while a measurement runs.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Progress on stderr: one line that is overwritten in a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    total: usize,
    done: usize,
    terminal: bool,
    shown: Option<Instant>,
}

/// Elsewhere than in a terminal, a line is shown so often at most.
const PAUSE: Duration = Duration::from_secs(10);

impl Progress {
    /// So many runs are to come.
    pub fn new(total: usize) -> Progress {
        Progress { started: Instant::now(), total, done: 0, terminal: stderr().is_terminal(), shown: None }
    }

    /// One run is about to begin.
    pub fn show(&mut self, what: &str) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE);
        if !self.terminal && !due {
            return;
        }
        self.shown = Some(Instant::now());
        let left = left(self.started.elapsed(), self.done, self.total);
        let line = format!("{:>4}/{} {left:>14}  {what}", self.done + 1, self.total);
        // Nobody is helped by an error about progress.
        let _ = match self.terminal {
            true => write!(stderr(), "\r\x1b[K{line}").and_then(|()| stderr().flush()),
            false => writeln!(stderr(), "{line}"),
        };
    }

    /// One run is over.
    pub fn step(&mut self) {
        self.done += 1;
    }

    /// A line that stays.
    pub fn say(&mut self, what: &str) {
        self.clear();
        eprintln!("{what}");
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K").and_then(|()| stderr().flush());
        }
    }
}

/// How long it will still take, as a text.
fn left(elapsed: Duration, done: usize, total: usize) -> String {
    if done == 0 {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() / done as f64 * total.saturating_sub(done) as f64;
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s left"),
        seconds if seconds < 5400.0 => format!("{:.0} min left", seconds / 60.0),
        seconds => format!("{:.1} h left", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_estimated_from_what_is_done() {
        assert_eq!(left(Duration::from_secs(10), 0, 5), "");
        assert_eq!(left(Duration::from_secs(10), 1, 5), "40 s left");
        assert_eq!(left(Duration::from_secs(60), 1, 11), "10 min left");
        assert_eq!(left(Duration::from_secs(3600), 1, 3), "2.0 h left");
    }
}
