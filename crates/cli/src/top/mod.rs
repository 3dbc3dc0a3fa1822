//! `freestone top`: watches the memory of a running process.
//!
//! `sample.rs` looks, `view.rs` says how it looks, `screen.rs` is the terminal. The process must have opened its control for all
//! there is to see; of any other, what the kernel knows is shown.

mod sample;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::attach::{Presence, Process};
use crate::complain;
use crate::suggest::hint;
use sample::{LONGEST_INTERVAL, Sample, Watcher};
use screen::{Screen, Wish};
use view::Order;

/// The options of `freestone top`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopOptions {
    pub pid: u32,
    pub interval: Duration,
    /// Show it once and end.
    pub once: bool,
    /// Print JSON, an object a line.
    pub json: bool,
    pub order: Order,
}

impl TopOptions {
    /// Understands the arguments; `interval` and `sort` as they were written.
    pub fn new(pid: &str, interval: Option<&str>, sort: Option<&str>) -> Result<TopOptions, String> {
        let pid =
            pid.parse().map_err(|_| format!("'{pid}' is no number of a process. Say `freestone top PID`"))?;
        let interval = match interval.map(|text| (text, text.parse::<f64>())) {
            None => Duration::from_secs(1),
            Some((_, Ok(seconds))) if (0.1..=LONGEST_INTERVAL.as_secs_f64()).contains(&seconds) => {
                Duration::from_secs_f64(seconds)
            }
            Some((text, _)) => {
                return Err(format!("--interval cannot be '{text}'. It takes seconds, from 0.1 to 3600"));
            }
        };
        let names = || Order::ALL.into_iter().map(Order::name);
        let order = match sort {
            None => Order::Live,
            Some(text) => Order::ALL.into_iter().find(|order| order.name() == text).ok_or_else(|| {
                let hint = hint(text, names());
                format!(
                    "--sort cannot be '{text}'.{hint} It takes {}",
                    names().collect::<Vec<_>>().join(", ")
                )
            })?,
        };
        Ok(TopOptions { pid, interval, once: false, json: false, order })
    }
}

/// The process could not be watched.
const FAILED: u8 = 1;

/// Watches until the process ends, or the user does.
pub fn run(options: TopOptions) -> ExitCode {
    match watch(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::from(FAILED)
        }
    }
}

fn watch(options: TopOptions) -> Result<(), String> {
    let process = Process::meant(options.pid)?;
    let control = match process.presence()? {
        Presence::Open(control) => Some(control),
        Presence::Closed | Presence::Unknown => None,
    };
    let mut watcher = Watcher::new(process, control);
    if options.once || options.json || !io::stdout().is_terminal() {
        return print_samples(&mut watcher, options);
    }
    Interactive { paused: false, order: options.order, message: String::new() }
        .run(&mut watcher, options.interval)
}

/// Without a terminal: one sample after the other.
fn print_samples(watcher: &mut Watcher, options: TopOptions) -> Result<(), String> {
    // The first has no rates.
    watcher.look()?;
    loop {
        std::thread::sleep(options.interval);
        let sample = match watcher.look() {
            Ok(sample) => sample,
            Err(_) if !watcher.process().is_alive() && !options.once => return Ok(()),
            Err(message) => return Err(message),
        };
        let text = if options.json { json(&sample) } else { plain(&sample, options.order) };
        // A reader that went away has seen enough.
        if io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_err()
            || options.once
        {
            return Ok(());
        }
    }
}

fn json(sample: &Sample) -> String {
    serde_json::to_string(sample).unwrap_or_default() + "\n"
}

fn plain(sample: &Sample, order: Order) -> String {
    const WIDTH: usize = 120;
    const HEIGHT: usize = 44;
    let rows = view::rows(sample, order, WIDTH, HEIGHT);
    rows.iter().map(|row| row.render(WIDTH, false) + "\n").collect::<String>() + "\n"
}

/// What the keys have changed.
struct Interactive {
    paused: bool,
    order: Order,
    /// The answer to the last command.
    message: String,
}

impl Interactive {
    fn run(&mut self, watcher: &mut Watcher, interval: Duration) -> Result<(), String> {
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let failed = |error: io::Error| format!("the terminal cannot be used: {error}");
        let mut sample = watcher.look()?;
        let screen = Screen::new(coloured).map_err(failed)?;
        let mut next = Instant::now() + interval.min(Duration::from_millis(500));
        loop {
            let (width, height) = screen.size();
            let rows = view::rows(&sample, self.order, width, height.saturating_sub(1));
            screen.draw(&rows, &self.bottom(watcher)).map_err(failed)?;
            let wait =
                if self.paused { LONGEST_INTERVAL } else { next.saturating_duration_since(Instant::now()) };
            match screen.wish(wait).map_err(failed)? {
                Wish::Quit => return Ok(()),
                Wish::Sort => self.order = self.order.next(),
                Wish::Pause => self.paused = !self.paused,
                Wish::Redraw => {}
                Wish::Release => {
                    self.message = watcher.release();
                    next = Instant::now();
                }
                Wish::None if self.paused => {}
                Wish::None => {
                    sample = match watcher.look() {
                        Ok(sample) => sample,
                        Err(message) => {
                            drop(screen);
                            return if watcher.process().is_alive() {
                                Err(message)
                            } else {
                                complain(&message);
                                Ok(())
                            };
                        }
                    };
                    next = Instant::now() + interval;
                }
            }
        }
    }

    fn bottom(&self, watcher: &Watcher) -> String {
        let pause = if self.paused { "p go on (paused)" } else { "p pause" };
        let release = if watcher.control().is_some() { "   r release" } else { "" };
        let message = if self.message.is_empty() { String::new() } else { format!("   {}", self.message) };
        format!("q quit{release}   s sort: {}   {pause}{message}", self.order.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood_or_answered() {
        let options = TopOptions::new("12", Some("0.5"), Some("free")).unwrap();
        assert_eq!((options.pid, options.interval.as_millis(), options.order), (12, 500, Order::Free));
        assert_eq!(TopOptions::new("12", None, None).unwrap().interval, Duration::from_secs(1));
        for (pid, interval, sort, expected) in [
            ("redis", None, None, "'redis' is no number of a process"),
            ("1", Some("0"), None, "from 0.1 to 3600"),
            ("1", Some("fast"), None, "from 0.1 to 3600"),
            ("1", Some("NaN"), None, "from 0.1 to 3600"),
            ("1", None, Some("live_"), "Did you mean 'live'?"),
        ] {
            let message = TopOptions::new(pid, interval, sort).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
