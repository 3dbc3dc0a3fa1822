//! `freestone ctl`: gives a command to a running process.

use std::process::ExitCode;

use crate::attach::{self, Process};
use crate::{complain, print};

/// The options of `freestone ctl`.
#[derive(Debug, PartialEq, Eq)]
pub enum CtlOptions {
    /// Show which processes can be reached.
    List,
    /// Send a process a command; an empty one asks what there is.
    Ask { pid: u32, request: String },
}

/// The process did not do it, or could not be reached.
const FAILED: u8 = 1;

/// Understands `[PID [COMMAND…]]`.
pub fn options(words: &[String]) -> Result<CtlOptions, String> {
    let Some((pid, command)) = words.split_first() else { return Ok(CtlOptions::List) };
    let pid = pid.parse().map_err(|_| {
        format!("'{pid}' is no number of a process. Say `freestone ctl PID COMMAND`; `freestone ctl` lists processes")
    })?;
    let request = if command.is_empty() { "help".into() } else { command.join(" ") };
    Ok(CtlOptions::Ask { pid, request })
}

/// Does it.
pub fn run(options: &CtlOptions) -> ExitCode {
    match options {
        CtlOptions::List => {
            print(&list());
            ExitCode::SUCCESS
        }
        CtlOptions::Ask { pid, request } => {
            match Process::find(*pid).and_then(|process| process.control()?.ask(request)) {
                Ok(answer) => {
                    print(&answer);
                    ExitCode::SUCCESS
                }
                Err(message) => {
                    complain(&message);
                    ExitCode::from(FAILED)
                }
            }
        }
    }
}

fn list() -> String {
    let found = attach::all();
    if found.is_empty() {
        return format!("No process that you may look into has its control open.{}.\n", attach::HOW);
    }
    let width = found.iter().map(|(process, _)| process.pid.to_string().len()).max().unwrap_or(0);
    found.iter().map(|(process, _)| format!("{:>width$}  {}\n", process.pid, process.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_request() {
        let parsed = |line: &str| options(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        let ask = |pid, request: &str| Ok(CtlOptions::Ask { pid, request: request.into() });
        assert_eq!(parsed(""), Ok(CtlOptions::List));
        assert_eq!(parsed("12"), ask(12, "help"));
        assert_eq!(parsed("12 set check=1"), ask(12, "set check=1"));
        assert!(parsed("redis release").unwrap_err().contains("'redis' is no number of a process"));
    }
}
