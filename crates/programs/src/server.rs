//! A server under test: started, waited for, checked to be on the allocator, and ended.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::fail;
use crate::job::{Failure, Outcome};
use crate::os;
use crate::process::{Finished, Running};
use crate::setting::Setting;
use crate::step::Step;

/// A running server; killed with its whole group when dropped.
#[derive(Debug)]
pub struct Server {
    running: Running,
}

impl Server {
    pub(crate) fn start(
        step: Step,
        setting: &Setting,
        logs: (PathBuf, PathBuf),
        deadline: Instant,
        mut ready: impl FnMut() -> bool,
    ) -> Outcome<Server> {
        let running = Running::start(step, logs)?;
        while !ready() {
            // A status of zombie means that it ended before it was ready.
            let state = status_line(running.pid, "State:").unwrap_or_default();
            if state.starts_with('Z') || state.is_empty() {
                let finished = running.wait(deadline)?;
                fail!("{}", finished.report("ended before it served"));
            }
            if Instant::now() > deadline {
                return Err(running.hung());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let server = Server { running };
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid()))?;
        setting.check_maps(&maps).map_err(Failure)?;
        Ok(server)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    pub(crate) fn stop(self, signal: i32, deadline: Instant) -> Outcome<Finished> {
        let peak_kib = status_line(self.pid(), "VmHWM:")
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or(0);
        os::signal(self.pid(), signal);
        let finished = self.running.wait(deadline)?;
        // The server's own peak, not that of a child that saved or rewrote a file for it.
        Ok(Finished { peak_kib, ..finished })
    }
}

/// The rest of the line of `/proc/PID/status` that starts with `key`.
fn status_line(pid: u32, key: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().to_string())
}
